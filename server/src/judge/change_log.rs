//! Logs the changes from round to round: one line for each subject whose severity changed, for each that is no longer
//! evaluated, and for each new fault of a rule, not one per round. It says "ok" only of a finding that is ok.

use std::collections::BTreeSet;

use watchpost_policies::{Fault, Finding, Report, Severity, Snapshot, Subject};

use super::{Evaluations, Judged, Subscription};
use crate::tasks::{self, Tasks};

/// The maximum number of subjects of one rule that a round logs as no longer evaluated; a rule may leave thousands
/// behind. The rest is counted.
const MAX_ENDED: usize = 20;

pub(super) fn start(tasks: &Tasks, evaluations: &Evaluations) {
    let evaluations = evaluations.clone();
    tasks.spawn("change log", move || follow(evaluations.subscribe("change log")));
}

async fn follow(mut rounds: Subscription) {
    loop {
        let judged = rounds.next().await;
        // If writing the log blocks, only this task waits, not the thread of all tasks.
        let log = move || {
            for change in changes(&judged) {
                change.log(judged.host.as_str());
            }
        };
        if let Err(panic) = tasks::block(log).await {
            log::error!(reason = panic.as_str(); "could not log the changes of a round");
        }
    }
}

/// A change between two reports.
#[derive(Debug, PartialEq)]
pub(super) enum Change<'r> {
    /// A finding that is not ok, with a new severity.
    Finding(&'r Finding),
    /// A finding that is ok, about a subject that was not.
    Ok(&'r Finding),
    /// A finding of the last round without one in this round.
    Ended {
        rule: &'r str,
        subject: &'r Subject,
        reason: EndReason,
    },
    /// The number of further subjects of a rule that are no longer evaluated.
    MoreEnded { rule: &'r str, count: usize },
    /// A new fault.
    Fault(&'r Fault),
}

/// Why a rule has no finding about a subject any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndReason {
    /// The rule is not active.
    RuleInactive,
    /// The subject was a metric as a whole, and now its series have findings.
    BySeries,
    /// The series is not in the snapshot.
    NotMeasured,
    /// The rule or its settings are others.
    RulesChanged,
    /// The rule decided so.
    NoFinding,
}

pub(super) fn changes(judged: &Judged) -> Vec<Change<'_>> {
    let report = &judged.report;
    let previous = judged.previous.as_deref();
    let before = previous.map_or(&[][..], Report::findings);
    let mut changes = Vec::new();
    for finding in report.findings() {
        let severity = find(before, &finding.rule, &finding.subject).map(|before| before.severity);
        match finding.severity {
            Severity::Ok if severity.is_some_and(|before| before > Severity::Ok) => changes.push(Change::Ok(finding)),
            Severity::Ok => {}
            now if severity != Some(now) => changes.push(Change::Finding(finding)),
            _ => {}
        }
    }
    changes.extend(ended(judged, before));
    let known: BTreeSet<String> = previous
        .into_iter()
        .flat_map(Report::faults)
        .map(ToString::to_string)
        .collect();
    let is_new = |fault: &&Fault| !known.contains(&fault.to_string());
    changes.extend(report.faults().iter().filter(is_new).map(Change::Fault));
    changes
}

/// The subjects whose evaluation ended, by rule, those first that were not ok.
fn ended<'r>(judged: &'r Judged, before: &'r [Finding]) -> Vec<Change<'r>> {
    let mut changes = Vec::new();
    for of_rule in before.chunk_by(|one, other| one.rule == other.rule) {
        let gone = of_rule
            .iter()
            .filter(|before| find(judged.report.findings(), &before.rule, &before.subject).is_none());
        let mut gone: Vec<_> = gone
            .filter_map(|before| Some((before, end_reason(judged, before)?)))
            .collect();
        gone.sort_by_key(|(before, _)| before.severity == Severity::Ok);
        let more = gone.split_off(gone.len().min(MAX_ENDED));
        changes.extend(gone.iter().map(|(before, reason)| Change::Ended {
            rule: &before.rule,
            subject: &before.subject,
            reason: *reason,
        }));
        changes.extend(more.first().map(|(before, _)| Change::MoreEnded {
            rule: &before.rule,
            count: more.len(),
        }));
    }
    changes
}

/// Why a finding has no successor; `None` where nothing needs to be said, because the rule evaluates the subject and
/// reports only what is not ok.
fn end_reason(judged: &Judged, before: &Finding) -> Option<EndReason> {
    let was_ok = before.severity == Severity::Ok;
    let (rule, subject) = (before.rule.as_str(), &before.subject);
    if judged.rules.set.thresholds().iter().all(|active| active.name() != rule) {
        return Some(EndReason::RuleInactive);
    }
    let is_of_metric = |finding: &Finding| finding.rule == rule && finding.subject.metric == subject.metric;
    if subject.labels.as_slice().is_empty() && judged.report.findings().iter().any(is_of_metric) {
        return (!was_ok).then_some(EndReason::BySeries);
    }
    if !is_measured(&judged.round.snapshot, subject) {
        return Some(EndReason::NotMeasured);
    }
    let previous = judged.previous.as_deref().map(Report::generation);
    if previous != Some(judged.report.generation()) {
        return Some(EndReason::RulesChanged);
    }
    (!was_ok).then_some(EndReason::NoFinding)
}

/// Whether the snapshot has a series with the labels of the subject; a subject may be an aggregate of several series.
fn is_measured(snapshot: &Snapshot, subject: &Subject) -> bool {
    let samples = snapshot.samples();
    let start = samples.partition_point(|sample| sample.metric().as_str() < subject.metric.as_str());
    let mut of_metric = samples[start..]
        .iter()
        .take_while(|sample| sample.metric().as_str() == subject.metric);
    let labels = subject.labels.as_slice();
    of_metric.any(|sample| {
        let of_sample = sample.labels();
        labels
            .iter()
            .all(|label| of_sample.get(&label.name) == Some(label.value.as_str()))
    })
}

/// Findings are sorted by rule and subject.
fn find<'f>(findings: &'f [Finding], rule: &str, subject: &Subject) -> Option<&'f Finding> {
    let at = findings.binary_search_by(|finding| (finding.rule.as_str(), &finding.subject).cmp(&(rule, subject)));
    at.ok().map(|at| &findings[at])
}

