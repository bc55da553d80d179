//! The prepared form of a threshold: it selects series, gives a value its severity, and makes the finding.

use serde::{Deserialize, Serialize};
use watchpost_rule::pattern::{PLAIN, Pattern};
use watchpost_rule::text::cut;
use watchpost_rule::threshold::{Finding, Gap, Label, Metric, Sample, Severity, Subject};

use crate::message::FindingText;
use crate::settings::{Direction, Missing};

/// A checked threshold with every default filled in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Judged {
    pub(crate) metric: Pattern,
    pub(crate) labels: Vec<(String, Pattern)>,
    pub(crate) direction: Direction,
    pub(crate) inclusive: bool,
    pub(crate) warning: Option<Edge>,
    pub(crate) alert: Option<Edge>,
    pub(crate) message: Option<String>,
    pub(crate) missing: Missing,
    pub(crate) quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Edge {
    pub(crate) enter: f64,
    pub(crate) clear: f64,
}

impl Judged {
    pub(crate) fn selects(&self, labels: &[Label]) -> bool {
        self.labels.iter().all(|(name, pattern)| {
            let label = labels.iter().find(|label| label.name == *name);
            label.is_some_and(|label| pattern.matches(&label.value, PLAIN))
        })
    }

    /// The labels that the threshold selects by an exact value.
    pub(crate) fn exact_labels(&self) -> Vec<Label> {
        let exact = |(name, pattern): &(String, Pattern)| {
            Some(Label {
                name: name.clone(),
                value: pattern.exact()?.to_owned(),
            })
        };
        self.labels.iter().filter_map(exact).collect()
    }

    /// The severity of a value. A level is entered at one value and left at another, so the finding of the last round
    /// counts, but only if it is of a level of this threshold.
    pub(crate) fn severity(&self, value: f64, before: Option<&Finding>) -> Severity {
        let entered = before
            .filter(|before| before.severity != Severity::Ok)
            .and_then(|before| before.limit);
        let is_in = |edge: Edge| entered == Some(edge.enter);
        let holds = |edge: Option<Edge>, entered: bool| {
            edge.is_some_and(|edge| self.beyond(value, edge.enter) || (entered && self.beyond(value, edge.clear)))
        };
        let in_alert = self.alert.is_some_and(is_in);
        if holds(self.alert, in_alert) {
            Severity::Alert
        } else if holds(self.warning, in_alert || self.warning.is_some_and(is_in)) {
            Severity::Warning
        } else {
            Severity::Ok
        }
    }

    fn beyond(&self, value: f64, level: f64) -> bool {
        let strictly = match self.direction {
            Direction::Above => value > level,
            Direction::Below => value < level,
        };
        strictly || (self.inclusive && value == level)
    }

    pub(crate) fn finding(&self, metric: &Metric, sample: &Sample, severity: Severity) -> Finding {
        let edge = match severity {
            Severity::Alert => self.alert,
            _ => self.warning.or(self.alert),
        };
        let limit = edge.map(|edge| edge.enter);
        let subject = Subject {
            metric: metric.name.clone(),
            labels: sample.labels.clone(),
        };
        let text = FindingText {
            subject: &subject,
            unit: &metric.unit,
            value: sample.value,
            limit,
            severity,
        };
        let default_sentence = || match edge.filter(|edge| !self.beyond(sample.value, edge.enter)) {
            Some(edge) => text.not_yet_cleared(self.direction, edge.clear),
            None => text.level_reached(self.direction, self.inclusive),
        };
        let message = match severity {
            Severity::Ok => String::new(),
            _ => {
                let custom = self.message.as_ref().and_then(|template| text.fill(template));
                custom.unwrap_or_else(default_sentence)
            }
        };
        Finding {
            severity,
            value: Some(sample.value),
            limit,
            message: cut(message),
            subject,
        }
    }

    /// The severity of a missing subject; `hidden` if a gap explains it. `None` where the threshold permits that it is
    /// missing.
    pub(crate) fn absent(&self, hidden: bool) -> Option<Severity> {
        match self.missing {
            Missing::Ok => None,
            Missing::Optional => hidden.then_some(Severity::Unknown),
            Missing::Unknown => Some(Severity::Unknown),
            Missing::Warning => Some(Severity::Warning),
            Missing::Alert => Some(Severity::Alert),
        }
    }

    /// The finding about a missing subject. It keeps the level that the series had entered, so that a series which
    /// returns between the two values of that level is still in it.
    pub(crate) fn absence(
        &self,
        subject: &Subject,
        severity: Severity,
        before: Option<&Finding>,
        gap: Option<&Gap>,
    ) -> Finding {
        let message = match gap {
            Some(gap) => format!("{subject} could not be measured: {}: {}", gap.source, gap.reason),
            None => format!("{subject} is not measured here; check that its source is enabled"),
        };
        let entered = before.filter(|before| before.severity != Severity::Ok);
        Finding {
            subject: subject.clone(),
            severity,
            value: None,
            limit: entered.and_then(|before| before.limit),
            message: cut(message),
        }
    }
}
