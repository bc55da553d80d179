//! The settings of the log: how much, how it looks, where it goes.

use std::path::PathBuf;

use log::LevelFilter;
use serde_json::Value;

use super::declare::{Checked, section};
use super::mistakes::{Mistakes, nearest};
use super::origin::Place;
use super::scalar::refused;
use super::setting::Setting;
use super::size::Size;
use super::words::words;

words! {
    /// How a line of the log looks.
    pub enum LogFormat {
        /// For people.
        Text = "text",
        /// For machines: one object a line.
        Json = "json",
    }
}

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
        pub keep: usize where 1 ..= 100 = 5,
    }
}

impl Checked for Log {}

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

    fn read(value: &Value, place: &Place, mistakes: &mut Mistakes) -> Option<Self> {
        let read = value
            .as_str()
            .filter(|text| is_filter(text))
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

/// Directives between commas, and behind a `/` a text that lines have to contain.
fn is_filter(text: &str) -> bool {
    let mut parts = text.split('/');
    let directives = parts.next().unwrap_or_default();
    let said = directives
        .split(',')
        .map(str::trim)
        .filter(|directive| !directive.is_empty());
    parts.nth(1).is_none() && said.clone().count() > 0 && said.clone().all(is_directive)
}

fn is_directive(directive: &str) -> bool {
    let module = |name: &str| {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b':');
        !name.is_empty() && name.bytes().all(legal)
    };
    match directive.split_once('=') {
        Some((name, level)) => module(name.trim()) && (level.trim().is_empty() || is_level(level.trim())),
        None if is_level(directive) => true,
        None => {
            let levels = LevelFilter::iter().map(|level| level.as_str());
            module(directive) && nearest(&directive.to_uppercase(), levels).is_none()
        }
    }
}

fn is_level(word: &str) -> bool {
    word.parse::<LevelFilter>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_what_env_logger_reads() {
        for filter in [
            "info",
            "OFF",
            "warn,watchpost=debug",
            "watchpost::collect",
            "info,actix_http=",
            "debug/disk",
        ] {
            assert!(is_filter(filter), "{filter}");
        }
        for typo in [
            "",
            ",",
            "inof",
            "debgu,watchpost=info",
            "watchpost=loud",
            "a=b=c",
            "info/a/b",
            "in fo",
        ] {
            assert!(!is_filter(typo), "{typo}");
        }
    }
}
