//! Where a setting comes from, in the words that an operator knows it by.

use std::fmt;
use std::path::{Path, PathBuf};

/// Who said it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody; it is built in.
    Default,
    /// The configuration file.
    File(PathBuf),
    /// A line of a `.env` file.
    EnvironmentFile {
        /// The file.
        file: PathBuf,
        /// The variable; empty when it is about the whole file.
        variable: String,
    },
    /// A variable of the process's environment.
    Environment(String),
    /// A flag on the command line, by the key that it sets.
    Flag(String),
    /// Several, of which each said a part.
    Several(Vec<Origin>),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(file) => on_one_line(f, file),
            Self::EnvironmentFile { file, variable } => {
                on_one_line(f, file)?;
                let space = if variable.is_empty() { "" } else { " " };
                write!(f, "{space}{variable}")
            }
            Self::Environment(variable) => write!(f, "environment {}", variable.escape_debug()),
            Self::Flag(key) => write!(f, "flag --{}", key.escape_debug()),
            Self::Several(origins) => {
                for (at, origin) in origins.iter().enumerate() {
                    let before = if at == 0 { "" } else { ", " };
                    write!(f, "{before}{origin}")?;
                }
                Ok(())
            }
        }
    }
}

/// A file may have any name, and a mistake is one line.
fn on_one_line(f: &mut fmt::Formatter<'_>, file: &Path) -> fmt::Result {
    let name = file.to_string_lossy();
    if name.contains(char::is_control) {
        write!(f, "{}", name.escape_debug())
    } else {
        f.write_str(&name)
    }
}

/// One setting that was given: its key, where it stands, and the folder that its relative paths begin in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SettingLocation {
    pub(super) origin: Origin,
    pub(super) key: String,
    pub(super) folder: PathBuf,
    /// Its value is repeated nowhere.
    pub(super) secret: bool,
}
