//! `watchpost rules new`: a folder with a rule in it that builds and passes its own cases. The rules are the examples
//! of `wasm-rules/examples`, with a name of their own; how each language's project is put together is told in
//! `languages`, and what Rust needs besides in `vendored`.

mod languages;
mod vendored;

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use clap::{Args, ValueEnum};

use self::languages::project;
use super::{Answer, CommandError, say};
use crate::cli::{IO, USAGE};

/// As long as the name of a rule may be.
const NAME_BYTES: usize = 64;

/// Makes a rule to begin with.
#[derive(Args)]
pub(super) struct New {
    /// The rule's name, and the folder's: lower case letters, digits and hyphens.
    name: String,
    /// What it is written in.
    #[arg(long = "lang", value_name = "LANGUAGE")]
    language: Language,
    /// What it does: a threshold rule judges what was measured, a role rule decides who may do what.
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

/// A project: its files, and what is said of it.
struct Project {
    language: &'static str,
    /// The file that its author changes first.
    rule: &'static str,
    files: Vec<ProjectFile>,
}

/// A path within the project, and what is in the file.
struct ProjectFile {
    path: String,
    bytes: Vec<u8>,
}

impl New {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<Answer, CommandError> {
        let Self { name, language, kind } = self;
        if let Some(mistake) = mistake_in_name(&name) {
            return Err(CommandError::new(USAGE, mistake));
        }
        let project = project(&name, language, kind).map_err(|why| CommandError::new(USAGE, why))?;
        let folder = Path::new(&name);
        fs::create_dir(folder).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => CommandError::new(
                USAGE,
                format!("{name} is there already; choose another name, or move it away"),
            ),
            _ => CommandError::new(IO, format!("the folder {name} cannot be made: {error}")),
        })?;
        write(folder, &project.files).map_err(|error| {
            // It was made a moment ago, and what is in it is ours.
            let _ = fs::remove_dir_all(folder);
            CommandError::new(IO, format!("{name} cannot be filled: {error}"))
        })?;
        say(
            out,
            &format!(
                "{name} is a {} rule in {}. It builds as it is, and passes its own cases:\n\n  cd {name}\n  make test\n\n\
                 Then change {name}/{}, and {name}/cases.toml with it.\n",
                kind.word(),
                project.language,
                project.rule
            ),
        )?;
        Ok(Answer::Yes)
    }
}

/// What the contract asks of a name, said before there is a rule that could be refused for it.
fn mistake_in_name(name: &str) -> Option<String> {
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
    fn a_name_is_one_that_a_rule_may_have() {
        for legal in ["a", "weekend", "0-9", &"a".repeat(NAME_BYTES)] {
            assert_eq!(mistake_in_name(legal), None, "{legal}");
        }
        for illegal in ["", "Weekend", "a b", "a_b", "../a", "ä", &"a".repeat(NAME_BYTES + 1)] {
            let mistake = mistake_in_name(illegal).expect("refused");
            assert!(mistake.contains("lower case letters, digits and hyphens"), "{mistake}");
        }
    }

    #[test]
    fn every_project_has_its_name_in_the_rule_once_and_no_gap_in_its_texts() {
        for language in Language::value_variants() {
            for kind in Kind::value_variants() {
                let made = project("zebra-7", *language, *kind);
                if (*language, *kind) == (Language::C, Kind::Role) {
                    let why = made.err().expect("there is no such example");
                    assert!(why.contains("no role rule in C"), "{why}");
                    continue;
                }
                let Project { rule, files, .. } = made.unwrap_or_else(|why| panic!("{why}"));
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
