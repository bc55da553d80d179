//! The built-in threshold rule: it compares any metric with levels, with hysteresis so that an alert does not flap, and
//! reports metrics that are missing. This file judges a round; `settings` defines the levels, and `judged` compares one
//! value with them.

mod draft;
mod gaps;
mod judged;
mod message;
mod settings;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeSet;

use watchpost_rule::pattern::{PLAIN, plan_pattern};
use watchpost_rule::threshold::{Finding, Label, Manifest, Metric, Round, Rule, Severity, Subject};
use watchpost_rule::{Plan, Problem};

use draft::{About, Draft};
use gaps::Gaps;
use judged::Judged;
pub use settings::{Direction, Level, Settings, Threshold, defaults};

/// The built-in threshold rule.
pub struct Thresholds;

watchpost_rule::threshold!(Thresholds);

impl Rule for Thresholds {
    type Settings = Settings;
    type Prepared<'p> = Vec<Judged>;

    fn describe() -> Manifest {
        Manifest {
            name: "threshold".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            description:
                "Compares metrics with warning and alert levels. By default: disk, memory and inodes at 80 and \
                          90 %, the CPU's mean of a minute at 90 and 95 %, work chunks in progress at 35 and 40."
                    .to_owned(),
            settings_schema: include_str!("../settings.schema.json").to_owned(),
        }
    }

    fn plan(settings: Settings) -> Result<Plan, Vec<Problem>> {
        let judged = settings.clone().judged()?;
        let metrics = judged.iter().map(|threshold| plan_pattern(threshold.metric.as_str()));
        Ok(Plan::new(metrics, &judged).with_effective_settings(&settings.effective()))
    }

    fn judge(round: Round, thresholds: Vec<Judged>) -> Result<Vec<Finding>, String> {
        let mut judgement = Judgement {
            thresholds: &thresholds,
            seen: vec![false; thresholds.len()],
            drafts: Vec::new(),
        };
        for metric in &round.metrics {
            judgement.metric(metric, of_metric(&round.last, &metric.name));
        }
        judgement.missing(&round);
        Ok(draft::findings(judgement.drafts))
    }
}

struct Judgement<'r> {
    thresholds: &'r [Judged],
    /// Whether each threshold matched a sample, by its index.
    seen: Vec<bool>,
    drafts: Vec<Draft<'r>>,
}

impl<'r> Judgement<'r> {
    /// Judges each sample by the first threshold of each direction that matches it, and keeps the worse of the two
    /// findings. So a threshold for one disk has to precede the one for all disks.
    fn metric(&mut self, metric: &'r Metric, last: &[Finding]) {
        let matching = self.thresholds.iter().enumerate();
        let matching: Vec<_> = matching
            .filter(|(_, threshold)| threshold.metric.matches(&metric.name, PLAIN))
            .collect();
        for sample in &metric.samples {
            let before = before(last, &sample.labels);
            let mut worst: Option<(Severity, &Judged)> = None;
            let mut quiet = false;
            let mut decided = [false; 2];
            for (at, threshold) in &matching {
                let decided = &mut decided[usize::from(threshold.direction == Direction::Below)];
                if (*decided && self.seen[*at]) || !threshold.selects(&sample.labels) {
                    continue;
                }
                // A threshold whose series are all judged by earlier ones is not missing its metric.
                self.seen[*at] = true;
                if std::mem::replace(decided, true) {
                    continue;
                }
                quiet |= threshold.quiet;
                let severity = threshold.severity(sample.value, before);
                if worst.is_none_or(|(worst, _)| worst < severity) {
                    worst = Some((severity, *threshold));
                }
            }
            // A quiet series has a finding in the round in which it becomes ok, so that its end is no guess.
            quiet &= before.is_none_or(|before| before.severity == Severity::Ok);
            let reported = worst.filter(|(severity, _)| !quiet || *severity != Severity::Ok);
            self.drafts.extend(reported.map(|(severity, threshold)| Draft {
                threshold,
                severity,
                about: About::Series { metric, sample },
            }));
        }
    }

