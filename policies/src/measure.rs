//! What was measured: samples, gaps and the snapshot of one instant. It measures nothing and judges
//! nothing; a snapshot that exists is sorted, free of duplicates and will never change.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// One number about one thing at one instant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "SampleFields")]
pub struct Sample {
    metric: MetricName,
    labels: Labels,
    value: f64,
    unit: Unit,
    time_ms: u64,
}

impl Sample {
    /// Refuses a value that is not finite: what could not be measured is a [`Gap`].
    pub fn new(metric: MetricName, labels: Labels, value: f64, unit: Unit, time_ms: u64) -> Result<Self, MeasureError> {
        if !value.is_finite() {
            return Err(MeasureError::NotFinite {
                metric: metric.to_string(),
                value,
            });
        }
        Ok(Self {
            metric,
            labels,
            value,
            unit,
            time_ms,
        })
    }

    /// The name of the metric.
    pub fn metric(&self) -> &MetricName {
        &self.metric
    }

    /// What tells this sample from its like.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// The number; finite.
    pub fn value(&self) -> f64 {
        self.value
    }

    /// What the number counts.
    pub fn unit(&self) -> &Unit {
        &self.unit
    }

    /// When it was true, in milliseconds since 1970 (UTC).
    pub fn time_ms(&self) -> u64 {
        self.time_ms
    }

    fn series_order(&self, other: &Self) -> Ordering {
        self.metric
            .cmp(&other.metric)
            .then_with(|| self.labels.cmp(&other.labels))
    }
}

/// A source that could not answer. It is data, not an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Who could not answer: `host.filesystems`.
    pub source: String,
    /// The metrics that are missing because of it.
    pub metrics: Vec<MetricPattern>,
    /// Why, as a sentence.
    pub reason: String,
}

/// All samples and gaps of one instant and host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "SnapshotFields")]
pub struct Snapshot {
    host: String,
    time_ms: u64,
    facts: Labels,
    samples: Vec<Sample>,
    gaps: Vec<Gap>,
}

impl Snapshot {
    /// Sorts the samples. Of two samples of one series the newer stays, and of two units of one metric the
    /// first; what had to go is told in a gap, for someone measures wrongly there.
    pub fn new(host: String, time_ms: u64, facts: Labels, mut samples: Vec<Sample>, mut gaps: Vec<Gap>) -> Self {
        samples.sort_by(|a, b| {
            a.series_order(b)
                .then_with(|| b.time_ms.cmp(&a.time_ms))
                .then_with(|| a.unit.cmp(&b.unit))
        });
        let mut twice = BTreeMap::<MetricName, usize>::new();
        samples.dedup_by(|later, kept| {
            let same = kept.series_order(later) == Ordering::Equal;
            if same {
                *twice.entry(later.metric.clone()).or_default() += 1;
            }
            same
        });
        let mut other_unit = BTreeMap::<MetricName, Unit>::new();
        let mut metric: Option<(MetricName, Unit)> = None;
        samples.retain(|sample| match &metric {
            Some((name, unit)) if *name == sample.metric => {
                if *unit == sample.unit {
                    return true;
                }
                other_unit.insert(sample.metric.clone(), sample.unit.clone());
                false
            }
            _ => {
                metric = Some((sample.metric.clone(), sample.unit.clone()));
                true
            }
        });
        gaps.extend(twice.into_iter().map(|(metric, count)| Gap {
            source: "snapshot".to_owned(),
            reason: format!("{count} samples of {metric} were measured twice; the newest stayed"),
            metrics: vec![MetricPattern::exactly(&metric)],
        }));
        gaps.extend(other_unit.into_iter().map(|(metric, unit)| Gap {
            source: "snapshot".to_owned(),
            reason: format!("samples of {metric} in {unit} were left out: its first sample has another unit"),
            metrics: vec![MetricPattern::exactly(&metric)],
        }));
        gaps.sort_by(|a, b| a.source.cmp(&b.source).then_with(|| a.reason.cmp(&b.reason)));
        Self {
            host,
            time_ms,
            facts,
            samples,
            gaps,
        }
    }

    /// The machine that was measured.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// When, in milliseconds since 1970 (UTC).
    pub fn time_ms(&self) -> u64 {
        self.time_ms
    }

    /// What else is known about the machine.
    pub fn facts(&self) -> &Labels {
        &self.facts
    }

