//! Tests of the judgement, natively: edge cases that the conformance cases, which test the component, cannot express
//! well.

use watchpost_rule::threshold::{Finding, Gap, Label, Metric, Round, Rule, Sample, Severity, Subject, judge};

use crate::Thresholds;

/// The findings of the thresholds in these settings, without the defaults.
fn judged(settings: &str, round: Round) -> Vec<Finding> {
    let mut settings: serde_json::Value = serde_json::from_str(settings).expect("it is JSON");
    settings["defaults"] = false.into();
    judged_with_defaults(&settings.to_string(), round)
}

fn judged_with_defaults(settings: &str, round: Round) -> Vec<Finding> {
    let plan = watchpost_rule::threshold::check::<Thresholds>(settings);
    let plan = plan.unwrap_or_else(|problems| panic!("{problems:?}"));
    judge::<Thresholds>(round, &plan.settings).expect("it judges")
}

fn problems(settings: &str) -> Vec<(String, String)> {
    let plan = watchpost_rule::threshold::check::<Thresholds>(settings);
    let problems = plan.expect_err("there are problems").into_iter();
    problems.map(|problem| (problem.path, problem.message)).collect()
}

fn labels(labels: &[(&str, &str)]) -> Vec<Label> {
    let label = |(name, value): &(&str, &str)| Label {
        name: (*name).to_owned(),
        value: (*value).to_owned(),
    };
    labels.iter().map(label).collect()
}

fn metric(name: &str, unit: &str, samples: &[(&[(&str, &str)], f64)]) -> Metric {
    let sample = |(of, value): &(&[(&str, &str)], f64)| Sample {
        labels: labels(of),
        value: *value,
        time_ms: 0,
    };
    Metric {
        name: name.to_owned(),
        unit: unit.to_owned(),
        samples: samples.iter().map(sample).collect(),
    }
}

fn round(metrics: Vec<Metric>) -> Round {
    Round {
        host: "edge-1".to_owned(),
        time_ms: 0,
        facts: Vec::new(),
        metrics,
        gaps: Vec::new(),
        last: Vec::new(),
    }
}

#[test]
fn without_inclusive_the_level_itself_is_still_good() {
    let settings = r#"{"thresholds": [{"metric": "cpu", "alert": 95, "inclusive": false}]}"#;
    let severity = |value| judged(settings, round(vec![metric("cpu", "", &[(&[], value)])]))[0].severity;
    assert_eq!(severity(95.0), Severity::Ok);
    assert_eq!(severity(95.1), Severity::Alert);
}

#[test]
fn the_worse_finding_of_two_directions_is_kept() {
    let settings = r#"{"thresholds": [
        {"metric": "temperature", "warning": 60, "alert": 80},
        {"metric": "temperature", "direction": "below", "alert": 5}
    ]}"#;
    let found = |value| judged(settings, round(vec![metric("temperature", "celsius", &[(&[], value)])]));
    let cold = found(4.0);
    assert_eq!(cold.len(), 1);
    assert_eq!(
        cold[0].message,
        "temperature is 4 celsius, at or below the alert level of 5 celsius"
    );
    assert_eq!(found(61.0)[0].severity, Severity::Warning);
    assert_eq!(found(30.0)[0].severity, Severity::Ok);
}

#[test]
fn a_pattern_matches_many_metrics_and_reports_none_as_missing() {
    let settings = r#"{"thresholds": [{"metric": "queue_*", "alert": 10}]}"#;
    let metrics = vec![
        metric("queue_mail", "", &[(&[], 11.0)]),
        metric("queue_print", "", &[(&[], 1.0)]),
    ];
    assert_eq!(judged(settings, round(metrics)).len(), 2);
    assert_eq!(judged(settings, round(Vec::new())).len(), 0);
}

#[test]
fn a_quiet_threshold_leaves_out_only_findings_that_are_ok() {
    let settings = r#"{"thresholds": [{"metric": "disk", "alert": 90, "quiet": true}]}"#;
    let samples: [(&[(&str, &str)], f64); 2] = [(&[("mountpoint", "/a")], 1.0), (&[("mountpoint", "/b")], 99.0)];
    let found = judged(settings, round(vec![metric("disk", "", &samples)]));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].severity, Severity::Alert);
}

