//! A threshold as series are judged by it: which it selects, how bad a value is, and what it finds.

use serde::{Deserialize, Serialize};
use watchpost_rule::pattern::{PLAIN, Pattern};
use watchpost_rule::text::cut;
use watchpost_rule::threshold::{Finding, Gap, Label, Metric, Sample, Severity, Subject};

use crate::sentence::FindingText;
use crate::settings::{Direction, Missing};

/// A threshold as it is judged by: checked, and with every default filled in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Judged {
    pub(crate) metric: Pattern,
    pub(crate) labels: Vec<(String, Pattern)>,
    pub(crate) direction: Direction,
    pub(crate) inclusive: bool,
    pub(crate) warning: Option<Edge>,
    pub(crate) alert: Option<Edge>,
    pub(crate) sentence: Option<String>,
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

    /// The labels that it selects by a plain value.
    pub(crate) fn exact_labels(&self) -> Vec<Label> {
        let exact = |(name, pattern): &(String, Pattern)| {
            Some(Label {
                name: name.clone(),
                value: pattern.exact()?.to_owned(),
            })
        };
        self.labels.iter().filter_map(exact).collect()
    }

    /// A level is entered at one value and left at another, so what was said before matters; but only of this
    /// level: another threshold's alert has entered nothing here.
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
        let told = FindingText {
            subject: &subject,
            unit: &metric.unit,
            value: sample.value,
            limit,
            severity,
        };
        let ours = || match edge.filter(|edge| !self.beyond(sample.value, edge.enter)) {
            Some(edge) => told.not_yet_cleared(self.direction, edge.clear),
            None => told.plainly(self.direction, self.inclusive),
        };
        let sentence = match severity {
            Severity::Ok => String::new(),
            _ => {
                let theirs = self.sentence.as_ref().and_then(|template| told.fill(template));
                theirs.unwrap_or_else(ours)
            }
        };
        Finding {
            severity,
            value: Some(sample.value),
            limit,
            sentence: cut(sentence),
            subject,
        }
    }

    /// What it means that something is not there, or is hidden by a gap; nothing, where nobody minds.
    pub(crate) fn absent(&self, hidden: bool) -> Option<Severity> {
        match self.missing {
            Missing::Ok => None,
            Missing::Optional => hidden.then_some(Severity::Unknown),
            Missing::Unknown => Some(Severity::Unknown),
            Missing::Warning => Some(Severity::Warning),
            Missing::Alert => Some(Severity::Alert),
        }
    }

    /// The level that it had entered before stays with it, so that a series which comes back between the two values
    /// of that level goes on where it was.
    pub(crate) fn absence(
        &self,
        subject: &Subject,
        severity: Severity,
        before: Option<&Finding>,
        gap: Option<&Gap>,
    ) -> Finding {
        let sentence = match gap {
            Some(gap) => format!("{subject} could not be measured: {}: {}", gap.source, gap.reason),
            None => format!("{subject} is not measured here; check that its source is switched on"),
        };
        let entered = before.filter(|before| before.severity != Severity::Ok);
        Finding {
            subject: subject.clone(),
            severity,
            value: None,
            limit: entered.and_then(|before| before.limit),
            sentence: cut(sentence),
        }
    }
}
