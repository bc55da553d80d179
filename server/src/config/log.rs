//! The settings of the log: how much, how it looks, where it goes.

use std::path::PathBuf;

use serde_json::Value;

use super::declare::{Checked, section};
use super::errors::ConfigErrors;
use super::origin::SettingLocation;
use super::scalar::refused;
use super::setting::Setting;
use super::size::Size;
use crate::telemetry::{self, LogFormat, LogOptions};

section! {
    /// The log.
    pub struct Log {
        /// How much is told: `off`, `error`, `warn`, `info`, `debug` or `trace`, and for a part of the program
        /// another, as in `info,watchpost::collect=debug`.
        pub level: LogFilter = "info",
        /// How a line looks.
        pub format: LogFormat = "text",
        /// The file that it goes to. Without it, standard error.
        pub file: Option<PathBuf>,
        /// How large the file may become before the next is begun.
        pub max_size: Size where "1KiB" ..= "16GiB" = "10MiB",
        /// How many files are kept besides the one that is written.
        pub max_files: usize where 1 ..= 100 = 5,
    }
}

impl Checked for Log {}

impl Log {
    /// As the log takes them.
    pub fn options(&self) -> LogOptions {
        LogOptions {
            level: self.level.as_str().to_owned(),
            format: self.format,
            file: self.file.clone(),
            max_size: self.max_size.bytes(),
            max_files: self.max_files,
        }
    }
}

/// How much is told, in the form that `env_logger` reads. Misspelt levels are refused, which it would take for
/// names of modules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter(String);

impl LogFilter {
    /// The text, for `env_logger`'s `parse_filters`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Setting for LogFilter {
    fn kind() -> String {
        "log filter".to_owned()
    }

    fn read(value: &Value, place: &SettingLocation, mistakes: &mut ConfigErrors) -> Option<Self> {
        let read = value
            .as_str()
            .filter(|text| telemetry::check_level(text).is_ok())
            .map(|text| Self(text.to_owned()));
        let wanted = "off, error, warn, info, debug or trace, or with modules \"info,watchpost::collect=debug\"";
        read.or_else(|| refused(value, place, mistakes, wanted))
    }

    fn written(&self) -> Value {
        Value::from(self.as_str())
    }

    /// A filter holds commas, and is one text for all that.
    fn of_text(text: &str) -> Result<Value, String> {
        Ok(Value::from(text))
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Environment, Sources};

    #[test]
    fn a_filter_is_what_the_log_takes() {
        let level = |text: &str| {
            let sources = Sources {
                environment: Environment::from_iter([("WATCHPOST_LOG__LEVEL", text)]),
                ..Sources::default()
            };
            Config::load(&sources).map(|config| config.log.level)
        };
        for filter in ["info", "OFF", "warn,watchpost=debug"] {
            assert_eq!(level(filter).expect("it is one").as_str(), filter);
        }
        for typo in [
            "inof",
            "debgu,watchpost=info",
            "watchpost=loud",
            "a=b=c",
            "debug/disk",
            "in fo",
        ] {
            assert!(level(typo).is_err(), "{typo}");
        }
    }
}
