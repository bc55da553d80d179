//! The rules' results as families: findings that are not ok, counts of all findings, and the cost of evaluation. It
//! renders a report and judges nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use watchpost_policies::{Finding, Report, Severity};

use super::page::Page;
use watchpost_source::Kind;

/// The maximum number of exported findings: longer lists are not read one by one, and each series costs Prometheus
/// memory.
const MAX_FINDINGS: usize = 10_000;

const SEVERITIES: [Severity; 4] = [Severity::Ok, Severity::Unknown, Severity::Warning, Severity::Alert];

/// The families that are written here; no other family may use their names.
pub(super) const FAMILIES: &[&str] = &[
    FINDING,
    FINDING_VALUE,
    COUNTS,
    DROPPED_FINDINGS,
    SEVERITY,
    REPORT_TIME,
    GENERATION,
    RULE_COUNTS,
    RULE_FAULTS,
    RULE_SECONDS,
    RULE_MEMORY,
];

const FINDING: &str = "watchpost_finding";
const FINDING_VALUE: &str = "watchpost_finding_value";
const COUNTS: &str = "watchpost_findings";
const DROPPED_FINDINGS: &str = "watchpost_findings_dropped";
const SEVERITY: &str = "watchpost_report_severity";
const REPORT_TIME: &str = "watchpost_report_timestamp_seconds";
const GENERATION: &str = "watchpost_rule_generation";
const RULE_COUNTS: &str = "watchpost_rule_findings";
const RULE_FAULTS: &str = "watchpost_rule_faults";
const RULE_SECONDS: &str = "watchpost_rule_judgement_seconds";
const RULE_MEMORY: &str = "watchpost_rule_memory_bytes";

/// Writes all families of a report.
pub(super) fn write(page: &mut Page, report: &Report) {
    let rules = Rules::of(report);
    write_findings(page, report, MAX_FINDINGS);
    write_severities(page, report, &rules);
    let plain = |page: &mut Page, name: &str, help: &str, value: f64| {
        page.family(name, Kind::Gauge, help);
        page.sample(name, "", [], value);
    };
    plain(
        page,
        REPORT_TIME,
        "Time of the snapshot that the rules evaluated last, in seconds since 1970.",
        report.time_ms() as f64 / 1000.0,
    );
    plain(
        page,
        GENERATION,
        "Generation of the rules that were evaluated last; it increases with each change and is 0 before the first round.",
        report.generation() as f64,
    );
    write_rules(page, &rules);
}

/// Writes the worst findings first, so that the least important ones are omitted.
fn write_findings(page: &mut Page, report: &Report, max: usize) {
    let worst_first = SEVERITIES[1..].iter().rev();
    let of_severity = |severity: &Severity| {
        let severity = *severity;
        report
            .findings()
            .iter()
            .filter(move |finding| finding.severity == severity)
    };
    let standing = report.standings().count();
    if standing > 0 {
        page.family(
            FINDING,
            Kind::Gauge,
            "1 for each finding that is not ok; findings that are ok are only counted.",
        );
    }
    let exported: Vec<_> = worst_first.flat_map(of_severity).take(max).collect();
    let sample = |page: &mut Page, family: &str, finding: &Finding, value: f64| {
        let (subject, severity) = (finding.subject.to_string(), finding.severity.to_string());
        let labels = [
            ("rule", finding.rule.as_str()),
            ("severity", &severity),
            ("subject", &subject),
        ];
        page.sample(family, "", labels, value);
    };
    for finding in &exported {
        sample(page, FINDING, finding, 1.0);
    }
    let values = || exported.iter().filter_map(|finding| Some((finding, finding.value?)));
    if values().next().is_some() {
        page.family(
            FINDING_VALUE,
            Kind::Gauge,
            "Value of each finding that is not ok and is about a value.",
        );
    }
    for (finding, value) in values() {
        sample(page, FINDING_VALUE, finding, value);
    }
    page.family(
        DROPPED_FINDINGS,
        Kind::Gauge,
        "Number of findings that are counted but not exported, because there are too many.",
    );
    page.sample(DROPPED_FINDINGS, "", [], standing.saturating_sub(max) as f64);
}

