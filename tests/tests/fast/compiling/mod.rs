//! Components from strangers are compiled in a process that can be ended: by its limits, by whoever waits no more, and
//! by the end of the one that started it. Here is what the promises have in common.

mod answers;
mod ending;
mod process;

use std::future::Future;
use std::process::Command;
use std::time::{Duration, Instant};

use actix_web::rt::System;
use actix_web::web::Bytes;
use watchpost::rules::compiler::{CompileError, Compiled, Compiler, Options};
use watchpost_tests::guests::engine;
use watchpost_tests::server::program;
use watchpost_tests::slow_rule::ponderous;

/// Its address space is what a test knows its own process by, so that each test has another.
const MEMORY: u64 = 1 << 30;

/// What a busy machine may add to a limit.
const SLACK: Duration = Duration::from_secs(20);

fn options(number: u64) -> Options {
    Options {
        timeout: Duration::from_secs(120),
        memory_bytes: MEMORY + number,
        queue_length: 4,
    }
}

fn compiler(options: Options) -> Compiler {
    Compiler::by_program(engine(), None, options, &program())
}

fn compile(compiler: &Compiler, wasm: impl Into<Bytes>) -> Result<Compiled, CompileError> {
    run(compiler.module(wasm.into()))
}

fn run<T>(work: impl Future<Output = T>) -> T {
    System::new().block_on(work)
}

/// It would be compiled for minutes.
fn endless() -> Bytes {
    ponderous(300, 300).into()
}

/// The process that compiles within this much memory.
fn process(memory_bytes: u64) -> Option<u32> {
    let wanted = format!("\0--memory-bytes\0{memory_bytes}\0");
    let all = std::fs::read_dir("/proc").expect("there are processes");
    let mut ids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    ids.find(|id| {
        let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&wanted)
    })
}

/// Waits on the runtime, so that what it waits for can go on.
async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begin.elapsed() < 3 * SLACK, "{what}: not in time");
        actix_web::rt::time::sleep(Duration::from_millis(10)).await;
    }
}

fn kill(id: u32) {
    let status = Command::new("kill").args(["-KILL", &id.to_string()]).status();
    assert!(status.expect("kill runs").success());
}
