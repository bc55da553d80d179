//! The access log: bounded lines, and one line a second for requests that the rate limit rejects.

use watchpost_tests::server::{Server, eventually};

#[test]
fn a_long_path_and_a_long_agent_are_cut() {
    let server = Server::start().ready();
    let (path, agent) = (format!("/{}", "p".repeat(5000)), "a".repeat(5000));
    let client = server
        .plain_client()
        .with("user-agent", &agent)
        .with("x-request-id", "long");
    assert_eq!(client.get(&path).status, 404);
    let line = server.logged("request_id=long");
    assert!(line.contains(&format!("path=/{}… ", "p".repeat(1023))), "{line}");
    assert!(line.ends_with(&format!("agent={}…", "a".repeat(256))), "{line}");
}

#[test]
fn requests_beyond_the_rate_limit_are_counted_and_not_logged_one_by_one() {
    let server = Server::with("[http]\nrequests_per_second = 1\nburst = 5").ready();
    let mut connection = server.plain_client().connect().expect("a connection");
    let mut rejected = 0;
    for _ in 0..200 {
        let answer = connection.ask("GET", "/health").expect("an answer");
        rejected += u64::from(answer.status == 429);
    }
    assert!(rejected >= 150, "{rejected}");
    let count = |line: &String| {
        let count = line.split_once("requests exceeded the rate limit count=")?.1;
        count.split(' ').next()?.parse::<u64>().ok()
    };
    let lines = eventually("a report of all", || {
        let counts: Vec<_> = server.log_lines().iter().filter_map(count).collect();
        (counts.iter().sum::<u64>() == rejected).then_some(counts)
    });
    assert!(lines.len() < 50, "{lines:?}");
    let all = server.log_lines();
    assert!(!all.iter().any(|line| line.contains("status=429")), "{all:?}");
    let report = server.logged("requests exceeded the rate limit");
    assert!(report.contains("last_address=127.0.0.1"), "{report}");
}

#[test]
fn requests_that_are_refused_before_their_client_is_known_are_limited_too() {
    let server = Server::with("[http]\nrequests_per_second = 1\nburst = 5").ready();
    let long = server.plain_client().with("x-long", &"x".repeat(20_000));
    let statuses: Vec<u16> = (0..50).map(|_| long.get("/health").status).collect();
    assert!(statuses.contains(&431), "{statuses:?}");
    let limited = statuses.iter().filter(|status| **status == 429).count();
    assert!(limited >= 40, "{statuses:?}");
    let lines = server.log_lines();
    assert!(
        lines.iter().filter(|line| line.contains("status=431")).count() <= 10,
        "{lines:?}"
    );
}

#[test]
fn probes_without_a_limit_do_not_fill_the_log() {
    let server = Server::start().ready();
    for _ in 0..20 {
        assert_eq!(server.plain_client().get("/health/live").status, 200);
    }
    // A later request is logged, so the earlier ones would be there.
    server.plain_client().with("x-request-id", "later").get("/health");
    server.logged("request_id=later");
    let lines = server.log_lines();
    assert!(
        !lines.iter().any(|line| line.contains("path=/health/live")),
        "{lines:?}"
    );
}

#[test]
fn the_servers_own_id_is_logged_and_returned_beside_the_id_of_the_client() {
    let server = Server::start().ready();
    let client = server.plain_client().with("x-request-id", "of-another-client");
    let (first, second) = (client.get("/health"), client.get("/health"));
    let own = |answer: &watchpost_tests::http::Answer| {
        assert_eq!(answer.header("x-request-id"), Some("of-another-client"));
        answer.header("x-watchpost-request-id").expect("a header").to_owned()
    };
    assert_ne!(own(&first), own(&second));
    let line = server.logged(&format!("server_request_id={}", own(&first)));
    assert!(line.contains("request_id=of-another-client"), "{line}");
    let generated = server.plain_client().get("/health");
    assert_eq!(
        generated.header("x-request-id"),
        generated.header("x-watchpost-request-id")
    );
}
