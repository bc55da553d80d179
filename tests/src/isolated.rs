//! Runs tests that inspect their own process (threads, memory, children) in a separate process, where no other test
//! interferes.

use std::process::Command;

/// The environment variable that marks the separate process.
const ISOLATED: &str = "ISOLATED_TEST";

/// Runs the test with this full name in a separate process.
#[track_caller]
pub fn isolated(test: &str, run: impl FnOnce()) {
    if std::env::var_os(ISOLATED).is_some() {
        return run();
    }
    let output = command(test).env(ISOLATED, "1").output().expect("it starts");
    let text = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    assert!(
        output.status.success() && text[0].contains("1 passed"),
        "{test} in a process of its own: {}\n{}",
        output.status,
        text.concat()
    );
}

/// This test binary, filtered to the test with this name.
pub fn command(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a test is a program"));
    command.args(["--exact", test]);
    command
}
