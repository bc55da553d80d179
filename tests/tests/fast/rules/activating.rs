//! Activation, rollback and deletion of rules.

use serde_json::json;
use watchpost_tests::guests::{HOSTILE, LOCKOUT_RULE, numbered};
use watchpost_tests::rules::{activate, active, generation, other_version, uploaded};
use watchpost_tests::server::{Server, eventually};

#[test]
fn an_active_rule_judges_the_next_round() {
    let server = Server::start().ready();
    let admin = server.client("admin");
    let (name, digest) = uploaded(&admin, &numbered(1));
    assert_eq!(generation(&admin), 1);
    let answer = activate(&admin, &name, &digest, json!({ "note": "try it" }));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(
        (answer.json()["generation"].as_i64(), answer.header("etag")),
        (Some(2), Some("\"2\""))
    );
    let found = eventually("a finding", || {
        let report = admin.get("/api/v1/report").json();
        let findings = report["findings"].as_array().expect("a list").clone();
        findings.into_iter().find(|finding| finding["rule"] == name.as_str())
    });
    assert!(found["value"].as_f64() > Some(0.0), "{found}");
    let log = admin.get(&format!("/api/v1/rules/{name}/log")).json();
    assert_eq!(log["log"][0]["action"], "activated");
    assert_eq!(log["log"][0]["note"], "try it");
    assert_eq!(log["log"][1]["action"], "uploaded");
}

#[test]
fn a_response_has_the_generation_that_decided() {
    let server = Server::start().ready();
    let admin = server.client("admin");
    let mut kept = admin.connect().expect("a connection");
    let mut decided = || {
        let answer = kept.ask("GET", "/api/v1/status").expect("answered");
        answer.header("x-watchpost-generation").map(str::to_owned)
    };
    assert_eq!(decided().as_deref(), Some("1"));
    let (name, digest) = uploaded(&admin, &numbered(1));
    activate(&admin, &name, &digest, json!({}));
    assert_eq!(
        decided().as_deref(),
        Some("2"),
        "a connection that is kept meets the new rules"
    );
    let refused = server.anonymous_client().get("/api/v1/status");
    assert_eq!(
        (refused.status, refused.header("x-watchpost-generation")),
        (401, Some("2"))
    );
    let nowhere = admin.get("/api/v1/nowhere");
    assert_eq!(
        (nowhere.status, nowhere.header("x-watchpost-generation")),
        (404, None),
        "no decision was needed"
    );
}

#[test]
fn a_change_based_on_an_older_generation_is_refused() {
    let server = Server::start();
    let admin = server.client("admin");
    let (name, digest) = uploaded(&admin, &numbered(1));
    let late = server.client("admin").with("if-match", "\"1\"");
    assert_eq!(activate(&late, &name, &digest, json!({})).status, 200);
    let problem = activate(&late, &name, &digest, json!({ "mode": "shadow" })).problem(412);
    assert!(problem.contains("generation 2"), "{problem}");
    assert_eq!(generation(&admin), 2);
    let wrong = server.client("admin").with("if-match", "soon");
    assert!(
        activate(&wrong, &name, &digest, json!({}))
            .problem(400)
            .contains("If-Match")
    );
}

#[test]
fn a_deletion_based_on_an_older_generation_is_refused() {
    let server = Server::start();
    let admin = server.client("admin");
    let (name, digest) = uploaded(&admin, &numbered(1));
    let (other, other_digest) = uploaded(&admin, &numbered(2));
    activate(&admin, &other, &other_digest, json!({}));
    let late = server.client("admin").with("if-match", "\"1\"");
    for path in [
        format!("/api/v1/rules/{name}"),
        format!("/api/v1/rules/{name}/versions/{digest}"),
    ] {
        let problem = late.ask("DELETE", &path).problem(412);
        assert!(problem.contains("generation 2"), "{problem}");
        assert_eq!(admin.get(&path).status, 200, "it is there still");
    }
    let wrong = server.client("admin").with("if-match", "soon");
    let problem = wrong.ask("DELETE", &format!("/api/v1/rules/{name}")).problem(400);
    assert!(problem.contains("If-Match"), "{problem}");
    let now = server.client("admin").with("if-match", "\"2\"");
    let version = format!("/api/v1/rules/{name}/versions/{digest}");
    assert_eq!(now.ask("DELETE", &version).status, 204);
}

#[test]
fn activating_the_active_version_makes_no_new_generation() {
    let server = Server::start();
    let admin = server.client("admin");
    let (name, digest) = uploaded(&admin, &numbered(1));
    let first = activate(&admin, &name, &digest, json!({})).json();
    let again = activate(&admin, &name, &digest, json!({})).json();
    assert_eq!((&first["changed"], &again["changed"]), (&json!(true), &json!(false)));
    assert_eq!(first["generation"], again["generation"]);
}

