//! The settings of the threshold rule, and their validation.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use watchpost_rule::names::{LABELS_BYTES, MAX_METRICS, label_name_error, metric_name_error};
use watchpost_rule::pattern::{Pattern, plan_pattern};
use watchpost_rule::{Problem, pointer};

use crate::judged::{Edge, Judged};
use crate::message;

/// The settings of the threshold rule.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The thresholds in the order of their evaluation, before the defaults: the first one of each direction that
    /// matches a series judges it.
    #[serde(default)]
    pub thresholds: Vec<Threshold>,
    /// Whether the default thresholds apply too, except those that a threshold with the same identity replaces.
    #[serde(default = "default_defaults")]
    pub defaults: bool,
}

/// Levels for one metric, for some of its series, or for several metrics.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    /// The name of a metric, or a pattern with `*`.
    pub metric: Pattern,
    /// Patterns that the labels must match; none for all series.
    #[serde(default)]
    pub labels: BTreeMap<String, Pattern>,
    /// Whether values above or below the level are bad.
    #[serde(default)]
    pub direction: Direction,
    /// Whether a value equal to the level is bad.
    #[serde(default = "default_inclusive")]
    pub inclusive: bool,
    /// The level of findings that need attention soon.
    pub warning: Option<Level>,
    /// The level of findings that need attention now.
    pub alert: Option<Level>,
    /// The template of the message of a finding; `None` for a default message.
    pub message: Option<String>,
    /// The severity when the metric is missing.
    #[serde(default)]
    pub missing: Missing,
    /// Whether series that are ok have no finding, except in the round in which they become ok; for metrics with very
    /// many series.
    #[serde(default)]
    pub quiet: bool,
}

/// The values at which a level is entered and left.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(untagged)]
pub enum Level {
    /// The level is entered and left at one value.
    At(f64),
    /// The level is left at another value than it is entered at (hysteresis), so that the severity does not flap.
    Apart {
        /// The value at which the level is entered.
        enter: f64,
        /// The value at which the level is left.
        clear: f64,
    },
}

/// The direction in which values are bad.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// High values are bad.
    #[default]
    Above,
    /// Low values are bad.
    Below,
}

/// The severity when a metric is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Missing {
    /// No finding.
    Ok,
    /// No finding where no source measures the metric; unknown where a gap hides it.
    Optional,
    /// Unknown.
    #[default]
    Unknown,
    /// A warning.
    Warning,
    /// An alert.
    Alert,
}

/// The identity of a threshold: the patterns of its metric and of its labels, and its direction.
type Id = (String, Vec<(String, String)>, Direction);

fn default_inclusive() -> bool {
    true
}

fn default_defaults() -> bool {
    true
}

/// The message of the default threshold for `rules_quarantined`.
const QUARANTINED: &str =
    "a rule kept failing and was quarantined; GET /api/v1/rules names it, and its audit log says how it failed";

/// The message of the default threshold for a revocation list.
const CRL_EXPIRES: &str =
    "after the next update of the revocation list, all client certificates are rejected; renew the list";

/// The message of the default threshold for other certificates.
const CERTIFICATE_EXPIRES: &str = "a certificate expires soon, or has expired; renew it";

const DAY: f64 = 86_400.0;

/// The default thresholds.
pub fn defaults() -> Vec<Threshold> {
    // One value above a level is no alert, so the processor is judged by its mean of a minute. Azure's `cpu` of a resource
    // is such a mean already. Six metrics are optional: the mean does not exist in the first minute, most machines have no
    // store of work chunks and measure no resources in Azure, some file systems count no inodes, and snapshots of other
    // programs have no `rules_quarantined` and no certificates. A revocation list is renewed more often than a certificate.
    let threshold = |metric: &str, warning, alert, missing| Threshold {
        metric: Pattern::new(metric),
        labels: BTreeMap::new(),
        direction: Direction::Above,
        inclusive: true,
        warning: Some(Level::At(warning)),
        alert: Some(Level::At(alert)),
        message: None,
        missing,
        quiet: false,
    };
    vec![
        threshold("disk", 80.0, 90.0, Missing::Unknown),
        threshold("memory", 80.0, 90.0, Missing::Unknown),
        threshold("active_chunks", 35.0, 40.0, Missing::Optional),
        threshold("cpu_mean_1m", 90.0, 95.0, Missing::Optional),
        Threshold {
            labels: BTreeMap::from([("resource".to_owned(), Pattern::new("*"))]),
            ..threshold("cpu", 90.0, 95.0, Missing::Optional)
        },
        threshold("inodes", 80.0, 90.0, Missing::Optional),
        Threshold {
            message: Some(QUARANTINED.to_owned()),
            ..threshold("rules_quarantined", 1.0, 1.0, Missing::Optional)
        },
        Threshold {
            labels: BTreeMap::from([("kind".to_owned(), Pattern::new("crl"))]),
            direction: Direction::Below,
            message: Some(CRL_EXPIRES.to_owned()),
            quiet: true,
            ..threshold("certificate_remaining_seconds", DAY, 0.0, Missing::Optional)
        },
        Threshold {
            direction: Direction::Below,
            message: Some(CERTIFICATE_EXPIRES.to_owned()),
            quiet: true,
            ..threshold(
                "certificate_remaining_seconds",
                14.0 * DAY,
                2.0 * DAY,
                Missing::Optional,
            )
        },
    ]
}

impl Settings {
    /// The same settings with the defaults that apply in the list.
    pub(crate) fn effective(mut self) -> Self {
        let remaining = self.remaining_defaults();
        self.thresholds.extend(remaining);
        self
    }

