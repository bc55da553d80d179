//! Somebody who writes rules: a folder, the program and `make`, as on a machine of their own.

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

use crate::server::{program, tools};

/// Somebody in a folder outside the tree, where the sources of Watchpost are not to be found.
pub struct Author {
    folder: tempfile::TempDir,
}

impl Author {
    /// In a folder of their own, which goes with them.
    #[expect(clippy::new_without_default, reason = "an author without a folder is none")]
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self { folder }
    }

    /// A place in the folder.
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
    pub fn rules(&self, arguments: &[&str]) -> Said {
        run(&mut self.command(arguments))
    }

    /// The same, not yet started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.arg("rules").args(arguments).current_dir(self.folder.path());
        without_settings(&mut command);
        command
    }

    /// `make …` in a project.
    pub fn make(&self, project: &str, targets: &[&str]) -> Said {
        let mut command = Command::new("make");
        command
            .arg("-C")
            .arg(self.path(project))
            .args(targets)
            .arg(format!("WATCHPOST={}", program().display()))
            .arg(format!("TOOLS={}", tools().display()))
            // What cargo made for one project it need not make for the next.
            .arg(format!("BUILD={}", tools().join("../projects").display()));
        run(without_settings(&mut command))
    }
}

/// What is set for the test's own sake is not for this program.
fn without_settings(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("WATCHPOST_")) {
        command.env_remove(name);
    }
    command
}

/// An exit code, and what was said on the way to it.
pub struct Said {
    /// How it ended.
    pub code: i32,
    /// What it answered.
    pub out: String,
    /// What it complained about.
    pub error: String,
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Said {
    let Output { status, stdout, stderr } = command.output().expect("it can be started");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it speaks text");
    Said {
        code: status.code().expect("it ends by itself"),
        out: text(stdout),
        error: text(stderr),
    }
}

impl Said {
    /// The same, if it ended with this code.
    #[track_caller]
    pub fn with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}{}", self.out, self.error);
        self
    }

    /// The answer, as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}
