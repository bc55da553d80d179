//! What an operator may write about thresholds, and what is wrong with it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use watchpost_rule::names::{LABELS_BYTES, MAX_METRICS, mistake_in_label, mistake_in_metric};
use watchpost_rule::pattern::{Pattern, wanted};
use watchpost_rule::{Problem, pointer};

use crate::judged::{Edge, Judged};
use crate::sentence;

/// The settings.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// In the order in which they are tried.
    #[serde(default = "defaults")]
    pub thresholds: Vec<Threshold>,
}

/// Levels for one metric, or for some of its series.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    /// A name, or a pattern with `*`.
    pub metric: Pattern,
    /// Patterns that the labels have to match; none means any.
    #[serde(default)]
    pub labels: BTreeMap<String, Pattern>,
    /// Which way is bad.
    #[serde(default)]
    pub direction: Direction,
    /// Whether the level itself is bad already.
    #[serde(default = "yes")]
    pub inclusive: bool,
    /// Someone should look soon.
    pub warning: Option<Level>,
    /// Someone should look now.
    pub alert: Option<Level>,
    /// What a finding says; `None` is a sentence of our own.
    pub sentence: Option<String>,
    /// What it means when the metric is not there.
    #[serde(default)]
    pub missing: Missing,
    /// Whether series that are ok are passed over; for metrics with very many of them.
    #[serde(default)]
    pub quiet: bool,
}

/// Where it begins to be bad, and where it is good again.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged)]
pub enum Level {
    /// Both at one value.
    At(f64),
    /// Left at another value than entered, so that it does not flutter.
    Apart {
        /// Where it begins.
        enter: f64,
        /// Where it ends.
        clear: f64,
    },
}

/// Which way is bad.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// The higher the worse.
    #[default]
    Above,
    /// The lower the worse.
    Below,
}

/// What it means when a metric is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Missing {
    /// Nothing to worry about.
    Ok,
    /// Nothing to worry about where nobody measures it; but where somebody should have, nobody knows.
    Optional,
    /// Nobody knows.
    #[default]
    Unknown,
    /// Someone should look soon.
    Warning,
    /// Someone should look now.
    Alert,
}

fn yes() -> bool {
    true
}

/// What a person can do about it.
const IGNORED: &str =
    "a rule failed again and again and was put aside; GET /api/v1/rules names it, and its log says how it failed";

fn defaults() -> Vec<Threshold> {
    // Most machines have no store of work chunks, some file systems count no inodes, and who tries this rule on a
    // machine of another program has no rules there.
    [
        ("disk", 80.0, 90.0, Missing::Unknown),
        ("memory", 80.0, 90.0, Missing::Unknown),
        ("active_chunks", 35.0, 40.0, Missing::Optional),
        ("cpu", 90.0, 95.0, Missing::Unknown),
        ("inodes", 80.0, 90.0, Missing::Optional),
        ("rules_quarantined", 1.0, 1.0, Missing::Optional),
    ]
    .map(|(metric, warning, alert, missing)| Threshold {
        metric: Pattern::new(metric),
        labels: Default::default(),
        direction: Direction::Above,
        inclusive: true,
        warning: Some(Level::At(warning)),
        alert: Some(Level::At(alert)),
        sentence: (metric == "rules_quarantined").then(|| IGNORED.to_owned()),
        missing,
        quiet: false,
    })
    .into()
}

impl Settings {
    pub(crate) fn judged(self) -> Result<Vec<Judged>, Vec<Problem>> {
        let mut problems = Vec::new();
        let metrics = self
            .thresholds
            .iter()
            .map(|threshold| wanted(threshold.metric.as_str()));
        let count = metrics.collect::<BTreeSet<_>>().len();
        if count > MAX_METRICS {
            let what = format!("they are for {count} metrics, and at most {MAX_METRICS} are taken: use patterns");
            problems.push(Problem::new("/thresholds", what));
        }
        let mut judged = Vec::new();
        for (at, threshold) in self.thresholds.into_iter().enumerate() {
            judged.push(threshold.judged(&format!("/thresholds/{at}"), &mut problems));
        }
        if problems.is_empty() { Ok(judged) } else { Err(problems) }
    }
}

impl Threshold {
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
        if let Some(what) = mistake_in_metric(self.metric.as_str()) {
            wrong("/metric", what);
        }
        for name in self.labels.keys() {
            if let Some(what) = mistake_in_label(name) {
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
                format!("no series has labels of more than {LABELS_BYTES} bytes"),
            );
        }
        if warning.is_none() && alert.is_none() {
            wrong("", "set a warning level, an alert level, or both".to_owned());
        }
        for (field, edge) in [("/warning", warning), ("/alert", alert)] {
            if let Some(Edge { enter, clear }) = edge.filter(|edge| worse(edge.clear, edge.enter)) {
                wrong(
                    field,
                    format!("it is left at {clear} and entered at {enter}: leave it {towards} where it is entered"),
                );
            }
        }
        let crossed = warning
            .zip(alert)
            .filter(|(warning, alert)| worse(warning.enter, alert.enter));
        if let Some((Edge { enter: warning, .. }, Edge { enter: alert, .. })) = crossed {
            wrong(
                "/warning",
                format!("the warning level {warning} has to be {towards} the alert level {alert}"),
            );
        }
        if let Some(what) = self.sentence.as_deref().and_then(sentence::mistake) {
            wrong("/sentence", what);
        }
        Judged {
            metric: self.metric,
            labels: self.labels.into_iter().collect(),
            direction: self.direction,
            inclusive: self.inclusive,
            warning,
            alert,
            sentence: self.sentence,
            missing: self.missing,
            quiet: self.quiet,
        }
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
