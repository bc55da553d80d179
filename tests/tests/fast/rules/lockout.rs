//! Protection against role rules that would lock out administrators.

use serde_json::json;
use watchpost_tests::guests::{ALLOW_ALL, LOCKOUT_RULE};
use watchpost_tests::rules::{activate, generation, uploaded};
use watchpost_tests::server::{Server, eventually};

#[test]
fn an_administrator_cannot_remove_the_own_permission_to_change_rules() {
    let server = Server::start().ready();
    let admin = server.client("admin");
    let without_admin = json!({ "roles": { "admin": ["rules.read"] } });
    let problem = admin
        .send("PUT", "/api/v1/rules/role/settings", &without_admin)
        .problem(409);
    assert!(
        problem.contains("would deny you rules.write") && problem.contains("has the role admin, which does not allow"),
        "{problem}"
    );
    let (name, digest) = uploaded(&admin, LOCKOUT_RULE);
    let denying = activate(&admin, &name, &digest, json!({ "settings": { "do": "echo" } }));
    assert!(denying.problem(409).contains("would deny you rules.write"));
    assert_eq!(generation(&admin), 1);
    let forced = activate(
        &admin,
        &name,
        &digest,
        json!({ "settings": { "do": "echo" }, "force": true }),
    );
    assert!(forced.problem(403).contains("rules.break_glass"));
}

#[test]
fn an_administrator_of_the_configuration_may_force_a_change_and_repair_it() {
    let server = Server::start().ready();
    let fingerprint = fingerprint(&server.data().join("pki/clients/admin.crt"));
    server.configure(&format!("[rules]\nbreak_glass = [\"{fingerprint}\"]\n"));
    server.signal("HUP");
    server.logged("configuration reloaded");
    let admin = server.client("admin");
    let without_admin = json!({ "roles": { "admin": ["rules.read"] } });
    let forced = admin.send("PUT", "/api/v1/rules/role/settings?force=true", &without_admin);
    assert_eq!(forced.status, 200, "{}", forced.text());
    assert_eq!(
        admin.get("/api/v1/status").status,
        403,
        "the rule says no, to the administrator too"
    );
    let back = admin.send("POST", "/api/v1/rules/role/rollback", &json!({}));
    assert_eq!(back.status, 200, "{}", back.text());
    assert_eq!(admin.get("/api/v1/status").status, 200);
    server.logged("rules.break_glass allows it");
}

#[test]
fn a_client_that_breaks_the_glass_changes_the_role_rule_without_a_role_that_allows_it() {
    let server = Server::start().ready();
    let admin = server.client("admin");
    let strict = json!({ "roles": { "agent": [], "user": [], "reader": [] } });
    assert_eq!(admin.send("PUT", "/api/v1/rules/role/settings", &strict).status, 200);
    let agent = server.client("agent");
    assert_eq!(agent.ask("DELETE", "/api/v1/rules/role/settings").status, 403);
    let fingerprint = fingerprint(&server.data().join("pki/clients/agent.crt"));
    server.configure(&format!("[rules]\nbreak_glass = [\"{fingerprint}\"]\n"));
    server.signal("HUP");
    server.logged("configuration reloaded");
    // Neither rule allows this client to change rules.
    let reset = agent.ask("DELETE", "/api/v1/rules/role/settings");
    assert_eq!(reset.status, 200, "{}", reset.text());
    assert_eq!(generation(&admin), 3);
    assert_eq!(agent.get("/api/v1/chunks").status, 200);
}

#[test]
fn another_role_rule_replaces_the_active_one() {
    let server = Server::start().ready();
    let admin = server.client("admin");
    assert_eq!(server.anonymous_client().get("/api/v1/status").status, 401);
    let (name, digest) = uploaded(&admin, ALLOW_ALL);
    let mut kept = server.anonymous_client().connect().expect("a connection");
    assert_eq!(kept.ask("GET", "/health").expect("answered").status, 200);
    assert_eq!(activate(&admin, &name, &digest, json!({})).status, 200);
    assert_eq!(
        kept.ask("GET", "/api/v1/status").expect("answered").status,
        200,
        "the connection that was open too"
    );
    let active = watchpost_tests::rules::active(&admin.get("/api/v1/rules").json());
    assert_eq!(active.len(), 2, "one decides: {active:?}");
    assert_eq!(
        admin.ask("DELETE", &format!("/api/v1/rules/{name}/active")).status,
        409,
        "a role rule is always active"
    );
    let back = admin.send("POST", &format!("/api/v1/rules/{name}/rollback"), &json!({}));
    assert_eq!(back.status, 200, "{}", back.text());
    eventually("the rule before", || {
        (server.anonymous_client().get("/api/v1/status").status == 401).then_some(())
    });
}

#[test]
fn a_threshold_that_would_make_a_clause_deny_changes_of_rules_is_rejected() {
    let server = Server::start().ready();
    let admin = server.client("admin");
    let clause = json!({ "while": [{ "metric": "memory", "at_least": "alert", "deny": ["rules.*"] }] });
    let set = admin.send("PUT", "/api/v1/rules/role/settings", &clause);
    assert_eq!(set.status, 200, "memory is ok: {}", set.text());
    let before = generation(&admin);
    let always = json!({ "thresholds": [{ "metric": "memory", "alert": 0 }] });
    let problem = admin
        .send("PUT", "/api/v1/rules/threshold/settings", &always)
        .problem(409);
    assert!(
        problem.contains("would deny you rules.write because of a finding"),
        "{problem}"
    );
    assert_eq!(generation(&admin), before);
    let never = json!({ "thresholds": [{ "metric": "memory", "alert": 100 }] });
    assert_eq!(
        admin.send("PUT", "/api/v1/rules/threshold/settings", &never).status,
        200
    );
}

fn fingerprint(certificate: &std::path::Path) -> String {
    let output = std::process::Command::new("openssl")
        .args(["x509", "-noout", "-fingerprint", "-sha256", "-in"])
        .arg(certificate)
        .output()
        .expect("openssl runs");
    let text = String::from_utf8(output.stdout).expect("text");
    text.trim().split('=').nth(1).expect("a fingerprint").to_owned()
}
