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

/// A server whose administrator breaks the glass, with the role rule `lockout` that fails for these clients. An older
/// version of it, with settings that allow everything, was active before.
fn failing_role_rule(to: &str) -> (Server, String) {
    let server = Server::with(EDGE).ready();
    let fingerprint = fingerprint(&server.data().join("pki/clients/admin.crt"));
    server.configure(&format!("{EDGE}break_glass = [\"{fingerprint}\"]\n"));
    server.signal("HUP");
    server.logged("configuration reloaded");
    let admin = server.client("admin");
    let (name, first) = uploaded(&admin, LOCKOUT_RULE);
    let (_, second) = uploaded(&admin, &other_version(LOCKOUT_RULE));
    assert_eq!(activate(&admin, &name, &first, json!({})).status, 200);
    assert_eq!(activate(&admin, &name, &second, json!({})).status, 200);
    let failing = json!({ "settings": { "do": "panic", "to": to } });
    assert_eq!(
        activate(&admin, &name, &second, failing).status,
        200,
        "it behaves to others"
    );
    assert_eq!(generation(&admin), 4);
    (server, name)
}

const CLOSED: &str = "access is closed, because the role rule failed";

#[test]
fn a_role_rule_that_fails_for_several_identities_is_replaced_by_one_that_denies() {
    let (server, name) = failing_role_rule("agent,reader,user");
    let denied = |client: &str| server.client(client).get("/api/v1/status").problem(403);
    std::thread::scope(|scope| {
        for client in ["agent", "reader", "user"] {
            scope.spawn(move || {
                eventually("the quarantine", || {
                    (!denied(client).contains("the role rule failed")).then_some(())
                });
            });
        }
    });
    // Neither the earlier version nor the earlier settings are active again, which allow everything.
    let admin = server.client("admin");
    for client in ["agent", "reader", "user"] {
        assert!(denied(client).contains("has the role"), "{client}");
    }
    assert_eq!(
        admin.get("/api/v1/status").status,
        403,
        "the administrator is denied too"
    );
    let ready = server.plain_client().get("/health/ready");
    assert_eq!(ready.status, 503);
    assert!(ready.text().contains(CLOSED), "{}", ready.text());
    server.logged("role rule failed too often and was quarantined; every action that needs a role is denied");
    // The certificates in rules.break_glass can still manage rules.
    let overview = admin.get("/api/v1/rules").json();
    assert_eq!(overview["generation"], 5, "it is quarantined once: {overview}");
    assert_eq!(overview["quarantined"][0]["rule"], name.as_str(), "{overview}");
    assert_eq!(overview["active"][1]["name"], "role", "{overview}");
    let log = admin.get("/api/v1/rules/lockout/log").json();
    assert_eq!(log["log"][0]["action"], "quarantined", "{log}");
    assert!(
        log["log"][0]["note"]
            .as_str()
            .is_some_and(|reason| reason.contains("it panicked")),
        "{log}"
    );
    let reset = admin.ask("DELETE", "/api/v1/rules/role/settings");
    assert_eq!(reset.status, 200, "{}", reset.text());
    assert_eq!(server.client("agent").get("/api/v1/chunks").status, 200);
    eventually("readiness", || {
        (server.plain_client().get("/health/ready").status == 200).then_some(())
    });
    let metrics = admin.get("/metrics").text();
    assert!(metrics.contains("\nwatchpost_access_closed 0"), "{metrics}");
    assert!(
        metrics.contains("watchpost_rule_quarantines_total{rule=\"lockout\"} 1"),
        "{metrics}"
    );
}

#[test]
fn a_client_for_which_the_role_rule_fails_is_denied_and_changes_nothing_for_others() {
    let (server, _) = failing_role_rule("agent");
    let agent = server.client("agent");
    // Three faults in a row are the limit.
    for _ in 0..30 {
        let problem = agent.get("/api/v1/status").problem(403);
        assert!(problem.contains("the role rule failed"), "{problem}");
    }
    let user = server.client("user");
    assert_eq!(user.get("/api/v1/status").status, 200, "the rule decides for others");
    assert_eq!(generation(&server.client("admin")), 4);
    assert!(
        agent
            .get("/api/v1/status")
            .problem(403)
            .contains("the role rule failed")
    );
    assert_eq!(server.plain_client().get("/health/ready").status, 200);
}

#[test]
fn a_role_rule_that_fails_for_the_only_client_makes_the_server_unready_although_probes_get_answers() {
    const FAILS: &str = "the role rule fails for authenticated clients";
    let (server, _) = failing_role_rule("agent,user");
    let [agent, user] = ["agent", "user"].map(|name| server.client(name));
    let probe = || server.plain_client().get("/health/ready");
    for client in [&agent, &user, &agent] {
        assert_eq!(probe().status, 200, "fewer faults than the limit");
        assert!(
            client
                .get("/api/v1/status")
                .problem(403)
                .contains("the role rule failed")
        );
    }
    let ready = probe();
    assert_eq!(ready.status, 503);
    assert!(ready.text().contains(FAILS), "{}", ready.text());
    server.logged(FAILS);
    // The rule answers this client.
    let admin = server.client("admin");
    assert_eq!(generation(&admin), 4, "two identities quarantine nothing");
    assert_eq!(probe().status, 200);
}

#[test]
fn an_operator_of_the_machine_restores_access_without_break_glass() {
    let server = Server::with(EDGE).ready();
    let admin = server.client("admin");
    let (name, digest) = uploaded(&admin, LOCKOUT_RULE);
    let failing = json!({ "settings": { "do": "panic", "to": "admin,agent,reader,user" } });
    assert!(
        activate(&admin, &name, &digest, failing)
            .problem(409)
            .contains("would deny you rules.write")
    );
    let failing = json!({ "settings": { "do": "panic", "to": "agent,reader,user" } });
    assert_eq!(activate(&admin, &name, &digest, failing).status, 200);
    eventually("the quarantine", || {
        for client in ["agent", "reader", "user"] {
            server.client(client).get("/api/v1/status");
        }
        let ready = server.plain_client().get("/health/ready");
        ready.text().contains(CLOSED).then_some(())
    });
    assert_eq!(
        admin.get("/api/v1/rules").status,
        403,
        "no client breaks the glass here"
    );
    let restore = || {
        let output = watchpost_tests::server::command(server.folder())
            .args(["rules", "restore-access"])
            .output()
            .expect("watchpost runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    let restored = restore();
    assert!(restored.contains("generation  4"), "{restored}");
    eventually("access", || (admin.get("/api/v1/rules").status == 200).then_some(()));
    let overview = admin.get("/api/v1/rules").json();
    assert!(overview["quarantined"].is_null(), "{overview}");
    let log = admin.get("/api/v1/rules/role/log").json();
    assert_eq!(log["log"][0]["actor"], "restore-access", "{log}");
    assert_eq!(server.plain_client().get("/health/ready").status, 200);
    assert!(restore().contains("active already"));
    assert_eq!(generation(&admin), 4);
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

fn fingerprint(certificate: &std::path::Path) -> String {
    let pem = std::fs::read(certificate).expect("a certificate");
    let certificate = openssl::x509::X509::from_pem(&pem).expect("a certificate");
    let digest = certificate.digest(openssl::hash::MessageDigest::sha256());
    digest
        .expect("a digest")
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
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
