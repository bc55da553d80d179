//! Names that an operator chooses, safe to use unescaped in logs and paths.

use std::fmt;

use serde_json::Value;

use super::errors::ConfigErrors;
use super::origin::SettingLocation;
use super::scalar::refused;
use super::setting::Setting;

/// Keeps log lines readable.
const MAX_NAME_BYTES: usize = 100;

/// A name of a token or a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PlainName(String);

impl PlainName {
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

    fn read(value: &Value, location: &SettingLocation, errors: &mut ConfigErrors) -> Option<Self> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let named = |name: &&str| (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(legal);
        let read = value.as_str().filter(named).map(|name| Self(name.to_owned()));
        let expected = "a name in quotes, of at most 100 letters, digits, - _ and .";
        read.or_else(|| refused(value, location, errors, expected))
    }

    fn written(&self) -> Value {
        Value::from(self.as_str())
    }
}
