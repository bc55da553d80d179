//! Settings of standard types: booleans, numbers, strings, paths, addresses and maps. Other types have modules
//! of their own.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::{Map, Value};

use super::errors::ConfigErrors;
use super::origin::SettingLocation;
use super::setting::Setting;
use crate::one_line::one_line;

impl Setting for bool {
    fn kind() -> String {
        "boolean".to_owned()
    }

    fn read(value: &Value, location: &SettingLocation, errors: &mut ConfigErrors) -> Option<Self> {
        let read = value.as_bool();
        read.or_else(|| refused(value, location, errors, "true or false, without quotes"))
    }

    fn written(&self) -> Value {
        Value::Bool(*self)
    }

    fn of_text(text: &str) -> Result<Value, String> {
        Ok(text.parse().map_or_else(|_| Value::from(text), Value::Bool))
    }
}

macro_rules! integers {
    ($($number:ty),+) => {$(
        impl Setting for $number {
            fn kind() -> String {
                "integer".to_owned()
            }

            fn read(value: &Value, location: &SettingLocation, errors: &mut ConfigErrors) -> Option<Self> {
                let read = value.as_u64().and_then(|number| number.try_into().ok());
                let expected = if value.is_u64() {
                    format!("a number that is at most {}", Self::MAX)
                } else {
                    "a non-negative integer, without quotes".to_owned()
                };
                read.or_else(|| refused(value, location, errors, &expected))
            }

            fn written(&self) -> Value {
                Value::from(*self)
            }

            fn of_text(text: &str) -> Result<Value, String> {
                Ok(number(text))
            }
        }
    )+};
}

integers!(u32, u64, usize);

impl Setting for f64 {
    fn kind() -> String {
        "number".to_owned()
    }

    fn read(value: &Value, location: &SettingLocation, errors: &mut ConfigErrors) -> Option<Self> {
        let read = value.as_f64().filter(|number| number.is_finite());
        read.or_else(|| refused(value, location, errors, "a number such as 1.5, without quotes"))
    }

    fn written(&self) -> Value {
        Value::from(*self)
    }

    fn of_text(text: &str) -> Result<Value, String> {
        Ok(number(text))
    }
}

impl Setting for String {
    fn kind() -> String {
        "string".to_owned()
    }

    fn read(value: &Value, location: &SettingLocation, errors: &mut ConfigErrors) -> Option<Self> {
        let read = value.as_str().map(str::to_owned);
        read.or_else(|| refused(value, location, errors, "a string in quotes"))
    }

    fn written(&self) -> Value {
        Value::from(self.as_str())
    }
}

/// A relative path is resolved against the directory of the layer that sets it.
impl Setting for PathBuf {
    fn kind() -> String {
        "path".to_owned()
    }

    fn read(value: &Value, location: &SettingLocation, errors: &mut ConfigErrors) -> Option<Self> {
        let path = value.as_str().filter(|path| !path.is_empty() && !path.contains('\0'));
        let read = path.map(|path| location.folder.join(path));
        read.or_else(|| refused(value, location, errors, "a path in quotes"))
    }

    fn written(&self) -> Value {
        Value::from(self.to_string_lossy())
    }
}

impl Setting for SocketAddr {
    fn kind() -> String {
        "address:port".to_owned()
    }

    fn read(value: &Value, location: &SettingLocation, errors: &mut ConfigErrors) -> Option<Self> {
        let read = value.as_str().and_then(|text| text.parse().ok());
        read.or_else(|| {
            let expected = "an IP address and a port, such as \"127.0.0.1:8443\" or \"[::]:8443\"";
            refused(value, location, errors, expected)
        })
    }

    fn written(&self) -> Value {
        Value::from(self.to_string())
    }
}

/// A map that another component validates, such as the settings of a rule.
impl Setting for Map<String, Value> {
    fn kind() -> String {
        "map".to_owned()
    }

    fn read(value: &Value, location: &SettingLocation, errors: &mut ConfigErrors) -> Option<Self> {
        match value {
            Value::Object(table) => Some(table.clone()),
            // An empty section in YAML.
            Value::Null => Some(Self::new()),
            other => {
                errors.push(location.wrong_type(other, "a table"));
                None
            }
        }
    }

    fn written(&self) -> Value {
        Value::Object(self.clone())
    }

    fn of_text(text: &str) -> Result<Value, String> {
        of_json(text)
    }
}

/// Parses JSON. The error does not repeat the text.
pub(super) fn of_json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("not valid JSON: {}", one_line(&error.to_string())))
}

/// A number from a variable. Other text stays a string, which the setting's parser rejects.
pub(super) fn number(text: &str) -> Value {
    let number = serde_json::from_str(text.trim()).ok().filter(Value::is_number);
    number.unwrap_or_else(|| Value::from(text))
}

pub(super) fn refused<T>(
    value: &Value,
    location: &SettingLocation,
    errors: &mut ConfigErrors,
    expected: &str,
) -> Option<T> {
    errors.push(location.wrong(value, expected));
    None
}

#[cfg(test)]
mod tests {
    use super::super::origin::Origin;
    use super::*;

    #[test]
    fn fractions_are_parsed() {
        let location = SettingLocation {
            origin: Origin::Default,
            key: "x".to_owned(),
            folder: PathBuf::new(),
            secret: false,
        };
        let read = |text: &str| {
            let value = f64::of_text(text).expect("no text is refused yet");
            f64::read(&value, &location, &mut ConfigErrors::default())
        };
        assert_eq!(
            (read("1.5"), read("-2"), read("NaN"), read("")),
            (Some(1.5), Some(-2.0), None, None)
        );
    }
}
