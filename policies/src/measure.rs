//! Samples, gaps and the snapshot of one instant. A snapshot is sorted, free of duplicates and immutable. It neither
//! measures nor evaluates.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use crate::series::{Labels, MeasureError, MetricName, MetricPattern, Unit};
use crate::text_limits::cut;

/// Maximum length of a DNS name.
const HOST_BYTES: usize = 255;

/// Every rule receives all gaps, whatever their origin, so their texts and number are limited.
const SOURCE_BYTES: usize = 200;
const REASON_BYTES: usize = 500;
const MAX_GAPS: usize = 1000;

/// A gap with more metrics gets a pattern with their common prefix.
const MAX_METRICS_PER_GAP: usize = 100;

/// One number about one thing at one instant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(try_from = "SampleFields")]
pub struct Sample {
    metric: MetricName,
    labels: Labels,
    value: f64,
    unit: Unit,
    #[serde(rename = "time", with = "crate::rfc3339")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    time_ms: u64,
}

impl Sample {
    /// Creates a sample; a value that is not finite is an error, because missing data is a [`Gap`].
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

    /// The labels that identify the series.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// The number; finite.
    pub fn value(&self) -> f64 {
        self.value
    }

    /// The unit of the value.
    pub fn unit(&self) -> &Unit {
        &self.unit
    }

    /// Time of the measurement, in milliseconds since 1970 (UTC).
    pub fn time_ms(&self) -> u64 {
        self.time_ms
    }

    fn series_order(&self, other: &Self) -> Ordering {
        self.metric
            .cmp(&other.metric)
            .then_with(|| self.labels.cmp(&other.labels))
    }
}

/// A source without data. It is data, not an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Gap {
    /// The source: `host.filesystems`.
    pub source: String,
    /// The metrics that are missing because of it.
    pub metrics: Vec<MetricPattern>,
    /// The reason, as a message.
    pub reason: String,
}

impl Gap {
    fn bounded(mut self) -> Self {
        if self.metrics.len() > MAX_METRICS_PER_GAP {
            self.metrics = vec![MetricPattern::shared(&self.metrics)];
        }
        Self {
            source: cut(&self.source, SOURCE_BYTES),
            reason: cut(&self.reason, REASON_BYTES),
            metrics: self.metrics,
        }
    }
}

/// Keeps the first gaps and merges the others into one with all their metrics.
fn limited(max: usize, mut gaps: Vec<Gap>) -> Vec<Gap> {
    if gaps.len() <= max {
        return gaps;
    }
    let others = gaps.split_off(max - 1);
    let metrics: BTreeSet<_> = others.iter().flat_map(|gap| &gap.metrics).collect();
    gaps.push(Gap {
        source: "snapshot".to_owned(),
        reason: format!("{} more gaps are merged into this one", others.len()),
        metrics: metrics.into_iter().cloned().collect(),
    });
    gaps
}

/// All samples and gaps of one instant and host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(from = "SnapshotFields")]
pub struct Snapshot {
    host: String,
    #[serde(rename = "time", with = "crate::rfc3339")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    time_ms: u64,
    facts: Labels,
    samples: Vec<Sample>,
    gaps: Vec<Gap>,
}

impl Snapshot {
    /// Sorts the samples. If a metric has several units, the first one is kept; if a series has several samples, the
    /// newest is kept. A gap reports what was dropped, because it indicates a faulty source. Texts that are too long
    /// are truncated, and surplus gaps are merged; missing metrics stay missing.
    pub fn new(host: String, time_ms: u64, facts: Labels, mut samples: Vec<Sample>, mut gaps: Vec<Gap>) -> Self {
        gaps.extend(drop_other_units(&mut samples));
        samples.sort_by(|a, b| a.series_order(b).then_with(|| b.time_ms.cmp(&a.time_ms)));
        gaps.extend(drop_older(&mut samples));
        let mut gaps: Vec<_> = limited(MAX_GAPS, gaps).into_iter().map(Gap::bounded).collect();
        gaps.sort_by(|a, b| a.source.cmp(&b.source).then_with(|| a.reason.cmp(&b.reason)));
        Self {
            host: cut(&host, HOST_BYTES),
            time_ms,
            facts,
            samples,
            gaps,
        }
    }

    /// The measured machine.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Time of the snapshot, in milliseconds since 1970 (UTC).
    pub fn time_ms(&self) -> u64 {
        self.time_ms
    }

    /// Further facts about the machine.
    pub fn facts(&self) -> &Labels {
        &self.facts
    }

