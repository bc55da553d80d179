//! Untrusted components are compiled in a sandbox process that can be killed: by its limits, when its request is
//! abandoned, and with its parent. This file has what the tests share.

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

/// The memory limit identifies the process of a test, so each test uses another one.
const MEMORY: u64 = 1 << 30;

/// The tolerance of time limits on a busy host.
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

/// A component whose compilation takes minutes.
fn endless() -> Bytes {
    ponderous(300, 300).into()
}

/// The id of the sandbox process with this memory limit.
fn process(memory_bytes: u64) -> Option<u32> {
    let wanted = format!("\0--memory-bytes\0{memory_bytes}\0");
    let all = std::fs::read_dir("/proc").expect("there are processes");
    let mut ids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    ids.find(|id| {
        let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&wanted)
    })
}

/// Polls on the runtime, so that other tasks make progress.
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
