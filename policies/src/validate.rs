//! Validates the result of a threshold rule against the contract and converts it to findings. A result is accepted as a
//! whole or not at all.

use std::collections::HashSet;

use crate::bindings::threshold::{FindingResult, SubjectResult};
use crate::fault::Misbehaviour;
use crate::finding::{Finding, Severity, Subject};
use crate::limits::Limits;
use crate::measure::{Gap, Sample, Snapshot};
use crate::rule::Rule;
use crate::series::{Labels, MeasureError, MetricName};
use crate::text_limits::guest_text;

/// The input of a rule, which limits the subjects of its findings.
pub(crate) struct RuleInput<'r> {
    pub(crate) rule: &'r Rule,
    pub(crate) snapshot: &'r Snapshot,
    pub(crate) metrics: &'r [&'r [Sample]],
    pub(crate) last: &'r [Finding],
}

impl RuleInput<'_> {
    pub(crate) fn findings(
        &self,
        mut answer: Vec<FindingResult>,
        limits: &Limits,
    ) -> Result<Vec<Finding>, Misbehaviour> {
        at_most("findings", answer.len(), limits.findings)?;
        // Sorted by metric, so the labels of each metric are gathered once, whatever the order of the guest.
        answer.sort_by(|a, b| a.subject.metric.cmp(&b.subject.metric));
        let mut known = KnownSubjects::new(self.snapshot.gaps());
        let mut findings = Vec::with_capacity(answer.len());
        for raw in answer {
            findings.push(self.finding(raw, limits, &mut known)?);
        }
        findings.sort_unstable_by(|a, b| a.subject.cmp(&b.subject));
        if let Some(pair) = findings.windows(2).find(|pair| pair[0].subject == pair[1].subject) {
            return Err(Misbehaviour::RepeatedSubject {
                subject: pair[0].subject.to_string(),
            });
        }
        Ok(findings)
    }

    fn finding<'s>(
        &'s self,
        raw: FindingResult,
        limits: &Limits,
        known: &mut KnownSubjects<'s>,
    ) -> Result<Finding, Misbehaviour> {
        at_most("bytes in a message", raw.message.len(), limits.text_bytes)?;
        let subject = subject(raw.subject, limits, known)?;
        for (field, number) in [("value", raw.value), ("limit", raw.limit)] {
            if let Some(number) = number.filter(|number| !number.is_finite()) {
                return Err(Misbehaviour::NotFinite {
                    subject: subject.to_string(),
                    field,
                    number: number.to_string(),
                });
            }
        }
        let before = self.last_about(&subject);
        // A subject of an earlier finding may be reported as missing, but not with a value that is not in the round.
        let is_reported_missing = before.is_some() && raw.value.is_none();
        if !is_reported_missing && !self.exists(&subject, raw.value.is_some(), known) {
            return Err(Misbehaviour::UnknownSubject {
                subject: subject.to_string(),
            });
        }
        let severity = Severity::from(raw.severity);
        // A message of control characters only is empty.
        let message = guest_text(&raw.message, limits.text_bytes);
        if severity > Severity::Ok && message.is_empty() {
            return Err(Misbehaviour::NoMessage {
                subject: subject.to_string(),
            });
        }
        let unchanged = before.filter(|before| before.severity == severity);
        Ok(Finding {
            rule: self.rule.name().to_owned(),
            since_ms: unchanged.map_or(self.snapshot.time_ms(), |before| before.since_ms),
            severity,
            value: raw.value,
            limit: raw.limit,
            message,
            subject,
            carried: false,
        })
    }

    fn last_about(&self, subject: &Subject) -> Option<&Finding> {
        let at = self.last.binary_search_by(|finding| finding.subject.cmp(subject));
        at.ok().map(|at| &self.last[at])
    }

    fn exists<'s>(&'s self, subject: &Subject, has_value: bool, known: &mut KnownSubjects<'s>) -> bool {
        let at = self
            .metrics
            .binary_search_by(|metric| metric[0].metric().as_str().cmp(&subject.metric));
        if let Ok(at) = at {
            let samples: &'s [Sample] = self.metrics[at];
            let exactly = samples.binary_search_by(|sample| sample.labels().cmp(&subject.labels));
            let labels = &mut known.labels;
            if subject.labels.as_slice().is_empty() || exactly.is_ok() || labels.hold(at, samples, &subject.labels) {
                return true;
            }
        }
        let planned = |metric: &MetricName| {
            let patterns = self.rule.metrics();
            patterns.is_none_or(|patterns| patterns.iter().any(|pattern| pattern.covers(metric)))
        };
        // A planned metric that is missing has no value.
        let is_missing = !has_value && MetricName::new(&subject.metric).is_ok_and(|metric| planned(&metric));
        is_missing || known.gaps.are_of(&subject.metric) || (!has_value && known.gaps.name(&subject.metric))
    }
}

