//! Trials: recorded history is replayed, and no rule is activated.

use serde_json::{Value, json};
use watchpost_tests::guests::{HOSTILE, LOCKOUT_RULE};
use watchpost_tests::http::{Answer, Client};
use watchpost_tests::rules::{generation, uploaded};
use watchpost_tests::server::{Server, eventually};

fn try_it(admin: &Client, digest: &str, wanted: Value) -> Answer {
    admin.send(
        "POST",
        &format!("/api/v1/rules/hostile/versions/{digest}/trial"),
        &wanted,
    )
}

/// A server with this number of recorded rounds.
fn with_rounds(count: usize) -> Server {
    let server = Server::with("[server]\nhostname = \"edge-9\"\n").ready();
    let admin = server.client("admin");
    eventually("some rounds", || {
        let kept = admin.get("/api/v1/snapshots").json();
        kept["snapshots"]
            .as_array()
            .filter(|kept| kept.len() >= count)
            .map(drop)
    });
    server
}

#[test]
fn a_trial_reports_differences_faults_and_costs_of_a_candidate() {
    let server = with_rounds(3);
    let admin = server.client("admin");
    let (_, digest) = uploaded(&admin, HOSTILE);
    let misses = try_it(&admin, &digest, json!({ "settings": { "do": "miss" } }));
    assert_eq!(misses.status, 200, "{}", misses.text());
    let body = misses.json();
    let count = body["snapshots"].as_u64().expect("a number");
    assert!(count >= 3 && body["differing_snapshots"] == count, "{body}");
    let difference = &body["differences"][0];
    assert_eq!(
        (&difference["candidate"], &difference["snapshots"]),
        (&json!("unknown"), &json!(count))
    );
    assert!(body["candidate"]["mean_us"].as_f64() > Some(0.0), "{body}");
    assert!(body["candidate"]["max_us"].as_f64() >= body["candidate"]["mean_us"].as_f64());
    assert!(body["candidate"]["memory_bytes"].as_u64() > Some(0) && body["active"].is_null());
    let panics = try_it(&admin, &digest, json!({ "settings": { "do": "panic" } })).json();
    assert!(panics["candidate"]["faults"].as_u64() >= Some(3), "{panics}");
    assert!(
        panics["candidate"]["first_fault"]
            .as_str()
            .is_some_and(|reason| reason.contains("is on fire"))
    );
    assert_eq!(generation(&admin), 1, "no rule was activated");
}

#[test]
fn a_candidate_is_compared_with_the_active_version() {
    let server = with_rounds(2);
    let admin = server.client("admin");
    let own = admin.get("/api/v1/rules/threshold").json()["active"][0]["digest"].clone();
    let path = format!(
        "/api/v1/rules/threshold/versions/{}/trial",
        own.as_str().expect("a digest")
    );
    // Whatever the usage of this host's disks is, they are ok with the one settings, and not with the other.
    let lenient = json!({ "thresholds": [{ "metric": "disk", "warning": 101 }] });
    let set = admin.send("PUT", "/api/v1/rules/threshold/settings", &lenient);
    assert_eq!(set.status, 200, "{}", set.text());
    let same = admin.send("POST", &path, &json!({}));
    assert_eq!(same.status, 200, "{}", same.text());
    assert_eq!(same.json()["differing_snapshots"], 0, "it says what it says");
    let stricter = json!({ "settings": { "thresholds": [{ "metric": "disk", "alert": 0 }] } });
    let other = admin.send("POST", &path, &stricter).json();
    let about = |body: &Value| body["differences"].as_array().expect("a list").clone();
    let disk = about(&other)
        .into_iter()
        .find(|difference| difference["subject"]["metric"] == "disk");
    assert_eq!(disk.expect("it differs")["candidate"], "alert");
    assert!(other["active"]["findings"]["ok"].as_u64() > Some(0), "{other}");
}

#[test]
fn a_long_trial_reports_its_progress_and_can_be_cancelled() {
    let server = with_rounds(8);
    let admin = server.client("admin");
    let (_, digest) = uploaded(&admin, HOSTILE);
    // Each round uses the whole time limit.
    let begun = try_it(&admin, &digest, json!({ "settings": { "do": "loop" } }));
    assert_eq!(begun.status, 202, "{}", begun.text());
    let place = begun.header("location").expect("a place to look").to_owned();
    let running = eventually("some progress", || {
        let now = admin.get(&place).json();
        (now["snapshots"].as_u64() > Some(0)).then_some(now)
    });
    assert_eq!(running["state"], "running", "{running}");
    assert_eq!(admin.ask("DELETE", &place).status, 204);
    let ended = eventually("its end", || Some(admin.get(&place)).filter(|now| now.status == 200)).json();
    assert_eq!(ended["state"], "cancelled");
    assert!(
        ended["candidate"]["first_fault"]
            .as_str()
            .is_some_and(|reason| reason.contains("longer than")),
        "{ended}"
    );
}

#[test]
fn a_trial_that_is_not_possible_is_refused() {
    let server = Server::start();
    let admin = server.client("admin");
    let (name, digest) = uploaded(&admin, LOCKOUT_RULE);
    let role = admin.send(
        "POST",
        &format!("/api/v1/rules/{name}/versions/{digest}/trial"),
        &json!({}),
    );
    assert!(role.problem(409).contains("shadow"));
    let (_, digest) = uploaded(&admin, HOSTILE);
    let later = json!({ "from": "2026-11-21T00:00:00Z", "to": "2026-11-20T00:00:00Z" });
    assert!(
        try_it(&admin, &digest, later)
            .problem(400)
            .contains("`from` must be before `to`")
    );
    let settings = json!({ "settings": { "check": "panic" } });
    try_it(&admin, &digest, settings).problem(422);
    let nothing = try_it(&admin, &digest, json!({ "host": "unknown" })).json();
    assert_eq!(nothing["snapshots"], 0);
    assert_eq!(admin.get("/api/v1/trials/99").status, 404);
}

#[test]
fn a_trial_with_an_invalid_body_is_refused() {
    let server = with_rounds(1);
    let admin = server.client("admin");
    let (_, digest) = uploaded(&admin, HOSTILE);
    let refused = try_it(&admin, &digest, json!({ "form": "-1d" })).problem(400);
    assert!(
        refused.contains("/form: unknown field; did you mean from?"),
        "{refused}"
    );
    let path = format!("/api/v1/rules/hostile/versions/{digest}/trial");
    let begun = admin.with("content-type", "application/json").ask("POST", &path);
    assert!([200, 202].contains(&begun.status), "{}", begun.text());
}