impl Change<'_> {
    fn log(&self, host: &str) {
        match self {
            Self::Finding(finding) => {
                let level = match finding.severity {
                    Severity::Alert => log::Level::Error,
                    Severity::Warning => log::Level::Warn,
                    Severity::Unknown | Severity::Ok => log::Level::Info,
                };
                log::log!(level, rule = finding.rule.as_str(), subject:% = finding.subject, severity:? = finding.severity, host; "{}", finding.message);
            }
            Self::Ok(finding) => {
                let (rule, subject) = (finding.rule.as_str(), &finding.subject);
                log::info!(rule, subject:%, host; "{subject} is ok again");
            }
            Self::Ended { rule, subject, reason } => {
                let what = reason.message(rule, subject);
                log::log!(reason.level(), rule = *rule, subject:%, host; "{what}");
            }
            Self::MoreEnded { rule, count } => {
                log::warn!(rule = *rule, count = *count, host; "{count} more subjects are no longer evaluated by the rule {rule}");
            }
            Self::Fault(fault) => {
                let (rule, call, reason) = (fault.rule.as_str(), &fault.call, &fault.misbehaviour);
                log::error!(rule, call:%, reason:%, host; "a rule failed");
            }
        }
    }
}

impl EndReason {
    fn level(self) -> log::Level {
        match self {
            Self::RuleInactive | Self::RulesChanged => log::Level::Warn,
            Self::BySeries | Self::NotMeasured | Self::NoFinding => log::Level::Info,
        }
    }

    pub(super) fn message(self, rule: &str, subject: &Subject) -> String {
        let why = match self {
            Self::BySeries => return format!("{subject} is evaluated by its series again"),
            Self::RuleInactive => "the rule is not active",
            Self::NotMeasured => "it is not measured any more",
            Self::RulesChanged => "under the changed rules or settings there is no finding about it",
            Self::NoFinding => "the rule has no finding about it any more",
        };
        format!("{subject} is no longer evaluated by the rule {rule}: {why}")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::evaluate;
    use super::super::test_round::{after, generation_of, threshold_rule, with_disk, with_disks, without_disk};
    use super::*;
    use crate::collect::collector::Round;

    /// What is logged about the disk, in a word.
    fn about_disk(judged: &Judged) -> Vec<String> {
        let word = |change: &Change<'_>| match change {
            Change::Finding(finding) if finding.subject.metric == "disk" => Some(finding.severity.to_string()),
            Change::Ok(finding) if finding.subject.metric == "disk" => Some("ok again".to_owned()),
            Change::Ended { subject, reason, .. } if subject.metric == "disk" => Some(format!("{reason:?}")),
            _ => None,
        };
        changes(judged).iter().filter_map(word).collect()
    }

    #[test]
    fn a_subject_is_logged_when_it_changes_and_not_while_it_stays() {
        let mut last = None;
        let mut logged = |number, percent| -> Vec<String> {
            let judged = after(last.as_ref(), with_disk("edge-1", number, percent));
            let logged = about_disk(&judged);
            last = Some(judged);
            logged
        };
        assert_eq!(logged(1, 10.0), [""; 0]);
        assert_eq!(logged(2, 95.0), ["alert"]);
        assert_eq!(logged(3, 96.0), [""; 0], "the severity is the same");
        assert_eq!(logged(4, 10.0), ["ok again"]);
    }