    /// Drafts about subjects that are missing: a threshold without any sample, and series of the last round that a gap
    /// hides. A series that is missing without a gap no longer exists, like an unmounted disk, and has no finding.
    fn missing(&mut self, round: &'r Round) {
        let gaps = Gaps::new(&round.gaps);
        let (whole, labelled): (Vec<_>, Vec<_>) = round.last.iter().partition(|last| last.subject.labels.is_empty());
        let hidden = labelled.into_iter().filter_map(|last| self.hidden(round, &gaps, last));
        let mut drafts: Vec<_> = hidden.collect();
        for (threshold, _) in self.thresholds.iter().zip(&self.seen).filter(|(_, seen)| !**seen) {
            let Some(metric) = threshold.metric.exact() else {
                continue;
            };
            let subject = Subject {
                metric: metric.to_owned(),
                labels: threshold.exact_labels(),
            };
            let is_reported =
                |other: &Subject| same(other, &subject) || (other.metric == metric && threshold.selects(&other.labels));
            if drafts.iter().filter_map(Draft::missing_subject).any(is_reported) || shows(round, &subject) {
                continue;
            }
            let before = before(of_metric(&round.last, metric), &subject.labels);
            let gap = gaps.hiding(metric);
            drafts.extend(Draft::of_absence(threshold, Cow::Owned(subject), before, gap));
        }
        // The subject of a series without labels is the metric as a whole, which may have a draft already.
        let reported = drafts.iter().filter_map(Draft::missing_subject);
        let reported: BTreeSet<&str> = reported
            .filter(|subject| subject.labels.is_empty())
            .map(|subject| subject.metric.as_str())
            .collect();
        let unreported = whole
            .into_iter()
            .filter(|last| !reported.contains(last.subject.metric.as_str()));
        let hidden: Vec<_> = unreported.filter_map(|last| self.hidden(round, &gaps, last)).collect();
        self.drafts.extend(drafts);
        self.drafts.extend(hidden);
    }

    /// A draft about a series of the last round that a gap hides.
    fn hidden(&self, round: &Round, gaps: &Gaps<'r>, last: &'r Finding) -> Option<Draft<'r>> {
        let subject = &last.subject;
        if shows(round, subject) {
            return None;
        }
        let judges = |threshold: &&Judged| {
            threshold.metric.matches(&subject.metric, PLAIN) && threshold.selects(&subject.labels)
        };
        let threshold = self.thresholds.iter().find(judges)?;
        let gap = gaps.hiding(&subject.metric)?;
        Draft::of_absence(threshold, Cow::Borrowed(subject), Some(last), Some(gap))
    }
}

/// The findings about one metric; the list is sorted by subject.
fn of_metric<'f>(findings: &'f [Finding], metric: &str) -> &'f [Finding] {
    let start = findings.partition_point(|finding| finding.subject.metric.as_str() < metric);
    let rest = &findings[start..];
    &rest[..rest.partition_point(|finding| finding.subject.metric == metric)]
}

/// The finding of the last round about the series with these labels; findings are sorted by labels.
fn before<'f>(last: &'f [Finding], labels: &[Label]) -> Option<&'f Finding> {
    let at = last.binary_search_by(|finding| order(&finding.subject.labels, labels));
    at.ok().map(|at| &last[at])
}

/// Whether the round has a sample of the subject. Metrics are sorted by name, their samples by labels.
fn shows(round: &Round, subject: &Subject) -> bool {
    let metric = round
        .metrics
        .binary_search_by(|metric| metric.name.cmp(&subject.metric));
    metric.is_ok_and(|at| {
        let samples = &round.metrics[at].samples;
        samples
            .binary_search_by(|sample| order(&sample.labels, &subject.labels))
            .is_ok()
    })
}

fn order(some: &[Label], others: &[Label]) -> Ordering {
    let some = some.iter().map(|label| (&label.name, &label.value));
    some.cmp(others.iter().map(|label| (&label.name, &label.value)))
}

fn same(one: &Subject, other: &Subject) -> bool {
    one.metric == other.metric && order(&one.labels, &other.labels).is_eq()
}

#[cfg(test)]
mod tests;
