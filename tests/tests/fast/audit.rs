//! The audit file: changes of rules and break-glass access are on disk before the response, in a chain that a command
//! verifies.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use watchpost_tests::server::{Server, command, program};

fn file(server: &Server) -> PathBuf {
    server.data().join("audit.log")
}

fn entries(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).expect("read");
    let entry = |line: &str| serde_json::from_str(line).expect("a JSON object a line");
    text.lines().map(entry).collect()
}

fn verified(path: &Path) -> (Option<i32>, String) {
    let output: Output = Command::new(program())
        .args(["audit", "verify"])
        .arg(path)
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.code(), text.into_owned())
}

fn settings(number: u32) -> Value {
    json!({ "roles": { "admin": ["*"], "agent": ["chunks.*"], format!("role-{number}"): ["health.read"] } })
}

const SETTINGS: &str = "/api/v1/rules/role/settings";

#[test]
fn a_change_of_rules_is_recorded_with_its_authorization_and_its_result() {
    let server = Server::start().ready();
    let admin = server.client("admin").with("x-request-id", "the-change");
    let answer = admin.send("PUT", SETTINGS, &settings(1));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let own = answer.header("x-watchpost-request-id").expect("a header");
    let entries = entries(&file(&server));
    assert_eq!(entries[0]["event"], "start");
    let [decision, response] = &entries[1..] else {
        panic!("{entries:?}");
    };
    assert_eq!(
        (&decision["event"], &response["event"]),
        (&json!("decision"), &json!("response"))
    );
    for entry in [decision, response] {
        assert_eq!(
            (&entry["request_id"], &entry["server_request_id"]),
            (&json!("the-change"), &json!(own))
        );
    }
    assert_eq!(
        (&decision["verdict"], &decision["action"]),
        (&json!("allow"), &json!("rules.write"))
    );
    assert!(
        decision["identity"]
            .as_str()
            .is_some_and(|identity| identity.contains("CN=admin"))
    );
    assert_eq!(
        (&response["method"], &response["path"]),
        (&json!("PUT"), &json!(SETTINGS))
    );
    assert_eq!(
        (&response["status"], &response["generation"]),
        (&json!(200), &json!("\"2\""))
    );
    let (code, text) = verified(&file(&server));
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("3 lines in 1 file, number 1 to 3: intact"), "{text}");
}

#[test]
fn acknowledged_changes_are_recorded_even_if_the_server_is_killed() {
    let mut server = Server::start().ready();
    let admin = server.client("admin");
    let mut acknowledged = Vec::new();
    for number in 0..5 {
        let answer = admin.send("PUT", SETTINGS, &settings(number));
        assert_eq!(answer.status, 200, "{}", answer.text());
        acknowledged.push(answer.header("x-watchpost-request-id").expect("a header").to_owned());
    }
    server.signal("KILL");
    server.ended();
    let recorded = entries(&file(&server));
    for id in acknowledged {
        let events: Vec<_> = recorded
            .iter()
            .filter(|entry| entry["server_request_id"] == id.as_str())
            .map(|entry| entry["event"].as_str().expect("a text"))
            .collect();
        assert_eq!(events, ["decision", "response"], "{id}");
    }
    assert_eq!(verified(&file(&server)).0, Some(0));
    let mut server = Server::prepared(server.stop()).ready();
    server.signal("TERM");
    server.ended();
    let recorded = entries(&file(&server));
    let ends: Vec<_> = recorded[recorded.len() - 2..]
        .iter()
        .map(|entry| &entry["event"])
        .collect();
    assert_eq!(ends, ["start", "stop"], "the chain continues without a recovery");
    assert_eq!(verified(&file(&server)).0, Some(0));
}

