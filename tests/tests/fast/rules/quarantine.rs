//! Quarantine of failing rules.

use serde_json::{Value, json};
use watchpost_tests::guests::{HOSTILE, LOCKOUT_RULE};
use watchpost_tests::http::Client;
use watchpost_tests::rules::{activate, generation, other_version, uploaded};
use watchpost_tests::server::{Server, eventually};

const EDGE: &str = "[server]\nhostname = \"edge-9\"\n[rules]\nmax_consecutive_faults = 3\n";

#[test]
fn a_rule_that_fails_its_checks_is_never_active() {
    let server = Server::with(EDGE).ready();
    let admin = server.client("admin");
    let (name, digest) = uploaded(&admin, HOSTILE);
    let refused = activate(
        &admin,
        &name,
        &digest,
        json!({ "settings": { "do": "panic", "on": "edge-9" } }),
    );
    let problem = refused.problem(422);
    assert!(
        problem.contains("is on fire"),
        "it was tried on what was measured here: {problem}"
    );
    assert_eq!(generation(&admin), 1);
}

#[test]
fn a_rule_that_keeps_failing_is_quarantined_and_its_last_good_version_is_activated() {
    let server = Server::with(EDGE).ready();
    let admin = server.client("admin");
    let (name, digest) = uploaded(&admin, HOSTILE);
    activate(&admin, &name, &digest, json!({ "settings": { "count": 1 } }));
    let soon = now_ms() + 2000;
    let bad = json!({ "settings": { "do": "panic", "on": "edge-9", "from_ms": soon } });
    assert_eq!(activate(&admin, &name, &digest, bad).status, 200);
    let entry = eventually("a line in the log of the rule", || {
        let log = admin.get("/api/v1/rules/hostile/log").json();
        Some(log["log"][0].clone()).filter(|line| line["action"] == "quarantined")
    });
    assert_eq!(
        (&entry["actor"], &entry["digest"]),
        (&json!("watchpost"), &json!(digest))
    );
    assert!(
        entry["note"].as_str().is_some_and(|note| note.contains("is on fire")),
        "{entry}"
    );
    let rule = admin.get("/api/v1/rules/hostile").json();
    assert_eq!(rule["active"][0]["settings"]["count"], 1, "{rule}");
    server.logged("rule failed too often and was quarantined");
    let overview = admin.get("/api/v1/rules").json();
    assert_eq!(overview["quarantined"][0]["rule"], "hostile", "{overview}");
    let status = admin.get("/api/v1/status").json();
    assert_eq!(status["quarantined"], overview["quarantined"], "{status}");
    let metrics = admin.get("/metrics").text();
    assert!(
        metrics.contains("watchpost_rule_quarantines_total{rule=\"hostile\"} 1"),
        "{metrics}"
    );
    eventually("an alert that a person sees", || {
        severity_of(&admin, "rules_quarantined").filter(|it| it == "alert")
    });
    activate(&admin, &name, &digest, json!({ "settings": { "count": 2 } }));
    eventually("the end of the alert", || {
        severity_of(&admin, "rules_quarantined").filter(|it| it == "ok")
    });
}

#[test]
fn a_failing_role_rule_is_quarantined_once_under_many_requests() {
    let server = Server::with(EDGE).ready();
    let admin = server.client("admin");
    let (name, digest) = uploaded(&admin, LOCKOUT_RULE);
    assert_eq!(activate(&admin, &name, &digest, json!({})).status, 200);
    let failing = json!({ "settings": { "do": "panic", "to": "agent" } });
    assert_eq!(
        activate(&admin, &name, &digest, failing).status,
        200,
        "it behaves to others"
    );
    assert_eq!(generation(&admin), 3);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let agent = server.client("agent");
                eventually("the good rule", || {
                    (agent.get("/api/v1/status").status == 200).then_some(())
                });
            });
        }
    });
    // Late reports of the same failure do not quarantine the good version.
    for _ in 0..20 {
        assert_eq!(server.client("agent").get("/api/v1/status").status, 200);
    }
    assert_eq!(generation(&admin), 4);
    let log = admin.get("/api/v1/rules/lockout/log").json();
    let deeds: Vec<_> = log["log"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|line| line["action"].clone())
        .collect();
    assert_eq!(deeds, ["quarantined", "activated", "activated", "uploaded"]);
    assert!(
        log["log"][0]["note"]
            .as_str()
            .is_some_and(|reason| reason.contains("it panicked")),
        "{log}"
    );
}

#[test]
fn a_deleted_fallback_version_does_not_keep_a_failing_rule_active() {
    let server = Server::with(EDGE).ready();
    let admin = server.client("admin");
    let (name, first) = uploaded(&admin, LOCKOUT_RULE);
    let (_, second) = uploaded(&admin, &other_version(LOCKOUT_RULE));
    activate(&admin, &name, &first, json!({}));
    let failing = json!({ "settings": { "do": "panic", "to": "agent" } });
    assert_eq!(activate(&admin, &name, &second, failing).status, 200);
    let path = format!("/api/v1/rules/{name}/versions/{first}");
    assert_eq!(admin.ask("DELETE", &path).status, 204);
    let agent = server.client("agent");
    // The built-in rule preceded both.
    eventually("the rule before", || {
        (agent.get("/api/v1/chunks").status == 200).then_some(())
    });
    let overview = admin.get("/api/v1/rules").json();
    assert_eq!(overview["active"][1]["name"], "role", "{overview}");
    assert_eq!(overview["quarantined"][0]["rule"], "lockout", "{overview}");
}

#[test]
fn a_role_rule_that_fails_its_checks_is_never_active() {
    let server = Server::with(EDGE).ready();
    let admin = server.client("admin");
    let (name, digest) = uploaded(&admin, LOCKOUT_RULE);
    assert_eq!(
        activate(&admin, &name, &digest, json!({})).status,
        200,
        "it behaves, so far"
    );
    let refused = admin.send("PUT", "/api/v1/rules/lockout/settings", &json!({ "do": "panic" }));
    refused.problem(422);
    assert_eq!(admin.get("/api/v1/status").status, 200);
}

fn severity_of(admin: &Client, metric: &str) -> Option<String> {
    let report = admin.get("/api/v1/report").json();
    let findings: &Vec<Value> = report["findings"].as_array()?;
    let found = findings.iter().find(|finding| finding["subject"]["metric"] == metric)?;
    Some(found["severity"].as_str()?.to_owned())
}

fn now_ms() -> u64 {
    watchpost::clock::now_ms()
}
