//! Rules in shadow mode.

use std::time::{Duration, Instant};

use diesel::SqliteConnection;
use diesel::connection::SimpleConnection;
use serde_json::{Value, json};
use watchpost_policies::Digest;
use watchpost_tests::guests::{HOSTILE, LOCKOUT_RULE, numbered};
use watchpost_tests::rules::{activate, uploaded};
use watchpost_tests::server::{Server, eventually};

#[test]
fn a_shadow_is_evaluated_and_reported_without_effect() {
    let server = Server::start().ready();
    let admin = server.client("admin");
    let (name, digest) = uploaded(&admin, HOSTILE);
    let options = json!({ "mode": "shadow", "settings": { "do": "unknown-metric", "on": "nowhere" } });
    assert_eq!(activate(&admin, &name, &digest, options).status, 200);
    let shadow = eventually("a shadow", || {
        let status = admin.get("/api/v1/status").json();
        let shadow = status["round"]["shadow"].as_array()?.first()?.clone();
        (shadow["rounds"].as_u64() >= Some(2)).then_some(shadow)
    });
    assert_eq!(
        (shadow["rule"].as_str(), shadow["digest"].as_str()),
        (Some("hostile"), Some(digest.as_str()))
    );
    assert_eq!(
        (&shadow["differences"], &shadow["failed_rounds"]),
        (&json!(0), &json!(0)),
        "{shadow}"
    );
    let report = admin.get("/api/v1/report").json();
    assert!(
        !report.to_string().contains("hostile"),
        "what it says is in no report: {report}"
    );
    let metrics = admin.get("/metrics").text();
    assert!(
        metrics.contains("watchpost_rule_shadow_differences{rule=\"hostile\"} 0"),
        "{metrics}"
    );
    assert_eq!(admin.ask("DELETE", "/api/v1/rules/hostile/shadow").status, 200);
    eventually("the end of the shadow", || {
        let status = admin.get("/api/v1/status").json();
        status["round"]["shadow"].is_null().then_some(())
    });
}

#[test]
fn a_shadow_version_is_compared_with_the_active_one() {
    let server = Server::with("[server]\nhostname = \"edge-1\"\n").ready();
    let admin = server.client("admin");
    let (name, digest) = uploaded(&admin, HOSTILE);
    activate(&admin, &name, &digest, json!({ "settings": {} }));
    let other = watchpost_tests::rules::other_version(HOSTILE);
    let (_, candidate) = uploaded(&admin, &other);
    assert_ne!(digest, candidate);
    // It reports a series as missing where the active version has no finding.
    let options = json!({ "mode": "shadow", "settings": { "do": "miss", "on": "edge-1" } });
    assert_eq!(activate(&admin, &name, &candidate, options).status, 200);
    let shadow = eventually("a difference", || {
        let status = admin.get("/api/v1/status").json();
        let shadow = status["round"]["shadow"].as_array()?.first()?.clone();
        (shadow["differences"].as_u64() >= Some(1)).then_some(shadow)
    });
    assert_eq!(shadow["digest"], candidate.as_str());
    let reported = shadow["reported"].as_array().expect("a list");
    let missing = reported.iter().find(|difference| difference["candidate"] == "unknown");
    assert_eq!(
        missing.map(|missing| &missing["active"]),
        Some(&Value::Null),
        "{shadow}"
    );
}

