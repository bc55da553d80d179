//! Judgements of a generation: the findings of the last round, the metrics for each rule, and the report while a rule
//! fails.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;

use watchpost_policies::{Finding, Labels, Report, Rule, RuleSet, SetError, Severity, Snapshot};
use watchpost_tests::guests::{HOSTILE, ROLE, THRESHOLD, engine, engine_with, numbered, rule, rules};
use watchpost_tests::sample::{NOW_MS, file_systems, gap, machine, sample, snapshot};

fn severity(report: &Report, metric: &str) -> Severity {
    about(report, metric).severity
}

fn about<'r>(report: &'r Report, metric: &str) -> &'r Finding {
    let found = report
        .findings()
        .iter()
        .find(|finding| finding.subject.metric == metric);
    found.unwrap_or_else(|| panic!("nothing about {metric}: {:?}", report.findings()))
}

/// The same snapshot, some seconds later.
fn later(snapshot: &Snapshot, seconds: u64) -> Snapshot {
    let samples = snapshot.samples().to_vec();
    let time_ms = snapshot.time_ms() + seconds * 1000;
    Snapshot::new(
        "edge-1".to_owned(),
        time_ms,
        Labels::none(),
        samples,
        snapshot.gaps().to_vec(),
    )
}

#[test]
fn a_full_disk_is_an_alert_that_a_person_can_act_on() {
    let engine = engine();
    let report = rules(&engine, None, None).judge(&machine(91.25, 81.0, 10.0), None);
    assert_eq!(report.severity(), Severity::Alert);
    let disk = about(&report, "disk");
    assert_eq!(
        disk.message,
        r#"disk{mountpoint="/"} is 91.25 %, at or above the alert level of 90 %"#
    );
    assert_eq!((disk.value, disk.limit), (Some(91.25), Some(90.0)));
    assert_eq!(severity(&report, "memory"), Severity::Warning);
    assert_eq!(severity(&report, "cpu_mean_1m"), Severity::Ok);
    assert_eq!(report.costs().len(), 1);
    assert!(report.costs()[0].memory_bytes > 0 && !report.costs()[0].time.is_zero());
}

#[test]
fn a_finding_has_the_time_since_when_it_holds() {
    let engine = engine();
    let rules = rules(&engine, None, None);
    let full = machine(95.0, 10.0, 10.0);
    let first = rules.judge(&full, None);
    let second = rules.judge(&later(&full, 10), Some(&first));
    assert_eq!(about(&second, "disk").since_ms, NOW_MS);
    assert_eq!(about(&second, "cpu_mean_1m").since_ms, NOW_MS);
    let better = rules.judge(&later(&machine(85.0, 10.0, 10.0), 20), Some(&second));
    assert_eq!(about(&better, "disk").since_ms, NOW_MS + 20_000);
    assert_eq!(about(&better, "cpu_mean_1m").since_ms, NOW_MS);
}

#[test]
fn a_reload_loses_neither_hysteresis_nor_since() {
    let engine = engine();
    let settings = r#"{"thresholds": [{"metric": "disk", "alert": {"enter": 90, "clear": 80}}]}"#;
    let before = rules(&engine, Some(rule(&engine, THRESHOLD, settings)), None);
    let alert = before.judge(&machine(91.0, 0.0, 0.0), None);

    let again = rule(&engine, THRESHOLD, settings);
    let after = RuleSet::new(2, vec![again], rule(&engine, ROLE, "{}")).expect("the rules make a set");
    let still = after.judge(&later(&machine(85.0, 0.0, 0.0), 10), Some(&alert));
    assert_eq!((still.generation(), severity(&still, "disk")), (2, Severity::Alert));
    assert_eq!(about(&still, "disk").since_ms, NOW_MS);
    // Without the findings of the last round it would not be an alert.
    assert_eq!(
        severity(&after.judge(&machine(85.0, 0.0, 0.0), None), "disk"),
        Severity::Ok
    );
}