fn write_severities(page: &mut Page, report: &Report, rules: &Rules<'_>) {
    page.family(COUNTS, Kind::Gauge, "Number of findings, by severity.");
    for (severity, count) in SEVERITIES.iter().zip(rules.total()) {
        page.sample(COUNTS, "", [("severity", severity.to_string().as_str())], count as f64);
    }
    page.family(
        SEVERITY,
        Kind::Gauge,
        "1 for the severity of the report, which is the worst of all findings and unknown without any, and 0 for the other severities.",
    );
    for severity in SEVERITIES {
        let is_it = f64::from(u8::from(report.severity() == severity));
        page.sample(SEVERITY, "", [("severity", severity.to_string().as_str())], is_it);
    }
}

fn write_rules(page: &mut Page, rules: &Rules<'_>) {
    if rules.0.is_empty() {
        return;
    }
    page.family(RULE_COUNTS, Kind::Gauge, "Number of findings of a rule, by severity.");
    for (rule, row) in &rules.0 {
        for (severity, count) in SEVERITIES.iter().zip(row.findings) {
            let labels = [("rule", *rule), ("severity", &severity.to_string())];
            page.sample(RULE_COUNTS, "", labels, count as f64);
        }
    }
    page.family(
        RULE_FAULTS,
        Kind::Gauge,
        "Number of failures of a rule in the last round; its previous findings are kept.",
    );
    for (rule, row) in &rules.0 {
        page.sample(RULE_FAULTS, "", [("rule", *rule)], row.faults as f64);
    }
    let costs = || rules.0.iter().filter_map(|(rule, row)| Some((*rule, row.cost?)));
    if costs().next().is_none() {
        return;
    }
    page.family(
        RULE_SECONDS,
        Kind::Gauge,
        "Duration of a rule's evaluation in the last round, in seconds.",
    );
    for (rule, (time, _)) in costs() {
        page.sample(RULE_SECONDS, "", [("rule", rule)], time.as_secs_f64());
    }
    page.family(
        RULE_MEMORY,
        Kind::Gauge,
        "Peak memory of a rule's instance in the last round, in bytes.",
    );
    for (rule, (_, memory)) in costs() {
        page.sample(RULE_MEMORY, "", [("rule", rule)], memory as f64);
    }
}

/// The rows of all rules that a report mentions.
struct Rules<'r>(BTreeMap<&'r str, FindingRow>);

#[derive(Default)]
struct FindingRow {
    findings: [usize; 4],
    faults: usize,
    /// Evaluation time and bytes of memory; a rule that failed has neither.
    cost: Option<(Duration, u64)>,
}

impl<'r> Rules<'r> {
    fn of(report: &'r Report) -> Self {
        let mut rules = BTreeMap::<&str, FindingRow>::new();
        for finding in report.findings() {
            rules.entry(&finding.rule).or_default().findings[finding.severity as usize] += 1;
        }
        for fault in report.faults() {
            rules.entry(&fault.rule).or_default().faults += 1;
        }
        for cost in report.costs() {
            rules.entry(&cost.rule).or_default().cost = Some((cost.time, cost.memory_bytes));
        }
        Self(rules)
    }

    fn total(&self) -> [usize; 4] {
        let mut total = [0; 4];
        for row in self.0.values() {
            for (sum, count) in total.iter_mut().zip(row.findings) {
                *sum += count;
            }
        }
        total
    }
}

#[cfg(test)]
mod tests {
    use watchpost_policies::{Labels, MetricName, RuleSet, Sample, Snapshot, Unit};

    use super::*;
    use crate::metrics::format::Format;
    use crate::rules::by_default;

    /// A report about disks with these usages, in percent.
    fn report(percents: &[f64]) -> Report {
        let samples = percents.iter().enumerate().map(|(number, percent)| {
            let labels = Labels::new([("mountpoint", format!("/data\"{number}"))]).expect("a legal label");
            let metric = MetricName::new("disk").expect("a legal name");
            Sample::new(metric, labels, *percent, Unit::new("percent"), 1500).expect("a finite value")
        });
        let snapshot = Snapshot::new("edge-1".to_owned(), 1500, Labels::none(), samples.collect(), Vec::new());
        by_default().judge(&snapshot, None)
    }

