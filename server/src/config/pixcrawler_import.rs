//! The variables of PixCrawler's resource monitor: which of our settings each of them sets. It documented them with a
//! prefix and read them without; both are understood. They fill what nobody said in our own words, and nothing else.

mod azure;
mod levels;

use std::path::Path;

use serde_json::Value;

use super::errors::{ConfigErrors, quoted};
use super::raw_settings::RawSettings;
use super::sources::{Variable, last};

/// What its documents put before each name.
const PREFIX: &str = "PIXCRAWLER_";

/// A variable that sets one thing; those that are levels of a threshold are in `levels`.
struct Known {
    name: &'static str,
    meaning: Meaning,
    /// What it sets.
    keys: &'static [&'static str],
    /// One was always read as others know it, without a prefix.
    has_prefix: bool,
}

/// How a text becomes a value.
enum Meaning {
    /// As the setting reads it.
    Same,
    /// In a way of its own.
    Other(fn(&str) -> Result<Value, String>),
}

const fn known(name: &'static str, meaning: Meaning, keys: &'static [&'static str]) -> Known {
    Known {
        name,
        meaning,
        keys,
        has_prefix: true,
    }
}

const fn bare(name: &'static str, keys: &'static [&'static str]) -> Known {
    Known {
        has_prefix: false,
        ..known(name, Meaning::Same, keys)
    }
}

/// Of two for the same setting the first counts.
const FILES: [Known; 6] = [
    known("MODE", Meaning::Same, &["mode"]),
    // The monitor counted the chunks and asked Azure at every poll.
    known(
        "POLL_INTERVAL_SECONDS",
        Meaning::Other(seconds),
        &["collector.interval", "chunks.interval", "azure.interval"],
    ),
    known("DB_URL", Meaning::Same, &["chunks.database_url"]),
    bare("DATABASE_URL", &["chunks.database_url"]),
    known(
        "AZURE_RESOURCE_ID",
        Meaning::Other(azure::resources),
        &["azure.resources"],
    ),
    known("AZURE_METRIC_NAMES", Meaning::Other(azure::metrics), &["azure.metrics"]),
];

/// Whether the monitor had a variable of this name, with the prefix or without. It did not mind small letters.
pub(super) fn is_known(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let bare = name.strip_prefix(PREFIX).unwrap_or(&name);
    FILES.iter().any(|known| known.name == bare) || levels::is_known(bare)
}

/// Fills what nobody said.
pub(super) fn fill(given: &mut RawSettings, variables: &[Variable], folder: &Path, mistakes: &mut ConfigErrors) {
    let said = LegacyValues {
        variables,
        bare_too: bare_names_count(given),
    };
    for known in &FILES {
        let Some(variable) = said.find(known.name, known.has_prefix) else {
            continue;
        };
        for key in known.keys {
            let Some(of_text) = given.unset(key) else { continue };
            let value = match known.meaning {
                Meaning::Same => of_text(&variable.text),
                Meaning::Other(read) => read(&variable.text),
            };
            let wrong = value.is_err();
            given.lay_value(key, value, variable.origin.clone(), folder, mistakes);
            if wrong {
                break;
            }
        }
    }
    levels::fill(given, &said, folder, mistakes);
}

/// A name such as `MODE` may be anybody's. It is the monitor's where its face is shown, or where an operator says so.
fn bare_names_count(given: &RawSettings) -> bool {
    let shows_its_face = |listeners: &Value| {
        let mut all = listeners.as_array().into_iter().flatten();
        all.any(|listener| listener["api"] == "pixcrawler")
    };
    match given.value("pixcrawler.environment") {
        Some(Value::Bool(said)) => *said,
        _ => given.value("listeners").is_some_and(shows_its_face),
    }
}

/// What the monitor's variables say.
struct LegacyValues<'v> {
    /// Those of a `.env` file before those of the environment.
    variables: &'v [Variable],
    bare_too: bool,
}

impl<'v> LegacyValues<'v> {
    /// The one with the prefix before the one without. An empty one says nothing.
    fn find(&self, name: &str, has_prefix: bool) -> Option<&'v Variable> {
        let prefixed = || last(self.variables, &format!("{PREFIX}{name}"));
        let bare = || last(self.variables, name).filter(|_| self.bare_too);
        has_prefix.then(prefixed).flatten().or_else(bare)
    }

    /// What to call one that is not there.
    fn name_of(&self, name: &str) -> String {
        let prefix = if self.bare_too { "" } else { PREFIX };
        format!("{prefix}{name}")
    }
}

/// A number of seconds as a duration is written. What is none stays what it is, and whoever reads it refuses it.
fn seconds(text: &str) -> Result<Value, String> {
    match text.trim().parse::<u64>() {
        Ok(seconds) => Ok(Value::from(format!("{seconds}s"))),
        Err(_) => Err(format!(
            "{} was given; write a whole number of seconds, such as 60",
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
    fn every_variable_sets_something_that_there_is() {
        let fields = Config::fields();
        let keys: Vec<_> = leaves(&fields).into_iter().map(|(key, ..)| key).collect();
        for key in FILES.iter().flat_map(|known| known.keys) {
            assert!(keys.iter().any(|known| known == key), "{key}");
        }
    }

    #[test]
    fn names_are_known_in_any_letters_with_the_prefix_and_without() {
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
