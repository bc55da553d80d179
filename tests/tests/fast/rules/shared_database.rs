//! Several servers that share a database.

use serde_json::json;
use watchpost_policies::Digest;
use watchpost_tests::guests::numbered;
use watchpost_tests::postgres;
use watchpost_tests::rules::{activate, active, generation, upload, uploaded};
use watchpost_tests::server::{Server, eventually};
use watchpost_tests::slow_rule::ponderous;

fn replica(name: &str, database: &str) -> Server {
    Server::with(&format!(
        "[server]\nhostname = \"{name}\"\n[database]\nurl = \"{database}\"\n"
    ))
}

#[test]
fn an_activation_reaches_all_servers_within_a_second() {
    let database = postgres::shared().database();
    let replicas = ["one", "two", "three"].map(|name| replica(name, &database));
    let admin = replicas[0].client("admin");
    let mut late_ms = Vec::new();
    for number in 0..5 {
        let (name, digest) = uploaded(&admin, &numbered(number));
        // A real operator tries a rule first, so the other servers have time to compile it; here the test waits.
        for other in &replicas[1..] {
            other.logged(&format!("uploaded to another process rule={name} digest={digest}"));
        }
        let body = activate(&admin, &name, &digest, json!({})).json();
        let line = format!("rules activated generation={}", body["generation"]);
        let [first, others @ ..] = replicas.each_ref().map(|replica| moment_of(&replica.logged(&line)));
        late_ms.extend(others.map(|other| (other - first).rem_euclid(DAY_MS)));
    }
    late_ms.sort_unstable();
    // On a busy host, one of ten may be late.
    assert!(late_ms[8] < 1000, "{late_ms:?}");
    let all = replicas
        .each_ref()
        .map(|replica| active(&replica.get("/api/v1/rules").json()));
    assert!(all.iter().all(|lines| lines.len() == 7 && *lines == all[0]), "{all:?}");
}

#[test]
fn the_same_settings_set_at_two_servers_are_one_change() {
    let database = postgres::shared().database();
    let replicas = ["one", "two"].map(|name| replica(name, &database));
    let clients = replicas.each_ref().map(|replica| replica.client("admin"));
    for round in 0..5 {
        let before = generation(&clients[0]).max(generation(&clients[1]));
        let settings = json!({ "thresholds": [{ "metric": "disk", "warning": 10 + round }] });
        std::thread::scope(|scope| {
            for client in &clients {
                let (settings, path) = (&settings, "/api/v1/rules/threshold/settings");
                scope.spawn(move || assert_eq!(client.send("PUT", path, settings).status, 200));
            }
        });
        let after = clients.each_ref().map(generation);
        assert_eq!(after[0].max(after[1]), before + 1, "round {round}");
        eventually("both to have it", || {
            (generation(&clients[0]) == generation(&clients[1])).then_some(())
        });
    }
}

#[test]
fn an_upload_is_precompiled_at_the_other_servers() {
    let database = postgres::shared().database();
    let replicas = ["one", "two"].map(|name| replica(name, &database).ready());
    let (name, digest) = uploaded(&replicas[0].client("admin"), &numbered(1));
    let line = replicas[1].logged("precompiled a rule that was uploaded to another process");
    assert!(line.contains(&name) && line.contains(&digest), "{line}");
}

#[test]
fn a_rule_without_a_signature_that_a_replica_trusts_is_not_precompiled_there() {
    let database = postgres::shared().database();
    let one = replica("one", &database).ready();
    let allowed = Digest::of(&numbered(2));
    let two = Server::with(&format!(
        "[server]\nhostname = \"two\"\n[database]\nurl = \"{database}\"\n[rules]\nallowed_digests = [\"{allowed}\"]\n"
    ))
    .ready();
    let admin = one.client("admin");
    let (_, other) = uploaded(&admin, &numbered(1));
    let (_, digest) = uploaded(&admin, &numbered(2));
    assert_eq!(digest, allowed.to_string());
    two.logged(&format!(
        "uploaded to another process rule=numbered-002 digest={digest}"
    ));
    // It was uploaded earlier, so it would have been precompiled earlier.
    let lines = two.log_lines();
    assert!(!lines.iter().any(|line| line.contains(&other)), "{lines:?}");
}

#[test]
fn a_replica_reports_a_pending_generation_until_its_rules_are_compiled() {
    let database = postgres::shared().database();
    let one = replica("one", &database);
    let two = Server::with(&format!(
        "[server]\nhostname = \"two\"\n[database]\nurl = \"{database}\"\n[rules.compiler]\ntimeout = \"10s\"\n"
    ));
    // Rules are compiled one after the other, and this one uses the whole time limit.
    let there = two.client("admin");
    assert_eq!(upload(&there, &ponderous(400, 400)).status, 202);
    let admin = one.client("admin");
    let (name, digest) = uploaded(&admin, &numbered(1));
    let wanted = activate(&admin, &name, &digest, json!({})).json()["generation"].clone();
    let behind = eventually("it to be behind", || {
        Some(there.get("/api/v1/status").json()["pending_generation"].clone()).filter(|behind| behind.is_object())
    });
    assert_eq!(
        behind,
        json!({ "generation": wanted, "reason": "one of its rules is being compiled" })
    );
    let caught_up = eventually("it to be active", || {
        Some(there.get("/api/v1/rules").json()).filter(|overview| overview["generation"] == wanted)
    });
    assert!(caught_up["pending_generation"].is_null(), "{caught_up}");
    assert!(there.get("/api/v1/status").json()["pending_generation"].is_null());
}

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// The time of a log line, in milliseconds of the day: `2026-11-21T14:11:21.413Z INFO …`.
fn moment_of(line: &str) -> i64 {
    let time = line.split(['T', 'Z']).nth(1).expect("a time");
    let parts: Vec<f64> = time.split(':').map(|part| part.parse().expect("a number")).collect();
    ((parts[0] * 3600.0 + parts[1] * 60.0 + parts[2]) * 1000.0) as i64
}

#[test]
fn concurrent_changes_at_two_servers_have_one_order() {
    let database = postgres::shared().database();
    let replicas = ["one", "two"].map(|name| replica(name, &database));
    let rules: Vec<_> = (0..10)
        .map(|number| uploaded(&replicas[0].client("admin"), &numbered(number)))
        .collect();
    std::thread::scope(|scope| {
        for (at, (name, digest)) in rules.iter().enumerate() {
            let client = replicas[at % 2].client("admin");
            scope.spawn(move || assert_eq!(activate(&client, name, digest, json!({})).status, 200));
        }
    });
    let wanted = generation(&replicas[0].client("admin")).max(generation(&replicas[1].client("admin")));
    for replica in &replicas {
        let there = replica.client("admin");
        eventually("all changes", || Some(generation(&there)).filter(|now| *now == wanted));
        assert_eq!(active(&there.get("/api/v1/rules").json()).len(), 12);
    }
}
