//! `watchpost rules new`: creates a project with a rule that builds and passes its test cases. The templates are the
//! examples of `wasm-rules/examples`; `languages` assembles the project of each language, and `vendored` the SDK for
//! Rust.

mod languages;
mod vendored;

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use clap::{Args, ValueEnum};

use self::languages::project;
use super::{CheckResult, CommandError, say};
use crate::cli::{IO, USAGE};

/// The maximum length of a rule's name.
const NAME_BYTES: usize = 64;

/// Creates a rule project.
#[derive(Args)]
pub(super) struct New {
    /// The name of the rule and of the folder: lower case letters, digits and hyphens.
    name: String,
    /// The programming language.
    #[arg(long = "lang", value_name = "LANGUAGE")]
    language: Language,
    /// The kind of rule: a threshold rule judges measurements, a role rule authorizes clients.
    #[arg(long, value_enum, default_value_t = Kind::Threshold)]
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Language {
    Rust,
    Python,
    Javascript,
    C,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Threshold,
    Role,
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Self::Threshold => "threshold",
            Self::Role => "role",
        }
    }
}

/// A project: its files and the texts about it.
struct Project {
    language: &'static str,
    /// The file that the author edits first.
    rule: &'static str,
    files: Vec<ProjectFile>,
}

/// A path within the project, and the content of the file.
struct ProjectFile {
    path: String,
    bytes: Vec<u8>,
}

impl New {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<CheckResult, CommandError> {
        let Self { name, language, kind } = self;
        if let Some(error) = name_error(&name) {
            return Err(CommandError::new(USAGE, error));
        }
        let project = project(&name, language, kind).map_err(|reason| CommandError::new(USAGE, reason))?;
        let folder = Path::new(&name);
        fs::create_dir(folder).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                CommandError::new(USAGE, format!("{name} exists already; choose another name, or move it"))
            }
            _ => CommandError::new(IO, format!("cannot create the folder {name}: {error}")),
        })?;
        write(folder, &project.files).map_err(|error| {
            // The folder has just been created, and contains only files of this project.
            let _ = fs::remove_dir_all(folder);
            CommandError::new(IO, format!("cannot write the files of {name}: {error}"))
        })?;
        say(
            out,
            &format!(
                "{name} is a {} rule in {}. It builds as it is, and passes its test cases:\n\n  cd {name}\n  make test\n\n\
                 Then change {name}/{}, and {name}/cases.toml with it.\n",
                kind.word(),
                project.language,
                project.rule
            ),
        )?;
        Ok(CheckResult::Yes)
    }
}

/// Validates the name before the project is created; the contract has the same limits.
fn name_error(name: &str) -> Option<String> {
    let legal = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    let is_one = !name.is_empty() && name.len() <= NAME_BYTES && name.bytes().all(legal);
    (!is_one).then(|| format!("\"{name}\" cannot name a rule: use lower case letters, digits and hyphens, 64 at most"))
}

fn write(folder: &Path, files: &[ProjectFile]) -> io::Result<()> {
    for ProjectFile { path, bytes } in files {
        let path = folder.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, bytes)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_valid_rule_name_is_required() {
        for legal in ["a", "weekend", "0-9", &"a".repeat(NAME_BYTES)] {
            assert_eq!(name_error(legal), None, "{legal}");
        }
        for illegal in ["", "Weekend", "a b", "a_b", "../a", "ä", &"a".repeat(NAME_BYTES + 1)] {
            let error = name_error(illegal).expect("refused");
            assert!(error.contains("lower case letters, digits and hyphens"), "{error}");
        }
    }

    #[test]
    fn every_project_has_its_name_in_the_rule_once_and_no_placeholder_left() {
        for language in Language::value_variants() {
            for kind in Kind::value_variants() {
                let made = project("zebra-7", *language, *kind);
                if (*language, *kind) == (Language::C, Kind::Role) {
                    let reason = made.err().expect("there is no such template");
                    assert!(reason.contains("no template of a role rule in C"), "{reason}");
                    continue;
                }
                let Project { rule, files, .. } = made.unwrap_or_else(|reason| panic!("{reason}"));
                let text = |path: &str| {
                    let file = files.iter().find(|file| file.path == path);
                    let file = file.unwrap_or_else(|| panic!("{language:?} {kind:?} lacks {path}"));
                    String::from_utf8(file.bytes.clone()).expect("text")
                };
                assert_eq!(text(rule).matches("\"zebra-7\"").count(), 1, "{language:?} {kind:?}");
                for filled in ["README.md", "Makefile"] {
                    let text = text(filled);
                    assert!(!text.contains('{'), "{language:?} {kind:?} {filled}:\n{text}");
                }
                assert!(text("README.md").lines().count() <= 25);
                assert!(text("cases.toml").contains("[[case]]"));
                assert!(text(".gitignore").contains("/rule.wasm"));
                assert!(text("rule.mk").contains("rules test"));
            }
        }
    }
}
