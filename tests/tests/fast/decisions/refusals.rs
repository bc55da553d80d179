//! Records of denied requests, over the API.

use serde_json::{Value, json};
use watchpost_tests::server::{Server, eventually};

use super::{recorded, records, refused};

#[test]
fn a_refusal_is_recorded_with_its_reason_and_found_by_each_filter() {
    let server = Server::start().ready();
    let admin = server.client("admin");
    let answer = refused(&server, "who-wants-to-write");
    assert_eq!(server.anonymous_client().get("/api/v1/status").status, 401);
    let record = recorded(&admin, "action=chunks.write", 1).remove(0);
    assert_eq!(record["kind"], "decision");
    assert_eq!(record["verdict"], "deny");
    assert_eq!(record["reason"], answer.problem(403));
    assert_eq!(record["request_id"], "who-wants-to-write");
    assert_eq!(answer.header("x-request-id"), Some("who-wants-to-write"));
    assert_eq!(
        record["generation"].to_string(),
        answer.header("x-watchpost-generation").expect("a header")
    );
    assert_eq!(record["address"], "127.0.0.1");
    assert_eq!(record["roles"], json!(["reader", "anonymous"]));
    assert_eq!(
        record["identity_details"],
        server.client("reader").get("/api/v1/whoami").json()["identity"]
    );
    assert_eq!(record["digest"].as_str().map(str::len), Some(64));
    assert!(record["cost_us"].is_u64() && record["cached"] == false, "{record}");
    let identity = record["identity"].as_str().expect("a name");
    assert!(identity.contains("CN=reader"), "{identity}");
    let escaped = identity.replace(',', "%2C").replace('=', "%3D");
    let anonymous = recorded(&admin, "identity=anonymous", 1).remove(0);
    assert_eq!(
        (&anonymous["action"], &anonymous["verdict"]),
        (&json!("metrics.read"), &json!("deny"))
    );
    let (id, later) = (record["id"].as_i64().expect("an id"), &anonymous["id"]);
    for (matches, does_not) in [
        (format!("identity={escaped}"), "identity=CN%3Dnobody".to_owned()),
        ("action=chunks.write".to_owned(), "action=chunks.read".to_owned()),
        ("verdict=deny".to_owned(), "verdict=break_glass".to_owned()),
        ("rule=role".to_owned(), "rule=threshold".to_owned()),
        ("kind=decision".to_owned(), "kind=judgement".to_owned()),
        ("from=-1h".to_owned(), "from=2100-01-01T00:00:00Z".to_owned()),
        ("to=2100-01-01T00:00:00Z".to_owned(), "to=-1h".to_owned()),
        (format!("after={}", id - 1), format!("after={later}")),
    ] {
        let has_it = |query: &str| records(&admin, query).contains(&record);
        assert!(has_it(&matches), "{matches}");
        assert!(!has_it(&does_not), "{does_not}");
    }
    for mistake in [
        "verdict=perhaps",
        "action=all",
        "kind=x",
        "limit=0",
        "limit=1001",
        "from=soon",
        "who=me",
    ] {
        admin.get(&format!("/api/v1/decisions?{mistake}")).problem(400);
    }
    let exchanged = admin.get("/api/v1/decisions?from=-1h&to=-2h");
    assert_eq!(exchanged.problem(400), "`from` must be before `to`");
}

#[test]
fn reading_decisions_needs_the_permission_and_is_paged() {
    let server = Server::with("[decisions]\nrecord_judgements = false\nmax_repeats = 1000\n").ready();
    for number in 0..7 {
        refused(&server, &format!("r{number}"));
    }
    for (client, status) in [("reader", 403), ("user", 403), ("agent", 403)] {
        server.client(client).get("/api/v1/decisions").problem(status);
    }
    server.anonymous_client().get("/api/v1/decisions").problem(401);
    let admin = server.client("admin");
    assert_eq!(
        recorded(&admin, "action=decisions.read", 4).len(),
        4,
        "that they tried is recorded too"
    );
    let (mut after, mut seen) = (0, Vec::new());
    loop {
        let page = admin
            .get(&format!("/api/v1/decisions?action=chunks.write&limit=3&after={after}"))
            .json();
        let list = page["decisions"].as_array().expect("a list");
        assert!(list.len() <= 3);
        seen.extend(
            list.iter()
                .map(|record| record["request_id"].as_str().expect("an id").to_owned()),
        );
        let Some(next) = page["next"].as_i64() else { break };
        after = next;
    }
    assert_eq!(seen, ["r0", "r1", "r2", "r3", "r4", "r5", "r6"]);
}

