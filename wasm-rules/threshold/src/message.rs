//! The message of a finding: the default one, or the operator's template with its placeholders filled in.

use watchpost_rule::text::is_blank;
use watchpost_rule::threshold::{Severity, Subject};

use crate::settings::Direction;

const PLACEHOLDERS: [&str; 6] = ["subject", "metric", "value", "unit", "limit", "severity"];

/// The values for the placeholders of a message.
pub(crate) struct FindingText<'f> {
    pub(crate) subject: &'f Subject,
    pub(crate) unit: &'f str,
    pub(crate) value: f64,
    pub(crate) limit: Option<f64>,
    pub(crate) severity: Severity,
}

impl FindingText<'_> {
    pub(crate) fn level_reached(&self, direction: Direction, inclusive: bool) -> String {
        let side = match (direction, inclusive) {
            (Direction::Above, true) => "at or above",
            (Direction::Above, false) => "above",
            (Direction::Below, true) => "at or below",
            (Direction::Below, false) => "below",
        };
        let [subject, value, limit, severity] =
            ["subject", "value", "limit", "severity"].map(|name| self.value_of(name));
        let unit = self.spaced_unit();
        format!("{subject} is {value}{unit}, {side} the {severity} level of {limit}{unit}")
    }

    pub(crate) fn not_yet_cleared(&self, direction: Direction, clear: f64) -> String {
        let side = match direction {
            Direction::Above => "below",
            Direction::Below => "above",
        };
        let [subject, value, severity] = ["subject", "value", "severity"].map(|name| self.value_of(name));
        let unit = self.spaced_unit();
        let clear = short(clear);
        format!("{subject} is {value}{unit}, not yet {side} {clear}{unit}, where the {severity} ends")
    }

    fn spaced_unit(&self) -> String {
        match self.unit {
            "" => String::new(),
            "percent" => " %".to_owned(),
            unit => format!(" {unit}"),
        }
    }

    /// Fills in a template; `None` where the result is blank, because its placeholders are all empty for this subject.
    pub(crate) fn fill(&self, template: &str) -> Option<String> {
        let mut filled = String::with_capacity(template.len() + 32);
        let mut rest = template;
        while let Some((before, name, after)) = next_placeholder(rest) {
            filled.push_str(before);
            filled.push_str(&self.value_of(name));
            rest = after;
        }
        filled.push_str(rest);
        (!is_blank(&filled)).then_some(filled)
    }

    fn value_of(&self, placeholder: &str) -> String {
        if let Some(name) = placeholder.strip_prefix("label.") {
            let label = self.subject.labels.iter().find(|label| label.name == name);
            return label.map_or_else(String::new, |label| label.value.clone());
        }
        match placeholder {
            "subject" => self.subject.to_string(),
            "metric" => self.subject.metric.clone(),
            "value" => short(self.value),
            "unit" => self.unit.to_owned(),
            "limit" => self.limit.map(short).unwrap_or_default(),
            "severity" => self.severity.as_str().to_owned(),
            _ => String::new(),
        }
    }
}

/// The text before the next `{placeholder}`, its name, and the text after it.
fn next_placeholder(template: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = template.split_once('{')?;
    let (name, after) = rest.split_once('}')?;
    Some((before, name, after))
}

/// Why a template of the operator is invalid; `None` for a valid one.
pub(crate) fn template_error(template: &str) -> Option<String> {
    if is_blank(template) {
        return Some("write a message, or leave it out for the default one".to_owned());
    }
    let unknown = unknown_placeholder(template)?;
    let known = PLACEHOLDERS.join("}, {");
    Some(format!(
        "{{{unknown}}} is not a placeholder; use {{{known}}} or {{label.NAME}}"
    ))
}

fn unknown_placeholder(template: &str) -> Option<&str> {
    let mut rest = template;
    while let Some((_, name, after)) = next_placeholder(rest) {
        if !PLACEHOLDERS.contains(&name) && !name.starts_with("label.") {
            return Some(name);
        }
        rest = after;
    }
    None
}

/// Rounds to two decimals, without trailing zeros.
fn short(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    text.to_owned()
}
