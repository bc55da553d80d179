//! Warnings about what no rule evaluates: rules that together evaluate nothing, and the subjects that a rule leaves
//! behind when it is deactivated. It decides nothing and logs nothing.

use std::collections::BTreeSet;

use watchpost_policies::{Report, RuleSet, Subject};

/// The maximum number of subjects that a warning names; the rest is counted.
const MAX_NAMED: usize = 20;

/// A warning if the active threshold rules evaluate nothing.
pub fn nothing_evaluated(set: &RuleSet) -> Option<String> {
    let reads_nothing = |rule: &watchpost_policies::Rule| rule.metrics().is_some_and(<[_]>::is_empty);
    let thresholds = set.thresholds();
    let what = match thresholds {
        [] => "no threshold rule is active".to_owned(),
        all if all.iter().all(reads_nothing) => {
            let names: Vec<_> = all.iter().map(watchpost_policies::Rule::name).collect();
            let names = names.join(", ");
            format!(
                "no active threshold rule ({names}) requests a metric: its settings have no threshold and no defaults"
            )
        }
        _ => return None,
    };
    Some(format!(
        "{what}, so nothing is evaluated and the severity is unknown; activate a rule with thresholds"
    ))
}

/// A warning that names the subjects of the report that only `rule` evaluates; `None` if there are none.
pub fn subjects_lost(report: &Report, rule: &str) -> Option<String> {
    let (by_rule, by_others): (Vec<_>, Vec<_>) = report.findings().iter().partition(|finding| finding.rule == rule);
    let still: BTreeSet<&Subject> = by_others.iter().map(|finding| &finding.subject).collect();
    let lost: Vec<_> = by_rule
        .iter()
        .filter(|finding| !still.contains(&finding.subject))
        .map(|finding| finding.subject.to_string())
        .collect();
    if lost.is_empty() {
        return None;
    }
    let more = match lost.len().saturating_sub(MAX_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let named = lost[..lost.len().min(MAX_NAMED)].join(", ");
    Some(format!("no rule evaluates these subjects any more: {named}{more}"))
}

#[cfg(test)]
mod tests {
    use watchpost_policies::{Engine, Labels, Limits, MetricName, RuleModule, Sample, Snapshot, Unit};

    use super::*;
    use crate::rules::{builtin, by_default};

    fn with_settings(settings: &[&str]) -> RuleSet {
        let engine = Engine::new(Limits::default()).expect("there is an engine");
        let load = |wasm, settings: &str| {
            let module = RuleModule::compile(&engine, wasm).expect("it is compiled");
            module.with_settings(settings).expect("the settings are valid")
        };
        let thresholds = settings.iter().map(|settings| load(builtin::THRESHOLD, settings));
        RuleSet::new(1, thresholds.collect(), load(builtin::ROLE, "{}")).expect("they form a set")
    }

    #[test]
    fn rules_that_evaluate_nothing_are_a_warning() {
        let one = r#"{"defaults": false, "thresholds": [{"metric": "disk", "alert": 90}]}"#;
        for settings in ["{}", one] {
            assert_eq!(nothing_evaluated(&with_settings(&[settings])), None, "{settings}");
        }
        let nothing = nothing_evaluated(&with_settings(&[r#"{"defaults": false}"#]));
        assert!(nothing.is_some_and(|warning| warning.contains("(threshold)")));
        let without = nothing_evaluated(&with_settings(&[]));
        assert!(without.is_some_and(|warning| warning.contains("no threshold rule is active")));
    }

    #[test]
    fn subjects_that_only_one_rule_evaluates_are_named_and_many_are_counted() {
        let metric = MetricName::new("disk").expect("a legal name");
        let disk = |at: usize| {
            let labels = Labels::new([("mountpoint", format!("/{at:02}"))]).expect("legal labels");
            Sample::new(metric.clone(), labels, 10.0, Unit::new("percent"), 1).expect("a finite value")
        };
        let report = |disks: usize| {
            let samples = (0..disks).map(disk).collect();
            by_default().judge(
                &Snapshot::new("edge-1".to_owned(), 1, Labels::none(), samples, Vec::new()),
                None,
            )
        };
        let warning = subjects_lost(&report(1), "threshold").expect("there are subjects");
        let expected = "no rule evaluates these subjects any more: disk{mountpoint=\"/00\"}, memory";
        assert_eq!(warning, expected);
        let warning = subjects_lost(&report(30), "threshold").expect("there are subjects");
        assert!(warning.ends_with("mountpoint=\"/19\"} and 11 more"), "{warning}");
        assert_eq!(subjects_lost(&report(1), "weekend"), None);
    }
}