    #[test]
    fn the_first_report_of_a_host_logs_all_that_is_not_ok() {
        let judged = after(None, with_disk("edge-1", 1, 95.0));
        let logged = changes(&judged).len();
        assert_eq!(logged, judged.report.standings().count());
        assert!(logged > 0);
        let same = after(Some(&judged), with_disk("edge-1", 2, 95.0));
        assert_eq!(changes(&same), []);
    }

    #[test]
    fn a_subject_that_is_not_evaluated_any_more_is_not_logged_as_ok() {
        let next_under = |settings: Option<&str>, before: f64, next: Round| {
            let first = after(None, with_disk("edge-1", 1, before));
            let thresholds = settings.map(threshold_rule).into_iter().collect();
            let loaded = Arc::new(generation_of(2, thresholds));
            about_disk(&evaluate(Arc::new(next), loaded, Some(&first)))
        };
        let disk = || with_disk("edge-1", 2, 95.0);
        let others = r#"{"defaults": false, "thresholds": [{"metric": "memory", "alert": 90}]}"#;
        for before in [10.0, 95.0] {
            assert_eq!(next_under(None, before, disk()), ["RuleInactive"]);
            assert_eq!(next_under(Some(others), before, disk()), ["RulesChanged"]);
            assert_eq!(
                next_under(Some(others), before, without_disk("edge-1", 2)),
                ["NotMeasured"]
            );
        }
        assert_eq!(next_under(Some("{}"), 95.0, disk()), [""; 0], "it is as bad as before");
    }

    #[test]
    fn the_end_of_an_evaluation_is_a_sentence_with_its_reason() {
        let first = after(None, with_disk("edge-1", 1, 95.0));
        let unmounted = after(Some(&first), without_disk("edge-1", 2));
        let subject = &first
            .report
            .findings()
            .iter()
            .find(|finding| finding.subject.metric == "disk");
        let subject = &subject.expect("it is judged").subject;
        let ended: Vec<_> = changes(&unmounted)
            .iter()
            .filter_map(|change| match change {
                Change::Ended { rule, subject, reason } => Some(reason.message(rule, subject)),
                _ => None,
            })
            .collect();
        let expected = format!("{subject} is no longer evaluated by the rule threshold: it is not measured any more");
        assert_eq!(ended, [expected]);
    }

    #[test]
    fn a_metric_that_was_missing_as_a_whole_is_evaluated_by_its_series_again() {
        let missing = after(None, without_disk("edge-1", 1));
        assert_eq!(about_disk(&missing), ["unknown"]);
        assert_eq!(
            about_disk(&after(Some(&missing), with_disk("edge-1", 2, 10.0))),
            ["BySeries"]
        );
    }

    #[test]
    fn a_quiet_series_is_ok_again_and_then_says_nothing() {
        let settings = r#"{"thresholds": [{"metric": "disk", "alert": 90, "quiet": true}]}"#;
        let loaded = Arc::new(generation_of(1, vec![threshold_rule(settings)]));
        let mut last: Option<Judged> = None;
        for (number, (percent, expected)) in [(10.0, ""), (95.0, "alert"), (10.0, "ok again"), (11.0, "")]
            .into_iter()
            .enumerate()
        {
            let round = Arc::new(with_disk("edge-1", number as u64 + 1, percent));
            let judged = evaluate(round, loaded.clone(), last.as_ref());
            assert_eq!(about_disk(&judged).concat(), expected, "{percent} %");
            last = Some(judged);
        }
    }

    #[test]
    fn of_many_subjects_that_end_the_worst_are_logged_and_the_rest_is_counted() {
        let first = after(None, with_disks("edge-1", 1, &[10.0; 30], &[95.0; 5]));
        let nothing = evaluate(
            Arc::new(without_disk("edge-1", 2)),
            Arc::new(generation_of(2, Vec::new())),
            Some(&first),
        );
        let changes = changes(&nothing);
        let ended = |change: &&Change<'_>| matches!(change, Change::Ended { .. });
        assert_eq!(changes.iter().filter(ended).count(), MAX_ENDED);
        // Five disks and the missing memory are not ok.
        let worst = changes[..6].iter().filter_map(|change| match change {
            Change::Ended { subject, .. } => find(first.report.findings(), "threshold", subject),
            _ => None,
        });
        assert_eq!(worst.filter(|finding| finding.severity > Severity::Ok).count(), 6);
        let more = Change::MoreEnded {
            rule: "threshold",
            count: 36 - MAX_ENDED,
        };
        assert_eq!(changes.last(), Some(&more));
    }
}
