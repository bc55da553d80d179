//! Settings made of others: what may be missing, and lists. A list in a variable is a text with commas, or
//! JSON.

use serde_json::Value;

use super::declare::Field;
use super::errors::ConfigErrors;
use super::origin::SettingLocation;
use super::scalar::of_json;
use super::setting::Setting;

/// In a variable, nothing is the empty text; so a variable can take back what the file says.
impl<T: Setting> Setting for Option<T> {
    fn kind() -> String {
        T::kind()
    }

    fn read(value: &Value, place: &SettingLocation, mistakes: &mut ConfigErrors) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            value => T::read(value, place, mistakes).map(Some),
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

    fn read(value: &Value, place: &SettingLocation, mistakes: &mut ConfigErrors) -> Option<Self> {
        let Value::Array(items) = value else {
            mistakes.push(place.wrong_sort(value, "a list in square brackets"));
            return None;
        };
        // All are read before any is given up, so that all mistakes are found.
        let read: Vec<_> = items
            .iter()
            .enumerate()
            .map(|(at, item)| T::read(item, &place.item(at), mistakes))
            .collect();
        let read = read.into_iter().collect::<Option<Self>>()?;
        T::check_list(&read, place, mistakes);
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
            return Err("it is a list of tables; write it as JSON, [{\"key\": \"value\"}]".to_owned());
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