#[test]
fn anonymous_refusals_neither_reach_the_audit_file_nor_displace_a_break_glass_record() {
    let server =
        Server::with("[decisions]\nmax_records = 100\nmax_repeats = 1000\nrecord_judgements = false\n").ready();
    let certificate = fs::read(server.data().join("pki/clients/admin.crt")).expect("read");
    let certificate = openssl::x509::X509::from_pem(&certificate).expect("a certificate");
    let digest = certificate
        .digest(openssl::hash::MessageDigest::sha256())
        .expect("hashed");
    let fingerprint: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    server.configure(&format!(
        "[rules]\nbreak_glass = [\"{fingerprint}\"]\n[decisions]\nmax_records = 100\nmax_repeats = 1000\n\
         record_judgements = false\n"
    ));
    server.signal("HUP");
    server.logged("configuration reloaded");
    let admin = server.client("admin");
    let without_admin = json!({ "roles": { "admin": ["rules.read", "decisions.read"] } });
    let forced = admin.send("PUT", "/api/v1/rules/role/settings?force=true", &without_admin);
    assert_eq!(forced.status, 200, "{}", forced.text());
    let back = admin.clone().with("x-request-id", "glass");
    assert_eq!(back.send("POST", "/api/v1/rules/role/rollback", &json!({})).status, 200);
    let mut anonymous = server.plain_client().connect().expect("a connection");
    for _ in 0..600 {
        let answer = anonymous.ask("GET", "/api/v1/status").or_else(|_| {
            anonymous = server.plain_client().connect()?;
            anonymous.ask("GET", "/api/v1/status")
        });
        assert_eq!(answer.expect("an answer").status, 401);
        // A 401 closes the connection.
        anonymous = server.plain_client().connect().expect("a connection");
    }
    let records = watchpost_tests::server::eventually("a pruned database", || {
        let answer = admin.get("/api/v1/decisions?limit=1000").json();
        let records = answer["decisions"].as_array().expect("a list").clone();
        let anonymous = records.iter().filter(|record| record["identity"] == "anonymous");
        let last = records.last().expect("records")["id"].as_i64().expect("a number");
        (last >= 600 && anonymous.count() <= 35).then_some(records)
    });
    let glass = records.iter().filter(|record| record["request_id"] == "glass");
    assert_eq!(glass.count(), 1, "{records:?}");
    let recorded = entries(&file(&server));
    assert!(
        recorded.iter().any(|entry| entry["verdict"] == "break_glass"),
        "{recorded:?}"
    );
    assert!(
        !recorded.iter().any(|entry| entry["identity"] == "anonymous"),
        "{recorded:?}"
    );
}

#[test]
fn a_refused_change_of_an_identified_client_is_recorded_up_to_the_limit_of_repeats() {
    let server = Server::start().ready();
    for _ in 0..20 {
        server.client("agent").send("PUT", SETTINGS, &settings(1)).problem(403);
    }
    let folder = server.stop();
    let recorded = entries(&folder.path().join("data/audit.log"));
    let denied = recorded.iter().filter(|entry| entry["verdict"] == "deny");
    assert_eq!(denied.count(), 5, "{recorded:?}");
}

#[test]
fn a_change_that_cannot_be_recorded_is_rejected_and_other_requests_are_served() {
    let server = Server::with("[audit]\nfile = \"{folder}/data/trail\"\n").ready();
    let trail = server.data().join("trail");
    assert_eq!(entries(&trail).len(), 1);
    fs::remove_file(&trail).expect("removed");
    fs::create_dir(&trail).expect("a folder in its place");
    let admin = server.client("admin");
    let problem = admin.send("PUT", SETTINGS, &settings(1)).problem(503);
    assert!(problem.contains("the audit file cannot be written"), "{problem}");
    assert_eq!(
        server.get("/api/v1/rules").json()["generation"],
        1,
        "nothing was changed"
    );
    let line = server.logged("cannot write the audit file");
    assert!(line.contains("audit.file"), "{line}");
    fs::remove_dir(&trail).expect("removed");
    assert_eq!(admin.send("PUT", SETTINGS, &settings(1)).status, 200);
}

#[test]
fn verifying_finds_damage_with_its_place_and_has_exit_codes() {
    let server = Server::start().ready();
    let admin = server.client("admin");
    for number in 0..3 {
        assert_eq!(admin.send("PUT", SETTINGS, &settings(number)).status, 200);
    }
    let (_, text) = verified(&file(&server));
    let head = text
        .lines()
        .find_map(|line| line.strip_prefix("head "))
        .expect("a head")
        .to_owned();
    let folder = server.stop();
    let path = folder.path().join("data/audit.log");
    let by_configuration = command(folder.path())
        .args(["audit", "verify", "--head", &head])
        .output()
        .expect("it runs");
    assert_eq!(by_configuration.status.code(), Some(0), "{by_configuration:?}");
    let text = fs::read_to_string(&path).expect("read");
    fs::write(&path, text.replacen("\"verdict\":\"allow\"", "\"verdict\":\"deny\"", 1)).expect("written");
    let (code, said) = verified(&path);
    assert_eq!(code, Some(65), "{said}");
    assert!(
        said.contains("audit.log:2: the line was changed") && said.contains("1 damage"),
        "{said}"
    );
    let (code, said) = verified(&folder.path().join("missing.log"));
    assert_eq!(code, Some(74), "{said}");
    assert!(said.contains("missing.log"), "{said}");
}
