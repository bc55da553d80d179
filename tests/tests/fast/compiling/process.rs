//! The limits and resources of the sandbox process as procfs shows them, and that it exits with its parent.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use watchpost_tests::guests::engine;
use watchpost_tests::isolated;
use watchpost_tests::server::{eventually, program};

use super::{MEMORY, compile, compiler, endless, options, process, run, until};

#[test]
fn the_sandbox_has_only_what_it_needs() {
    let options = options(10);
    let memory = options.memory_bytes;
    let compiler = compiler(options);
    run(async {
        let endless = actix_web::rt::spawn({
            let compiler = compiler.clone();
            async move { compiler.module(endless()).await }
        });
        let id = until("a process", || process(memory)).await;
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{id}/{file}")).unwrap_or_default();
        // The last step of the process before it reads its input.
        let is_filtered = || read("status").contains("\nSeccomp:\t2\n");
        until("its filter of system calls", || is_filtered().then_some(())).await;
        assert!(read("status").contains("\nNoNewPrivs:\t1\n"), "{}", read("status"));
        let bound = format!("Max address space         {memory}");
        assert!(read("limits").contains(&bound), "{}", read("limits"));
        let limits = read("limits");
        for zero in ["Max core file size", "Max file size", "Max processes"] {
            let line = limits.lines().find(|line| line.starts_with(zero)).expect(zero);
            assert_eq!(line.split_whitespace().filter(|word| *word == "0").count(), 2, "{line}");
        }
        assert!(limits.contains("Max open files            3 "), "{limits}");
        assert!(limits.contains("Max cpu time              121 "), "{limits}");
        // Other users can read the command line; it contains no secrets.
        let this = std::process::id();
        let line = format!("watchpost rules compile --memory-bytes {memory} --cpu-seconds 121 --parent {this} ");
        assert_eq!(read("cmdline").replace('\0', " "), line);
        assert_eq!(read("environ"), "");
        let (status, stat) = (read("status"), read("stat"));
        assert!(status.contains("\nThreads:\t1\n"), "{status}");
        let nice = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(16));
        assert!(
            nice.is_some_and(|nice| nice.parse::<i32>().is_ok_and(|nice| nice >= 10)),
            "{stat}"
        );
        assert_eq!(read("oom_score_adj").trim(), "1000");
        let open = std::fs::read_dir(format!("/proc/{id}/fd")).expect("it is ours");
        let open: Vec<_> = open
            .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
            .collect();
        assert!(open.len() <= 3 + handed_on(), "{open:?}");
        endless.abort();
    });
}

/// The number of open files that this test process inherited and passes on to every child process.
fn handed_on() -> usize {
    let mut shell = Command::new("sh");
    shell.args(["-c", "ls /proc/$$/fd"]).stdin(Stdio::null());
    let output = shell.output().expect("a shell");
    String::from_utf8_lossy(&output.stdout).lines().count() - 3
}

/// Runs in a separate process, which starts a sandbox and is killed.
#[test]
fn a_sandbox_does_not_outlive_its_parent() {
    const NAME: &str = "compiling::process::a_sandbox_does_not_outlive_its_parent";
    let options = options(11);
    let memory = options.memory_bytes;
    if std::env::var_os("COMPILES").is_some() {
        let _ = compile(&compiler(options), endless());
        return;
    }
    let mut parent = isolated::command(NAME)
        .env("COMPILES", "")
        .stdout(Stdio::null())
        .spawn()
        .expect("it starts");
    let id = eventually("a process", || process(memory));
    let is_confined =
        || std::fs::read_to_string(format!("/proc/{id}/limits")).is_ok_and(|text| text.contains(&memory.to_string()));
    eventually("its bounds", || is_confined().then_some(()));
    parent.kill().expect("it is ours");
    parent.wait().expect("it is ours");
    eventually("its end", || process(memory).is_none().then_some(()));
}

/// The timeout of the sandbox never passes on a paused clock, so the kernel has to end it.
#[test]
fn the_kernel_enforces_the_cpu_time_limit() {
    let this = std::process::id().to_string();
    let mut child = Command::new(program())
        .args(["rules", "compile", "--cpu-seconds", "1", "--parent", &this])
        .args(["--memory-bytes", &(MEMORY + 12).to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("it starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    let recipe = serde_json::to_vec(&engine().recipe()).expect("it is JSON");
    let order = [recipe.as_slice(), b"\n", &[7; 32], &endless()].concat();
    stdin.write_all(&order).expect("it reads");
    drop(stdin);
    const XCPU: i32 = 24;
    assert_eq!(child.wait().expect("it is ours").signal(), Some(XCPU));
}

#[test]
fn a_sandbox_with_an_unexpected_parent_exits() {
    let output = Command::new(program())
        .args([
            "rules",
            "compile",
            "--cpu-seconds",
            "1",
            "--memory-bytes",
            "1000000000",
            "--parent",
            "1",
        ])
        .stdin(Stdio::null())
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(70));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("the parent process has ended"), "{said}");
}
