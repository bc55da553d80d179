//! Tests of the monitor's output.

use jiff::civil::date;
use jiff::tz::{Offset, TimeZone};
use watchpost_policies::{MetricName, Subject, Unit};

use super::*;

fn labels(all: &[(&str, &str)]) -> Labels {
    Labels::new(all.iter().copied()).expect("legal labels")
}

fn sample(metric: &str, of: &[(&str, &str)], value: f64) -> Sample {
    let metric = MetricName::new(metric).expect("a legal name");
    Sample::new(metric, labels(of), value, Unit::default(), 1).expect("a finite value")
}

fn finding(metric: &str, of: &[(&str, &str)], severity: Severity) -> Finding {
    Finding {
        rule: "threshold".to_owned(),
        subject: Subject {
            metric: metric.to_owned(),
            labels: labels(of),
        },
        severity,
        value: None,
        limit: None,
        message: String::new(),
        since_ms: 1,
        carried: false,
    }
}

fn resources(samples: Vec<Sample>, findings: &[Finding], mode: Mode) -> Resources {
    let snapshot = Snapshot::new("edge-1".to_owned(), 1, Labels::none(), samples, Vec::new());
    let zone = TimeZone::fixed(Offset::from_hours(2).expect("a legal offset"));
    let time = date(2026, 11, 21).at(10, 0, 0, 123_456_789).to_zoned(zone);
    Resources::new(&snapshot, findings, mode, time.expect("there is such a time"))
}

const ROOT: [(&str, &str); 2] = [("device", "/dev/vda"), ("mountpoint", "/")];
const HOME: [(&str, &str); 2] = [("device", "/dev/vdb"), ("mountpoint", "/home")];

fn machine() -> Vec<Sample> {
    vec![
        sample("disk", &ROOT, 83.5),
        sample("disk", &HOME, 99.0),
        sample("memory", &[], 95.5),
        sample("active_chunks", &[], 36.0),
    ]
}

fn judged() -> [Finding; 4] {
    [
        finding("disk", &ROOT, Severity::Ok),
        finding("disk", &HOME, Severity::Alert),
        finding("memory", &[], Severity::Alert),
        finding("active_chunks", &[], Severity::Warning),
    ]
}

#[test]
fn the_body_has_the_monitor_s_values_and_statuses() {
    let body = resources(machine(), &judged(), Mode::Local).body();
    assert_eq!(
        body,
        "{\"metrics\":{\"disk_pct\":83.5,\"memory_pct\":95.5,\"active_chunks\":36},\
         \"statuses\":{\"disk\":\"OK\",\"memory\":\"ALERT\",\"chunks\":\"WARN\",\"overall\":\"ALERT\"},\
         \"last_updated\":\"2026-11-21T10:00:00.123456+02:00\"}"
    );
}

#[test]
fn each_value_at_a_level_is_a_line_as_python_wrote_it() {
    let lines = resources(machine(), &judged(), Mode::Local).lines();
    assert_eq!(
        lines,
        [
            "2026-11-21 10:00:00,123 - PixCrawler.resource_monitoring - ERROR - \
             RESOURCE ALERT [2026-11-21T10:00:00.123456] - MEMORY: 95.5 (Status: ALERT)\n",
            "2026-11-21 10:00:00,123 - PixCrawler.resource_monitoring - WARNING - \
             RESOURCE WARNING [2026-11-21T10:00:00.123456] - CHUNKS: 36 (Status: WARN)\n",
        ]
    );
}

#[test]
fn what_is_missing_is_unknown_and_never_ok() {
    let check = |samples: Vec<Sample>, findings: &[Finding], expected: [&str; 4]| {
        let body: serde_json::Value =
            serde_json::from_str(&resources(samples, findings, Mode::Local).body()).expect("JSON");
        let statuses = &body["statuses"];
        let actual = ["disk", "memory", "chunks", "overall"].map(|name| statuses[name].as_str().unwrap_or_default());
        assert_eq!(actual, expected, "{findings:?}");
        body
    };
    let body = check(Vec::new(), &[], ["UNKNOWN"; 4]);
    assert_eq!(
        body["metrics"],
        serde_json::json!({"disk_pct": null, "memory_pct": null, "active_chunks": null})
    );
    let unminded = finding("active_chunks", &[], Severity::Ok);
    check(Vec::new(), &[unminded], ["UNKNOWN"; 4]);
    // No rule judges these values.
    check(machine(), &[], ["OK"; 4]);
    let without_value = finding("memory", &[], Severity::Alert);
    check(Vec::new(), &[without_value], ["UNKNOWN", "ALERT", "UNKNOWN", "ALERT"]);
    // The rule failed before it judged this disk.
    let carried = Finding {
        carried: true,
        ..finding("disk", &[], Severity::Unknown)
    };
    check(machine(), &[carried], ["UNKNOWN", "OK", "OK", "UNKNOWN"]);
    // Another disk is missing.
    let another = finding("disk", &[], Severity::Unknown);
    check(machine(), &[another], ["OK"; 4]);
    let warned = finding("memory", &[], Severity::Warning);
    let without_chunks = machine().into_iter().take(3).collect();
    check(without_chunks, &[warned], ["OK", "WARN", "UNKNOWN", "WARN"]);
}

#[test]
fn values_have_one_decimal_in_the_body_and_in_the_lines() {
    let check = |value: f64, json: &str, line: &str| {
        let samples = vec![sample("disk", &ROOT, value), sample("memory", &[], value)];
        let findings = [finding("disk", &ROOT, Severity::Warning)];
        let resources = resources(samples, &findings, Mode::Local);
        let body = resources.body();
        let expected = format!("{{\"metrics\":{{\"disk_pct\":{json},\"memory_pct\":{json},");
        assert!(body.starts_with(&expected), "{body}");
        let lines = resources.lines().concat();
        assert!(lines.contains(&format!("] - DISK: {line} (Status: WARN)")), "{lines}");
    };
    for (value, text) in [
        (19.658_147_070_004_74, "19.7"),
        (99.95, "100.0"),
        (80.0, "80.0"),
        // Half of the last digit goes to the even neighbour, as in Python.
        (0.25, "0.2"),
        (0.04, "0.0"),
    ] {
        check(value, text, text);
    }
}

#[test]
fn in_azure_mode_the_worst_resource_is_reported() {
    let (one, two, three) = ([("resource", "a")], [("resource", "b")], [("resource", "c")]);
    let samples = vec![
        sample("disk", &ROOT, 99.0),
        sample("disk", &one, 40.0),
        sample("disk", &two, 60.0),
        sample("memory", &one, 85.0),
        // A fuller memory can have a better status, because each resource has its own levels.
        sample("memory", &three, 95.0),
    ];
    let findings = [
        finding("disk", &ROOT, Severity::Alert),
        finding("memory", &one, Severity::Warning),
        finding("memory", &three, Severity::Ok),
    ];
    let body: serde_json::Value =
        serde_json::from_str(&resources(samples, &findings, Mode::Azure).body()).expect("JSON");
    assert_eq!(body["metrics"]["disk_pct"], 60.0);
    assert_eq!(body["metrics"]["memory_pct"], 85.0);
    assert_eq!(
        body["statuses"],
        serde_json::json!({"disk": "OK", "memory": "WARN", "chunks": "UNKNOWN", "overall": "WARN"})
    );
}

#[test]
fn a_level_without_a_value_is_none() {
    let lines = resources(Vec::new(), &[finding("disk", &[], Severity::Alert)], Mode::Local).lines();
    assert!(lines[0].ends_with("- DISK: None (Status: ALERT)\n"), "{lines:?}");
}
