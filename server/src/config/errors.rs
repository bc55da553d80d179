//! Configuration errors: origin, key, and what to write instead. The settings decide what is valid.

use std::fmt;

use serde_json::Value;

use super::origin::Origin;

/// A configuration error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file, variable or flag that sets the value.
    pub origin: Origin,
    /// The dotted key, `listeners[0].address`; empty if the error concerns the whole file.
    pub key: String,
    /// What is wrong and what to write instead.
    pub remedy: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.remedy)
    }
}

/// All errors of a configuration, displayed one per line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// In the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.0.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn push(&mut self, error: ConfigError) {
        self.0.push(error);
    }

    pub(super) fn extend(&mut self, errors: impl IntoIterator<Item = ConfigError>) {
        self.0.extend(errors);
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, error) in self.0.iter().enumerate() {
            let end = if at == 0 { "" } else { "\n" };
            write!(f, "{end}{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// Longer values are truncated in messages.
const MAX_QUOTED_CHARS: usize = 60;

/// A value for a message: quoted, on one line, truncated.
pub(super) fn quoted(value: &Value) -> String {
    let text = match value {
        Value::String(text) => format!("{text:?}"),
        other => other.to_string(),
    };
    shortened(&text)
}

/// The type of a value, for messages that must not repeat the value itself.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a table",
    }
}

/// The most similar known name, if at most a third of its letters differ.
pub fn nearest<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let measured = known
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(name, known), known));
    let (distance, known) = measured.min_by_key(|(distance, _)| *distance)?;
    let max_distance = name.chars().count().max(known.chars().count()) / 3;
    (distance <= max_distance.max(1)).then_some(known)
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_QUOTED_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_similar_names_are_suggested() {
        assert_eq!(nearest("levle", ["level", "format"]), Some("level"));
        assert_eq!(nearest("data-dir", ["data_dir", "workers"]), Some("data_dir"));
        assert_eq!(nearest("frobnicate", ["level", "format"]), None);
        assert_eq!(nearest("x", []), None);
    }

    #[test]
    fn a_value_in_a_sentence_is_one_short_line() {
        assert_eq!(quoted(&Value::from("a\nb\u{1b}")), r#""a\nb\u{1b}""#);
        assert_eq!(
            quoted(&Value::from("ü".repeat(500))).chars().count(),
            MAX_QUOTED_CHARS + 1
        );
    }
}
