//! The environment of an author of rules: a folder, the program and `make`, without the sources of Watchpost.

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

use crate::server::{program, tools};

/// A temporary folder outside the source tree, in which commands run.
pub struct Author {
    folder: tempfile::TempDir,
}

impl Author {
    /// A new folder, which is deleted on drop.
    #[expect(clippy::new_without_default, reason = "an author without a folder is none")]
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self { folder }
    }

    /// The path of a file in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file.
    pub fn keep(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), bytes).expect("the folder can be written");
    }

    /// Reads a file.
    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// `watchpost rules …` in the folder.
    pub fn rules(&self, arguments: &[&str]) -> CommandOutput {
        run(&mut self.command(arguments))
    }

    /// The same command, not started yet.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.arg("rules").args(arguments).current_dir(self.folder.path());
        without_settings(&mut command);
        command
    }

    /// `make …` in a project.
    pub fn make(&self, project: &str, targets: &[&str]) -> CommandOutput {
        let mut command = Command::new("make");
        command
            .arg("-C")
            .arg(self.path(project))
            .args(targets)
            .arg(format!("WATCHPOST={}", program().display()))
            .arg(format!("TOOLS={}", tools().display()))
            // Projects share one target folder, so that cargo compiles dependencies once.
            .arg(format!("BUILD={}", tools().join("../projects").display()));
        run(without_settings(&mut command))
    }
}

/// Removes the variables of the test, which would configure the program.
fn without_settings(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("WATCHPOST_")) {
        command.env_remove(name);
    }
    command
}

/// The result of a command.
pub struct CommandOutput {
    /// The exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub error: String,
}

/// Runs a command and waits for its end.
pub fn run(command: &mut Command) -> CommandOutput {
    let Output { status, stdout, stderr } = command.output().expect("it can be started");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it speaks text");
    CommandOutput {
        code: status.code().expect("it ends by itself"),
        out: text(stdout),
        error: text(stderr),
    }
}

impl CommandOutput {
    /// Asserts the exit code.
    #[track_caller]
    pub fn with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}{}", self.out, self.error);
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}