#[test]
fn a_quiet_series_is_reported_in_the_round_in_which_it_becomes_ok() {
    let settings = r#"{"thresholds": [{"metric": "load", "alert": 90, "quiet": true}]}"#;
    let mut last = Vec::new();
    let mut severities = |value| {
        let shown = Round {
            last: std::mem::take(&mut last),
            ..round(vec![metric("load", "", &[(&[], value)])])
        };
        last = judged(settings, shown);
        last.iter().map(|finding| finding.severity).collect::<Vec<_>>()
    };
    assert_eq!(severities(1.0), []);
    assert_eq!(severities(99.0), [Severity::Alert]);
    assert_eq!(severities(1.0), [Severity::Ok]);
    assert_eq!(severities(1.0), []);
}

/// A machine on which everything is measured that the defaults judge, with these usages in percent.
fn machine(disks: &[(&str, f64)], memory: f64, cpu_mean_1m: f64) -> Round {
    let disk = |(mountpoint, value): &(&str, f64)| Sample {
        labels: labels(&[("mountpoint", *mountpoint)]),
        value: *value,
        time_ms: 0,
    };
    let mut all_disks = metric("disk", "percent", &[]);
    all_disks.samples = disks.iter().map(disk).collect();
    round(vec![
        metric("active_chunks", "", &[(&[], 0.0)]),
        metric("cpu", "percent", &[(&[], 100.0)]),
        metric("cpu_mean_1m", "percent", &[(&[], cpu_mean_1m)]),
        all_disks,
        metric("inodes", "percent", &[(&[], 0.0)]),
        metric("memory", "percent", &[(&[], memory)]),
        metric("rules_quarantined", "", &[(&[], 0.0)]),
    ])
}

/// What is not ok, in the notation `subject severity limit`.
fn not_ok(settings: &str, round: Round) -> Vec<String> {
    let found = judged_with_defaults(settings, round);
    let not_ok = found.iter().filter(|finding| finding.severity != Severity::Ok);
    let written = |finding: &Finding| {
        let limit = finding.limit.unwrap_or_default();
        format!("{} {} {limit}", finding.subject, finding.severity.as_str())
    };
    not_ok.map(written).collect()
}

#[test]
fn a_threshold_replaces_the_default_with_its_identity_and_no_other() {
    let settings = r#"{"thresholds": [{"metric": "disk", "warning": 10, "alert": 20}]}"#;
    let found = not_ok(settings, machine(&[("/", 15.0)], 99.0, 99.0));
    assert_eq!(
        found,
        [
            "cpu_mean_1m alert 95",
            r#"disk{mountpoint="/"} warning 10"#,
            "memory alert 90"
        ]
    );
    assert_eq!(not_ok(settings, machine(&[("/", 5.0)], 5.0, 5.0)), [""; 0]);
    let everything_is_judged = judged_with_defaults(settings, machine(&[("/", 5.0)], 5.0, 5.0));
    assert_eq!(everything_is_judged.len(), 6, "{everything_is_judged:?}");
}

#[test]
fn a_threshold_for_some_series_is_evaluated_before_the_default_for_all() {
    let settings = r#"{"thresholds": [{"metric": "disk", "labels": {"mountpoint": "/data*"}, "alert": 99}]}"#;
    let both = machine(&[("/", 95.0), ("/data", 95.0)], 5.0, 5.0);
    assert_eq!(not_ok(settings, both), [r#"disk{mountpoint="/"} alert 90"#]);
    // The default judges no series here, and its metric is not missing.
    assert_eq!(not_ok(settings, machine(&[("/data", 95.0)], 5.0, 5.0)), [""; 0]);
}

#[test]
fn a_threshold_of_the_other_direction_leaves_the_default_in_place() {
    let settings = r#"{"thresholds": [{"metric": "memory", "direction": "below", "alert": 2}]}"#;
    assert_eq!(not_ok(settings, machine(&[("/", 5.0)], 99.0, 5.0)), ["memory alert 90"]);
    assert_eq!(not_ok(settings, machine(&[("/", 5.0)], 1.0, 5.0)), ["memory alert 2"]);
    assert_eq!(not_ok(settings, machine(&[("/", 5.0)], 50.0, 5.0)), [""; 0]);
}

#[test]
fn without_defaults_only_the_configured_thresholds_are_evaluated() {
    let settings = r#"{"defaults": false, "thresholds": [{"metric": "disk", "alert": 20}]}"#;
    let found = judged_with_defaults(settings, machine(&[("/", 15.0)], 99.0, 99.0));
    assert_eq!(found.len(), 1, "{found:?}");
    let nothing = judged_with_defaults(r#"{"defaults": false}"#, machine(&[("/", 99.0)], 99.0, 99.0));
    assert_eq!(nothing.len(), 0);
}

#[test]
fn the_cpu_is_judged_by_its_mean_and_azure_s_by_the_value_of_its_minute() {
    let busy = machine(&[("/", 5.0)], 5.0, 50.0);
    assert_eq!(not_ok("{}", busy), [""; 0], "cpu alone is 100 %");
    let resource: &[(&str, &str)] = &[("resource", "vm-1")];
    let mut of_azure = machine(&[("/", 5.0)], 5.0, 50.0);
    of_azure.metrics[1] = metric("cpu", "percent", &[(&[], 100.0), (resource, 96.0)]);
    assert_eq!(not_ok("{}", of_azure), [r#"cpu{resource="vm-1"} alert 95"#]);
}

#[test]
fn two_thresholds_with_the_same_identity_are_a_problem_that_names_both() {
    let settings = r#"{"thresholds": [
        {"metric": "disk", "labels": {"mountpoint": "/"}, "alert": 1},
        {"metric": "disk", "alert": 2},
        {"metric": "disk", "direction": "below", "alert": 3},
        {"metric": "disk", "labels": {"mountpoint": "/"}, "warning": 4}
    ]}"#;
    let found = problems(settings);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].0, "/thresholds/3");
    assert!(found[0].1.contains("/thresholds/0 "), "{found:?}");
}

#[test]
fn a_missing_series_that_the_settings_name_is_reported_with_its_labels() {
    let settings =
        r#"{"thresholds": [{"metric": "disk", "labels": {"mountpoint": "/data", "host": "*"}, "alert": 90}]}"#;
    let found = judged(
        settings,
        round(vec![metric("disk", "", &[(&[("mountpoint", "/")], 1.0)])]),
    );
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].severity, Severity::Unknown);
    assert!(
        found[0]
            .message
            .starts_with(r#"disk{mountpoint="/data"} is not measured here"#)
    );
}

