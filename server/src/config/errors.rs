//! What is wrong with the configuration, as sentences: where it stands, which key it is, and what to write
//! instead. It does not know what is right; that is for the settings themselves.

use std::fmt;

use serde_json::Value;

use super::origin::Origin;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file, variable or flag that it stands in.
    pub origin: Origin,
    /// The key in dotted form, `listeners[0].address`; empty when it is about the whole file.
    pub key: String,
    /// What is wrong, and what would be right.
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

/// All that is wrong, so that it can be put right at once. It displays as one line for each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// Each of them, in the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.0.iter()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn push(&mut self, mistake: ConfigError) {
        self.0.push(mistake);
    }

    pub(super) fn extend(&mut self, mistakes: impl IntoIterator<Item = ConfigError>) {
        self.0.extend(mistakes);
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, mistake) in self.0.iter().enumerate() {
            let end = if at == 0 { "" } else { "\n" };
            write!(f, "{end}{mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// Longer values are cut in a sentence: what is wrong shows in the beginning.
const QUOTED: usize = 60;

/// A value as it may stand in a sentence: in quotes, on one line, and not too long.
pub(super) fn quoted(value: &Value) -> String {
    let text = match value {
        Value::String(text) => format!("{text:?}"),
        other => other.to_string(),
    };
    shortened(&text)
}

/// The word for what was given, where the value itself should not be repeated.
pub(super) fn sort_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a table",
    }
}

/// The known name that was probably meant: at most one letter in three is wrong.
pub(super) fn nearest<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let measured = known
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(name, known), known));
    let (distance, known) = measured.min_by_key(|(distance, _)| *distance)?;
    let bearable = name.chars().count().max(known.chars().count()) / 3;
    (distance <= bearable.max(1)).then_some(known)
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_suggested_only_when_it_is_near() {
        assert_eq!(nearest("levle", ["level", "format"]), Some("level"));
        assert_eq!(nearest("data-dir", ["data_dir", "workers"]), Some("data_dir"));
        assert_eq!(nearest("frobnicate", ["level", "format"]), None);
        assert_eq!(nearest("x", []), None);
    }

    #[test]
    fn a_value_in_a_sentence_is_one_short_line() {
        assert_eq!(quoted(&Value::from("a\nb\u{1b}")), r#""a\nb\u{1b}""#);
        assert_eq!(quoted(&Value::from("ü".repeat(500))).chars().count(), QUOTED + 1);
    }
}