#[test]
fn allowed_requests_are_recorded_only_if_configured() {
    let server = Server::start().ready();
    let admin = server.client("admin");
    assert_eq!(server.client("reader").get("/api/v1/status").status, 200);
    refused(&server, "later");
    recorded(&admin, "verdict=deny", 1);
    assert_eq!(records(&admin, "verdict=allow"), Vec::<Value>::new());
    let server = Server::with("[decisions]\nrecord_allowed = true\n").ready();
    let admin = server.client("admin");
    for _ in 0..2 {
        assert_eq!(server.client("reader").get("/api/v1/status").status, 200);
    }
    let allowed = eventually("both", || {
        let all = records(&admin, "verdict=allow&action=metrics.read");
        let readers = all.into_iter().filter(|record| record["roles"][0] == "reader");
        Some(readers.collect::<Vec<_>>()).filter(|readers| readers.len() == 2)
    });
    assert_eq!(allowed[0]["reason"], Value::Null);
    // If a finding changed between the two requests, the second one was decided without the cache.
    for record in allowed {
        assert_eq!(record["cached"], record["cost_us"].is_null(), "{record}");
    }
}

#[test]
fn nothing_is_recorded_when_recording_is_disabled() {
    let server = Server::with("[decisions]\nenabled = false\n").ready();
    refused(&server, "not-recorded");
    let folder = server.stop();
    let text = std::fs::read_to_string(folder.path().join("watchpost.toml")).expect("read");
    std::fs::write(
        folder.path().join("watchpost.toml"),
        text.replace("enabled = false", ""),
    )
    .expect("written");
    let server = Server::prepared(folder).ready();
    refused(&server, "recorded");
    let found = recorded(&server.client("admin"), "action=chunks.write", 1);
    assert_eq!(found[0]["request_id"], "recorded");
}

#[test]
fn a_masked_field_is_neither_in_a_record_nor_in_the_log() {
    let server = Server::with(
        "[decisions]\nmask = [\"identity\", \"address\"]\nlog = true\nrecord_judgements = false\n[http]\naccess_log = false\n",
    )
    .ready();
    refused(&server, "in-the-log");
    let record = recorded(&server.client("admin"), "action=chunks.write", 1).remove(0);
    for field in ["identity", "identity_details", "address", "reason"] {
        assert_eq!(record[field], "***", "{field}");
    }
    assert_eq!(
        (&record["verdict"], &record["request_id"]),
        (&json!("deny"), &json!("in-the-log"))
    );
    assert_eq!(records(&server.client("admin"), "identity=***").len(), 1);
    let line = server.logged("in-the-log");
    assert!(
        line.contains("watchpost::decisions") && line.contains("chunks.write"),
        "{line}"
    );
    assert!(!line.contains("127.0.0.1") && !line.contains("CN="), "{line}");
}

#[test]
fn access_by_the_configuration_alone_is_recorded() {
    let server = Server::start().ready();
    let certificate = std::fs::read(server.data().join("pki/clients/admin.crt")).expect("read");
    let certificate = openssl::x509::X509::from_pem(&certificate).expect("a certificate");
    let digest = certificate
        .digest(openssl::hash::MessageDigest::sha256())
        .expect("hashed");
    let fingerprint: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    server.configure(&format!("[rules]\nbreak_glass = [\"{fingerprint}\"]\n"));
    server.signal("HUP");
    server.logged("configuration reloaded");
    let admin = server.client("admin");
    let without_admin = json!({ "roles": { "admin": ["rules.read"] } });
    assert_eq!(
        admin
            .send("PUT", "/api/v1/rules/role/settings?force=true", &without_admin)
            .status,
        200
    );
    assert_eq!(admin.get("/api/v1/decisions").status, 403);
    let back = admin.with("x-request-id", "glass");
    assert_eq!(back.send("POST", "/api/v1/rules/role/rollback", &json!({})).status, 200);
    let record = recorded(&server.client("admin"), "verdict=break_glass", 1).remove(0);
    assert_eq!(
        (&record["request_id"], &record["action"]),
        (&json!("glass"), &json!("rules.write"))
    );
    assert!(
        record["reason"].as_str().is_some_and(|reason| !reason.is_empty()),
        "{record}"
    );
}

#[test]
fn max_records_limits_the_number_of_records() {
    let server = Server::with("[decisions]\nmax_records = 5\nmax_repeats = 1000\nrecord_judgements = false\n").ready();
    for number in 0..20 {
        refused(&server, &format!("r{number}"));
    }
    let admin = server.client("admin");
    let left = eventually("the last five", || {
        let left = records(&admin, "");
        let is_last = left.last().is_some_and(|last| last["request_id"] == "r19");
        (is_last && left.len() <= 5).then_some(left)
    });
    assert_eq!(left[0]["request_id"], "r15", "the oldest went: {left:?}");
}

#[test]
fn queued_records_are_written_on_shutdown() {
    let server = Server::with("[decisions]\nrecord_judgements = false\nmax_repeats = 1000\n").ready();
    for number in 0..50 {
        refused(&server, &format!("r{number}"));
    }
    let server = Server::prepared(server.stop()).ready();
    assert_eq!(records(&server.client("admin"), "action=chunks.write").len(), 50);
}