#[test]
fn a_gap_keeps_every_series_that_it_hides() {
    let settings = r#"{"thresholds": [{"metric": "disk", "alert": 90}]}"#;
    let last = |mountpoint: &str| Finding {
        subject: Subject {
            metric: "disk".to_owned(),
            labels: labels(&[("mountpoint", mountpoint)]),
        },
        severity: Severity::Ok,
        value: Some(1.0),
        limit: Some(90.0),
        message: String::new(),
    };
    let hidden = Round {
        gaps: vec![Gap {
            source: "host".to_owned(),
            metrics: vec!["dis*".to_owned()],
            reason: "it hangs".to_owned(),
        }],
        last: vec![last("/a"), last("/b")],
        ..round(Vec::new())
    };
    let found = judged(settings, hidden);
    assert_eq!(found.len(), 2);
    assert!(
        found
            .iter()
            .all(|finding| finding.severity == Severity::Unknown && finding.message.contains("hangs"))
    );
}

#[test]
fn a_gap_of_several_rounds_ends_no_alert() {
    let settings = |missing: &str| {
        format!(
            r#"{{"thresholds": [{{"metric": "load", "missing": "{missing}",
                "warning": {{"enter": 80, "clear": 70}}, "alert": {{"enter": 90, "clear": 85}}}}]}}"#
        )
    };
    let after_a_gap = |missing: &str, before: f64, after: f64| {
        let settings = settings(missing);
        let shown = |value| round(vec![metric("load", "", &[(&[], value)])]);
        let follow = |next: Round, last: Vec<Finding>| judged(&settings, Round { last, ..next });
        let mut found = follow(shown(before), Vec::new());
        for _ in 0..3 {
            found = follow(round(Vec::new()), found);
        }
        follow(shown(after), found)[0].severity
    };
    for missing in ["unknown", "warning", "alert"] {
        assert_eq!(after_a_gap(missing, 91.0, 86.0), Severity::Alert, "{missing}");
        assert_eq!(after_a_gap(missing, 91.0, 71.0), Severity::Warning, "{missing}");
        assert_eq!(after_a_gap(missing, 81.0, 71.0), Severity::Warning, "{missing}");
        assert_eq!(after_a_gap(missing, 79.0, 79.0), Severity::Ok, "{missing}");
        assert_eq!(after_a_gap(missing, 91.0, 69.0), Severity::Ok, "{missing}");
    }
}

#[test]
fn a_template_that_fills_to_blank_is_replaced_by_the_default_sentence() {
    for template in ["{unit}", " {label.mountpoint}\n", "{label.missing}"] {
        let settings = serde_json::json!({"thresholds": [{"metric": "memory", "alert": 90, "message": template}]});
        let found = judged(&settings.to_string(), round(vec![metric("memory", "", &[(&[], 95.0)])]));
        assert_eq!(found[0].message, "memory is 95, at or above the alert level of 90");
    }
    // Where the result is not blank, it is used.
    let settings = r#"{"thresholds": [{"metric": "memory", "alert": 90, "message": "{unit}"}]}"#;
    let found = judged(settings, round(vec![metric("memory", "percent", &[(&[], 95.0)])]));
    assert_eq!(found[0].message, "percent");
}

