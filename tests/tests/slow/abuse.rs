//! Tools that attack or load a server: slowhttptest keeps connections busy with as little as possible, and h2load sends
//! many requests in HTTP/2. slowhttptest itself asks each second whether the server is available for others.

#![expect(
    clippy::print_stdout,
    reason = "the measured figures are of interest, also if they are within the limits"
)]

use std::collections::BTreeMap;
use std::process::Command;
use std::thread;

use openssl::sha::sha256;
use watchpost_tests::programs::output_of;
use watchpost_tests::server::{Server, eventually};

/// Fewer than `http.max_connections_per_address`, so that slowhttptest's own probe, which has the same address, is served.
const CONNECTIONS: u32 = 200;

/// The tool ends before the time limit, because the server has closed all connections.
const ALL_CLOSED: &str = "No open connections left";

/// Timeouts that end an attack within the seconds of a test.
const TIMEOUTS: &str = "[http]
    access_log = false
    header_timeout = \"2s\"
    body_timeout = \"2s\"
    send_timeout = \"2s\"
    keep_alive = \"2s\"
    requests_per_second = 0
";

/// A megabyte, which an anonymous client may read.
const LARGE: &str = "/docs/assets/redoc-2.5.4.js";

const TOKEN: &str = "hunter2";

/// A server with these settings and a client with this role that has the token.
fn server(settings: &str, role: &str) -> Server {
    let digest: String = sha256(TOKEN.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let token = format!("[[tokens]]\nname = \"tool\"\nsha256 = \"{digest}\"\nroles = [\"{role}\"]\n");
    Server::with(&format!("{settings}{token}")).ready()
}

/// A series of the service metrics.
fn metric(server: &Server, series: &str) -> f64 {
    let metrics = server.get("/metrics").text();
    let value = metrics
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value
        .unwrap_or_else(|| panic!("no {series}"))
        .parse()
        .expect("a number")
}

/// What slowhttptest says about an attack on a path of a server, which was available for others at all times.
fn survived(server: &Server, mode: &[&str], url: &str) -> String {
    let report = server.folder().join("attack");
    let text = output_of(
        Command::new("slowhttptest")
            .args(mode)
            .args([
                "-c",
                &CONNECTIONS.to_string(),
                "-r",
                "100",
                "-l",
                "12",
                "-p",
                "3",
                "-g",
                "-o",
            ])
            .arg(&report)
            .args(["-u", url]),
    )
    .expect("slowhttptest runs; `make test-all` installs it");
    // Each second with the numbers of closed, pending and connected connections, and of all if the server is available.
    let table = std::fs::read_to_string(report.with_extension("csv")).expect("the report of slowhttptest");
    println!("{mode:?} on {url}:\n{table}");
    let seconds = table.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>());
    let mut count = 0;
    for second in seconds {
        let [_, _, _, _, available] = second[..] else {
            panic!("another table: {table}");
        };
        assert_ne!(available, "0", "{table}");
        count += 1;
    }
    assert!(count > 1, "{text}");
    assert_eq!(server.get("/health/ready").status, 200);
    text
}

#[test]
fn slow_headers_keep_no_connection_and_delay_no_other_client() {
    let server = server(TIMEOUTS, "reader");
    for url in [
        format!("http://{}/health", server.plain),
        format!("https://{}/health", server.secure),
    ] {
        let text = survived(&server, &["-H", "-i", "1", "-x", "24"], &url);
        assert!(text.contains(ALL_CLOSED), "{text}");
    }
}

#[test]
fn slow_bodies_keep_no_connection_and_delay_no_other_client() {
    let server = server(TIMEOUTS, "agent");
    // The tool has no option for other headers. Without the token, the server would not wait for the body.
    let headers = format!("application/json\r\nAuthorization: Bearer {TOKEN}");
    let body = ["-B", "-i", "1", "-s", "8192", "-x", "10", "-f", &headers];
    let url = format!("http://{}/api/v1/chunks", server.plain);
    let text = survived(&server, &body, &url);
    assert!(text.contains(ALL_CLOSED), "{text}");
    let chunks = |part| {
        let name = "watchpost_http_request_duration_seconds";
        metric(&server, &format!("{name}_{part}{{route=\"chunks\"}}"))
    };
    let (count, seconds) = (chunks("count"), chunks("sum"));
    println!("{count} requests took {seconds:.0} s");
    assert!(count >= f64::from(CONNECTIONS), "{count}");
    assert!(seconds / count > 1.5, "the server waited for the bodies: {seconds} s");
}

#[test]
fn many_ranges_of_a_large_file_delay_no_other_client_and_take_little_memory() {
    let server = server(TIMEOUTS, "reader");
    let url = format!("http://{}{LARGE}", server.plain);
    let before_mb = server.resident_mb();
    // The first ranges fit into `http.max_headers`, the others do not.
    for last in ["1500", "4000"] {
        survived(&server, &["-R", "-a", "5", "-b", last], &url);
    }
    let added_mb = server.resident_mb() - before_mb;
    println!("ranges added {added_mb:.1} MB");
    assert!(added_mb < 64.0, "{added_mb} MB");
}

/// The tool reads on from the buffers of the kernel, after the server has ended the connection.
#[test]
fn slow_readers_keep_no_connection_and_delay_no_other_client() {
    let server = server(TIMEOUTS, "reader");
    let url = format!("http://{}{LARGE}", server.plain);
    let read = ["-X", "-w", "10", "-y", "20", "-n", "1", "-z", "32", "-k", "3"];
    let open = || metric(&server, "watchpost_http_connections");
    thread::scope(|scope| {
        let attack = scope.spawn(|| survived(&server, &read, &url));
        eventually("many readers", || (open() > 100.0).then_some(()));
        eventually("the end of their connections", || (open() < 10.0).then_some(()));
        attack.join().expect("the server survives");
    });
    let ended = metric(&server, "watchpost_http_limits_exceeded_total{limit=\"send_timeout\"}");
    assert!(ended >= f64::from(CONNECTIONS), "{ended}");
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
                &format!("authorization: Bearer {TOKEN}"),
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

#[test]
fn an_honest_load_of_many_streams_is_answered_without_errors() {
    let server = server("[http]\naccess_log = false\n", "reader");
    for (path, requests) in [
        ("/health/live", 20_000),
        ("/api/v1/snapshot", 1000),
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
    let server = server(
        "[http]\naccess_log = false\nrequests_per_second = 50\nburst = 100\n",
        "reader",
    );
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
