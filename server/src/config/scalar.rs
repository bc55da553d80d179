//! The settings that Rust has types for: truths, numbers, text, paths, addresses, and free tables. Those of
//! our own have files of their own.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::{Map, Value};

use super::errors::ConfigErrors;
use super::origin::SettingLocation;
use super::setting::Setting;
use crate::one_line::one_line;

impl Setting for bool {
    fn kind() -> String {
        "true or false".to_owned()
    }

    fn read(value: &Value, place: &SettingLocation, mistakes: &mut ConfigErrors) -> Option<Self> {
        let read = value.as_bool();
        read.or_else(|| refused(value, place, mistakes, "true or false, without quotes"))
    }

    fn written(&self) -> Value {
        Value::Bool(*self)
    }

    fn of_text(text: &str) -> Result<Value, String> {
        Ok(text.parse().map_or_else(|_| Value::from(text), Value::Bool))
    }
}

macro_rules! whole_numbers {
    ($($number:ty),+) => {$(
        impl Setting for $number {
            fn kind() -> String {
                "whole number".to_owned()
            }

            fn read(value: &Value, place: &SettingLocation, mistakes: &mut ConfigErrors) -> Option<Self> {
                let read = value.as_u64().and_then(|number| number.try_into().ok());
                let wanted = if value.is_u64() {
                    format!("a number that is at most {}", Self::MAX)
                } else {
                    "a whole number that is not negative, without quotes".to_owned()
                };
                read.or_else(|| refused(value, place, mistakes, &wanted))
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

whole_numbers!(u32, u64, usize);

impl Setting for f64 {
    fn kind() -> String {
        "number".to_owned()
    }

    fn read(value: &Value, place: &SettingLocation, mistakes: &mut ConfigErrors) -> Option<Self> {
        let read = value.as_f64().filter(|number| number.is_finite());
        read.or_else(|| refused(value, place, mistakes, "a number such as 1.5, without quotes"))
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
        "text".to_owned()
    }

    fn read(value: &Value, place: &SettingLocation, mistakes: &mut ConfigErrors) -> Option<Self> {
        let read = value.as_str().map(str::to_owned);
        read.or_else(|| refused(value, place, mistakes, "text in quotes"))
    }

    fn written(&self) -> Value {
        Value::from(self.as_str())
    }
}

/// A relative one begins in the folder of the place where it was said.
impl Setting for PathBuf {
    fn kind() -> String {
        "path".to_owned()
    }

    fn read(value: &Value, place: &SettingLocation, mistakes: &mut ConfigErrors) -> Option<Self> {
        let path = value.as_str().filter(|path| !path.is_empty() && !path.contains('\0'));
        let read = path.map(|path| place.folder.join(path));
        read.or_else(|| refused(value, place, mistakes, "a path in quotes"))
    }

    fn written(&self) -> Value {
        Value::from(self.to_string_lossy())
    }
}

impl Setting for SocketAddr {
    fn kind() -> String {
        "address:port".to_owned()
    }

    fn read(value: &Value, place: &SettingLocation, mistakes: &mut ConfigErrors) -> Option<Self> {
        let read = value.as_str().and_then(|text| text.parse().ok());
        read.or_else(|| {
            let wanted = "an IP address and a port, such as \"127.0.0.1:8443\" or \"[::]:8443\"";
            refused(value, place, mistakes, wanted)
        })
    }

    fn written(&self) -> Value {
        Value::from(self.to_string())
    }
}

/// A table that is somebody else's, such as the settings of a rule.
impl Setting for Map<String, Value> {
    fn kind() -> String {
        "free table".to_owned()
    }

    fn read(value: &Value, place: &SettingLocation, mistakes: &mut ConfigErrors) -> Option<Self> {
        match value {
            Value::Object(table) => Some(table.clone()),
            // A heading with nothing under it, in YAML.
            Value::Null => Some(Self::new()),
            other => {
                mistakes.push(place.wrong_sort(other, "a table"));
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

/// Text that has to be JSON. The error does not repeat it.
pub(super) fn of_json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("it is not JSON: {}", one_line(&error.to_string())))
}

/// A number from a variable; what is none stays text, and whoever reads it refuses it.
pub(super) fn number(text: &str) -> Value {
    let number = serde_json::from_str(text.trim()).ok().filter(Value::is_number);
    number.unwrap_or_else(|| Value::from(text))
}

pub(super) fn refused<T>(
    value: &Value,
    place: &SettingLocation,
    mistakes: &mut ConfigErrors,
    wanted: &str,
) -> Option<T> {
    mistakes.push(place.wrong(value, wanted));
    None
}

#[cfg(test)]
mod tests {
    use super::super::origin::Origin;
    use super::*;

    #[test]
    fn numbers_with_a_fraction_are_settings_too() {
        let place = SettingLocation {
            origin: Origin::Default,
            key: "x".to_owned(),
            folder: PathBuf::new(),
            secret: false,
        };
        let read = |text: &str| {
            let value = f64::of_text(text).expect("no text is refused yet");
            f64::read(&value, &place, &mut ConfigErrors::default())
        };
        assert_eq!(
            (read("1.5"), read("-2"), read("NaN"), read("")),
            (Some(1.5), Some(-2.0), None, None)
        );
    }
}