fn subject(raw: SubjectResult, limits: &Limits, known: &KnownSubjects<'_>) -> Result<Subject, Misbehaviour> {
    let of_labels = raw.labels.iter().map(|label| label.name.len() + label.value.len());
    at_most(
        "bytes in a subject",
        raw.metric.len() + of_labels.sum::<usize>(),
        limits.text_bytes,
    )?;
    let illegal = |error: MeasureError| Misbehaviour::InvalidSubject {
        what: guest_text(&error.to_string(), limits.text_bytes),
    };
    if !known.gaps.are_of(&raw.metric) {
        MetricName::new(&raw.metric).map_err(illegal)?;
    }
    let labels = raw.labels.into_iter().map(|label| (label.name, label.value));
    Ok(Subject {
        metric: raw.metric,
        labels: Labels::new(labels).map_err(illegal)?,
    })
}

/// The index for checking the subjects of findings.
struct KnownSubjects<'s> {
    gaps: KnownGaps<'s>,
    labels: KnownLabels<'s>,
}

impl<'s> KnownSubjects<'s> {
    fn new(gaps: &'s [Gap]) -> Self {
        Self {
            gaps: KnownGaps::new(gaps),
            labels: KnownLabels::default(),
        }
    }
}

/// The sources and metrics of all gaps, gathered once, because ten thousand findings may be checked against a thousand
/// gaps.
#[derive(Default)]
struct KnownGaps<'s> {
    sources: HashSet<&'s str>,
    metrics: HashSet<&'s str>,
    prefixes: HashSet<&'s str>,
}

impl<'s> KnownGaps<'s> {
    fn new(gaps: &'s [Gap]) -> Self {
        let mut known = Self::default();
        for gap in gaps {
            known.sources.insert(&gap.source);
            for pattern in &gap.metrics {
                let texts = if pattern.is_open() {
                    &mut known.prefixes
                } else {
                    &mut known.metrics
                };
                texts.insert(pattern.text());
            }
        }
        known
    }

    fn are_of(&self, source: &str) -> bool {
        self.sources.contains(source)
    }

    /// Checks all prefixes of the name, which are fewer than the patterns may be.
    fn name(&self, metric: &str) -> bool {
        let mut prefixes = (0..=metric.len()).filter_map(|end| metric.get(..end));
        self.metrics.contains(metric) || prefixes.any(|prefix| self.prefixes.contains(prefix))
    }
}

/// The label pairs of the samples of one metric, gathered only for metrics with findings about aggregates, such as the
/// sum over all cores of a host.
#[derive(Default)]
struct KnownLabels<'s> {
    metric: Option<usize>,
    pairs: HashSet<(&'s str, &'s str)>,
}

impl<'s> KnownLabels<'s> {
    fn hold(&mut self, metric: usize, samples: &'s [Sample], labels: &Labels) -> bool {
        if self.metric != Some(metric) {
            self.metric = Some(metric);
            self.pairs.clear();
            let all = samples.iter().flat_map(|sample| sample.labels().as_slice());
            self.pairs
                .extend(all.map(|label| (label.name.as_str(), label.value.as_str())));
        }
        let mut labels = labels.as_slice().iter();
        labels.all(|label| self.pairs.contains(&(label.name.as_str(), label.value.as_str())))
    }
}

pub(crate) fn at_most(what: &'static str, count: usize, limit: usize) -> Result<(), Misbehaviour> {
    if count > limit {
        return Err(Misbehaviour::TooMany { what, count, limit });
    }
    Ok(())
}