    /// All samples, sorted by metric and labels.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// The sources that could not answer.
    pub fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    /// The samples of each metric that one of the patterns covers, a slice a metric, sorted by name. `None`
    /// is every metric. It costs a search for each pattern, not a walk over all samples.
    pub fn select<'s>(&'s self, patterns: Option<&[MetricPattern]>) -> Vec<&'s [Sample]> {
        let same_metric = |a: &Sample, b: &Sample| a.metric == b.metric;
        let Some(patterns) = patterns else {
            return self.samples.chunk_by(same_metric).collect();
        };
        let mut chosen = BTreeMap::new();
        for pattern in patterns {
            let start = self.samples.partition_point(|sample| pattern.is_after(&sample.metric));
            let rest = &self.samples[start..];
            let end = rest.partition_point(|sample| pattern.covers(&sample.metric));
            for metric in rest[..end].chunk_by(same_metric) {
                chosen.insert(&metric[0].metric, metric);
            }
        }
        chosen.into_values().collect()
    }
}

/// A metric's name: letters, digits, `_` and `:`, not beginning with a digit, at most 200 bytes long.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MetricName(Arc<str>);

/// No public vocabulary of metrics comes near it, and every name is stored with every series.
pub(crate) const NAME_BYTES: usize = 200;

/// All labels of a series together. A finding about it has to stay within `text_bytes`, or one neighbour with a
/// long label could keep a rule from answering at all.
const LABELS_BYTES: usize = 1024;

impl MetricName {
    /// Refuses what Prometheus would refuse.
    pub fn new(name: &str) -> Result<Self, MeasureError> {
        let legal = |at: usize, byte: u8| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | b':' => true,
            b'0'..=b'9' => at > 0,
            _ => false,
        };
        if is_name(name, legal) {
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

/// A metric's name, or the beginning of one followed by `*`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MetricPattern {
    text: String,
    open: bool,
}

impl MetricPattern {
    /// Refuses a `*` that is not the last letter.
    pub fn new(pattern: &str) -> Result<Self, MeasureError> {
        let (text, open) = match pattern.strip_suffix('*') {
            Some(beginning) => (beginning, true),
            None => (pattern, false),
        };
        let legal = |_, byte: u8| matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b':');
        if is_name(text, legal) || (open && text.is_empty()) {
            Ok(Self {
                text: text.to_owned(),
                open,
            })
        } else {
            Err(MeasureError::MetricPattern(pattern.to_owned()))
        }
    }

    /// The pattern that covers one metric only.
    pub fn exactly(metric: &MetricName) -> Self {
        Self {
            text: metric.as_str().to_owned(),
            open: false,
        }
    }

    /// Whether it covers this metric.
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

    /// Whether every metric that it covers sorts after this one.
    fn is_after(&self, metric: &MetricName) -> bool {
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

/// What a number counts: `percent`, `bytes`, `seconds`; empty for a plain count.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Unit(Arc<str>);

impl Unit {
    /// Any word is a unit: a neighbour may count in things that we never heard of.
    pub fn new(unit: &str) -> Self {
        Self(unit.into())
    }

    /// The word.
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
        Self(unit.into())
    }
}

impl From<Unit> for String {
    fn from(unit: Unit) -> Self {
        unit.0.as_ref().to_owned()
    }
}

/// A name and its value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label {
    /// Letters, digits and `_`, not beginning with a digit.
    pub name: String,
    /// Anything.
    pub value: String,
}

/// Labels, sorted by name, none named twice. In JSON they are an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub struct Labels(Vec<Label>);

impl Labels {
    /// Sorts them; refuses an illegal name, and one that comes twice.
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

/// Something that cannot be a measurement.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum MeasureError {
    /// A number that is none.
    #[error("the value of {metric} is {value}; a sample is finite, and what could not be measured is a gap")]
    NotFinite {
        /// The metric.
        metric: String,
        /// What was given.
        value: f64,
    },
    /// An illegal name.
    #[error("\"{0}\" cannot name a metric: use letters, digits, _ and :, no digit first, at most {NAME_BYTES} bytes")]
    MetricName(String),
    /// An illegal pattern.
    #[error("\"{0}\" cannot stand for metrics: use a name, or the beginning of one followed by *")]
    MetricPattern(String),
    /// An illegal label.
    #[error("\"{0}\" cannot name a label: use letters, digits and _, no digit first, at most {NAME_BYTES} bytes")]
    LabelName(String),
    /// More than a subject and a sentence about it may hold.
    #[error("the labels have {bytes} bytes together; at most {LABELS_BYTES} are taken")]
    LabelsTooLong {
        /// How many.
        bytes: usize,
    },
    /// A label twice.
    #[error("the label {0} comes twice; name each label once")]
    LabelTwice(String),
}

