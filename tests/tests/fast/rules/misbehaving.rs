//! Every misbehaviour of a rule is detected by the checks before activation, and the API reports it with the message of
//! the engine. `misbehaviour` tests the engine.

use serde_json::{Value, json};
use watchpost_tests::guests::{HOSTILE, LOCKOUT_RULE};
use watchpost_tests::http::Client;
use watchpost_tests::rules::{activate, generation, uploaded};
use watchpost_tests::server::Server;

#[test]
fn every_misbehaviour_is_detected_before_activation() {
    let server = Server::with("[server]\nhostname = \"edge-9\"\n").ready();
    let admin = server.client("admin");
    let judging = [
        ("loop", 0, "in judge: it took longer than"),
        ("grow", 0, "in judge: it exceeded the memory limit"),
        ("recurse", 0, "stack overflow"),
        ("recurse-with-baggage", 0, "out-of-bounds memory access"),
        ("trap", 0, "it trapped"),
        ("panic", 0, "it panicked: the disk of edge-1 is on fire"),
        ("panic-at-length", 100_000, "it panicked: long long"),
        ("give-up", 0, "it returned an error: no basis for a judgement"),
        ("long-message", 100_000, "it returned 100000 bytes in a message"),
        ("one-text-many-times", 200_000, "its result is larger than"),
        ("unknown-metric", 0, "it has a finding about unicorns"),
        ("unknown-labels", 0, "which is not in the round"),
        ("twice", 0, "it has two findings about disk"),
        ("label-twice", 0, "the label a is duplicated"),
        ("nan", 0, "it must be finite"),
        ("infinite", 0, "it must be finite"),
        ("silent", 0, "is not ok and has no message"),
        ("invisible", 0, "is not ok and has no message"),
        ("invent-later", 0, "which is not in the round"),
    ];
    let judging = judging.map(|(way, count, said)| (json!({ "do": way, "count": count }), said));
    let checking = [
        ("loop", "in check-settings: it took longer than"),
        ("grow", "in check-settings: it exceeded the memory limit"),
        ("panic", "in check-settings: it panicked"),
        ("trap", "in check-settings: it trapped"),
        ("invalid-plan", "invalid plan"),
    ];
    let checking = checking.map(|(way, said)| (json!({ "check": way }), said));
    all_are_refused(&admin, HOSTILE, judging.into_iter().chain(checking));

    let deciding = [
        ("loop", "in decide: it took longer than"),
        // Allocating that much takes time, so either the memory limit or the time limit is exceeded first.
        ("grow", "in decide: it "),
        ("panic", "it panicked: who is"),
        ("give-up", "it returned an error: not today"),
        ("silent", "it denied without a reason"),
        ("invisible", "it denied without a reason"),
        ("long-role", "bytes in the name of a role"),
        ("many-roles", "it returned 1000 roles"),
        ("long-reason", "bytes in a reason"),
    ];
    all_are_refused(
        &admin,
        LOCKOUT_RULE,
        deciding.map(|(way, said)| (json!({ "do": way }), said)).into_iter(),
    );

    assert_eq!(admin.get("/api/v1/status").status, 200);
    assert!(
        server
            .log_lines()
            .iter()
            .all(|line| !line.contains("watchpost panicked"))
    );
}

fn all_are_refused<'w>(admin: &Client, wasm: &[u8], ways: impl Iterator<Item = (Value, &'w str)>) {
    let (name, digest) = uploaded(admin, wasm);
    for (settings, said) in ways {
        let problem = activate(admin, &name, &digest, json!({ "settings": settings })).problem(422);
        assert!(problem.contains(said), "{settings}: {problem}");
        assert_eq!(generation(admin), 1, "{settings}");
    }
}
