//! Tools that attack or load a server: slowhttptest keeps connections busy with as little as possible, and h2load sends
//! many requests in HTTP/2. slowhttptest itself asks each second whether the server is available for others.

#![expect(
    clippy::print_stdout,
    reason = "the measured figures are of interest, also if they are within the limits"
)]

use std::collections::BTreeMap;
use std::process::Command;

use openssl::sha::sha256;
use watchpost_tests::programs::output_of;
use watchpost_tests::server::Server;

/// Fewer than `http.max_connections_per_address`, so that slowhttptest's own probe, which has the same address, is served.
const CONNECTIONS: u32 = 200;

/// Timeouts that end an attack within the seconds of a test.
const TIMEOUTS: &str =
    "[http]\nheader_timeout = \"2s\"\nbody_timeout = \"2s\"\nsend_timeout = \"2s\"\nkeep_alive = \"2s\"\n";

/// A megabyte, which an anonymous client may read.
const LARGE: &str = "/docs/assets/redoc-2.5.4.js";

/// One second of an attack, in connections.
#[derive(Debug)]
struct Second {
    closed: u32,
    connected: u32,
    is_available: bool,
}

/// What slowhttptest reports for each second of an attack on a server, the last one after the end.
fn attack(server: &Server, mode: &[&str], url: &str) -> Vec<Second> {
    let report = server.folder().join("attack");
    let tls_ca = server.data().join("pki/ca.crt");
    output_of(
        Command::new("slowhttptest")
            .args(mode)
            .args([
                "-c",
                &CONNECTIONS.to_string(),
                "-r",
                "100",
                "-l",
                "12",
                "-i",
                "1",
                "-p",
                "1",
                "-g",
                "-o",
            ])
            .arg(&report)
            .args(["-u", url])
            .env("SSL_CERT_FILE", tls_ca),
    )
    .expect("slowhttptest runs; `make test-all` installs it");
    let table = std::fs::read_to_string(report.with_extension("csv")).expect("the report of slowhttptest");
    let second = |line: &str| {
        let numbers: Vec<u32> = line
            .split(',')
            .map(|number| number.parse().expect("a number"))
            .collect();
        let [_, closed, _, connected, available] = numbers[..] else {
            panic!("another table: {table}");
        };
        Second {
            closed,
            connected,
            is_available: available > 0,
        }
    };
    let seconds: Vec<Second> = table.lines().skip(1).map(second).collect();
    println!("{mode:?} on {url}: {seconds:?}");
    seconds
}

/// The server was available at all times, and in the end it had closed all connections.
fn assert_survived(server: &Server, seconds: &[Second]) {
    assert!(seconds.iter().all(|second| second.is_available), "{seconds:?}");
    assert!(
        seconds.iter().any(|second| second.connected > CONNECTIONS / 4),
        "an attack: {seconds:?}"
    );
    let end = seconds.last().expect("the attack took some seconds");
    assert_eq!((end.closed, end.connected), (CONNECTIONS, 0), "{seconds:?}");
    assert_eq!(server.get("/health/ready").status, 200);
}

#[test]
fn slow_headers_keep_no_connection_and_delay_nobody() {
    let server = Server::with(TIMEOUTS).ready();
    for url in [
        format!("http://{}/health", server.plain),
        format!("https://{}/health", server.secure),
    ] {
        assert_survived(&server, &attack(&server, &["-H", "-x", "24"], &url));
    }
}

#[test]
fn slow_bodies_keep_no_connection_and_delay_nobody() {
    let server = Server::with(TIMEOUTS).ready();
    let body = ["-B", "-s", "8192", "-x", "10", "-f", "application/json"];
    let url = format!("http://{}/api/v1/chunks", server.plain);
    assert_survived(&server, &attack(&server, &body, &url));
}

