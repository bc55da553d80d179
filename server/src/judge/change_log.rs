//! Logs the changes from round to round: one line for each subject whose severity changed and one for each new fault of
//! a rule, not one per round.

use std::collections::{BTreeMap, BTreeSet};

use watchpost_policies::{Fault, Finding, Report, Severity};

use super::{Evaluations, Subscription};
use crate::tasks::{self, Tasks};

pub(super) fn start(tasks: &Tasks, evaluations: &Evaluations) {
    let evaluations = evaluations.clone();
    tasks.spawn("change log", move || follow(evaluations.subscribe("change log")));
}

async fn follow(mut rounds: Subscription) {
    loop {
        let judged = rounds.next().await;
        // If writing the log blocks, only this task waits, not the thread of all tasks.
        let log = move || {
            for change in changes(judged.previous.as_deref(), &judged.report) {
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
enum Change<'r> {
    /// A finding with a new severity.
    Finding(&'r Finding),
    /// A subject that was not ok and is ok now.
    Ok { rule: String, subject: String },
    /// A new fault.
    Fault(&'r Fault),
}

fn changes<'r>(previous: Option<&Report>, report: &'r Report) -> Vec<Change<'r>> {
    let subject = |finding: &Finding| (finding.rule.clone(), finding.subject.to_string());
    let standings = |report: &'_ Report| -> BTreeMap<(String, String), Severity> {
        let standings = report.standings();
        standings.map(|finding| (subject(finding), finding.severity)).collect()
    };
    let (before, now) = (previous.map(standings).unwrap_or_default(), standings(report));
    let is_new = |finding: &&Finding| before.get(&subject(finding)) != Some(&finding.severity);
    let mut changes: Vec<_> = report.standings().filter(is_new).map(Change::Finding).collect();
    let resolved = before.keys().filter(|key| !now.contains_key(*key)).cloned();
    changes.extend(resolved.map(|(rule, subject)| Change::Ok { rule, subject }));
    let known: BTreeSet<String> = previous
        .into_iter()
        .flat_map(Report::faults)
        .map(ToString::to_string)
        .collect();
    let is_new = |fault: &&Fault| !known.contains(&fault.to_string());
    changes.extend(report.faults().iter().filter(is_new).map(Change::Fault));
    changes
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
            Self::Ok { rule, subject } => {
                log::info!(rule = rule.as_str(), subject = subject.as_str(), host; "{subject} is ok again");
            }
            Self::Fault(fault) => {
                let (rule, call, reason) = (fault.rule.as_str(), &fault.call, &fault.misbehaviour);
                log::error!(rule, call:%, reason:%, host; "a rule failed");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_round::{after, with_disk};
    use super::*;

    #[test]
    fn a_subject_is_logged_when_it_changes_and_not_while_it_stays() {
        let mut last = None;
        let mut logged = |number, percent| -> Vec<String> {
            let judged = after(last.as_ref(), with_disk("edge-1", number, percent));
            let changes = changes(judged.previous.as_deref(), &judged.report);
            let about_disk = changes.iter().filter_map(|change| match change {
                Change::Finding(finding) if finding.subject.metric == "disk" => Some(finding.severity.to_string()),
                Change::Ok { subject, .. } if subject == "disk" => Some("ok again".to_owned()),
                _ => None,
            });
            let about_disk = about_disk.collect();
            last = Some(judged);
            about_disk
        };
        assert_eq!(logged(1, 10.0), [""; 0]);
        assert_eq!(logged(2, 95.0), ["alert"]);
        assert_eq!(logged(3, 96.0), [""; 0], "the severity is the same");
        assert_eq!(logged(4, 10.0), ["ok again"]);
    }

    #[test]
    fn the_first_report_of_a_host_logs_all_that_is_not_ok() {
        let judged = after(None, with_disk("edge-1", 1, 95.0));
        let logged = changes(None, &judged.report);
        assert_eq!(logged.len(), judged.report.standings().count());
        assert!(!logged.is_empty());
        assert_eq!(changes(Some(&judged.report), &judged.report), []);
    }
}