#[test]
fn a_rollback_activates_the_previous_version_and_a_second_one_undoes_it() {
    let server = Server::start();
    let admin = server.client("admin");
    let settings = |count: i64| json!({ "settings": { "count": count } });
    let (name, digest) = uploaded(&admin, HOSTILE);
    activate(&admin, &name, &digest, settings(1));
    activate(&admin, &name, &digest, settings(2));
    let now = || admin.get("/api/v1/rules/hostile").json()["active"][0]["settings"]["count"].as_i64();
    let back = || admin.send("POST", "/api/v1/rules/hostile/rollback", &json!({ "note": "no" }));
    assert_eq!(now(), Some(2));
    assert_eq!(back().status, 200);
    assert_eq!(now(), Some(1));
    assert_eq!(back().status, 200);
    assert_eq!(now(), Some(2));
    let never = admin.send("POST", "/api/v1/rules/threshold/rollback", &json!({}));
    assert!(never.problem(409).contains("nothing to roll back to"));
    let log = admin.get("/api/v1/rules/hostile/log?limit=2").json();
    assert_eq!(
        (&log["log"][0]["action"], &log["log"][1]["action"]),
        (&json!("rolled_back"), &json!("rolled_back"))
    );
    assert!(log["next"].is_number(), "there is more to read: {log}");
}

#[test]
fn settings_that_are_refused_are_not_kept() {
    let server = Server::start();
    let admin = server.client("admin");
    let give = |level: serde_json::Value| {
        let settings = json!({ "thresholds": [{ "metric": "disk", "warning": level }] });
        admin.send("PUT", "/api/v1/rules/threshold/settings", &settings)
    };
    let number = |answer: watchpost_tests::http::Answer| {
        assert_eq!(answer.status, 200, "{}", answer.text());
        let lines = answer.json()["active"].as_array().expect("a list").clone();
        let line = lines.into_iter().find(|line| line["name"] == "threshold");
        line.expect("it takes part")["settings_id"].as_i64().expect("a number")
    };
    let first = number(give(json!(50)));
    for level in ["much", "more", "most"] {
        give(json!(level)).problem(422);
    }
    // Settings have ascending ids.
    assert_eq!(number(give(json!(51))), first + 1);
    assert_eq!(number(give(json!(50))), first, "what was given before has its number");
}

#[test]
fn invalid_settings_change_nothing_and_have_the_place_of_the_error() {
    let server = Server::start();
    let admin = server.client("admin");
    let wrong = json!({ "thresholds": [{ "metric": "disk", "warning": "much" }] });
    let refused = admin.send("PUT", "/api/v1/rules/threshold/settings", &wrong);
    refused.problem(422);
    assert_eq!(
        refused.json()["cause"]["problems"].as_array().map(Vec::len),
        Some(1),
        "{}",
        refused.text()
    );
    assert_eq!(generation(&admin), 1);
    let right = json!({ "thresholds": [{ "metric": "disk", "warning": 1 }] });
    assert_eq!(
        admin.send("PUT", "/api/v1/rules/threshold/settings", &right).status,
        200
    );
    eventually("a warning by the new level", || {
        let report = admin.get("/api/v1/report").json();
        let findings = report["findings"].as_array()?.clone();
        findings
            .into_iter()
            .find(|finding| finding["limit"] == 1.0 && finding["severity"] == "warning")
    });
    assert_eq!(admin.ask("DELETE", "/api/v1/rules/threshold/settings").status, 200);
    let rule = admin.get("/api/v1/rules/threshold").json();
    assert_eq!(rule["active"][0]["settings_updated_by"], "configuration");
}

#[test]
fn a_version_in_use_cannot_be_deleted_and_others_can() {
    let server = Server::start();
    let admin = server.client("admin");
    let (name, digest) = uploaded(&admin, &numbered(1));
    activate(&admin, &name, &digest, json!({}));
    let (rule, version) = (
        format!("/api/v1/rules/{name}"),
        format!("/api/v1/rules/{name}/versions/{digest}"),
    );
    for path in [&rule, &version] {
        assert!(admin.ask("DELETE", path).problem(409).contains("is in use"));
    }
    let out = admin.ask("DELETE", &format!("{rule}/active"));
    assert!(
        !active(&out.json()).iter().any(|line| line.starts_with(&name)),
        "{}",
        out.text()
    );
    assert_eq!(admin.ask("DELETE", &version).status, 204);
    assert_eq!(admin.ask("DELETE", &version).status, 404);
    assert_eq!(admin.get(&rule).status, 404);
    assert_eq!(
        admin.get(&format!("{rule}/log")).json()["log"][0]["action"],
        "deleted",
        "the log stays"
    );
    let gone = activate(&admin, &name, &digest, json!({}));
    assert!(gone.problem(404).contains("no rule"));
    assert_eq!(
        admin.ask("DELETE", "/api/v1/rules/threshold").status,
        409,
        "the built-in rule stays"
    );
}

#[test]
fn a_hundred_rules_judge_each_round() {
    let server = Server::start().ready();
    let admin = server.client("admin");
    for number in 0..100 {
        let (name, digest) = uploaded(&admin, &numbered(number));
        assert_eq!(activate(&admin, &name, &digest, json!({})).status, 200);
    }
    eventually("a report by all of them", || {
        let report = admin.get("/api/v1/report").json();
        let costs = report["costs"].as_array()?;
        (costs.len() == 101 && report["faults"].as_array()?.is_empty()).then_some(())
    });
}

