//! Settings of the log: level, format, file and rotation.

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
        /// The log level: `off`, `error`, `warn`, `info`, `debug` or `trace`; modules may have their own, as in
        /// `info,watchpost::collect=debug`.
        pub level: LogFilter = "info",
        /// The format of a log line.
        pub format: LogFormat = "text",
        /// The log file. Without it, the log goes to standard error.
        pub file: Option<PathBuf>,
        /// The size at which the log file is rotated.
        pub max_size: Size where "1KiB" ..= "16GiB" = "10MiB",
        /// The number of rotated files that are kept, in addition to the current one.
        pub max_files: usize where 1 ..= 100 = 5,
    }
}

impl Checked for Log {}

impl Log {
    /// Converts to the options of the log.
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

/// A log filter in the syntax of `env_logger`. Misspelt levels are rejected, because `env_logger` would take
/// them for module names.
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

    fn read(value: &Value, location: &SettingLocation, errors: &mut ConfigErrors) -> Option<Self> {
        let read = value
            .as_str()
            .filter(|text| telemetry::check_level(text).is_ok())
            .map(|text| Self(text.to_owned()));
        let expected = "off, error, warn, info, debug or trace, or with modules \"info,watchpost::collect=debug\"";
        read.or_else(|| refused(value, location, errors, expected))
    }

    fn written(&self) -> Value {
        Value::from(self.as_str())
    }

    /// A filter contains commas, but is not a list.
    fn of_text(text: &str) -> Result<Value, String> {
        Ok(Value::from(text))
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Environment, Sources};

    #[test]
    fn misspelt_filters_are_rejected() {
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
