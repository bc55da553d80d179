//! What is promised to several Watchposts that share a database.

use serde_json::json;
use watchpost_policies::Digest;
use watchpost_tests::guests::numbered;
use watchpost_tests::postgres;
use watchpost_tests::rules::{activate, active, brought, generation, upload};
use watchpost_tests::server::{Server, eventually};
use watchpost_tests::slow_rule::ponderous;

fn replica(name: &str, database: &str) -> Server {
    Server::with(&format!(
        "[server]\nhostname = \"{name}\"\n[database]\nurl = \"{database}\"\n"
    ))
}

#[test]
fn what_is_put_in_force_at_one_is_in_force_at_all_within_a_second() {
    let database = postgres::shared().database();
    let replicas = ["one", "two", "three"].map(|name| replica(name, &database));
    let admin = replicas[0].client("admin");
    let mut late_ms = Vec::new();
    for number in 0..5 {
        let (name, digest) = brought(&admin, &numbered(number));
        // Whoever tries it first gives the others the time to compile it; here nobody is that slow.
        for other in &replicas[1..] {
            other.logged(&format!("uploaded to another process rule={name} digest={digest}"));
        }
        let told = activate(&admin, &name, &digest, json!({})).json();
        let line = format!("rules activated generation={}", told["generation"]);
        let [first, others @ ..] = replicas.each_ref().map(|replica| moment_of(&replica.logged(&line)));
        late_ms.extend(others.map(|other| (other - first).rem_euclid(DAY_MS)));
    }
    late_ms.sort_unstable();
    // The machine does other things too; so one of ten may be late.
    assert!(late_ms[8] < 1000, "{late_ms:?}");
    let all = replicas
        .each_ref()
        .map(|replica| active(&replica.get("/api/v1/rules").json()));
    assert!(all.iter().all(|lines| lines.len() == 7 && *lines == all[0]), "{all:?}");
}

#[test]
fn the_same_settings_given_at_two_at_once_are_one_change() {
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
fn what_is_brought_to_one_is_compiled_at_the_others_before_anybody_puts_it_in_force() {
    let database = postgres::shared().database();
    let replicas = ["one", "two"].map(|name| replica(name, &database).ready());
    let (name, digest) = brought(&replicas[0].client("admin"), &numbered(1));
    let line = replicas[1].logged("precompiled a rule that was uploaded to another process");
    assert!(line.contains(&name) && line.contains(&digest), "{line}");
}

#[test]
fn what_nobody_vouches_for_at_a_replica_is_not_compiled_there() {
    let database = postgres::shared().database();
    let one = replica("one", &database).ready();
    let allowed = Digest::of(&numbered(2));
    let two = Server::with(&format!(
        "[server]\nhostname = \"two\"\n[database]\nurl = \"{database}\"\n[rules]\nallowed_digests = [\"{allowed}\"]\n"
    ))
    .ready();
    let admin = one.client("admin");
    let (_, other) = brought(&admin, &numbered(1));
    let (_, digest) = brought(&admin, &numbered(2));
    assert_eq!(digest, allowed.to_string());
    two.logged(&format!(
        "uploaded to another process rule=numbered-002 digest={digest}"
    ));
    // It came before the other and would have had its turn before it.
    let lines = two.log_lines();
    assert!(!lines.iter().any(|line| line.contains(&other)), "{lines:?}");
}

#[test]
fn a_replica_that_still_has_to_compile_a_rule_says_so_until_it_is_in_force() {
    let database = postgres::shared().database();
    let one = replica("one", &database);
    let two = Server::with(&format!(
        "[server]\nhostname = \"two\"\n[database]\nurl = \"{database}\"\n[rules.compiler]\ntimeout = \"10s\"\n"
    ));
    // One is compiled at a time, and this one takes all the time that there is.
    let there = two.client("admin");
    assert_eq!(upload(&there, &ponderous(400, 400)).status, 202);
    let admin = one.client("admin");
    let (name, digest) = brought(&admin, &numbered(1));
    let wanted = activate(&admin, &name, &digest, json!({})).json()["generation"].clone();
    let behind = eventually("it to be behind", || {
        Some(there.get("/api/v1/status").json()["behind"].clone()).filter(|behind| behind.is_object())
    });
    assert_eq!(
        behind,
        json!({ "generation": wanted, "why": "one of its rules is being compiled" })
    );
    let caught_up = eventually("it to be in force", || {
        Some(there.get("/api/v1/rules").json()).filter(|overview| overview["generation"] == wanted)
    });
    assert!(caught_up["behind"].is_null(), "{caught_up}");
    assert!(there.get("/api/v1/status").json()["behind"].is_null());
}

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// When a line was written, in milliseconds of its day: `2026-11-21T14:11:21.413Z INFO …`.
fn moment_of(line: &str) -> i64 {
    let time = line.split(['T', 'Z']).nth(1).expect("a time");
    let parts: Vec<f64> = time.split(':').map(|part| part.parse().expect("a number")).collect();
    ((parts[0] * 3600.0 + parts[1] * 60.0 + parts[2]) * 1000.0) as i64
}

#[test]
fn two_that_change_something_at_once_end_in_one_order() {
    let database = postgres::shared().database();
    let replicas = ["one", "two"].map(|name| replica(name, &database));
    let rules: Vec<_> = (0..10)
        .map(|number| brought(&replicas[0].client("admin"), &numbered(number)))
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
