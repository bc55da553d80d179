//! Optional settings and lists of settings. In a variable, a list is written with commas or as JSON.

use serde_json::Value;

use super::declare::Field;
use super::errors::ConfigErrors;
use super::origin::SettingLocation;
use super::scalar::of_json;
use super::setting::Setting;

/// In a variable, the empty string unsets the setting, so a variable can override the file.
impl<T: Setting> Setting for Option<T> {
    fn kind() -> String {
        T::kind()
    }

    fn read(value: &Value, location: &SettingLocation, errors: &mut ConfigErrors) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            value => T::read(value, location, errors).map(Some),
        }
    }

    fn written(&self) -> Value {
        self.as_ref().map_or(Value::Null, T::written)
    }

    fn of_text(text: &str) -> Result<Value, String> {
        if text.is_empty() {
            Ok(Value::Null)
        } else {
            T::of_text(text)
        }
    }
}

impl<T: Setting> Setting for Vec<T> {
    fn kind() -> String {
        format!("list of {}", T::kind())
    }

    fn fields_of_each() -> Vec<Field> {
        T::fields()
    }

    fn read(value: &Value, location: &SettingLocation, errors: &mut ConfigErrors) -> Option<Self> {
        let Value::Array(items) = value else {
            errors.push(location.wrong_type(value, "a list in square brackets"));
            return None;
        };
        // All items are read before the list is rejected, so that all errors are reported.
        let read: Vec<_> = items
            .iter()
            .enumerate()
            .map(|(at, item)| T::read(item, &location.item(at), errors))
            .collect();
        let read = read.into_iter().collect::<Option<Self>>()?;
        T::check_list(&read, location, errors);
        Some(read)
    }

    fn written(&self) -> Value {
        self.iter().map(T::written).collect()
    }

    fn of_text(text: &str) -> Result<Value, String> {
        let text = text.trim();
        if text.starts_with('[') {
            return of_json(text);
        }
        if text.is_empty() {
            return Ok(Value::Array(Vec::new()));
        }
        if !T::fields().is_empty() {
            return Err("a list of tables; write it as JSON, [{\"key\": \"value\"}]".to_owned());
        }
        text.split(',').map(|item| T::of_text(item.trim())).collect()
    }

    fn differences(&self, other: &Self, key: &str, different: &mut Vec<String>) {
        if T::fields().is_empty() || self.len() != other.len() {
            if self != other {
                different.push(key.to_owned());
            }
            return;
        }
        for (at, (one, another)) in self.iter().zip(other).enumerate() {
            one.differences(another, &format!("{key}[{at}]"), different);
        }
    }
}
