//! Records during an outage of the database.

use std::time::{Duration, Instant};

use serde_json::json;
use watchpost_tests::postgres;
use watchpost_tests::proxy::Proxy;
use watchpost_tests::server::{Server, eventually};

use super::{recorded, records, refused};

/// A server with a proxy to its database.
fn behind_a_wire(settings: &str) -> (Server, Proxy) {
    let shared = postgres::shared();
    let proxy = Proxy::to(shared.address());
    let url = shared.database();
    let url = url.replace(&shared.address().to_string(), &proxy.address.to_string());
    let server = Server::with(&format!(
        "[database]\nurl = \"{url}\"\n[chunks]\nenabled = false\n[decisions]\nrecord_judgements = false\nmax_repeats = 1000\n{settings}"
    ));
    (server.ready(), proxy)
}

/// The value of a service metric.
fn number(server: &Server, name: &str) -> u64 {
    let all = server.get("/metrics").text();
    let line = all.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|value| value.trim().parse().ok())
        .unwrap_or_else(|| panic!("{name} in {all}"))
}

const DROPPED: &str = "watchpost_decisions_dropped_total{reason=\"full\"} ";
const RECORDED: &str = "watchpost_decisions_recorded_total{kind=\"decision\"} ";

#[test]
fn during_an_outage_records_are_queued_then_dropped_and_counted_and_requests_are_served() {
    let (server, proxy) = behind_a_wire("queue_capacity = 5\n");
    refused(&server, "before");
    recorded(&server.client("admin"), "action=chunks.write", 1);
    proxy.hold();
    for number in 0..40 {
        refused(&server, &format!("r{number}"));
    }
    let dropped = number(&server, DROPPED);
    assert!(dropped >= 20, "{dropped}");
    assert_eq!(server.plain_client().get("/health/ready").status, 200);
    assert_eq!(server.get("/api/v1/report").status, 200);
    server.logged("the queue of decisions is full");
    proxy.resume();
    let kept = eventually("what waited", || {
        let kept = number(&server, RECORDED);
        (kept + number(&server, DROPPED) == 41).then_some(kept)
    });
    assert_eq!(number(&server, DROPPED), dropped);
    let found = records(&server.client("admin"), "action=chunks.write");
    assert_eq!(found.len() as u64, kept);
    assert_eq!(found[1]["request_id"], "r0", "what came first is there");
}

#[test]
fn with_when_full_block_a_request_waits_for_the_queue_at_most_a_second() {
    let (server, proxy) = behind_a_wire("queue_capacity = 1\nwhen_full = \"block\"\n");
    proxy.hold();
    // One record is being written, and one is queued.
    refused(&server, "r0");
    refused(&server, "r1");
    let before = number(&server, DROPPED);
    let began = Instant::now();
    refused(&server, "r2");
    let waited = began.elapsed();
    assert!(
        waited >= Duration::from_secs(1) && waited < Duration::from_secs(10),
        "{waited:?}"
    );
    assert_eq!(number(&server, DROPPED), before + 1);
    proxy.resume();
    let found = recorded(&server.client("admin"), "action=chunks.write", 2);
    assert_eq!(
        (&found[0]["request_id"], &found[1]["request_id"]),
        (&json!("r0"), &json!("r1"))
    );
}
