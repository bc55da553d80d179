//! A name that an operator gives to something, and that may stand in logs and paths as it is.

use std::fmt;

use serde_json::Value;

use super::errors::ConfigErrors;
use super::origin::SettingLocation;
use super::scalar::refused;
use super::setting::Setting;

/// Longer names make log lines that nobody reads.
const NAME_BYTES: usize = 100;

/// A name of a token or a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PlainName(String);

impl PlainName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PlainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Setting for PlainName {
    fn kind() -> String {
        "name".to_owned()
    }

    fn read(value: &Value, place: &SettingLocation, mistakes: &mut ConfigErrors) -> Option<Self> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let named = |name: &&str| (1..=NAME_BYTES).contains(&name.len()) && name.bytes().all(legal);
        let read = value.as_str().filter(named).map(|name| Self(name.to_owned()));
        let wanted = "a name of letters, digits, - _ and . in quotes, at most 100 of them";
        read.or_else(|| refused(value, place, mistakes, wanted))
    }

    fn written(&self) -> Value {
        Value::from(self.as_str())
    }
}