#[test]
fn a_shadow_role_rule_decides_nothing_and_its_differences_are_recorded() {
    // There are no findings here, so the standings do not change.
    let server = Server::with("[rules.threshold]\nthresholds = []\n").ready();
    let admin = server.client("admin");
    let (name, digest) = uploaded(&admin, LOCKOUT_RULE);
    let options = json!({ "mode": "shadow", "settings": { "do": "echo" } });
    assert_eq!(activate(&admin, &name, &digest, options).status, 200);
    assert_eq!(admin.get("/api/v1/rules").status, 200, "the rule would have denied it");
    let line = "watchpost_role_shadow_differences_total{action=\"rules.read\"}";
    eventually("a difference", || {
        admin.get("/metrics").text().contains(line).then_some(())
    });
    let shadow = eventually("how it does", || {
        let shadow = admin.get("/api/v1/status").json()["role_in_shadow"].clone();
        (shadow["differing_decisions"].as_u64() >= Some(1)).then_some(shadow)
    });
    assert_eq!(
        (&shadow["rule"], &shadow["digest"], &shadow["consecutive_faults"]),
        (&json!("lockout"), &json!(digest), &json!(0)),
        "{shadow}"
    );
    // The same request again is not another difference.
    assert_eq!(admin.get("/api/v1/rules").status, 200);
    let page = "/api/v1/decisions?kind=difference&rule=lockout&action=rules.read&verdict=deny";
    let records = eventually("a record of it", || {
        let records = admin.get(page).json()["decisions"].as_array()?.clone();
        (!records.is_empty()).then_some(records)
    });
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!(records[0]["identity"], "CN=admin,OU=admin,O=Watchpost");
    assert_eq!(
        (&records[0]["actual"]["verdict"], &records[0]["actual"]["rule"]),
        (&json!("allow"), &json!("role")),
        "{records:?}"
    );
    assert!(records[0]["reason"].is_string() && records[0]["request_id"].is_string());
    let refused = admin.get("/api/v1/decisions?verdict=deny&rule=lockout").json();
    assert_eq!(refused["decisions"], json!([]), "it denied no request");
}

#[test]
fn a_shadow_role_rule_that_never_returns_delays_no_request() {
    let settings = "[rules]\nmax_consecutive_faults = 3\n[rules.limits]\ndecide_ms = 500\n";
    let server = Server::with(settings);
    let admin = server.client("admin");
    let (name, digest) = uploaded(&admin, LOCKOUT_RULE);
    let options = json!({ "mode": "shadow", "settings": { "do": "echo" } });
    assert_eq!(activate(&admin, &name, &digest, options).status, 200);
    // These settings would not pass the checks, so they are written to the database.
    let folder = server.stop();
    let looping = "{\"do\":\"loop\"}";
    let of_it = Digest::of(looping.as_bytes());
    let change = format!("UPDATE rule_settings SET settings = '{looping}', digest = '{of_it}' WHERE name = 'lockout'");
    let database = folder.path().join("data/watchpost.db").display().to_string();
    let mut connection = <SqliteConnection as diesel::Connection>::establish(&database).expect("it opens");
    connection.batch_execute(&change).expect("it is changed");
    drop(connection);
    let server = Server::in_folder(folder, settings).ready();
    let admin = server.client("admin");
    let began = Instant::now();
    for _ in 0..20 {
        assert_eq!(admin.get("/api/v1/status").status, 200);
    }
    let duration = began.elapsed();
    assert!(duration < Duration::from_secs(5), "twenty answers took {duration:?}");
    let given_up = eventually("it to be given up", || {
        let overview = admin.get("/api/v1/rules").json();
        Some(overview["shadow_disabled"].clone()).filter(|given_up| given_up.is_object())
    });
    assert_eq!(
        (&given_up["rule"], &given_up["digest"]),
        (&json!("lockout"), &json!(digest)),
        "{given_up}"
    );
    server.logged("role rule in shadow mode failed too often; it is not evaluated again");
    let metrics = admin.get("/metrics").text();
    let failed = |count: u32| format!("watchpost_role_shadow_skipped_total{{reason=\"fault\"}} {count}\n");
    assert!(metrics.contains(&failed(3)), "{metrics}");
    assert!(
        !metrics.contains("watchpost_role_shadow_differences_total{"),
        "a failure is no other opinion: {metrics}"
    );
    let (other, other_digest) = uploaded(&admin, &numbered(1));
    assert_eq!(activate(&admin, &other, &other_digest, json!({})).status, 200);
    eventually("it to be asked again with other rules", || {
        admin.get("/metrics").text().contains(&failed(6)).then_some(())
    });
}

#[test]
fn an_activated_version_is_no_longer_a_shadow() {
    let server = Server::start();
    let admin = server.client("admin");
    let (name, digest) = uploaded(&admin, &numbered(1));
    activate(&admin, &name, &digest, json!({ "mode": "shadow" }));
    let answer = activate(&admin, &name, &digest, json!({ "settings": { "metrics": ["cpu"] } }));
    let lines = watchpost_tests::rules::active(&answer.json());
    assert_eq!(
        lines.iter().filter(|line| line.starts_with(&name)).count(),
        1,
        "{lines:?}"
    );
}
