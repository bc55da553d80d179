//! Malformed and malicious requests: each gets a 4xx response or a closed connection, and the server keeps serving.

use watchpost_tests::server::Server;

#[test]
fn malformed_requests_are_refused_and_the_server_keeps_serving() {
    let server = Server::start().ready();
    let long = |length: usize| "a".repeat(length);
    let requests: Vec<Vec<u8>> = [
        "\0\0\0\0\r\n\r\n".to_owned(),
        "GET\r\n\r\n".to_owned(),
        "GET /\r\n\r\n".to_owned(),
        "GET / HTTP/9.9\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nhost localhost\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n".to_owned(),
        "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999999999999999\r\n\r\n".to_owned(),
        "POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n"
            .to_owned(),
        "POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n\r\n".to_owned(),
        "POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff1\r\n".to_owned(),
        "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}".to_owned(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0".to_owned(),
        format!("GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n", long(200_000)),
        format!("GET / HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", long(200_000)),
        format!("GET / HTTP/1.1\r\nhost: localhost\r\n{}\r\n", "x: y\r\n".repeat(500)),
        format!("{} / HTTP/1.1\r\nhost: localhost\r\n\r\n", long(10_000)),
    ]
    .into_iter()
    .map(String::into_bytes)
    .chain([
        b"GET /\xff\xfe HTTP/1.1\r\nhost: localhost\r\n\r\n".to_vec(),
        vec![0xff; 4096],
    ])
    .collect();
    for client in [server.client("admin"), server.plain_client()] {
        for request in &requests {
            let shown = String::from_utf8_lossy(&request[..request.len().min(80)]).into_owned();
            let mut connection = client.connect().expect("it answers");
            // A client that is refused early may be unable to send everything.
            let _ = connection.send(request);
            let _ = connection.send(b"GET /never HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
            let rest = String::from_utf8_lossy(&connection.rest()).into_owned();
            let status = rest.split(' ').nth(1).unwrap_or_default();
            assert!(rest.is_empty() || status.starts_with('4'), "{shown:?}: {rest}");
            assert_eq!(client.get("/health").status, 200, "after {shown:?}");
        }
    }
    assert!(
        server.log_lines().iter().all(|line| !line.contains("panicked")),
        "something broke"
    );
    let states = server.get("/api/v1/status").json()["tasks"].clone();
    assert!(
        states
            .as_object()
            .expect("tasks")
            .values()
            .all(|task| task["restarts"] == 0),
        "{states}"
    );
}

#[test]
fn an_unknown_path_creates_no_series_in_the_metrics() {
    let server = Server::start().ready();
    for at in 0..50 {
        assert_eq!(server.get(&format!("/nothing/{at}")).status, 404);
    }
    let metrics = server.get("/metrics").text();
    assert!(!metrics.contains("/nothing/"), "{metrics}");
    assert!(metrics.contains("route=\"other\""), "{metrics}");
}

#[test]
fn clients_cannot_forge_log_lines() {
    let server = Server::start().ready();
    let forger = server.client("admin").with("user-agent", "good\\n2026 ERROR forged");
    forger.get("/health?%0aforged");
    forger.get("/%0a2026%20ERROR%20forged");
    server.logged("path=/%0a2026");
    assert!(server.log_lines().iter().all(|line| !line.starts_with("2026 ERROR")));
}