#[test]
fn a_failing_rule_clears_no_alert() {
    let engine = engine();
    let well = rules(&engine, None, None);
    let snapshot = machine(95.0, 10.0, 10.0);
    let alert = well.judge(&snapshot, None);

    // The same rule by name, with a time limit that it cannot meet.
    let hurried = engine_with(|limits| limits.judge_ms = 0);
    let threshold = |at: usize| format!(r#"{{"metric": "disk", "labels": {{"mountpoint": "/{at}"}}, "alert": 99}}"#);
    let thresholds: Vec<_> = (0..2000).map(threshold).collect();
    let many = format!(r#"{{"thresholds": [{}]}}"#, thresholds.join(","));
    let broken = RuleSet::new(2, vec![rule(&hurried, THRESHOLD, &many)], rule(&hurried, ROLE, "{}"));
    let broken = broken.expect("the rules make a set");
    let report = broken.judge(&later(&file_systems(5000), 10), Some(&alert));
    assert_eq!(report.faults().len(), 1, "{:?}", report.faults());
    let disk = about(&report, "disk");
    assert_eq!(
        (disk.severity, disk.carried, disk.since_ms),
        (Severity::Alert, true, NOW_MS)
    );
    let cpu = about(&report, "cpu_mean_1m");
    assert_eq!((cpu.severity, cpu.carried), (Severity::Unknown, true));
    assert_eq!(
        cpu.message,
        "the rule threshold failed; before that, cpu_mean_1m was ok"
    );

    // When the rule recovers, its findings continue.
    let recovered = well.judge(&later(&snapshot, 20), Some(&report));
    let disk = about(&recovered, "disk");
    assert_eq!(
        (disk.severity, disk.carried, disk.since_ms),
        (Severity::Alert, false, NOW_MS)
    );
}

#[test]
fn a_rule_that_fails_in_the_first_round_leaves_its_metrics_unknown() {
    let engine = engine();
    let hostile = |way: &str| {
        let settings = format!(r#"{{"do": "{way}"}}"#);
        rules(&engine, Some(rule(&engine, HOSTILE, &settings)), None)
    };
    let broken = hostile("trap");
    let snapshot = machine(95.0, 10.0, 10.0);
    let first = broken.judge(&snapshot, None);
    let second = broken.judge(&later(&snapshot, 10), Some(&first));
    for report in [&first, &second] {
        let [disk] = report.findings() else {
            panic!("{:?}", report.findings());
        };
        assert_eq!(
            (disk.severity, disk.carried, disk.since_ms),
            (Severity::Unknown, true, NOW_MS)
        );
        assert_eq!(disk.subject.to_string(), "disk");
        assert_eq!(
            disk.message,
            "the rule hostile failed before its first finding about disk"
        );
    }
    // The rule is not shown such a finding as its own, and its next finding is new.
    let echo = hostile("echo").judge(&later(&snapshot, 20), Some(&second));
    assert_eq!(echo.findings().len(), 0, "{:?}", echo.findings());
    let missing = hostile("miss").judge(&later(&snapshot, 20), Some(&second));
    assert_eq!(missing.findings()[0].since_ms, NOW_MS + 20_000);
}

#[test]
fn before_the_first_round_every_requested_metric_is_unknown() {
    let engine = engine();
    let rules = rules(&engine, None, None);
    let before = rules.before_the_first("edge-1", NOW_MS - 5000);
    assert_eq!((before.generation(), before.severity()), (0, Severity::Unknown));
    let metrics: Vec<_> = before.standings().map(|finding| finding.subject.to_string()).collect();
    assert_eq!(
        metrics,
        [
            "active_chunks",
            "certificate_remaining_seconds",
            "cpu",
            "cpu_mean_1m",
            "disk",
            "inodes",
            "memory",
            "rules_quarantined"
        ]
    );
    assert_eq!(about(&before, "disk").message, "disk has not been evaluated yet");

    // The first round has no findings before it.
    for first in [machine(85.0, 10.0, 10.0), snapshot(Vec::new(), Vec::new())] {
        let after = rules.judge(&first, Some(&before));
        assert_eq!(after.findings(), rules.judge(&first, None).findings());
    }

    // Metrics that are requested by a pattern have no names yet.
    let thresholds = r#"[{"metric": "load*", "alert": 9}, {"metric": "disk", "alert": 9}]"#;
    let settings = &format!(r#"{{"defaults": false, "thresholds": {thresholds}}}"#);
    let open = RuleSet::new(1, vec![rule(&engine, THRESHOLD, settings)], rule(&engine, ROLE, "{}"));
    let open = open.expect("the rules make a set").before_the_first("edge-1", NOW_MS);
    assert_eq!(open.findings().len(), 1);
}

#[test]
fn of_very_many_series_the_worst_are_reported() {
    let engine = engine_with(|limits| limits.judge_ms = 20_000);
    let rules = rules(&engine, None, None);
    let many = file_systems(20_000);
    let report = rules.judge(&many, None);
    assert!(report.faults().is_empty(), "{:?}", report.faults());
    assert_eq!(report.findings().len(), 9000);
    let alerts = |report: &Report| {
        let all = report.findings().iter();
        all.filter(|finding| finding.severity == Severity::Alert).count()
    };
    assert_eq!(alerts(&report), 20);
    let next = rules.judge(&later(&many, 10), Some(&report));
    assert!(next.faults().is_empty(), "{:?}", next.faults());
    assert_eq!((next.findings().len(), alerts(&next)), (9000, 20));
}

/// A template may fill to blank text, which must not be a fault of the rule.
#[test]
fn a_template_that_fills_to_blank_causes_no_fault() {
    let engine = engine();
    let settings = r#"{"thresholds": [{"metric": "memory", "alert": 90, "message": "{label.mountpoint}"}]}"#;
    let rules = rules(&engine, Some(rule(&engine, THRESHOLD, settings)), None);
    let report = rules.judge(&machine(0.0, 95.0, 0.0), None);
    assert!(report.faults().is_empty(), "{:?}", report.faults());
    assert!(about(&report, "memory").message.starts_with("memory is 95 %"));
}

#[test]
fn a_rule_gets_only_its_own_last_findings() {
    let engine = engine();
    let thresholds = vec![
        rule(&engine, HOSTILE, r#"{"do": "echo"}"#),
        rule(&engine, THRESHOLD, "{}"),
    ];
    let both = RuleSet::new(1, thresholds, rule(&engine, ROLE, "{}")).expect("the rules make a set");
    let first = both.judge(&machine(95.0, 10.0, 10.0), None);
    let second = both.judge(&machine(95.0, 10.0, 10.0), Some(&first));
    assert_eq!(
        second
            .findings()
            .iter()
            .filter(|finding| finding.rule == "hostile")
            .count(),
        0
    );
}

#[test]
fn a_series_behind_a_gap_is_unknown_and_a_removed_series_has_no_finding() {
    let engine = engine();
    let rules = rules(&engine, None, None);
    let disk = |mountpoint: &str| sample("disk", &[("mountpoint", mountpoint)], 10.0, "percent");
    let both = rules.judge(&snapshot(vec![disk("/"), disk("/nfs")], Vec::new()), None);
    let count = |report: &Report| {
        report
            .findings()
            .iter()
            .filter(|finding| finding.subject.metric == "disk")
            .count()
    };
    assert_eq!(count(&both), 2);

    let hung = gap(
        "host.filesystems",
        &["disk", "inodes"],
        "/nfs did not answer within 2 s",
    );
    let report = rules.judge(&snapshot(vec![disk("/")], vec![hung]), Some(&both));
    let nfs = report
        .findings()
        .iter()
        .find(|finding| finding.subject.labels.get("mountpoint") == Some("/nfs"));
    let nfs = nfs.expect("it is not forgotten");
    assert_eq!(nfs.severity, Severity::Unknown);
    assert!(nfs.message.contains("did not answer within 2 s"), "{}", nfs.message);
    assert_eq!(count(&report), 2);

    let unmounted = rules.judge(&snapshot(vec![disk("/")], Vec::new()), Some(&both));
    assert_eq!(count(&unmounted), 1);
}

/// Findings of the last round are looked up by binary search, so the second round costs about as much as the first.
#[test]
fn thousands_of_findings_of_the_last_round_cost_little() {
    let engine = engine_with(|limits| limits.judge_ms = 2000);
    let rules = rules(&engine, None, None);
    let snapshot = file_systems(5000);
    let first = rules.judge(&snapshot, None);
    let second = rules.judge(&snapshot, Some(&first));
    assert!(second.faults().is_empty(), "{:?}", second.faults());
    assert!(second.findings().len() >= 5000);
    let (first, second) = (&first.costs()[0], &second.costs()[0]);
    assert!(second.time < first.time * 6, "{:?}, then {:?}", first.time, second.time);
}

#[test]
fn an_entered_level_is_not_left_by_a_finding_of_another_threshold() {
    let engine = engine();
    let settings = r#"{"thresholds": [
        {"metric": "load", "alert": {"enter": 90, "clear": 80}, "missing": "alert"},
        {"metric": "load", "direction": "below", "alert": {"enter": 10, "clear": 85}}
    ]}"#;
    let rules = rules(&engine, Some(rule(&engine, THRESHOLD, settings)), None);
    let of = |value| snapshot(vec![sample("load", &[], value, "percent")], Vec::new());
    let missing = rules.judge(&snapshot(Vec::new(), Vec::new()), None);
    assert_eq!(severity(&missing, "load"), Severity::Alert);
    assert_eq!(severity(&rules.judge(&of(86.0), Some(&missing)), "load"), Severity::Ok);

    let high = rules.judge(&of(91.0), None);
    let lower = rules.judge(&of(82.0), Some(&high));
    assert_eq!(severity(&lower, "load"), Severity::Alert);
    assert_eq!(
        about(&lower, "load").message,
        "load is 82 %, not yet below 80 %, where the alert ends"
    );
    assert_eq!(severity(&rules.judge(&of(79.0), Some(&lower)), "load"), Severity::Ok);
}

#[test]
fn a_threshold_for_one_series_precedes_the_one_for_all() {
    let engine = engine();
    let settings = r#"{"thresholds": [
        {"metric": "disk", "labels": {"mountpoint": "/backup*"}, "alert": 99},
        {"metric": "disk", "warning": 80, "alert": 90, "message": "clean {label.mountpoint}: {value} of {limit}"},
        {"metric": "disk", "direction": "below", "warning": 2}
    ]}"#;
    let rules = rules(&engine, Some(rule(&engine, THRESHOLD, settings)), None);
    let disk = |mountpoint: &str, used| sample("disk", &[("mountpoint", mountpoint)], used, "percent");
    let samples = vec![disk("/backup/1", 98.0), disk("/srv", 98.0), disk("/empty", 1.0)];
    let report = rules.judge(&snapshot(samples, Vec::new()), None);
    assert!(report.faults().is_empty(), "{:?}", report.faults());
    let of = |mountpoint: &str| {
        let labels = |finding: &&Finding| finding.subject.labels.get("mountpoint") == Some(mountpoint);
        report.findings().iter().find(labels).expect("it is judged")
    };
    assert_eq!(of("/backup/1").severity, Severity::Ok);
    assert_eq!(of("/srv").message, "clean /srv: 98 of 90");
    assert_eq!(of("/empty").severity, Severity::Warning);
}

#[test]
fn the_settings_name_every_mistake_at_once() {
    let engine = engine();
    let module = watchpost_policies::RuleModule::compile(&engine, THRESHOLD).expect("it is taken");
    let settings = r#"{"thresholds": [
        {"metric": "disk", "warning": 95, "alert": 90},
        {"metric": "cpu"},
        {"metric": "memory", "alert": {"enter": 90, "clear": 95}, "message": "{valeu} is much"}
    ]}"#;
    let message = module.with_settings(settings).expect_err("refused").to_string();
    let parts = [
        "/thresholds/0/warning: the warning level 95 must be below the alert level 90",
        "/thresholds/1: set a warning level, an alert level, or both",
        "/thresholds/2/alert: clear is 95 and enter is 90: set clear below enter",
        "/thresholds/2/message: {valeu} is not a placeholder; use {subject}",
    ];
    for part in parts {
        assert!(message.contains(part), "{part}\n{message}");
    }
    let message = module
        .with_settings(r#"{"treshold": []}"#)
        .expect_err("refused")
        .to_string();
    assert!(
        message.contains("/treshold: unknown setting `treshold`; use one of `thresholds`, `defaults`"),
        "{message}"
    );
}