    /// The defaults that no threshold replaces.
    fn remaining_defaults(&self) -> Vec<Threshold> {
        let replaced: BTreeSet<_> = self.thresholds.iter().map(Threshold::id).collect();
        let defaults = if self.defaults { defaults() } else { Vec::new() };
        let remaining = defaults.into_iter().filter(|default| !replaced.contains(&default.id()));
        remaining.collect()
    }

    pub(crate) fn judged(self) -> Result<Vec<Judged>, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut paths = BTreeMap::<Id, usize>::new();
        for (at, threshold) in self.thresholds.iter().enumerate() {
            let first = *paths.entry(threshold.id()).or_insert(at);
            if first != at {
                let what = format!(
                    "/thresholds/{first} has the same metric, labels and direction; remove one of the two, or make them \
                     differ"
                );
                problems.push(Problem::new(format!("/thresholds/{at}"), what));
            }
        }
        let remaining = self.remaining_defaults();
        let all = || self.thresholds.iter().chain(&remaining);
        let count = all()
            .map(|threshold| plan_pattern(threshold.metric.as_str()))
            .collect::<BTreeSet<_>>()
            .len();
        if count > MAX_METRICS {
            let what = format!(
                "the thresholds and the defaults name {count} metrics; at most {MAX_METRICS} are allowed: use patterns"
            );
            problems.push(Problem::new("/thresholds", what));
        }
        let mut judged = Vec::new();
        for (at, threshold) in self.thresholds.into_iter().chain(remaining).enumerate() {
            judged.push(threshold.judged(&format!("/thresholds/{at}"), &mut problems));
        }
        if problems.is_empty() { Ok(judged) } else { Err(problems) }
    }
}

impl Threshold {
    fn id(&self) -> Id {
        let label = |(name, pattern): (&String, &Pattern)| (name.clone(), pattern.as_str().to_owned());
        let labels = self.labels.iter().map(label).collect();
        (self.metric.as_str().to_owned(), labels, self.direction)
    }

    fn judged(self, place: &str, problems: &mut Vec<Problem>) -> Judged {
        let warning = self.warning.map(Level::edge);
        let alert = self.alert.map(Level::edge);
        let worse = |value: f64, than: f64| match self.direction {
            Direction::Above => value > than,
            Direction::Below => value < than,
        };
        let towards = match self.direction {
            Direction::Above => "below",
            Direction::Below => "above",
        };
        let mut wrong = |field: &str, what: String| problems.push(Problem::new(format!("{place}{field}"), what));
        if let Some(what) = metric_name_error(self.metric.as_str()) {
            wrong("/metric", what);
        }
        for name in self.labels.keys() {
            if let Some(what) = label_name_error(name) {
                wrong(&format!("/labels/{}", pointer(name)), what);
            }
        }
        let of_labels = self
            .labels
            .iter()
            .map(|(name, pattern)| name.len() + pattern.as_str().len());
        if of_labels.sum::<usize>() > LABELS_BYTES {
            wrong(
                "/labels",
                format!("the labels of a series have at most {LABELS_BYTES} bytes, so no series can match these"),
            );
        }
        if warning.is_none() && alert.is_none() {
            wrong("", "set a warning level, an alert level, or both".to_owned());
        }
        for (field, edge) in [("/warning", warning), ("/alert", alert)] {
            if let Some(Edge { enter, clear }) = edge.filter(|edge| worse(edge.clear, edge.enter)) {
                wrong(
                    field,
                    format!("clear is {clear} and enter is {enter}: set clear {towards} enter"),
                );
            }
        }
        let crossed = warning
            .zip(alert)
            .filter(|(warning, alert)| worse(warning.enter, alert.enter));
        if let Some((Edge { enter: warning, .. }, Edge { enter: alert, .. })) = crossed {
            wrong(
                "/warning",
                format!("the warning level {warning} must be {towards} the alert level {alert}"),
            );
        }
        if let Some(what) = self.message.as_deref().and_then(message::template_error) {
            wrong("/message", what);
        }
        Judged {
            metric: self.metric,
            labels: self.labels.into_iter().collect(),
            direction: self.direction,
            inclusive: self.inclusive,
            warning,
            alert,
            message: self.message,
            missing: self.missing,
            quiet: self.quiet,
        }
    }
}

/// A number, or an object; the derived implementation for an untagged enum names no place and no alternative.
impl<'de> Deserialize<'de> for Level {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Apart {
            enter: f64,
            clear: f64,
        }

        struct LevelVisitor;

        impl<'de> Visitor<'de> for LevelVisitor {
            type Value = Level;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, or { enter = …, clear = … }")
            }

            fn visit_f64<E>(self, level: f64) -> Result<Level, E> {
                Ok(Level::At(level))
            }

            fn visit_u64<E>(self, level: u64) -> Result<Level, E> {
                Ok(Level::At(level as f64))
            }

            fn visit_i64<E>(self, level: i64) -> Result<Level, E> {
                Ok(Level::At(level as f64))
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Level, A::Error> {
                let Apart { enter, clear } = Apart::deserialize(MapAccessDeserializer::new(members))?;
                Ok(Level::Apart { enter, clear })
            }
        }

        deserializer.deserialize_any(LevelVisitor)
    }
}

impl Level {
    fn edge(self) -> Edge {
        match self {
            Self::At(level) => Edge {
                enter: level,
                clear: level,
            },
            Self::Apart { enter, clear } => Edge { enter, clear },
        }
    }
}