#[test]
fn many_ranges_of_a_large_file_delay_nobody() {
    let server = Server::with(TIMEOUTS).ready();
    let url = format!("http://{}{LARGE}", server.plain);
    let before_mb = server.resident_mb();
    assert_survived(&server, &attack(&server, &["-R", "-a", "10", "-b", "3000"], &url));
    let added_mb = server.resident_mb() - before_mb;
    println!("ranges added {added_mb:.1} MB");
    assert!(added_mb < 64.0, "{added_mb} MB");
}

#[test]
fn slow_readers_keep_no_connection_and_delay_nobody() {
    let server = Server::with(TIMEOUTS).ready();
    let url = format!("http://{}{LARGE}", server.plain);
    let read = ["-X", "-w", "10", "-y", "20", "-n", "1", "-z", "32", "-k", "3"];
    assert_survived(&server, &attack(&server, &read, &url));
}

/// The numbers of a line such as `requests: 10 total, 9 succeeded`, by their names.
fn counted<'t>(text: &'t str, line: &str) -> BTreeMap<&'t str, u32> {
    let found = text.lines().find_map(|found| found.strip_prefix(line));
    let parts = found.unwrap_or_else(|| panic!("no {line} in {text}")).split(", ");
    let part = |part: &'t str| {
        let (number, name) = part.split_once(' ').expect("a number and its name");
        (name, number.parse().expect("a number"))
    };
    parts.map(part).collect()
}

/// Sends this many requests on 10 connections of 100 streams each, more than the server processes at once.
fn load(server: &Server, path: &str, requests: u32) -> String {
    let text = output_of(
        Command::new("h2load")
            .args([
                "-n",
                &requests.to_string(),
                "-c",
                "10",
                "-m",
                "100",
                "-H",
                "authorization: Bearer hunter2",
            ])
            .arg(format!("https://localhost:{}{path}", server.secure.port())),
    )
    .expect("h2load runs; `make test-all` installs it");
    let of_interest = ["finished in ", "requests: ", "status codes: ", "time for request: "];
    for line in text
        .lines()
        .filter(|line| of_interest.iter().any(|start| line.starts_with(start)))
    {
        println!("{path}: {line}");
    }
    assert!(text.contains("Application protocol: h2"), "{text}");
    text
}

fn server_with_token(http: &str) -> Server {
    let digest: String = sha256(b"hunter2").iter().map(|byte| format!("{byte:02x}")).collect();
    let token = format!("[[tokens]]\nname = \"load\"\nsha256 = \"{digest}\"\nroles = [\"reader\"]\n");
    Server::with(&format!("{http}{token}")).ready()
}

#[test]
fn an_honest_load_of_many_streams_is_answered_without_errors() {
    let server = server_with_token("");
    for (path, requests) in [
        ("/health/live", 20_000),
        ("/api/v1/snapshot", 5000),
        ("/openapi.json", 1000),
    ] {
        let text = load(&server, path, requests);
        let results = counted(&text, "requests: ");
        assert_eq!(results["succeeded"], requests, "{text}");
        assert_eq!(
            [results["failed"], results["errored"], results["timeout"]],
            [0; 3],
            "{text}"
        );
        assert_eq!(counted(&text, "status codes: ")["2xx"], requests, "{text}");
    }
}

#[test]
fn a_load_above_the_rate_limit_is_answered_with_429_and_other_clients_are_served() {
    let server = server_with_token("[http]\nrequests_per_second = 50\nburst = 100\n");
    let text = load(&server, "/api/v1/snapshot", 10_000);
    let (results, statuses) = (counted(&text, "requests: "), counted(&text, "status codes: "));
    assert_eq!(
        [results["done"], results["errored"], results["timeout"]],
        [10_000, 0, 0],
        "{text}"
    );
    assert_eq!([statuses["3xx"], statuses["5xx"]], [0; 2], "{text}");
    assert!(statuses["2xx"] >= 100 && statuses["4xx"] > 5000, "{text}");
    assert_eq!(server.get("/api/v1/snapshot").status, 200);
}
