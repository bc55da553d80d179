//! Metrics that rules name and nothing is known to measure, because a misspelled name would otherwise be unknown
//! forever. They are warnings and not errors: a source may be added later.

use std::fmt;

use watchpost_policies::{MetricName, MetricPattern, Snapshot};

use super::LoadedGeneration;
use crate::metrics::catalogue;
use crate::store::rules::Entry;

/// A metric or a pattern that a rule names and nothing is known to measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownMetric {
    pub rule: String,
    pub metric: String,
    /// The most similar known names.
    pub closest: Vec<String>,
}

/// The metrics that are known although the catalogue does not have them.
#[derive(Clone, Copy, Default)]
pub struct OtherMetrics<'k> {
    /// The latest snapshot.
    pub snapshot: Option<&'k Snapshot>,
    /// The metrics that the configuration defines.
    pub configured: &'k [MetricName],
}

impl LoadedGeneration {
    /// The unknown metrics of the rules whose entry is not among these earlier ones.
    pub fn unknown_metrics(&self, earlier: &[Entry], others: OtherMetrics<'_>) -> Vec<UnknownMetric> {
        let loaded = self.generation.entries.iter().zip(&self.rules);
        let new = loaded.filter(|(entry, _)| !earlier.contains(entry));
        new.flat_map(|(_, rule)| {
            let named = rule.metrics().unwrap_or_default().iter();
            named
                .filter(|metric| !others.know(metric))
                .map(|metric| unknown(rule.name(), metric, others))
        })
        .collect()
    }
}

impl OtherMetrics<'_> {
    fn know(&self, metric: &MetricPattern) -> bool {
        catalogue::knows(metric)
            || self.configured.iter().any(|name| metric.covers(name))
            || self
                .snapshot
                .is_some_and(|snapshot| catalogue::measures(snapshot, metric))
    }
}

fn unknown(rule: &str, metric: &MetricPattern, others: OtherMetrics<'_>) -> UnknownMetric {
    let metric = metric.to_string();
    let mut known: Vec<&str> = catalogue::names().collect();
    known.extend(others.configured.iter().map(MetricName::as_str));
    let measured = others.snapshot.into_iter().flat_map(Snapshot::samples);
    known.extend(measured.map(|sample| sample.metric().as_str()));
    let closest = catalogue::closest(&metric, known);
    UnknownMetric {
        rule: rule.to_owned(),
        closest: closest.into_iter().map(str::to_owned).collect(),
        metric,
    }
}

impl fmt::Display for UnknownMetric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, metric, closest } = self;
        write!(
            f,
            "the rule {rule} names the metric {metric}, which no source is known to measure; "
        )?;
        if closest.is_empty() {
            return f.write_str("GET /api/v1/metrics lists all names");
        }
        write!(f, "did you mean {}?", closest.join(" or "))
    }
}

#[cfg(test)]
mod tests {
    use watchpost_policies::{Labels, Limits, Sample, Unit};

    use super::*;
    use crate::rules::{Rules, Settings};

    fn unknown_of(metrics: &[&str], others: OtherMetrics<'_>) -> Vec<String> {
        let thresholds: Vec<_> = metrics
            .iter()
            .map(|metric| serde_json::json!({ "metric": metric, "alert": 1 }))
            .collect();
        let settings = Settings {
            threshold: serde_json::json!({ "thresholds": thresholds }).to_string(),
            role: "{}".to_owned(),
        };
        let rules = Rules::load(Limits::default(), &settings, None).expect("the settings are valid");
        let unknown = rules.current().unknown_metrics(&[], others);
        unknown.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_misspelled_metric_is_named_with_the_closest_known_ones() {
        let found = unknown_of(
            &["memry", "disk", "node_memory_*", "frobnicated"],
            OtherMetrics::default(),
        );
        assert_eq!(
            found,
            [
                "the rule threshold names the metric frobnicated, which no source is known to measure; GET /api/v1/metrics lists all names",
                "the rule threshold names the metric memry, which no source is known to measure; did you mean memory?",
            ]
        );
    }

    #[test]
    fn configured_and_measured_metrics_are_known() {
        let name = |text: &str| MetricName::new(text).expect("a legal name");
        let sample = Sample::new(name("wind"), Labels::none(), 1.0, Unit::default(), 1).expect("finite");
        let snapshot = Snapshot::new("edge-1".to_owned(), 1, Labels::none(), vec![sample], Vec::new());
        let configured = [name("requests")];
        let others = OtherMetrics {
            snapshot: Some(&snapshot),
            configured: &configured,
        };
        assert_eq!(unknown_of(&["wind", "requests"], others), Vec::<String>::new());
        assert_eq!(unknown_of(&["wind", "requests"], OtherMetrics::default()).len(), 2);
        let closest = unknown_of(&["winds"], others);
        assert!(closest[0].ends_with("did you mean wind?"), "{closest:?}");
    }

    #[test]
    fn the_default_rules_name_known_metrics_and_old_entries_are_not_reported_again() {
        let settings = Settings {
            threshold: "{}".to_owned(),
            role: "{}".to_owned(),
        };
        let rules = Rules::load(Limits::default(), &settings, None).expect("they load");
        assert_eq!(rules.current().unknown_metrics(&[], OtherMetrics::default()), []);
        let settings = Settings {
            threshold: r#"{"thresholds": [{"metric": "memry", "alert": 1}]}"#.to_owned(),
            ..settings
        };
        let rules = Rules::load(Limits::default(), &settings, None).expect("they load");
        let active = rules.current();
        assert_eq!(
            active.unknown_metrics(&active.generation.entries, OtherMetrics::default()),
            []
        );
    }
}