#[test]
fn each_of_a_hundred_rules_gets_the_metrics_that_it_requested() {
    let engine = engine();
    let watching = |number: usize| {
        let settings = format!(r#"{{"metrics": ["metric_{number:03}"]}}"#);
        rule(&engine, &numbered(number), &settings)
    };
    let many: Vec<Rule> = (0..100).map(watching).collect();
    let set = RuleSet::new(1, many, rule(&engine, ROLE, "{}")).expect("the rules make a set");
    let samples = (0..1000).map(|at| sample(&format!("metric_{:03}", at % 100), &[("at", &at.to_string())], 1.0, ""));
    let report = set.judge(&snapshot(samples.collect(), Vec::new()), None);
    assert!(report.faults().is_empty(), "{:?}", report.faults());
    assert_eq!(report.findings().len(), 100);
    for finding in report.findings() {
        assert_eq!(finding.rule.replace("numbered-", "metric_"), finding.subject.metric);
        assert_eq!(finding.value, Some(10.0));
    }
}

#[test]
fn many_threads_judge_by_one_generation_and_agree() {
    let engine = engine_with(|limits| limits.instances = 2);
    let rules = rules(&engine, None, None);
    let snapshot = Arc::new(file_systems(200));
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let (rules, snapshot) = (rules.clone(), Arc::clone(&snapshot));
            thread::spawn(move || {
                let report = rules.judge(&snapshot, None);
                assert!(report.faults().is_empty(), "{:?}", report.faults());
                serde_json::to_string(report.findings()).expect("it is JSON")
            })
        })
        .collect();
    let reports: BTreeSet<_> = threads
        .into_iter()
        .map(|thread| thread.join().expect("it judged"))
        .collect();
    assert_eq!(reports.len(), 1);
}

