//! The limits of the HTTP server: requests within a limit are served, others get an error response.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use watchpost_tests::server::{Server, eventually};

#[test]
fn bodies_are_bounded() {
    let server = Server::with("[http]\nmax_body = \"1KiB\"");
    let admin = server.client("admin");
    let with_length = |length: usize| {
        let mut connection = admin.connect().expect("it answers");
        let head = format!("GET /health HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n");
        connection.send(head.as_bytes()).expect("sent");
        connection.send(&vec![b'x'; length]).expect("sent");
        connection.answer(false).expect("an answer")
    };
    assert_eq!(with_length(1024).status, 200);
    assert!(with_length(1025).problem(413).contains("http.max_body"));
}

#[test]
fn an_unread_body_holds_no_connection() {
    let server = Server::start();
    let mut connection = server.client("admin").connect().expect("it answers");
    let head = b"GET /health HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n";
    connection.send(head).expect("sent");
    assert_eq!(connection.answer(false).expect("an answer").status, 200);
    let chunk = [b"10000\r\n".to_vec(), vec![b'x'; 0x10000], b"\r\n".to_vec()].concat();
    // The server may read the rest of the body for a short time, so that the response is not lost, but with a limit.
    let begin = Instant::now();
    eventually("a closed connection", || connection.send(&chunk).is_err().then_some(()));
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
}

#[test]
fn a_too_large_body_over_http_2_gets_a_response_too() {
    let server = Server::with("[http]\nmax_body = \"1KiB\"").ready();
    let body = server.folder().join("body");
    std::fs::write(&body, vec![b'x'; 8 << 20]).expect("written");
    let pki = server.folder().join("data/pki");
    let said = |protocol: &str, client: &str| {
        let output = Command::new("curl")
            .args([
                "--silent",
                "--show-error",
                "--write-out",
                "%{http_version} %{http_code}",
            ])
            .args([
                protocol,
                "--output",
                "/dev/null",
                "--header",
                "content-type: application/json",
            ])
            .arg("--data-binary")
            .arg(format!("@{}", body.display()))
            .arg("--cacert")
            .arg(pki.join("ca.crt"))
            .arg("--cert")
            .arg(pki.join(format!("clients/{client}.crt")))
            .arg("--key")
            .arg(pki.join(format!("clients/{client}.key")))
            .arg(format!("https://localhost:{}/api/v1/chunks", server.secure.port()))
            .output()
            .expect("curl runs");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    for _ in 0..3 {
        assert_eq!(said("--http2", "admin"), "2 413");
        assert_eq!(said("--http1.1", "admin"), "1.1 413");
    }
}

#[test]
fn a_client_that_guesses_tokens_is_rate_limited() {
    let server = Server::with("[http]\nrequests_per_second = 1\nburst = 5");
    let guess = |at: usize| {
        let guesser = server
            .anonymous_client()
            .with("authorization", &format!("Bearer guess-{at}"));
        guesser.get("/health").status
    };
    let answers: Vec<u16> = (0..15).map(guess).collect();
    assert_eq!(answers[..4], [401; 4]);
    assert!(answers.contains(&429), "{answers:?}");
    assert_eq!(
        server.client("admin").get("/health").status,
        200,
        "others are not concerned"
    );
}

#[test]
fn headers_are_bounded() {
    let server = Server::with("[http]\nmax_headers = \"2KiB\"");
    let with = |length: usize| {
        server
            .client("admin")
            .with("x-filler", &"x".repeat(length))
            .get("/health")
    };
    assert_eq!(with(1900).status, 200);
    assert!(with(2100).problem(431).contains("2048"));
}

#[test]
fn a_client_beyond_the_rate_limit_gets_retry_after() {
    let server = Server::with("[http]\nrequests_per_second = 2\nburst = 5");
    let mut reader = server.client("reader").connect().expect("it answers");
    let mut answers = (0..8).map(|_| reader.ask("GET", "/health").expect("an answer"));
    assert!(answers.by_ref().take(5).all(|answer| answer.status == 200));
    let refused = answers
        .find(|answer| answer.status == 429)
        .expect("the bucket is empty");
    assert!(refused.problem(429).contains("retry in"));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(
        server.client("admin").get("/health").status,
        200,
        "others are not concerned"
    );
    eventually("a new request in the bucket", || {
        (reader.ask("GET", "/health").expect("an answer").status == 200).then_some(())
    });
}

#[test]
fn a_slow_sender_is_disconnected() {
    let server = Server::with("[http]\nheader_timeout = \"500ms\"");
    let begin = Instant::now();
    let mut connection = server.client("admin").connect().expect("it answers");
    connection.send(b"GET /health HTTP/1.1\r\nhost: lo").expect("sent");
    let rest = String::from_utf8_lossy(&connection.rest()).into_owned();
    assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 408"), "{rest}");
    assert!(begin.elapsed() < Duration::from_secs(20));

    // A client that never starts its handshake.
    let mut silent = TcpStream::connect(server.secure).expect("it listens");
    silent.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
    assert_eq!(silent.read(&mut [0; 1]).expect("it is closed, not forgotten"), 0);
    assert_eq!(server.client("admin").get("/health").status, 200);
}

#[test]
fn connections_are_bounded_and_the_next_one_waits() {
    let server = Server::with("[http]\nmax_connections = 2\nkeep_alive = \"60s\"\n[server]\nworkers = 1").ready();
    let hold = |_| {
        let mut held = server.client("admin").connect().expect("it answers");
        held.ask("GET", "/health").expect("an answer");
        held
    };
    // Clients on this machine get a reserve of 16 more.
    let held: Vec<_> = (0..2 + 16).map(hold).collect();
    // The kernel accepts the connection, but the server does not start a handshake yet.
    let mut third = TcpStream::connect(server.plain).expect("it listens");
    third.set_read_timeout(Some(Duration::from_secs(1))).expect("set");
    third
        .write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .expect("sent");
    assert!(
        third.read(&mut [0; 1]).is_err(),
        "one more is served than the limit allows"
    );
    drop(held);
    third.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
    let mut answer = [0; 12];
    third.read_exact(&mut answer).expect("its turn has come");
    assert_eq!(&answer, b"HTTP/1.1 200");
}