fn alert(metric: &str, of: &[(&str, &str)]) -> Finding {
    Finding {
        subject: Subject {
            metric: metric.to_owned(),
            labels: labels(of),
        },
        severity: Severity::Alert,
        value: Some(99.0),
        limit: Some(90.0),
        message: "look".to_owned(),
    }
}

fn behind_a_gap(metrics: Vec<Metric>, last: Vec<Finding>) -> Round {
    let hiding = Gap {
        source: "host".to_owned(),
        metrics: vec!["load*".to_owned()],
        reason: "it hangs".to_owned(),
    };
    Round {
        gaps: vec![hiding],
        last,
        ..round(metrics)
    }
}

#[test]
fn a_series_without_labels_that_a_pattern_found_is_not_forgotten_behind_a_gap() {
    let settings = r#"{"thresholds": [{"metric": "load*", "alert": {"enter": 90, "clear": 80}}]}"#;
    let mut last = vec![alert("load1", &[])];
    for _ in 0..3 {
        last = judged(settings, behind_a_gap(Vec::new(), last));
        assert_eq!(last.len(), 1, "{last:?}");
        assert_eq!((last[0].severity, last[0].limit), (Severity::Unknown, Some(90.0)));
        assert!(last[0].message.contains("hangs"));
    }
    let back = Round {
        last,
        ..round(vec![metric("load1", "", &[(&[], 85.0)])])
    };
    assert_eq!(judged(settings, back)[0].severity, Severity::Alert);
}

#[test]
fn a_series_without_labels_is_not_forgotten_for_its_labelled_siblings() {
    let settings = r#"{"thresholds": [{"metric": "load", "alert": 90}]}"#;
    let sibling: &[(&str, &str)] = &[("core", "1")];
    let last = || vec![alert("load", &[]), alert("load", sibling)];
    let shown = judged(
        settings,
        behind_a_gap(vec![metric("load", "", &[(sibling, 95.0)])], last()),
    );
    let hidden = judged(settings, behind_a_gap(Vec::new(), last()));
    for (found, of_sibling) in [(shown, Severity::Alert), (hidden, Severity::Unknown)] {
        let mut found: Vec<_> = found.iter().map(|f| (f.subject.labels.len(), f.severity)).collect();
        found.sort_unstable();
        assert_eq!(found, [(0, Severity::Unknown), (1, of_sibling)]);
    }
}

#[test]
fn of_more_findings_than_the_host_accepts_the_mildest_are_left_out() {
    let settings = r#"{"thresholds": [{"metric": "disk", "warning": 80, "alert": 90}]}"#;
    let disks = |ok: usize, warnings: usize, alerts: usize, name: &str| {
        let values = [(ok, 1.0), (warnings, 85.0), (alerts, 95.0)];
        let values = values.iter().flat_map(|(count, value)| vec![*value; *count]);
        let samples = values.enumerate().map(|(at, value)| Sample {
            labels: labels(&[("mountpoint", &format!("/{name}{at}"))]),
            value,
            time_ms: 0,
        });
        let mut disk = metric("disk", "percent", &[]);
        disk.samples = samples.collect();
        disk.samples.sort_by(|a, b| a.labels[0].value.cmp(&b.labels[0].value));
        let found = judged(settings, round(vec![disk]));
        [Severity::Ok, Severity::Warning, Severity::Alert]
            .map(|severity| found.iter().filter(|finding| finding.severity == severity).count())
    };
    assert_eq!(disks(8998, 1, 1, ""), [8998, 1, 1]);
    assert_eq!(disks(20_000, 1, 1, ""), [8998, 1, 1]);
    assert_eq!(disks(5, 9000, 10, ""), [0, 8990, 10]);
    assert_eq!(disks(0, 5, 9001, ""), [0, 0, 9000]);
    // A finding has its labels twice, as labels and in the message, so fewer findings with long labels fit.
    let [ok, warnings, alerts] = disks(1000, 9000, 10, &"x".repeat(1000));
    assert_eq!((ok, alerts), (0, 10));
    assert!((1000..3000).contains(&warnings), "{warnings}");
}

