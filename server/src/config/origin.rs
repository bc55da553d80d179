//! The origin of a setting, displayed as an operator knows it: a file, a variable or a flag.

use std::fmt;
use std::path::{Path, PathBuf};

/// The layer that sets a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The built-in default.
    Default,
    File(PathBuf),
    /// A line of a `.env` file.
    EnvironmentFile {
        /// The file.
        file: PathBuf,
        /// The variable; empty if the error concerns the whole file.
        variable: String,
    },
    /// A variable of the process's environment.
    Environment(String),
    /// A flag on the command line, by the key that it sets.
    Flag(String),
    /// Several origins, each of which sets a part.
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
            Self::Flag(key) if key == "server.data_dir" => f.write_str("flag --data-dir"),
            Self::Flag(key) => write!(f, "flag --set {}", key.escape_debug()),
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

/// Control characters in file names are escaped, so that an error stays on one line.
fn on_one_line(f: &mut fmt::Formatter<'_>, file: &Path) -> fmt::Result {
    let name = file.to_string_lossy();
    if name.contains(char::is_control) {
        write!(f, "{}", name.escape_debug())
    } else {
        f.write_str(&name)
    }
}

/// A setting's key, its origin, and the directory that its relative paths are resolved against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SettingLocation {
    pub(super) origin: Origin,
    pub(super) key: String,
    pub(super) folder: PathBuf,
    /// Whether errors must not repeat the value.
    pub(super) secret: bool,
}