    fn written(report: &Report) -> String {
        let mut page = Page::new(Format::Text, 0);
        write(&mut page, report);
        page.into_text()
    }

    #[test]
    fn findings_that_are_not_ok_are_exported_by_rule_subject_and_severity() {
        let report = report(&[1.0, 99.9]);
        let text = written(&report);
        let expected =
            r#"watchpost_finding{rule="threshold",severity="alert",subject="disk{mountpoint=\"/data\\\"1\"}"} 1"#;
        assert!(text.contains(expected), "{text}");
        let value = expected.replacen("watchpost_finding{", "watchpost_finding_value{", 1);
        let value = value.strip_suffix('1').map(|series| format!("{series}99.9\n"));
        assert!(text.contains(&value.expect("it ends with its value")), "{text}");
        assert!(!text.contains("/data\\\"0"), "what is ok is not shown: {text}");
        for (severity, expected) in SEVERITIES.iter().zip(["0", "0", "0", "1"]) {
            assert!(text.contains(&format!(
                "watchpost_report_severity{{severity=\"{severity}\"}} {expected}\n"
            )));
            let count = report
                .findings()
                .iter()
                .filter(|finding| finding.severity == *severity)
                .count();
            assert!(text.contains(&format!("watchpost_findings{{severity=\"{severity}\"}} {count}\n")));
            let of_rule = format!("watchpost_rule_findings{{rule=\"threshold\",severity=\"{severity}\"}} {count}\n");
            assert!(text.contains(&of_rule), "{text}");
        }
        for line in [
            "watchpost_report_timestamp_seconds 1.5\n",
            "watchpost_rule_generation 1\n",
            "watchpost_rule_faults{rule=\"threshold\"} 0\n",
            "watchpost_rule_judgement_seconds{rule=\"threshold\"} ",
            "watchpost_rule_memory_bytes{rule=\"threshold\"} ",
            "watchpost_findings_dropped 0\n",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }

    #[test]
    fn the_families_that_are_written_are_those_that_are_reserved() {
        let text = written(&report(&[99.9]));
        let families: Vec<_> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
            .collect();
        let mut expected = FAMILIES.to_vec();
        let mut sorted = families.clone();
        expected.sort_unstable();
        sorted.sort_unstable();
        assert_eq!(sorted, expected);
    }

    #[test]
    fn before_the_first_round_everything_is_unknown_and_zeros_are_exported() {
        let text = written(&by_default().before_the_first("edge-1", 0));
        assert!(
            text.contains("watchpost_report_severity{severity=\"unknown\"} 1\n"),
            "{text}"
        );
        assert!(text.contains("watchpost_findings{severity=\"alert\"} 0\n"), "{text}");
        assert!(text.contains("watchpost_rule_generation 0\n"), "{text}");
    }

    #[test]
    fn without_threshold_rules_the_severity_is_unknown() {
        let set = by_default();
        let nothing = RuleSet::new(1, Vec::new(), set.role().clone()).expect("a role rule is enough");
        let snapshot = Snapshot::new("edge-1".to_owned(), 1500, Labels::none(), Vec::new(), Vec::new());
        let text = written(&nothing.judge(&snapshot, None));
        for line in [
            "watchpost_report_severity{severity=\"ok\"} 0\n",
            "watchpost_report_severity{severity=\"unknown\"} 1\n",
            "watchpost_findings{severity=\"ok\"} 0\n",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }

    #[test]
    fn of_too_many_findings_the_worst_are_shown_and_the_rest_is_counted() {
        let report = report(&[99.9, 99.8, 90.5]);
        let standing = report.standings().count();
        assert!(standing >= 3, "{standing}");
        let mut page = Page::new(Format::Text, 0);
        write_findings(&mut page, &report, 2);
        let text = page.into_text();
        let shown: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with("watchpost_finding{"))
            .collect();
        assert_eq!(shown.len(), 2);
        assert!(
            shown.iter().all(|line| line.contains("severity=\"alert\"")),
            "{shown:?}"
        );
        assert!(text.contains(&format!("watchpost_findings_dropped {}\n", standing - 2)));
    }
}
