//! Names of metrics, patterns, units and labels. A value of these types is valid.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::text_limits::cut;

/// The name of a metric: letters, digits, `_` and `:`, not beginning with a digit, at most 200 bytes long.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MetricName(Arc<str>);

/// Far longer than names in public vocabularies of metrics; every name is stored with every series.
pub(crate) const NAME_BYTES: usize = 200;

/// Maximum size of all labels of a series. A finding about it has to fit into `text_bytes`, or one long label could
/// make every result of a rule invalid.
const LABELS_BYTES: usize = 1024;

/// Maximum length of a unit.
const UNIT_BYTES: usize = 64;

impl MetricName {
    /// Checks the rules of Prometheus for names.
    pub fn new(name: &str) -> Result<Self, MeasureError> {
        if is_name(name, in_metric) {
            Ok(Self(name.into()))
        } else {
            Err(MeasureError::MetricName(name.to_owned()))
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MetricName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for MetricName {
    type Error = MeasureError;
    fn try_from(name: String) -> Result<Self, MeasureError> {
        Self::new(&name)
    }
}

impl From<MetricName> for String {
    fn from(name: MetricName) -> Self {
        name.0.as_ref().to_owned()
    }
}

/// The name of a metric, or a prefix followed by `*`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MetricPattern {
    text: String,
    open: bool,
}

impl MetricPattern {
    /// Checks that `*` is only at the end and that the prefix is valid.
    pub fn new(pattern: &str) -> Result<Self, MeasureError> {
        let (text, open) = match pattern.strip_suffix('*') {
            Some(beginning) => (beginning, true),
            None => (pattern, false),
        };
        if is_name(text, in_metric) || (open && text.is_empty()) {
            Ok(Self {
                text: text.to_owned(),
                open,
            })
        } else {
            Err(MeasureError::MetricPattern(pattern.to_owned()))
        }
    }

    /// The pattern that matches one metric only.
    pub fn exactly(metric: &MetricName) -> Self {
        Self {
            text: metric.as_str().to_owned(),
            open: false,
        }
    }

    /// Whether it matches this metric.
    pub fn covers(&self, metric: &MetricName) -> bool {
        self.covers_text(metric.as_str())
    }

    pub(crate) fn covers_text(&self, metric: &str) -> bool {
        if self.open {
            metric.starts_with(&self.text)
        } else {
            metric == self.text
        }
    }

    /// The name, or the prefix.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it is a prefix.
    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    /// The pattern of the common prefix of these patterns.
    pub(crate) fn shared<'p>(patterns: impl IntoIterator<Item = &'p Self>) -> Self {
        let mut patterns = patterns.into_iter();
        let first = patterns.next().map_or("", Self::text);
        let shared = patterns.fold(first, |shared, pattern| {
            let same = shared.bytes().zip(pattern.text.bytes());
            // Names are ASCII, so bytes are characters.
            &shared[..same.take_while(|(one, other)| one == other).count()]
        });
        Self {
            text: shared.to_owned(),
            open: true,
        }
    }

    /// Whether every matching metric sorts after this one.
    pub(crate) fn is_after(&self, metric: &MetricName) -> bool {
        metric.as_str() < self.text.as_str()
    }
}

impl fmt::Display for MetricPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.text, if self.open { "*" } else { "" })
    }
}

impl TryFrom<String> for MetricPattern {
    type Error = MeasureError;
    fn try_from(pattern: String) -> Result<Self, MeasureError> {
        Self::new(&pattern)
    }
}

impl From<MetricPattern> for String {
    fn from(pattern: MetricPattern) -> Self {
        pattern.to_string()
    }
}

/// The unit of a value: `percent`, `bytes`, `seconds`; empty for a plain count.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Unit(Arc<str>);

impl Unit {
    /// Any text is a unit, because other systems may use unknown ones. A long text is truncated.
    pub fn new(unit: &str) -> Self {
        Self(cut(unit, UNIT_BYTES).into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "plain counts" } else { &self.0 })
    }
}

impl From<String> for Unit {
    fn from(unit: String) -> Self {
        Self::new(&unit)
    }
}

impl From<Unit> for String {
    fn from(unit: Unit) -> Self {
        unit.0.as_ref().to_owned()
    }
}

/// A label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label {
    /// Letters, digits and `_`, not beginning with a digit.
    pub name: String,
    /// Any text.
    pub value: String,
}

/// Labels, sorted by name and without duplicates. In JSON they are an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub struct Labels(Vec<Label>);

