//! The layers of configuration: a file, a `.env` file, the environment and flags. It collects variables without
//! interpreting them, including those of PixCrawler and Azure. Only this module and `systemd` read the process's
//! environment.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::errors::{ConfigError, ConfigErrors};
use super::origin::Origin;
use super::{azure_environment, pixcrawler_import};

/// The prefix of Watchpost's variables.
pub(super) const PREFIX: &str = "WATCHPOST_";

/// The layers above the built-in defaults, lowest first.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The configuration file, TOML or YAML by its extension.
    pub file: Option<PathBuf>,
    /// The environment, such as `WATCHPOST_LOG__LEVEL=debug`.
    pub environment: Environment,
    /// The flags of the command line: dotted keys with their values.
    pub flags: Vec<(String, String)>,
    /// Variables with Watchpost's prefix that are not settings, such as the one that names the file.
    pub reserved_variables: Vec<String>,
    /// The directory that relative paths outside the file are resolved against, and in which a `.env` file is
    /// searched if there is none next to the configuration file. Empty means the process's own.
    pub working_directory: PathBuf,
}

/// Variables with the prefix `WATCHPOST_`, and those that PixCrawler's monitor read or Azure sets; all others
/// are discarded.
#[derive(Clone, Debug, Default)]
pub struct Environment(BTreeMap<String, OsString>);

impl Environment {
    /// The environment of this process.
    #[expect(clippy::disallowed_methods, reason = "configuration owns the environment")]
    pub fn of_process() -> Self {
        let readable = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value));
        std::env::vars_os().filter_map(readable).collect()
    }

    /// A variable of this process that is not a setting, such as the one that names the file.
    #[expect(clippy::disallowed_methods, reason = "configuration owns the environment")]
    pub fn variable_of_process(name: &str) -> Option<OsString> {
        std::env::var_os(name)
    }
}

impl<N: Into<String>, V: Into<OsString>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        let variables = variables
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .filter(|(name, _)| is_kept(name));
        Self(variables.collect())
    }
}

fn is_kept(name: &str) -> bool {
    name.starts_with(PREFIX) || pixcrawler_import::is_known(name) || azure_environment::is_known(name)
}

/// A variable, its text and its origin.
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) text: String,
    pub(super) origin: Origin,
}

impl Variable {
    /// Whether the variable has Watchpost's prefix.
    pub(super) fn has_watchpost_prefix(&self) -> bool {
        self.name.starts_with(PREFIX)
    }
}

/// The variable of this name with the highest precedence: the environment over a `.env` file. Empty variables
/// are ignored.
pub(super) fn last<'v>(variables: &'v [Variable], name: &str) -> Option<&'v Variable> {
    let same = |variable: &&Variable| variable.name.eq_ignore_ascii_case(name) && !variable.text.is_empty();
    let of_environment = |variable: &Variable| matches!(variable.origin, Origin::Environment(_));
    let candidates = variables.iter().filter(same);
    // Of names that differ only in case, the one with the exact spelling takes precedence.
    candidates.max_by_key(|variable| (of_environment(variable), variable.name == name))
}

impl Sources {
    /// The directory of the configuration file.
    pub(super) fn folder(&self) -> Option<&Path> {
        self.file.as_deref().and_then(Path::parent)
    }

    /// All variables that may be settings, those of the `.env` file before those of the environment.
    pub(super) fn variables(&self, errors: &mut ConfigErrors) -> Vec<Variable> {
        let mut variables = self.of_environment_file(errors);
        for (name, value) in &self.environment.0 {
            let origin = Origin::Environment(name.clone());
            if is_kubernetes_link(name) {
                continue;
            }
            match value.to_str() {
                Some(text) => variables.push(Variable {
                    name: name.clone(),
                    text: text.to_owned(),
                    origin,
                }),
                // The variable may belong to another program; the import decides whether the value is invalid.
                None if !name.starts_with(PREFIX) => variables.push(Variable {
                    name: name.clone(),
                    text: value.to_string_lossy().into_owned(),
                    origin,
                }),
                None => errors.push(ConfigError {
                    origin,
                    key: String::new(),
                    remedy: "the value is not UTF-8; write it in UTF-8".to_owned(),
                }),
            }
        }
        variables.retain(|variable| !self.reserved_variables.contains(&variable.name));
        variables
    }

