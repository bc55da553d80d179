//! The trait of a setting's type: how it is parsed, serialized and documented. The types are in `scalar`,
//! `duration`, `size` and so on; tables of settings are declared with `declare`.

use serde_json::Value;

use super::declare::Field;
use super::errors::{ConfigError, ConfigErrors, quoted, type_name};
use super::origin::SettingLocation;
use super::raw_settings::Reader;
use crate::string_enum::StringEnum;
use watchpost_secret::{MASK, Secret};

/// The type of a setting.
pub(super) trait Setting: Sized + PartialEq {
    /// The type as the documentation shows it: `duration`.
    fn kind() -> String;

    /// Parses the value. Returns `None` after at least one error was reported.
    fn read(value: &Value, location: &SettingLocation, errors: &mut ConfigErrors) -> Option<Self>;

    /// The value as it is written in a file. Secrets are masked.
    fn written(&self) -> Value;

    /// Converts the text of a variable or a flag to a value. The error says what to write.
    fn of_text(text: &str) -> Result<Value, String> {
        Ok(Value::String(text.to_owned()))
    }

    /// The settings of a table; empty for other types.
    fn fields() -> Vec<Field> {
        Vec::new()
    }

    /// The settings of each table in a list of tables; empty for other types.
    fn fields_of_each() -> Vec<Field> {
        Vec::new()
    }

    /// Checks a list of these values, beyond each single one.
    fn check_list(_all: &[Self], _location: &SettingLocation, _errors: &mut ConfigErrors) {}

    /// Reads the setting of this name from the table.
    fn take(reader: &mut Reader<'_>, name: &str) -> Option<Self> {
        let (value, location) = reader.given(name)?;
        Self::read(value, location, reader.errors)
    }

    /// Adds the dotted keys whose values differ in `other`.
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

    fn read(value: &Value, location: &SettingLocation, errors: &mut ConfigErrors) -> Option<Self> {
        // YAML and TOML parse an unquoted `1.2` as a number.
        let text = match value {
            Value::Number(number) => number.to_string(),
            value => value.as_str().unwrap_or_default().to_owned(),
        };
        let found = <E as StringEnum>::of_text(&text);
        if found.is_none() {
            let texts: Vec<_> = E::TEXTS.iter().map(|text| format!("\"{text}\"")).collect();
            errors.push(location.wrong(value, &texts.join(" or ")));
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

    fn read(value: &Value, location: &SettingLocation, errors: &mut ConfigErrors) -> Option<Self> {
        let location = SettingLocation {
            secret: true,
            ..location.clone()
        };
        T::read(value, &location, errors).map(Self::new)
    }

    fn written(&self) -> Value {
        Value::from(MASK)
    }

    fn of_text(text: &str) -> Result<Value, String> {
        T::of_text(text)
    }
}

impl SettingLocation {
    /// An error at this location.
    pub(super) fn error(&self, remedy: impl Into<String>) -> ConfigError {
        ConfigError {
            origin: self.origin.clone(),
            key: self.key.clone(),
            remedy: remedy.into(),
        }
    }

    /// The value is not valid; `expected` says what to write.
    pub(super) fn wrong(&self, value: &Value, expected: &str) -> ConfigError {
        if value.is_null() {
            return self.error(format!("missing; write {expected}"));
        }
        let given = if self.secret {
            type_name(value).to_owned()
        } else {
            quoted(value)
        };
        self.error(format!("{given} was given; write {expected}"))
    }

    /// As `wrong`, for lists and tables: names only the type, because the elements may be secret.
    pub(super) fn wrong_type(&self, value: &Value, expected: &str) -> ConfigError {
        if value.is_null() {
            return self.error(format!("missing; write {expected}"));
        }
        self.error(format!("{} was given; write {expected}", type_name(value)))
    }

    /// The location of an item of this list.
    pub(super) fn item(&self, at: usize) -> Self {
        Self {
            key: format!("{}[{at}]", self.key),
            ..self.clone()
        }
    }

    /// The location of a setting of this table.
    pub(super) fn field(&self, name: &str) -> Self {
        Self {
            key: dotted(&self.key, name),
            ..self.clone()
        }
    }
}

/// Joins declared names, which need no quoting.
pub(super) fn dotted_on(key: &str, name: &str) -> String {
    let dot = if key.is_empty() { "" } else { "." };
    format!("{key}{dot}{name}")
}

/// Joins keys as TOML does; names with other characters than letters, digits, `_` and `-` are quoted.
pub(super) fn dotted(key: &str, name: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-');
    if !name.is_empty() && name.chars().all(plain) {
        dotted_on(key, name)
    } else {
        dotted_on(key, &quoted(&Value::from(name)))
    }
}