#[test]
fn concurrent_changes_are_serialized() {
    let server = Server::start();
    let admin = server.client("admin");
    let rules: Vec<_> = (0..8).map(|number| uploaded(&admin, &numbered(number))).collect();
    std::thread::scope(|scope| {
        for (name, digest) in &rules {
            scope.spawn(|| assert_eq!(activate(&server.client("admin"), name, digest, json!({})).status, 200));
        }
    });
    assert_eq!(generation(&admin), 9, "each made a generation");
    assert_eq!(
        active(&admin.get("/api/v1/rules").json()).len(),
        10,
        "and none undid another"
    );
}

#[test]
fn a_rollback_skips_deleted_versions_and_ignores_other_rules() {
    let server = Server::start().ready();
    let admin = server.client("admin");
    let (name, first) = uploaded(&admin, HOSTILE);
    let (_, second) = uploaded(&admin, &other_version(HOSTILE));
    for (digest, count) in [(&first, 1), (&second, 2)] {
        let settings = json!({ "settings": { "do": "well", "count": count } });
        assert_eq!(activate(&admin, &name, digest, settings).status, 200);
    }
    // More changes of another rule than one page of the audit log.
    for warning in 0..101 {
        let settings = json!({ "thresholds": [{ "metric": "disk", "warning": 50 + warning % 7 }] });
        assert_eq!(
            admin.send("PUT", "/api/v1/rules/threshold/settings", &settings).status,
            200
        );
    }
    let back = |expected: u16| {
        let answer = admin.send("POST", "/api/v1/rules/hostile/rollback", &json!({}));
        assert_eq!(answer.status, expected, "{}", answer.text());
        let rule = admin.get("/api/v1/rules/hostile").json();
        rule["active"][0]["settings"]["count"].as_i64()
    };
    assert_eq!(back(200), Some(1));
    assert_eq!(back(200), Some(2));
    let path = format!("/api/v1/rules/{name}/versions/{first}");
    assert_eq!(admin.ask("DELETE", &path).status, 204);
    assert_eq!(back(200), None, "before the first it took no part");
}

#[test]
fn a_rollback_to_a_role_rule_that_was_never_active_is_refused() {
    let server = Server::start().ready();
    let admin = server.client("admin");
    let (name, digest) = uploaded(&admin, LOCKOUT_RULE);
    assert_eq!(
        admin.send("POST", "/api/v1/rules/lockout/rollback", &json!({})).status,
        409
    );
    assert_eq!(activate(&admin, &name, &digest, json!({})).status, 200);
    let log = admin.get("/api/v1/rules/role/log").json();
    assert_eq!(
        (&log["log"][0]["action"], &log["log"][0]["note"]),
        (&json!("deactivated"), &json!("replaced by lockout"))
    );
    assert_eq!(
        admin.send("POST", "/api/v1/rules/lockout/rollback", &json!({})).status,
        200
    );
    assert_eq!(
        active(&admin.get("/api/v1/rules").json())[1].split(' ').next(),
        Some("role")
    );
    let log = admin.get("/api/v1/rules/role/log").json();
    assert_eq!(log["log"][0]["action"], "rolled_back");
}

#[test]
fn a_rollback_with_an_invalid_body_changes_nothing() {
    let server = Server::start();
    let admin = server.client("admin");
    let (name, digest) = uploaded(&admin, &numbered(1));
    activate(&admin, &name, &digest, json!({}));
    let path = format!("/api/v1/rules/{name}/rollback");
    let check = |kind: &str, body: &str, expected: &str| {
        let answer = admin.send_bytes("POST", &path, kind, body.as_bytes());
        assert!(answer.problem(400).contains(expected), "{}", answer.text());
        assert_eq!(generation(&admin), 2, "{body}");
    };
    let check = |body: &str, expected: &str| check("application/json", body, expected);
    check("{\"nots\": broken", "the body is not valid JSON at line 1");
    check(
        "{\"nots\": \"of no such name\"}",
        "/nots: unknown field; did you mean note?",
    );
    check("{\"force\": \"yes\"}", "/force: expected true or false, got the string");
    check(" ", "the body is empty");
    let text = admin.send_bytes("POST", &path, "text/plain", b"{\"note\": \"as a text\"}");
    assert!(text.problem(415).contains("send content-type: application/json"));
    assert_eq!(generation(&admin), 2);
    let problem = admin.ask("POST", &path).problem(415);
    assert_eq!(problem, "send content-type: application/json, even without a body");
    let json = admin.clone().with("content-type", "application/json");
    assert_eq!(json.ask("POST", &path).status, 200, "no body at all");
    let empty = admin.send_bytes("POST", &path, "application/json", b"");
    assert_eq!((empty.status, generation(&admin)), (200, 4), "an empty one");
    let mut connection = admin.connect().expect("a connection");
    let chunked = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n\
         0\r\n\r\n"
    );
    connection.send(chunked.as_bytes()).expect("sent");
    let answer = connection.answer(false).expect("an answer");
    assert_eq!((answer.status, generation(&admin)), (200, 5), "one without chunks");
}
