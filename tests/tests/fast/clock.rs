//! A clock that is ahead at the start.

use serde_json::json;
use watchpost_policies::rfc3339;
use watchpost_tests::clock_shift;
use watchpost_tests::server::{Server, eventually};

const SETTINGS: &str = "[decisions]\nretention = \"1h\"\nmax_records = 10\nmax_repeats = 1000\nrecord_judgements = false\n\
                        [history]\nretention = \"1h\"\n";

/// The number of rounds that were measured before this time.
fn rounds_before(server: &Server, end: &str) -> usize {
    let answer = server.get(&format!("/api/v1/snapshots?from=-7d&to={end}"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text().lines().count()
}

/// In milliseconds since 1970.
fn time_of_snapshot(server: &Server) -> i64 {
    let snapshot = server.get("/api/v1/snapshot").json();
    snapshot["time"]
        .as_str()
        .and_then(rfc3339::parse)
        .expect("a time in RFC 3339")
}

#[test]
fn a_clock_that_is_ahead_at_the_start_deletes_nothing_by_age() {
    let server = Server::with(&SETTINGS.replace("max_records = 10", "max_records = 1000")).ready();
    let chunk = json!({ "job_id": 1, "chunk_index": 0, "image_range": { "start": 0, "end": 1 } });
    for number in 0..20 {
        let reader = server.client("reader").with("x-request-id", &format!("r{number}"));
        reader.send("POST", "/api/v1/chunks", &chunk).problem(403);
    }
    let end = time_of_snapshot(&server);
    eventually("stored rounds", || (rounds_before(&server, "now") > 0).then_some(()));
    let folder = server.stop();
    let text = std::fs::read_to_string(folder.path().join("watchpost.toml")).expect("read");
    let text = text.replace("max_records = 1000", "max_records = 10");
    std::fs::write(folder.path().join("watchpost.toml"), text).expect("written");
    let shims = tempfile::tempdir().expect("a folder");
    let library = clock_shift::library(shims.path(), 2 * 24 * 60 * 60);
    let variables = [(clock_shift::VARIABLE, library.to_str().expect("a path"))];
    let server = Server::prepared_with_variables(folder, &variables).ready();
    let now = time_of_snapshot(&server);
    assert!(now > end + 24 * 60 * 60 * 1000, "the clock is ahead: {now} after {end}");
    // The number is limited in the same step as the age.
    let left = eventually("a limited number of records", || {
        let answer = server.get("/api/v1/decisions?limit=1000").json();
        let records = answer["decisions"].as_array().expect("a list").clone();
        (records.len() <= 10).then_some(records)
    });
    let ids: Vec<_> = left
        .iter()
        .map(|record| record["request_id"].as_str().expect("an id"))
        .collect();
    let newest: Vec<_> = (10..20).map(|number| format!("r{number}")).collect();
    assert_eq!(ids, newest, "the newest are left, though they look two days old");
    assert!(
        rounds_before(&server, "-1d") > 0,
        "rounds that look two days old are left"
    );
}
