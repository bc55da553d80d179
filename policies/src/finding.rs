//! A finding: what a rule states about a subject, and how serious it is. Reports are in `report`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::series::Labels;

/// How serious it is, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Measured, and as it should be.
    Ok,
    /// Could not be measured. Missing data is unknown, never ok.
    Unknown,
    /// An operator should act soon.
    Warning,
    /// An operator should act now.
    Alert,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Alert => "alert",
        })
    }
}

/// The subject of a finding: a metric, and the labels that identify a series of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Subject {
    /// The metric, or the source of a gap.
    pub metric: String,
    /// Empty for the metric as a whole.
    #[serde(default)]
    pub labels: Labels,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.metric)?;
        let mut before = "{";
        for label in self.labels.as_slice() {
            write!(f, "{before}{}={:?}", label.name, label.value)?;
            before = ",";
        }
        f.write_str(if self.labels.as_slice().is_empty() { "" } else { "}" })
    }
}

/// A statement of a rule about a subject.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Finding {
    /// The name of the rule.
    pub rule: String,
    /// The subject.
    pub subject: Subject,
    /// The severity.
    pub severity: Severity,
    /// The evaluated value; finite.
    pub value: Option<f64>,
    /// The limit that the value was compared with; finite.
    pub limit: Option<f64>,
    /// A message on which a person can act; never empty above ok.
    pub message: String,
    /// Time since which the severity is unchanged.
    #[serde(rename = "since", with = "crate::rfc3339")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub since_ms: u64,
    /// Whether the finding is not from this round because the rule failed: it is the last finding of the rule, or
    /// `unknown` if there was none.
    #[serde(default)]
    pub carried: bool,
}

impl Finding {
    /// A placeholder for a metric that a rule has no finding about: unknown.
    pub(crate) fn placeholder(rule: &str, metric: &str, since_ms: u64, message: String) -> Self {
        Self {
            rule: rule.to_owned(),
            subject: Subject {
                metric: metric.to_owned(),
                labels: Labels::none(),
            },
            severity: Severity::Unknown,
            value: None,
            limit: None,
            message,
            since_ms,
            carried: true,
        }
    }

    /// The finding for a round in which its rule failed. Ok becomes unknown; a worse severity stays, so a failing rule
    /// can neither clear an alert nor lift a restriction that depends on it.
    pub(crate) fn carry(&self, time_ms: u64) -> Self {
        self.carry_because(&format!("the rule {} failed", self.rule), time_ms)
    }

    pub(crate) fn carry_because(&self, reason: &str, time_ms: u64) -> Self {
        let mut carried = self.clone();
        carried.carried = true;
        if self.severity == Severity::Ok {
            carried.severity = Severity::Unknown;
            carried.since_ms = time_ms;
            (carried.value, carried.limit) = (None, None);
            carried.message = format!("{reason}; before that, {} was ok", self.subject);
        }
        carried
    }
}
