//! Termination of the sandbox before it is done: by limits, by an abandoned request, or from outside. The next request
//! is served in every case.

use std::time::{Duration, Instant};

use watchpost::rules::compiler::{CompileError, Compiled, Compiler, Options};
use watchpost_tests::guests::{ROLE, THRESHOLD};
use watchpost_tests::slow_rule::ponderous;

use super::{SLACK, compile, compiler, endless, kill, options, process, run, until};

#[test]
fn a_compilation_that_exceeds_the_time_limit_is_killed_and_the_next_is_served() {
    // The queued request has the same time limit, which must be enough to compile it on a busy host.
    let limit = Duration::from_secs(10);
    let options = Options {
        timeout: limit,
        ..options(5)
    };
    let memory = options.memory_bytes;
    let compiler = compiler(options);
    run(async {
        let began = Instant::now();
        let endless = actix_web::rt::spawn({
            let compiler = compiler.clone();
            async move { compiler.module(endless()).await }
        });
        until("a process", || process(memory)).await;
        let waiting = compiler.module(ROLE.into()).await;
        assert!(began.elapsed() >= limit, "it waited for its turn");
        assert_eq!(waiting.expect("it is a rule").module.manifest().name, "role");
        let refused = endless.await.expect("it does not panic").expect_err("it takes minutes");
        assert!(
            matches!(&refused, CompileError::TooLong { limit: reported } if *reported == limit),
            "{refused}"
        );
        assert!(refused.to_string().contains("exceeded 10s"), "{refused}");
        assert!(began.elapsed() < limit + SLACK, "{:?}", began.elapsed());
        assert_eq!(process(memory), None);
    });
}

#[test]
fn a_compilation_that_exceeds_the_memory_limit_is_killed_and_the_next_is_served() {
    let few = Options {
        memory_bytes: 256 << 20,
        ..options(6)
    };
    let compiler = compiler(few);
    let refused = compile(&compiler, ponderous(2000, 2000)).expect_err("it takes gigabytes");
    assert!(
        matches!(
            refused,
            CompileError::TooMuch {
                limit_bytes: 0x1000_0000
            }
        ),
        "{refused}"
    );
    assert!(refused.to_string().contains("rules.compiler.max_memory"), "{refused}");
    assert_eq!(
        compile(&compiler, ROLE).expect("it is a rule").module.manifest().name,
        "role"
    );
}

#[test]
fn a_memory_limit_too_small_to_read_the_component_is_reported_as_memory() {
    let hardly_any = Options {
        memory_bytes: 32 << 20,
        ..options(7)
    };
    let refused = compile(&compiler(hardly_any), THRESHOLD).expect_err("nothing fits");
    assert!(matches!(refused, CompileError::TooMuch { .. }), "{refused}");
}

#[test]
fn a_full_queue_refuses_the_next_request_and_an_abandoned_sandbox_is_killed() {
    let options = Options {
        queue_length: 0,
        ..options(8)
    };
    let memory = options.memory_bytes;
    let compiler = compiler(options);
    run(async {
        let endless = actix_web::rt::spawn({
            let compiler = compiler.clone();
            async move { compiler.module(endless()).await }
        });
        until("a process", || process(memory)).await;
        let refused = compiler.module(ROLE.into()).await.expect_err("the queue is full");
        assert!(matches!(refused, CompileError::Busy), "{refused}");
        endless.abort();
        until("its end", || process(memory).is_none().then_some(())).await;
        let served = until_served(&compiler).await;
        assert_eq!(served.module.manifest().name, "role");
    });
}

/// The permit of the queue is released shortly after the process exits.
async fn until_served(compiler: &Compiler) -> Compiled {
    let begin = Instant::now();
    loop {
        match compiler.module(ROLE.into()).await {
            Err(CompileError::Busy) if begin.elapsed() < SLACK => {}
            served => return served.expect("it is a rule"),
        }
    }
}

#[test]
fn a_sandbox_that_is_killed_from_outside_is_reported_and_the_next_is_served() {
    let options = options(9);
    let memory = options.memory_bytes;
    let compiler = compiler(options);
    run(async {
        let endless = actix_web::rt::spawn({
            let compiler = compiler.clone();
            async move { compiler.module(endless()).await }
        });
        kill(until("a process", || process(memory)).await);
        let broken = endless.await.expect("it does not panic").expect_err("it was killed");
        assert!(
            matches!(&broken, CompileError::Broken(reason) if reason.contains("SIGKILL")),
            "{broken}"
        );
        let next = compiler.module(ROLE.into()).await.expect("it is a rule");
        assert_eq!(next.module.manifest().name, "role");
    });
}
