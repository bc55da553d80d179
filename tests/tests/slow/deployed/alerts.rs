//! Alerts and recording rules, checked with `promtool` and a real Prometheus.

use std::path::PathBuf;
use std::process::Command;

use watchpost_tests::programs::output_of;

use super::{deploy, read};

fn promtool(arguments: &[&str], files: &[PathBuf]) -> Result<String, String> {
    output_of(Command::new("promtool").args(arguments).args(files))
}

/// All YAML files of a folder in `deploy/prometheus`.
fn files(folder: &str) -> Vec<PathBuf> {
    let entries = deploy()
        .join("prometheus")
        .join(folder)
        .read_dir()
        .expect("it is there");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("it can be read").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{folder} has files");
    files
}

#[test]
fn promtool_finds_nothing_wrong_with_the_rules() {
    let said = promtool(&["check", "rules", "--lint=all", "--lint-fatal"], &files("rules")).expect("they are good");
    assert!(!said.contains(" 0 rules found"), "{said}");
}

#[test]
fn promtool_finds_nothing_wrong_with_the_configuration() {
    let config = deploy().join("prometheus/prometheus.yml");
    // The certificate files are the operator's, so only the syntax can be checked here.
    promtool(&["check", "config", "--syntax-only"], &[config]).expect("it is good");
}

#[test]
fn every_alert_fires_when_it_should_and_only_then() {
    let tests = files("tests");
    let said = promtool(&["test", "rules"], &tests).expect("they pass");
    assert_eq!(said.matches("SUCCESS").count(), tests.len(), "{said}");
}

#[test]
fn every_alert_and_every_recording_rule_has_a_test() {
    let tests: String = files("tests")
        .iter()
        .map(|file| std::fs::read_to_string(file).expect("it can be read"))
        .collect();
    let rules = [
        read("prometheus/rules/alerts.yml"),
        read("prometheus/rules/recording.yml"),
    ]
    .concat();
    let named = |mark: &str| -> Vec<String> {
        let names = rules.lines().filter_map(|line| line.trim().strip_prefix(mark));
        names.map(str::to_owned).collect()
    };
    let (alerts, recordings) = (named("- alert: "), named("- record: "));
    assert!(alerts.len() > 20 && recordings.len() > 5, "{alerts:?} {recordings:?}");
    for alert in alerts {
        let mark = format!("alertname: {alert}\n");
        let fires = tests
            .split(&mark)
            .skip(1)
            .any(|look| look.lines().nth(1).is_some_and(|line| line.trim() == "exp_alerts:"));
        assert!(fires, "no test has {alert} firing");
    }
    for recording in recordings {
        assert!(
            tests.contains(&format!("- expr: {recording}")),
            "no test asks for {recording}"
        );
    }
}