#[test]
fn names_that_the_host_would_refuse_are_problems_of_the_settings() {
    let check = |threshold: serde_json::Value, at: &str| {
        let settings = serde_json::json!({"thresholds": [threshold]}).to_string();
        let problems = problems(&settings);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(problems[0].0, at);
    };
    for metric in ["1disk", "disk-free", "größe", "a b", &"x".repeat(201)] {
        check(
            serde_json::json!({"metric": metric, "alert": 1}),
            "/thresholds/0/metric",
        );
    }
    let labelled = |name: &str, value: &str| serde_json::json!({"metric": "disk", "alert": 1, "labels": {name: value}});
    check(labelled("mount-point", "/"), "/thresholds/0/labels/mount-point");
    check(labelled("a/b", "/"), "/thresholds/0/labels/a~1b");
    check(labelled("1", "/"), "/thresholds/0/labels/1");
    check(labelled("mountpoint", &"x".repeat(1100)), "/thresholds/0/labels");
    for message in ["", " \n", "\u{1}"] {
        let threshold = serde_json::json!({"metric": "disk", "alert": 1, "message": message});
        check(threshold, "/thresholds/0/message");
    }
}

#[test]
fn more_metrics_than_a_plan_may_name_are_a_problem_of_the_settings() {
    let settings = |count: usize, defaults: bool| {
        let thresholds = (0..count).map(|at| serde_json::json!({"metric": format!("m{at}"), "alert": 1}));
        serde_json::json!({"thresholds": thresholds.collect::<Vec<_>>(), "defaults": defaults}).to_string()
    };
    assert!(watchpost_rule::threshold::check::<Thresholds>(&settings(1000, false)).is_ok());
    assert_eq!(problems(&settings(1001, false))[0].0, "/thresholds");
    // The defaults name eight metrics.
    assert!(watchpost_rule::threshold::check::<Thresholds>(&settings(992, true)).is_ok());
    assert_eq!(problems(&settings(993, true))[0].0, "/thresholds");
}

#[test]
fn an_optional_metric_may_be_absent_but_not_hidden_by_a_gap() {
    let settings = r#"{"thresholds": [{"metric": "active_chunks", "alert": 40, "missing": "optional"}]}"#;
    assert_eq!(judged(settings, round(Vec::new())).len(), 0);
    let gap = Gap {
        source: "chunks".to_owned(),
        metrics: vec!["active_chunks".to_owned()],
        reason: "the database does not answer".to_owned(),
    };
    let hidden = Round {
        gaps: vec![gap],
        ..round(Vec::new())
    };
    assert_eq!(judged(settings, hidden)[0].severity, Severity::Unknown);
}

#[test]
fn problems_have_their_place_in_the_settings() {
    let check = |settings: &str, at: &str, part: &str| {
        let problems = problems(settings);
        let found = problems.iter().any(|(place, what)| place == at && what.contains(part));
        assert!(found, "{at}: {part}\n{problems:?}");
    };
    check(
        r#"{"thresholds": [{"metric": "", "alert": 1}]}"#,
        "/thresholds/0/metric",
        "name a metric",
    );
    check(
        r#"{"thresholds": [{"metric": "a", "direction": "below", "warning": 1, "alert": 2}]}"#,
        "/thresholds/0/warning",
        "above the alert level 2",
    );
    check(
        r#"{"thresholds": [{"metric": "a", "direction": "below", "alert": {"enter": 5, "clear": 4}}]}"#,
        "/thresholds/0/alert",
        "set clear above enter",
    );
    check(
        r#"{"thresholds": [{"metric": "a", "alert": 1e999}]}"#,
        "",
        "number out of range",
    );
    check("[]", "", "the settings must be a JSON object");
}

#[test]
fn the_schema_knows_every_setting_and_no_other() {
    let schema: serde_json::Value = serde_json::from_str(&Thresholds::describe().settings_schema).expect("it is JSON");
    let properties = schema["$defs"]["threshold"]["properties"]
        .as_object()
        .expect("it has properties");
    // Each property is understood, and the message for an unknown one lists exactly these.
    let unknown = &problems(r#"{"thresholds": [{"metric": "a", "alert": 1, "zzz": 1}]}"#)[0].1;
    for name in properties.keys() {
        assert!(unknown.contains(&format!("`{name}`")), "{name}: {unknown}");
    }
    assert_eq!(unknown.matches('`').count() / 2, properties.len() + 1, "{unknown}");
    let properties = schema["properties"].as_object().expect("it has properties");
    let unknown = &problems(r#"{"zzz": 1}"#)[0].1;
    for name in properties.keys() {
        assert!(unknown.contains(&format!("`{name}`")), "{name}: {unknown}");
    }
    assert_eq!(unknown.matches('`').count() / 2, properties.len() + 1, "{unknown}");
}
