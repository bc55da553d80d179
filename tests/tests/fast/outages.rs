//! Rounds while the database is locked, silent or unavailable, and a shutdown meanwhile.

use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection, QueryableByName, RunQueryDsl, sql_query, sql_types};
use serde_json::Value;
use watchpost_policies::rfc3339;
use watchpost_tests::postgres::{self, Postgres};
use watchpost_tests::proxy::Proxy;
use watchpost_tests::server::{Server, eventually};

#[test]
fn buffered_rounds_are_written_on_shutdown() {
    let shared = postgres::shared();
    let url = shared.database();
    let mut locks = PgConnection::establish(&url).expect("it answers");
    let mut server = Server::with(&format!(
        "[database]\nurl = \"{url}\"\n[collector]\ninterval = \"200ms\""
    ))
    .ready();
    let locked = locks.batch_execute("BEGIN; LOCK TABLE history_rounds IN ACCESS EXCLUSIVE MODE");
    locked.expect("the lock is free soon");
    let number = || server.get("/api/v1/status").json()["round"]["number"].as_u64();
    let begin = number().expect("a round");
    // The first of these may be in progress; the others are buffered.
    eventually("some rounds", || number().filter(|number| *number > begin + 5));
    let last = server.get("/api/v1/snapshot").json()["time"]
        .as_str()
        .and_then(rfc3339::parse)
        .expect("a time");
    server.signal("TERM");
    server.logged("stopping; running requests");
    locks.batch_execute("COMMIT").expect("the lock is released");
    assert_eq!(server.ended().code(), Some(0));
    assert!(
        !server.log_lines().iter().any(|line| line.contains("the last rounds")),
        "none is lost"
    );
    let times: Vec<Time> = sql_query("SELECT time_ms FROM history_rounds ORDER BY time_ms")
        .load(&mut locks)
        .expect("read");
    assert!(times.iter().any(|time| time.time_ms == last), "{last} is missing");
    let gaps = times.windows(2).filter(|two| two[1].time_ms - two[0].time_ms > 5_000);
    assert_eq!(gaps.count(), 0);
}

#[derive(QueryableByName)]
struct Time {
    #[diesel(sql_type = sql_types::BigInt)]
    time_ms: i64,
}

#[test]
fn a_silent_database_does_not_block_the_shutdown() {
    let shared = postgres::shared();
    let proxy = Proxy::to(shared.address());
    let url = shared.database();
    let url = url.replace(&shared.address().to_string(), &proxy.address.to_string());
    let mut server = Server::with(&format!(
        "[database]\nurl = \"{url}\"\n[collector]\ninterval = \"200ms\""
    ))
    .ready();
    proxy.hold();
    let number = || server.get("/api/v1/status").json()["round"]["number"].as_u64();
    let begin = number().expect("a round");
    eventually("some rounds", || number().filter(|number| *number > begin + 5));
    server.signal("TERM");
    assert_eq!(server.ended().code(), Some(0));
    server.logged("the last rounds are missing in the history");
}

#[test]
fn during_an_outage_rounds_are_buffered_and_nothing_else_waits() {
    let mut database = Postgres::start();
    let server = Server::with(&format!("[database]\nurl = \"{}\"", database.database())).ready();
    let metric = |name: &str| {
        let text = server.get("/metrics").text();
        let line = text.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        line.and_then(|line| line.trim().parse::<f64>().ok())
    };
    eventually("a round", || {
        metric("watchpost_history_rounds_total ").filter(|rounds| *rounds > 0.0)
    });
    database.stop();
    server.logged("could not write the history");
    let answer = server.get("/api/v1/history?metric=memory");
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("5")));
    assert_eq!(server.get("/api/v1/status").status, 200);
    assert_eq!(server.get("/health/ready").status, 200);
    let gap = |snapshot: Value| snapshot["gaps"].to_string().contains("chunks");
    eventually("a gap for the chunks", || {
        gap(server.get("/api/v1/snapshot").json()).then_some(())
    });
    database.start_again();
    server.logged("writing the history works again");
    eventually("all rounds", || {
        let points = server.get("/api/v1/history?metric=memory").json();
        let points = points["series"][0]["points"].as_array()?.clone();
        let times: Vec<_> = points
            .iter()
            .filter_map(|point| rfc3339::parse(point[0].as_str()?))
            .collect();
        let whole = times.windows(2).all(|two| two[1] - two[0] < 2500);
        (whole && points.len() > 3).then_some(())
    });
    for reason in ["full", "rejected", "shutdown"] {
        let dropped = metric(&format!(
            "watchpost_history_rounds_dropped_total{{reason=\"{reason}\"}} "
        ));
        assert_eq!(dropped, Some(0.0), "{reason}");
    }
    eventually("the chunks again", || {
        (!gap(server.get("/api/v1/snapshot").json())).then_some(())
    });
}