impl Labels {
    /// Sorts labels; an invalid or duplicate name is an error.
    pub fn new<N, V>(labels: impl IntoIterator<Item = (N, V)>) -> Result<Self, MeasureError>
    where
        N: Into<String>,
        V: Into<String>,
    {
        let mut labels: Vec<Label> = labels
            .into_iter()
            .map(|(name, value)| Label {
                name: name.into(),
                value: value.into(),
            })
            .collect();
        let legal = |at: usize, byte: u8| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => true,
            b'0'..=b'9' => at > 0,
            _ => false,
        };
        if let Some(label) = labels.iter().find(|label| !is_name(&label.name, legal)) {
            return Err(MeasureError::LabelName(label.name.clone()));
        }
        let bytes: usize = labels.iter().map(|label| label.name.len() + label.value.len()).sum();
        if bytes > LABELS_BYTES {
            return Err(MeasureError::LabelsTooLong { bytes });
        }
        labels.sort_unstable();
        if let Some(pair) = labels.windows(2).find(|pair| pair[0].name == pair[1].name) {
            return Err(MeasureError::LabelTwice(pair[0].name.clone()));
        }
        Ok(Self(labels))
    }

    /// No labels.
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// The labels, sorted by name.
    pub fn as_slice(&self) -> &[Label] {
        &self.0
    }

    /// The value of the label with this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|label| label.name == name)
            .map(|label| label.value.as_str())
    }
}

impl TryFrom<BTreeMap<String, String>> for Labels {
    type Error = MeasureError;
    fn try_from(labels: BTreeMap<String, String>) -> Result<Self, MeasureError> {
        Self::new(labels)
    }
}

impl From<Labels> for BTreeMap<String, String> {
    fn from(labels: Labels) -> Self {
        labels.0.into_iter().map(|label| (label.name, label.value)).collect()
    }
}

/// An invalid measurement.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum MeasureError {
    /// A value that is not finite.
    #[error("the value of {metric} is {value}; samples must be finite; report missing data as a gap")]
    NotFinite {
        /// The metric.
        metric: String,
        /// The value.
        value: f64,
    },
    /// An invalid name of a metric.
    #[error("\"{0}\" is not a metric name: use letters, digits, _ and :, no digit first, at most {NAME_BYTES} bytes")]
    MetricName(String),
    /// An invalid pattern.
    #[error("\"{0}\" is not a metric pattern: use a name, or a prefix followed by *")]
    MetricPattern(String),
    /// An invalid name of a label.
    #[error("\"{0}\" is not a label name: use letters, digits and _, no digit first, at most {NAME_BYTES} bytes")]
    LabelName(String),
    /// The labels are too long.
    #[error("the labels have {bytes} bytes in total; the limit is {LABELS_BYTES}")]
    LabelsTooLong {
        /// Total size.
        bytes: usize,
    },
    /// A duplicate label.
    #[error("the label {0} is duplicated")]
    LabelTwice(String),
}

fn in_metric(at: usize, byte: u8) -> bool {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'_' | b':' => true,
        b'0'..=b'9' => at > 0,
        _ => false,
    }
}

fn is_name(name: &str, legal: impl Fn(usize, u8) -> bool) -> bool {
    !name.is_empty() && name.len() <= NAME_BYTES && name.bytes().enumerate().all(|(at, byte)| legal(at, byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules_of_prometheus() {
        for legal in ["disk", "node_load1", "job:rate5m", "_x"] {
            assert!(MetricName::new(legal).is_ok(), "{legal}");
        }
        for illegal in ["", "1disk", "disk-free", "größe", "a b", &"x".repeat(NAME_BYTES + 1)] {
            assert!(MetricName::new(illegal).is_err(), "{illegal}");
        }
        assert!(Labels::new([("a:b", "")]).is_err());
        assert_eq!(
            Labels::new([("a", "1"), ("a", "2")]),
            Err(MeasureError::LabelTwice("a".to_owned()))
        );
    }

    #[test]
    fn a_pattern_is_a_name_or_a_prefix() {
        for legal in ["disk", "disk*", "*", "_1*", "job:*"] {
            assert!(MetricPattern::new(legal).is_ok(), "{legal}");
        }
        for illegal in ["", "1disk", "1*", "disk-free", "a*b", "**"] {
            assert!(MetricPattern::new(illegal).is_err(), "{illegal}");
        }
    }

    #[test]
    fn patterns_have_a_common_prefix() {
        let check = |patterns: &[&str], expected: &str| {
            let patterns: Vec<_> = patterns.iter().map(|text| MetricPattern::new(text)).collect();
            let patterns: Vec<_> = patterns.into_iter().map(|pattern| pattern.expect("legal")).collect();
            assert_eq!(MetricPattern::shared(&patterns).to_string(), expected);
        };
        check(&["node_cpu", "node_cpu_seconds", "node_c*"], "node_c*");
        check(&["disk", "memory"], "*");
        check(&["disk"], "disk*");
        check(&[], "*");
    }

    #[test]
    fn a_long_unit_is_truncated() {
        assert_eq!(Unit::new("percent").as_str(), "percent");
        let long: Unit = serde_json::from_value("x".repeat(1000).into()).expect("it is a unit");
        assert_eq!(long.as_str().len(), UNIT_BYTES);
    }
}
