//! Tests that look at their own process: at its threads, its memory, its children. They run again in a process of
//! their own, where no other test changes what they look at.

use std::process::Command;

/// Set in the process that runs one test.
const ISOLATED: &str = "ISOLATED_TEST";

/// Runs the test of this name, with the modules it is in, in a process of its own.
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

/// This program of tests again, for the one of this name.
pub fn command(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a test is a program"));
    command.args(["--exact", test]);
    command
}