    /// All samples, sorted by metric and labels.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// The sources without data.
    pub fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    /// The samples of each metric that a pattern matches, one slice per metric, sorted by name. `None` matches every
    /// metric. The cost is a search per pattern, not a pass over all samples.
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

fn drop_other_units(samples: &mut Vec<Sample>) -> impl Iterator<Item = Gap> + use<> {
    let mut units = HashMap::<MetricName, Unit>::new();
    let mut others = BTreeMap::<MetricName, Unit>::new();
    samples.retain(|sample| {
        // Nearly all samples have a known unit, so the name is only cloned for the first.
        let Some(unit) = units.get(&sample.metric) else {
            units.insert(sample.metric.clone(), sample.unit.clone());
            return true;
        };
        let same = *unit == sample.unit;
        if !same {
            others.insert(sample.metric.clone(), sample.unit.clone());
        }
        same
    });
    others.into_iter().map(|(metric, unit)| Gap {
        source: "snapshot".to_owned(),
        reason: format!("samples of {metric} in {unit} were left out: its first sample has another unit"),
        metrics: vec![MetricPattern::exactly(&metric)],
    })
}

/// The samples are sorted by series, the newest first. No metric is missing, so the gap names none.
fn drop_older(samples: &mut Vec<Sample>) -> impl Iterator<Item = Gap> + use<> {
    let mut twice = BTreeMap::<MetricName, usize>::new();
    samples.dedup_by(|later, kept| {
        let same = kept.series_order(later) == Ordering::Equal;
        if same {
            *twice.entry(later.metric.clone()).or_default() += 1;
        }
        same
    });
    twice.into_iter().map(|(metric, count)| Gap {
        source: "snapshot".to_owned(),
        reason: format!("{count} samples of {metric} were measured twice; the newest stayed"),
        metrics: Vec::new(),
    })
}

#[derive(Deserialize)]
struct SampleFields {
    metric: MetricName,
    #[serde(default)]
    labels: Labels,
    value: f64,
    #[serde(default)]
    unit: Unit,
    #[serde(rename = "time", with = "crate::rfc3339")]
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
    #[serde(rename = "time", with = "crate::rfc3339")]
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
        assert!(shot.gaps()[0].metrics.is_empty(), "nothing is missing");
    }

    #[test]
    fn a_metric_has_the_unit_of_its_first_sample() {
        let shot = snapshot(vec![
            sample("disk", "1", 1.0, "percent", 1),
            sample("disk", "0", 1.0, "bytes", 1),
            sample("disk", "1", 1.0, "bytes", 2),
        ]);
        assert_eq!(shot.samples().len(), 1);
        assert_eq!(shot.samples()[0].unit().as_str(), "percent");
        assert!(shot.gaps()[0].reason.contains("in bytes"), "{:?}", shot.gaps());
    }

    fn gap(source: &str, metrics: &[&str], reason: &str) -> Gap {
        let metrics = metrics.iter().map(|metric| MetricPattern::new(metric));
        Gap {
            source: source.to_owned(),
            metrics: metrics.map(|metric| metric.expect("a legal pattern")).collect(),
            reason: reason.to_owned(),
        }
    }

    fn with_gaps(host: &str, gaps: Vec<Gap>) -> Snapshot {
        Snapshot::new(host.to_owned(), 9, Labels::none(), Vec::new(), gaps)
    }

    #[test]
    fn texts_of_a_snapshot_are_truncated() {
        let long = "ä".repeat(1000);
        let shot = with_gaps(&long, vec![gap(&long, &[], &long)]);
        let gap = &shot.gaps()[0];
        for (text, max) in [
            (shot.host(), HOST_BYTES),
            (&gap.source, SOURCE_BYTES),
            (&gap.reason, REASON_BYTES),
        ] {
            assert!(text.len() <= max && text.len() > max - 4, "{text}");
            assert!(text.ends_with("ä…"), "{text}");
        }
        let short = with_gaps("edge-1", vec![self::gap("azure", &["disk"], "it is late")]);
        assert_eq!(short.gaps(), [self::gap("azure", &["disk"], "it is late")]);
    }

    #[test]
    fn surplus_gaps_are_merged_with_their_metrics() {
        let gaps = |count: usize| {
            let one = |at: usize| gap(&format!("source-{at:04}"), &[["disk", "memory"][at % 2]], "no answer");
            with_gaps("edge-1", (0..count).map(one).collect())
        };
        assert_eq!(gaps(MAX_GAPS).gaps().len(), MAX_GAPS);
        assert!(gaps(MAX_GAPS).gaps().iter().all(|gap| gap.source != "snapshot"));
        let many = gaps(MAX_GAPS + 500);
        assert_eq!(many.gaps().len(), MAX_GAPS);
        let rest = &many.gaps()[0];
        assert_eq!(rest.reason, "501 more gaps are merged into this one");
        assert_eq!(rest.metrics, gap("", &["disk", "memory"], "").metrics);
        // A limited list is not changed again.
        assert_eq!(with_gaps("edge-1", many.gaps().to_vec()).gaps(), many.gaps());
    }

    #[test]
    fn a_gap_with_too_many_metrics_gets_their_common_prefix() {
        let named: Vec<_> = (0..=MAX_METRICS_PER_GAP).map(|at| format!("node_{at}")).collect();
        let named: Vec<_> = named.iter().map(String::as_str).collect();
        let metrics = |named: &[&str]| {
            with_gaps("edge-1", vec![gap("azure", named, "")]).gaps()[0]
                .metrics
                .len()
        };
        assert_eq!(metrics(&named[1..]), MAX_METRICS_PER_GAP);
        let all = with_gaps("edge-1", vec![gap("azure", &named, "")]);
        assert_eq!(all.gaps()[0].metrics, gap("", &["node_*"], "").metrics);
    }

    #[test]
    fn only_matching_metrics_are_selected() {
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