    fn of_environment_file(&self, errors: &mut ConfigErrors) -> Vec<Variable> {
        let next_to_file = self.folder().map(|folder| folder.join(".env"));
        let candidates = next_to_file.into_iter().chain([self.working_directory.join(".env")]);
        // A directory `.env` is commonly a Python environment.
        for file in candidates.filter(|file| !file.is_dir()) {
            let lines = match dotenvy::from_path_iter(&file) {
                Err(error) if error.not_found() => continue,
                lines => lines,
            };
            let mut variables = Vec::new();
            // A value may span several lines, so nothing after the first unreadable line can be parsed.
            let result = lines.and_then(|mut lines| {
                lines.try_for_each(|line| {
                    let (name, text) = line?;
                    if is_kept(&name) {
                        let origin = Origin::EnvironmentFile {
                            file: file.clone(),
                            variable: name.clone(),
                        };
                        variables.push(Variable { name, text, origin });
                    }
                    Ok(())
                })
            });
            if let Err(error) = result {
                errors.push(ConfigError {
                    origin: Origin::EnvironmentFile {
                        file,
                        variable: String::new(),
                    },
                    key: String::new(),
                    remedy: unreadable(&error),
                });
            }
            return variables;
        }
        Vec::new()
    }
}

/// Kubernetes sets variables for every service in the namespace, which may be named `watchpost`:
/// `WATCHPOST_SERVICE_HOST`, `WATCHPOST_PORT_8443_TCP_ADDR`. No section has such a name.
fn is_kubernetes_link(variable: &str) -> bool {
    let rest = variable.strip_prefix(PREFIX).unwrap_or(variable);
    rest == "PORT" || rest.starts_with("PORT_") || rest.starts_with("SERVICE_HOST") || rest.starts_with("SERVICE_PORT")
}

/// The line may contain a secret, so the error repeats only the variable's name.
fn unreadable(error: &dotenvy::Error) -> String {
    match error {
        dotenvy::Error::LineParse(line, _) => {
            let name: String = line
                .chars()
                .take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '_')
                .collect();
            format!(
                "cannot parse the line that begins with \"{name}\"; write NAME=value, and quote a value with spaces"
            )
        }
        other => format!("cannot read the file: {other}; make it readable, or remove it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubernetes_service_variables_are_not_settings() {
        for link in [
            "WATCHPOST_PORT",
            "WATCHPOST_PORT_8443_TCP_ADDR",
            "WATCHPOST_SERVICE_HOST",
            "WATCHPOST_SERVICE_PORT_HTTPS",
        ] {
            assert!(is_kubernetes_link(link), "{link}");
        }
        for setting in ["WATCHPOST_SERVER__WORKERS", "WATCHPOST_LISTENERS", "WATCHPOST_PORTS"] {
            assert!(!is_kubernetes_link(setting), "{setting}");
        }
    }

    #[test]
    fn a_broken_line_of_an_environment_file_is_named_but_not_repeated() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(
            folder.path().join(".env"),
            "WATCHPOST_LOG__LEVEL=debug\nSECRET hunter2 x\n",
        )
        .expect("written");
        let sources = Sources {
            working_directory: folder.path().to_owned(),
            ..Sources::default()
        };
        let mut errors = ConfigErrors::default();
        let variables = sources.variables(&mut errors);
        assert_eq!(variables.len(), 1);
        let text = errors.to_string();
        assert!(text.contains("SECRET") && text.contains(".env"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}
