//! Where settings may come from: a file, the environment with a `.env` file below it, and flags. It collects
//! them and understands none, not even those variables that are a PixCrawler's or Azure's; the process's environment is read here, and by `systemd` beside it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::errors::{ConfigError, ConfigErrors};
use super::origin::Origin;
use super::{azure_environment, pixcrawler_import};

/// What every variable of ours begins with.
pub(super) const PREFIX: &str = "WATCHPOST_";

/// The layers above the built-in defaults, the lowest first.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The configuration file, TOML or YAML by its extension.
    pub file: Option<PathBuf>,
    /// The environment, `WATCHPOST_LOG__LEVEL=debug`.
    pub environment: Environment,
    /// What was said on the command line: dotted keys with their values.
    pub flags: Vec<(String, String)>,
    /// Variables that begin like ours and are read by someone else, such as the one that names the file.
    pub others_variables: Vec<String>,
    /// Where relative paths begin that do not stand in the file, and where a `.env` file is looked for when
    /// there is none beside the file. Empty is the process's own.
    pub working_directory: PathBuf,
}

/// Variables whose name begins with `WATCHPOST_`, and those that a PixCrawler's monitor read or Azure sets; others are not kept.
#[derive(Clone, Debug, Default)]
pub struct Environment(BTreeMap<String, OsString>);

impl Environment {
    /// The environment of this process.
    #[expect(clippy::disallowed_methods, reason = "configuration owns the environment")]
    pub fn of_process() -> Self {
        let readable = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value));
        std::env::vars_os().filter_map(readable).collect()
    }

    /// One variable of this process that is not a setting, such as the one that names the file.
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

/// A variable with its text and where it was set.
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) text: String,
    pub(super) origin: Origin,
}

impl Variable {
    /// Whether it can only be meant for us.
    pub(super) fn is_ours(&self) -> bool {
        self.name.starts_with(PREFIX)
    }
}

/// The variable of this name that counts. Those of a `.env` file stand before those of the environment, which counts
/// more; an empty one says nothing.
pub(super) fn last<'v>(variables: &'v [Variable], name: &str) -> Option<&'v Variable> {
    let same = |variable: &&Variable| variable.name.eq_ignore_ascii_case(name) && !variable.text.is_empty();
    let of_environment = |variable: &Variable| matches!(variable.origin, Origin::Environment(_));
    let candidates = variables.iter().filter(same);
    // Of the same name in other letters, the one counts that is written as everybody writes it.
    candidates.max_by_key(|variable| (of_environment(variable), variable.name == name))
}

impl Sources {
    /// The folder of the configuration file.
    pub(super) fn folder(&self) -> Option<&Path> {
        self.file.as_deref().and_then(Path::parent)
    }

    /// All variables that are or may be for us, those of the `.env` file before those of the environment.
    pub(super) fn variables(&self, mistakes: &mut ConfigErrors) -> Vec<Variable> {
        let mut variables = self.of_environment_file(mistakes);
        for (name, value) in &self.environment.0 {
            let origin = Origin::Environment(name.clone());
            if is_link(name) {
                continue;
            }
            match value.to_str() {
                Some(text) => variables.push(Variable {
                    name: name.clone(),
                    text: text.to_owned(),
                    origin,
                }),
                // It may be somebody else's; whether it is wrong is known where it is read.
                None if !name.starts_with(PREFIX) => variables.push(Variable {
                    name: name.clone(),
                    text: value.to_string_lossy().into_owned(),
                    origin,
                }),
                None => mistakes.push(ConfigError {
                    origin,
                    key: String::new(),
                    remedy: "its value is not UTF-8; write it in UTF-8".to_owned(),
                }),
            }
        }
        variables.retain(|variable| !self.others_variables.contains(&variable.name));
        variables
    }

    fn of_environment_file(&self, mistakes: &mut ConfigErrors) -> Vec<Variable> {
        let beside = self.folder().map(|folder| folder.join(".env"));
        let candidates = beside.into_iter().chain([self.working_directory.join(".env")]);
        // A folder of that name is where some keep a Python environment.
        for file in candidates.filter(|file| !file.is_dir()) {
            let lines = match dotenvy::from_path_iter(&file) {
                Err(error) if error.not_found() => continue,
                lines => lines,
            };
            let mut variables = Vec::new();
            // A line may span several; the first that cannot be read hides where the next begins.
            let outcome = lines.and_then(|mut lines| {
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
            if let Err(error) = outcome {
                mistakes.push(ConfigError {
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

/// Kubernetes tells every container of every service beside it, and a service may be called `watchpost`:
/// `WATCHPOST_SERVICE_HOST`, `WATCHPOST_PORT_8443_TCP_ADDR`. No section of ours is called so.
fn is_link(variable: &str) -> bool {
    let rest = variable.strip_prefix(PREFIX).unwrap_or(variable);
    rest == "PORT" || rest.starts_with("PORT_") || rest.starts_with("SERVICE_HOST") || rest.starts_with("SERVICE_PORT")
}

/// The line itself may hold a secret, so only its name is repeated.
fn unreadable(error: &dotenvy::Error) -> String {
    match error {
        dotenvy::Error::LineParse(line, _) => {
            let name: String = line
                .chars()
                .take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '_')
                .collect();
            format!(
                "the line that begins with \"{name}\" cannot be read; write NAME=value, with a value of several words in quotes"
            )
        }
        other => format!("it cannot be read: {other}; make it readable, or move it away"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_of_kubernetes_are_no_settings() {
        for link in [
            "WATCHPOST_PORT",
            "WATCHPOST_PORT_8443_TCP_ADDR",
            "WATCHPOST_SERVICE_HOST",
            "WATCHPOST_SERVICE_PORT_HTTPS",
        ] {
            assert!(is_link(link), "{link}");
        }
        for ours in ["WATCHPOST_SERVER__WORKERS", "WATCHPOST_LISTENERS", "WATCHPOST_PORTS"] {
            assert!(!is_link(ours), "{ours}");
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
        let mut mistakes = ConfigErrors::default();
        let variables = sources.variables(&mut mistakes);
        assert_eq!(variables.len(), 1);
        let text = mistakes.to_string();
        assert!(text.contains("SECRET") && text.contains(".env"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}
