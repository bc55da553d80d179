//! What a type has to know to be a setting: how it is written, read and shown. The types themselves are in
//! `scalar`, `duration`, `size` and their neighbours; tables of settings are declared by `declare`.

use serde_json::Value;

use super::declare::Field;
use super::errors::{ConfigError, ConfigErrors, quoted, sort_of};
use super::origin::SettingLocation;
use super::raw_settings::Reader;
use crate::secret::{MASK, Secret};
use crate::string_enum::StringEnum;

/// A value that can be set.
pub(super) trait Setting: Sized + PartialEq {
    /// What one writes, as the documentation says it: `duration`.
    fn kind() -> String;

    /// Reads it; all that is wrong becomes mistakes, and then there is no value.
    fn read(value: &Value, place: &SettingLocation, mistakes: &mut ConfigErrors) -> Option<Self>;

    /// The value as one would write it, secrets masked.
    fn written(&self) -> Value;

    /// What the text of a variable or a flag stands for. An error is a remedy.
    fn of_text(text: &str) -> Result<Value, String> {
        Ok(Value::String(text.to_owned()))
    }

    /// The settings in it, if it is a table.
    fn fields() -> Vec<Field> {
        Vec::new()
    }

    /// The settings in each of it, if it is a list of tables.
    fn fields_of_each() -> Vec<Field> {
        Vec::new()
    }

    /// What has to be true of a list of it beyond each by itself.
    fn check_list(_all: &[Self], _place: &SettingLocation, _mistakes: &mut ConfigErrors) {}

    /// Takes it out of the table that is being read.
    fn take(reader: &mut Reader<'_>, name: &str) -> Option<Self> {
        let (value, place) = reader.given(name)?;
        Self::read(value, place, reader.mistakes)
    }

    /// Adds the dotted keys whose values are different in `other`.
    fn differences(&self, other: &Self, key: &str, different: &mut Vec<String>) {
        if self != other {
            different.push(key.to_owned());
        }
    }
}

impl<E: StringEnum> Setting for E {
    fn kind() -> String {
        E::TEXTS.join(" or ")
    }

    fn read(value: &Value, place: &SettingLocation, mistakes: &mut ConfigErrors) -> Option<Self> {
        // YAML and TOML read an unquoted `1.2` as a number.
        let text = match value {
            Value::Number(number) => number.to_string(),
            value => value.as_str().unwrap_or_default().to_owned(),
        };
        let found = <E as StringEnum>::of_text(&text);
        if found.is_none() {
            let texts: Vec<_> = E::TEXTS.iter().map(|text| format!("\"{text}\"")).collect();
            mistakes.push(place.wrong(value, &texts.join(" or ")));
        }
        found
    }

    fn written(&self) -> Value {
        Value::from(self.text())
    }
}

impl<T: Setting> Setting for Secret<T> {
    fn kind() -> String {
        T::kind()
    }

    fn read(value: &Value, place: &SettingLocation, mistakes: &mut ConfigErrors) -> Option<Self> {
        let place = SettingLocation {
            secret: true,
            ..place.clone()
        };
        T::read(value, &place, mistakes).map(Self::new)
    }

    fn written(&self) -> Value {
        Value::from(MASK)
    }

    fn of_text(text: &str) -> Result<Value, String> {
        T::of_text(text)
    }
}

impl SettingLocation {
    /// Says what is wrong with the setting here.
    pub(super) fn mistake(&self, remedy: impl Into<String>) -> ConfigError {
        ConfigError {
            origin: self.origin.clone(),
            key: self.key.clone(),
            remedy: remedy.into(),
        }
    }

    /// The value is not what is wanted; `wanted` tells what to write.
    pub(super) fn wrong(&self, value: &Value, wanted: &str) -> ConfigError {
        if value.is_null() {
            return self.mistake(format!("it is missing; write {wanted}"));
        }
        let given = if self.secret {
            sort_of(value).to_owned()
        } else {
            quoted(value)
        };
        self.mistake(format!("{given} was given; write {wanted}"))
    }

    /// As `wrong`, for lists and tables: what is in them may be secret.
    pub(super) fn wrong_sort(&self, value: &Value, wanted: &str) -> ConfigError {
        if value.is_null() {
            return self.mistake(format!("it is missing; write {wanted}"));
        }
        self.mistake(format!("{} was given; write {wanted}", sort_of(value)))
    }

    /// The place of an item of the list that is here.
    pub(super) fn item(&self, at: usize) -> Self {
        Self {
            key: format!("{}[{at}]", self.key),
            ..self.clone()
        }
    }

    /// The place of a setting in the table that is here.
    pub(super) fn field(&self, name: &str) -> Self {
        Self {
            key: dotted(&self.key, name),
            ..self.clone()
        }
    }
}

/// Joins names that were declared, which are plain words.
pub(super) fn dotted_on(key: &str, name: &str) -> String {
    let dot = if key.is_empty() { "" } else { "." };
    format!("{key}{dot}{name}")
}

/// Joins keys as TOML does; a name that is no plain word is put in quotes.
pub(super) fn dotted(key: &str, name: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-');
    if !name.is_empty() && name.chars().all(plain) {
        dotted_on(key, name)
    } else {
        dotted_on(key, &quoted(&Value::from(name)))
    }
}
