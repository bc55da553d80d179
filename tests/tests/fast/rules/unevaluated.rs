//! What no rule evaluates is unknown in every output, and the end of an evaluation is logged.

use serde_json::{Value, json};
use watchpost_tests::http::Client;
use watchpost_tests::rules::activate;
use watchpost_tests::server::{Server, command, eventually};

const LISTENERS: &str = "listeners = [{ address = \"127.0.0.1:0\" }, { address = \"127.0.0.1:0\", tls = false }, \
                         { address = \"127.0.0.1:0\", tls = false, api = \"pixcrawler\" }]\n\
                         [collector]\ninterval = \"200ms\"\n";

/// The statuses of PixCrawler's resource monitor.
fn statuses(server: &Server) -> Value {
    let listeners = server.listeners();
    let last = listeners.iter().rev().find(|listener| !listener.tls);
    let client = Client::plain(last.expect("it listens without TLS").address);
    client.get("/metrics").json()["statuses"].clone()
}

fn severity(admin: &Client) -> (Value, Value) {
    let report = admin.get("/api/v1/report").json();
    let status = admin.get("/api/v1/status").json();
    for key in ["severity", "unknown_reason"] {
        assert_eq!(report[key], status[key], "{report}");
    }
    (report["severity"].clone(), report["unknown_reason"].clone())
}

#[test]
fn without_its_threshold_rule_a_machine_is_unknown_and_not_ok() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::in_folder(folder, LISTENERS).ready();
    let admin = server.client("admin");
    let digest = admin.get("/api/v1/rules/threshold").json()["active"][0]["digest"].clone();
    eventually("an evaluated memory", || {
        (statuses(&server)["memory"] != "UNKNOWN").then_some(())
    });

    let answer = admin.ask("DELETE", "/api/v1/rules/threshold/active").json();
    let warnings = answer["warnings"].as_array().expect("there are warnings").clone();
    let [subjects, nothing] = &warnings[..] else {
        panic!("{answer}");
    };
    let subjects = subjects.as_str().expect("a text");
    assert!(
        subjects.starts_with("no rule evaluates these subjects any more: "),
        "{subjects}"
    );
    assert!(subjects.contains("memory"), "{subjects}");
    assert!(
        nothing
            .as_str()
            .is_some_and(|text| text.starts_with("no threshold rule is active")),
        "{nothing}"
    );
    server.logged("no rule evaluates these subjects any more: ");
    server.logged("no threshold rule is active, so nothing is evaluated");
    server.logged("memory is no longer evaluated by the rule threshold: the rule is not active");

    eventually("a round without the rule", || {
        (severity(&admin) == (json!("unknown"), json!("no threshold rule is active"))).then_some(())
    });
    let unknown = json!({"disk": "UNKNOWN", "memory": "UNKNOWN", "chunks": "UNKNOWN", "overall": "UNKNOWN"});
    assert_eq!(statuses(&server), unknown);
    let page = admin.get("/metrics").text().to_owned();
    for line in [
        "watchpost_report_severity{severity=\"ok\"} 0",
        "watchpost_report_severity{severity=\"unknown\"} 1",
        "watchpost_findings{severity=\"ok\"} 0",
    ] {
        assert!(page.lines().any(|found| found == line), "{line} is missing in\n{page}");
    }
    let log = server.log_lines().join("\n");
    assert!(!log.contains("is ok again"), "{log}");

    let digest = digest.as_str().expect("a digest");
    let answer = activate(&admin, "threshold", digest, json!({}));
    assert_eq!((answer.status, &answer.json()["warnings"]), (200, &Value::Null));
    eventually("an evaluated memory", || {
        (statuses(&server)["memory"] != "UNKNOWN").then_some(())
    });
}

#[test]
fn a_configuration_that_evaluates_nothing_is_a_warning_at_start_and_of_check() {
    let settings = "[rules.threshold]\ndefaults = false\n";
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::in_folder(folder, &format!("{LISTENERS}{settings}")).ready();
    server.logged("no active threshold rule (threshold) requests a metric");
    eventually("a round", || {
        (severity(&server.client("admin")) == (json!("unknown"), json!("no active rule has a finding"))).then_some(())
    });

    let folder = tempfile::tempdir().expect("a folder");
    let check = |settings: &str| {
        std::fs::write(folder.path().join("watchpost.toml"), settings).expect("written");
        let check = command(folder.path()).arg("check").output().expect("it runs");
        assert_eq!(check.status.code(), Some(0));
        String::from_utf8(check.stderr).expect("UTF-8")
    };
    let warning = check(settings);
    assert!(
        warning.contains("rules.threshold: no active threshold rule (threshold)"),
        "{warning}"
    );
    assert_eq!(check(""), "");
    assert_eq!(
        check("[rules.threshold]\nthresholds = [{ metric = \"disk\", alert = 90 }]\n"),
        ""
    );
}
