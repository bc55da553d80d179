//! Finds the rules whose findings differ from the last round. It compares reports and stores nothing.

use std::collections::BTreeMap;

use watchpost_policies::{Fault, Finding, Report, Rule, RuleSet, Severity, Subject};

use super::record::{Counts, Judgement};

/// The findings that are not ok by rule, sorted like the report.
type Standings<'r> = BTreeMap<&'r str, Vec<(&'r Subject, Severity)>>;

/// One judgement for each threshold rule whose findings that are not ok changed, or that started or stopped failing;
/// and one for each rule when a new generation is evaluated for the first time.
pub fn changes(set: &RuleSet, last: Option<&Report>, report: &Report) -> Vec<Judgement> {
    let is_new = last.is_none_or(|last| last.generation() != report.generation());
    let (before, now) = (last.map(standings).unwrap_or_default(), standings(report));
    let failed = |report: &Report, rule: &str| fault_of(report, rule).is_some();
    let changed = |rule: &&Rule| {
        let name = rule.name();
        is_new
            || before.get(name) != now.get(name)
            || last.is_some_and(|last| failed(last, name)) != failed(report, name)
    };
    let rules = set.thresholds().iter().filter(changed);
    rules.map(|rule| judgement(rule, report)).collect()
}

fn judgement(rule: &Rule, report: &Report) -> Judgement {
    let name = rule.name();
    let cost = report.costs().iter().find(|cost| cost.rule == name);
    Judgement {
        host: report.host().to_owned(),
        time_ms: report.time_ms(),
        rule: name.to_owned(),
        digest: rule.module().digest(),
        generation: report.generation(),
        findings: counts(report.findings().iter().filter(|finding| finding.rule == name)),
        fault: fault_of(report, name).map(ToString::to_string),
        duration: cost.map(|cost| cost.time),
    }
}

fn standings(report: &Report) -> Standings<'_> {
    let mut standings = Standings::new();
    for finding in report.standings() {
        let of_rule = standings.entry(finding.rule.as_str()).or_default();
        of_rule.push((&finding.subject, finding.severity));
    }
    standings
}

fn fault_of<'r>(report: &'r Report, rule: &str) -> Option<&'r Fault> {
    report.faults().iter().find(|fault| fault.rule == rule)
}

fn counts<'f>(findings: impl Iterator<Item = &'f Finding>) -> Counts {
    let mut counts = Counts::default();
    for finding in findings {
        *match finding.severity {
            Severity::Ok => &mut counts.ok,
            Severity::Unknown => &mut counts.unknown,
            Severity::Warning => &mut counts.warning,
            Severity::Alert => &mut counts.alert,
        } += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use watchpost_policies::{Labels, MetricName, Sample, Snapshot, Unit};

    use super::*;
    use crate::rules::by_default;

    /// A snapshot with a disk of this usage in percent, and nothing else.
    fn snapshot(time_ms: u64, disk: f64) -> Snapshot {
        let metric = MetricName::new("disk").expect("legal");
        let sample = Sample::new(metric, Labels::none(), disk, Unit::new("%"), time_ms).expect("finite");
        Snapshot::new("edge-1".to_owned(), time_ms, Labels::none(), vec![sample], Vec::new())
    }

    #[test]
    fn a_judgement_is_recorded_when_a_severity_changes() {
        let set = by_default();
        let mut last: Option<Report> = None;
        let mut changes_of = |time_ms, disk| {
            let report = set.judge(&snapshot(time_ms, disk), last.as_ref());
            let changes = changes(&set, last.as_ref(), &report);
            last = Some(report);
            changes
        };
        let first = changes_of(1, 10.0);
        assert_eq!(first.len(), 1, "a generation that judges for the first time");
        assert_eq!((first[0].time_ms, first[0].generation), (1, 1));
        assert_eq!(first[0].digest, set.thresholds()[0].module().digest());
        assert_eq!((first[0].findings.ok, first[0].findings.alert), (1, 0));
        assert!(first[0].duration.is_some() && first[0].fault.is_none());
        assert_eq!(changes_of(2, 11.0), [], "another value is no other severity");
        let alert = changes_of(3, 95.0);
        assert_eq!((alert[0].findings.ok, alert[0].findings.alert), (0, 1));
        assert_eq!(changes_of(4, 96.0), [], "it is as bad as before");
        let recovered = changes_of(5, 10.0);
        assert_eq!((recovered[0].findings.ok, recovered[0].findings.alert), (1, 0));
    }
}
