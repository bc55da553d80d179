//! Imports the environment variables of PixCrawler's resource monitor. The monitor documented them with a prefix
//! but read them without; both forms are accepted. They fill settings that no other layer sets.

mod azure;
mod levels;

use std::path::Path;

use serde_json::Value;

use super::errors::{ConfigErrors, quoted};
use super::raw_settings::RawSettings;
use super::sources::{Variable, last};
use crate::collect::Mode;

/// The prefix of the names in the monitor's documentation.
const PREFIX: &str = "PIXCRAWLER_";

/// A variable that sets whole settings; the threshold variables are in `levels`.
struct ImportedVariable {
    name: &'static str,
    meaning: Meaning,
    /// The keys of the settings.
    keys: &'static [&'static str],
    /// False for a variable that never had the prefix.
    has_prefix: bool,
    /// Whether the variable is ignored unless `mode` is `azure`.
    azure_only: bool,
}

/// How the text is converted to a value.
enum Meaning {
    /// Parsed by the setting.
    Same,
    /// Parsed by a function.
    Other(fn(&str) -> Result<Value, String>),
}

const fn known(name: &'static str, meaning: Meaning, keys: &'static [&'static str]) -> ImportedVariable {
    ImportedVariable {
        name,
        meaning,
        keys,
        has_prefix: true,
        azure_only: false,
    }
}

/// The monitor read its Azure variables in the mode `azure` only, so a `.env` file may have placeholders in them.
const fn azure_only(
    name: &'static str,
    read: fn(&str) -> Result<Value, String>,
    keys: &'static [&'static str],
) -> ImportedVariable {
    ImportedVariable {
        azure_only: true,
        ..known(name, Meaning::Other(read), keys)
    }
}

const fn bare(name: &'static str, keys: &'static [&'static str]) -> ImportedVariable {
    ImportedVariable {
        has_prefix: false,
        ..known(name, Meaning::Same, keys)
    }
}

/// Of two variables for the same setting, the first takes precedence. `MODE` comes before those that depend on it.
const VARIABLES: [ImportedVariable; 6] = [
    known("MODE", Meaning::Same, &["mode"]),
    // The monitor counted the chunks and queried Azure at every poll.
    known(
        "POLL_INTERVAL_SECONDS",
        Meaning::Other(seconds),
        &["collector.interval", "chunks.interval", "azure.interval"],
    ),
    known("DB_URL", Meaning::Same, &["chunks.database_url"]),
    bare("DATABASE_URL", &["chunks.database_url"]),
    azure_only("AZURE_RESOURCE_ID", azure::resources, &["azure.resources"]),
    azure_only("AZURE_METRIC_NAMES", azure::metrics, &["azure.metrics"]),
];

/// Whether the monitor had a variable of this name, with or without the prefix. Names are case-insensitive.
pub(super) fn is_known(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let bare = name.strip_prefix(PREFIX).unwrap_or(&name);
    VARIABLES.iter().any(|known| known.name == bare) || levels::is_known(bare)
}

/// Fills the settings that no other layer sets.
pub(super) fn fill(given: &mut RawSettings, variables: &[Variable], folder: &Path, errors: &mut ConfigErrors) {
    let legacy = LegacyValues {
        variables,
        bare_names: reads_bare_names(given),
    };
    for known in &VARIABLES {
        let Some(variable) = legacy.find(known.name, known.has_prefix) else {
            continue;
        };
        if known.azure_only && !given.value("mode").is_some_and(|mode| mode == Mode::Azure.as_str()) {
            continue;
        }
        for key in known.keys {
            let Some(of_text) = given.unset(key) else { continue };
            let value = match known.meaning {
                Meaning::Same => of_text(&variable.text),
                Meaning::Other(read) => read(&variable.text),
            };
            let wrong = value.is_err();
            given.set_value(key, value, variable.origin.clone(), folder, errors);
            if wrong {
                break;
            }
        }
    }
    levels::fill(given, &legacy, folder, errors);
}

/// A bare name such as `MODE` may belong to another program. It is imported if a listener has the monitor's API
/// profile, or if the operator enables it.
fn reads_bare_names(given: &RawSettings) -> bool {
    let is_pixcrawler = |listeners: &Value| {
        let mut all = listeners.as_array().into_iter().flatten();
        all.any(|listener| listener["api"] == "pixcrawler")
    };
    match given.value("pixcrawler.environment") {
        Some(Value::Bool(enabled)) => *enabled,
        _ => given.value("listeners").is_some_and(is_pixcrawler),
    }
}

/// The values of the monitor's variables.
struct LegacyValues<'v> {
    /// Those of a `.env` file before those of the environment.
    variables: &'v [Variable],
    bare_names: bool,
}

impl<'v> LegacyValues<'v> {
    /// The prefixed variable takes precedence over the bare one. Empty variables are ignored.
    fn find(&self, name: &str, has_prefix: bool) -> Option<&'v Variable> {
        let prefixed = || last(self.variables, &format!("{PREFIX}{name}"));
        let bare = || last(self.variables, name).filter(|_| self.bare_names);
        has_prefix.then(prefixed).flatten().or_else(bare)
    }

    /// The name of an unset variable in an error.
    fn name_of(&self, name: &str) -> String {
        let prefix = if self.bare_names { "" } else { PREFIX };
        format!("{prefix}{name}")
    }
}

/// Converts a number of seconds to the text of a duration.
fn seconds(text: &str) -> Result<Value, String> {
    match text.trim().parse::<u64>() {
        Ok(seconds) => Ok(Value::from(format!("{seconds}s"))),
        Err(_) => Err(format!(
            "{} was given; write an integer number of seconds, such as 60",
            quoted(&Value::from(text))
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::super::raw_settings::leaves;
    use super::super::setting::Setting;
    use super::*;

    #[test]
    fn every_variable_sets_an_existing_setting() {
        let fields = Config::fields();
        let keys: Vec<_> = leaves(&fields).into_iter().map(|(key, ..)| key).collect();
        for key in VARIABLES.iter().flat_map(|known| known.keys) {
            assert!(keys.iter().any(|known| known == key), "{key}");
        }
    }

    #[test]
    fn names_are_case_insensitive_with_and_without_the_prefix() {
        for name in [
            "MODE",
            "mode",
            "PIXCRAWLER_MODE",
            "pixcrawler_Db_Url",
            "CHUNK_THRESHOLD_WARN",
        ] {
            assert!(is_known(name), "{name}");
        }
        for name in [
            "MODES",
            "PIXCRAWLER_",
            "PIXCRAWLER_RESOURCE_MAX_CONCURRENT_CHUNKS",
            "HOME",
        ] {
            assert!(!is_known(name), "{name}");
        }
    }
}