fn is_name(name: &str, legal: impl Fn(usize, u8) -> bool) -> bool {
    !name.is_empty() && name.len() <= NAME_BYTES && name.bytes().enumerate().all(|(at, byte)| legal(at, byte))
}

#[derive(Deserialize)]
struct SampleFields {
    metric: MetricName,
    #[serde(default)]
    labels: Labels,
    value: f64,
    #[serde(default)]
    unit: Unit,
    time_ms: u64,
}

impl TryFrom<SampleFields> for Sample {
    type Error = MeasureError;
    fn try_from(fields: SampleFields) -> Result<Self, MeasureError> {
        Self::new(fields.metric, fields.labels, fields.value, fields.unit, fields.time_ms)
    }
}

#[derive(Deserialize)]
struct SnapshotFields {
    host: String,
    time_ms: u64,
    #[serde(default)]
    facts: Labels,
    samples: Vec<Sample>,
    #[serde(default)]
    gaps: Vec<Gap>,
}

impl From<SnapshotFields> for Snapshot {
    fn from(fields: SnapshotFields) -> Self {
        Self::new(fields.host, fields.time_ms, fields.facts, fields.samples, fields.gaps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(metric: &str, core: &str, value: f64, unit: &str, time_ms: u64) -> Sample {
        let labels = Labels::new([("core", core)]).expect("a legal label");
        let metric = MetricName::new(metric).expect("a legal name");
        Sample::new(metric, labels, value, Unit::new(unit), time_ms).expect("a finite value")
    }

    fn snapshot(samples: Vec<Sample>) -> Snapshot {
        Snapshot::new("edge-1".to_owned(), 9, Labels::none(), samples, Vec::new())
    }

    #[test]
    fn a_sample_is_finite() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let metric = MetricName::new("disk").expect("a legal name");
            let refused = Sample::new(metric, Labels::none(), value, Unit::default(), 0);
            assert!(refused.expect_err("refused").to_string().contains("finite"));
        }
    }

    #[test]
    fn names_are_what_prometheus_takes() {
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
    fn a_snapshot_is_sorted_and_keeps_the_newest_of_a_series() {
        let shot = snapshot(vec![
            sample("load", "1", 3.0, "", 5),
            sample("cpu", "1", 2.0, "percent", 5),
            sample("load", "0", 1.0, "", 4),
            sample("load", "0", 2.0, "", 5),
        ]);
        let series: Vec<_> = shot
            .samples()
            .iter()
            .map(|s| (s.metric().as_str(), s.labels().get("core").expect("a core"), s.value()))
            .collect();
        assert_eq!(series, [("cpu", "1", 2.0), ("load", "0", 2.0), ("load", "1", 3.0)]);
        assert_eq!(shot.gaps().len(), 1);
        assert!(shot.gaps()[0].reason.contains("twice"), "{:?}", shot.gaps());
    }

    #[test]
    fn a_metric_has_one_unit() {
        let shot = snapshot(vec![
            sample("disk", "0", 1.0, "percent", 1),
            sample("disk", "1", 1.0, "bytes", 1),
        ]);
        assert_eq!(shot.samples().len(), 1);
        assert!(shot.gaps()[0].reason.contains("in bytes"), "{:?}", shot.gaps());
    }

    #[test]
    fn only_what_was_asked_for_is_selected() {
        let shot = snapshot(vec![
            sample("cpu", "0", 1.0, "", 1),
            sample("node_a", "0", 1.0, "", 1),
            sample("node_a", "1", 1.0, "", 1),
            sample("node_b", "0", 1.0, "", 1),
            sample("zzz", "0", 1.0, "", 1),
        ]);
        let check = |patterns: &[&str], expected: &[(&str, usize)]| {
            let patterns: Vec<_> = patterns
                .iter()
                .map(|pattern| MetricPattern::new(pattern).expect("a legal pattern"))
                .collect();
            let chosen: Vec<_> = shot
                .select(Some(&patterns))
                .iter()
                .map(|metric| (metric[0].metric().as_str().to_owned(), metric.len()))
                .collect();
            let chosen: Vec<_> = chosen.iter().map(|(name, count)| (name.as_str(), *count)).collect();
            assert_eq!(chosen, expected, "{patterns:?}");
        };
        check(&[], &[]);
        check(&["node_a"], &[("node_a", 2)]);
        check(
            &["zzz", "node_*", "node_a", "absent"],
            &[("node_a", 2), ("node_b", 1), ("zzz", 1)],
        );
        check(&["*"], &[("cpu", 1), ("node_a", 2), ("node_b", 1), ("zzz", 1)]);
        assert_eq!(shot.select(None).len(), 4);
        assert!(MetricPattern::new("a*b").is_err());
    }
}