#[test]
fn rules_that_cannot_form_a_set_are_reported_by_name() {
    let engine = engine();
    let threshold = || rule(&engine, THRESHOLD, "{}");
    let role = || rule(&engine, ROLE, "{}");
    let message = |set: Result<RuleSet, SetError>| set.expect_err("refused").to_string();
    assert_eq!(
        message(RuleSet::new(1, vec![role()], role())),
        "role is a role rule and cannot serve as a threshold rule"
    );
    assert_eq!(
        message(RuleSet::new(1, vec![], threshold())),
        "threshold is a threshold rule and cannot serve as a role rule"
    );
    let twice = message(RuleSet::new(1, vec![threshold(), threshold()], role()));
    assert_eq!(twice, "two threshold rules are named threshold; rename one of them");
}

#[test]
fn a_report_is_one_json_document() {
    let engine = engine();
    let report = rules(&engine, None, None).judge(&machine(95.0, 10.0, 10.0), None);
    let json = serde_json::to_value(&report).expect("it is JSON");
    assert_eq!(json["severity"], "alert");
    assert_eq!(json["findings"][2]["subject"]["metric"], "disk");
    assert_eq!(json["findings"][2]["subject"]["labels"]["mountpoint"], "/");
    assert!(json["costs"][0]["time_us"].is_u64());
}
