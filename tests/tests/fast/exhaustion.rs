//! Clients that try to exhaust the server: decompression bombs, connections that trickle, responses that are not read, and
//! HTTP/2 streams. The server limits each, and keeps serving others.

#![expect(
    clippy::print_stdout,
    reason = "the measured figures are of interest, also if they are within the limits"
)]

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use watchpost_tests::http::{Client, Connection};
use watchpost_tests::rules::{form, gzip};
use watchpost_tests::server::{Server, eventually};

const MIB: usize = 1 << 20;

/// A zstd block: at most 128 KiB.
const BLOCK_BYTES: usize = 128 << 10;

/// Measures how much a server's resident memory grows at most, from its creation on.
struct PeakMemory<'s> {
    server: &'s Server,
    before_mb: f64,
}

impl<'s> PeakMemory<'s> {
    fn of(server: &'s Server) -> Self {
        // The kernel sets the peak to the present size.
        std::fs::write(format!("/proc/{}/clear_refs", server.pid()), "5").expect("the server is ours");
        Self {
            server,
            before_mb: server.resident_mb(),
        }
    }

    fn added_mb(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.server.pid())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")).expect("a line");
        kilobytes.parse::<f64>().expect("a number") / 1024.0 - self.before_mb
    }
}

/// A zstd frame of this text and then so many bytes of zeros, in runs: four bytes for each 128 KiB.
fn zstd_bomb(text: &str, zeros: usize) -> Vec<u8> {
    let block = |is_last: bool, kind: usize, size: usize| {
        let header = usize::from(is_last) | kind << 1 | size << 3;
        header.to_le_bytes()[..3].to_vec()
    };
    // The magic number, no options, and a window of 128 KiB.
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, (17 - 10) << 3];
    frame.extend(block(false, 0, text.len()));
    frame.extend(text.bytes());
    let blocks = zeros / BLOCK_BYTES;
    for at in 1..=blocks {
        frame.extend(block(at == blocks, 1, BLOCK_BYTES));
        frame.push(b' ');
    }
    frame
}

fn exceeded(server: &Server, limit: &str) -> f64 {
    let series = format!("watchpost_http_limits_exceeded_total{{limit=\"{limit}\"}} ");
    let metrics = server.get("/metrics").text();
    let value = metrics.lines().find_map(|line| line.strip_prefix(&series));
    value
        .unwrap_or_else(|| panic!("no {series}"))
        .parse()
        .expect("a number")
}

#[test]
fn a_bomb_of_two_gibibytes_in_a_json_body_is_refused_and_takes_no_memory() {
    let server = Server::start().ready();
    let send = |encoding: &str, body: &[u8]| {
        let agent = server.client("agent").with("content-encoding", encoding);
        agent
            .send_bytes("POST", "/api/v1/chunks", "application/json", body)
            .status
    };
    let (zstd, gzip) = (zstd_bomb("[", 2048 * MIB), gzip(&vec![b' '; 512 * MIB]));
    assert!(
        zstd.len() < 67_000 && gzip.len() < MIB,
        "{} and {}",
        zstd.len(),
        gzip.len()
    );
    // The first use of each decoder is not counted.
    for (encoding, body) in [
        ("zstd", zstd_bomb("[", MIB)),
        ("gzip", watchpost_tests::rules::gzip(b"[")),
    ] {
        assert_ne!(send(encoding, &body), 415);
    }
    let memory = PeakMemory::of(&server);
    for (encoding, body) in [("zstd", &zstd), ("gzip", &gzip)] {
        let begin = Instant::now();
        assert_eq!(send(encoding, body), 413, "{encoding}");
        assert!(
            begin.elapsed() < Duration::from_secs(10),
            "{encoding}: {:?}",
            begin.elapsed()
        );
    }
    assert_eq!(send("br", b"x"), 415);
    let added = memory.added_mb();
    println!("JSON bombs added {added:.1} MB");
    assert!(added < 16.0, "{added} MB");
}

#[test]
fn a_bomb_of_two_gibibytes_in_an_upload_is_refused_and_takes_no_memory() {
    let server = Server::start().ready();
    let head = "--x\r\ncontent-disposition: form-data; name=\"component\"; filename=\"a\"\r\n\r\n";
    let upload = |encoding: &str, kind: &str, body: &[u8]| {
        let admin = server.client("admin").with("content-encoding", encoding);
        let admin = admin.with("x-requested-with", "a program");
        admin.send_bytes("POST", "/api/v1/rules", kind, body).status
    };
    let (in_form, alone) = (zstd_bomb(head, 2048 * MIB), zstd_bomb("", 2048 * MIB));
    let zeros = [head.as_bytes(), &vec![0; 512 * MIB]].concat();
    let gzipped = gzip(&zeros);
    drop(zeros);
    // The first request and the first use of each decoder are not counted.
    for (encoding, body) in [("zstd", zstd_bomb(head, BLOCK_BYTES)), ("gzip", gzip(head.as_bytes()))] {
        assert_eq!(upload(encoding, "multipart/form-data; boundary=x", &body), 400);
    }
    let memory = PeakMemory::of(&server);
    assert_eq!(upload("zstd", "multipart/form-data; boundary=x", &in_form), 413);
    assert_eq!(upload("zstd", "application/wasm", &alone), 413);
    assert_eq!(upload("gzip", "multipart/form-data; boundary=x", &gzipped), 413);
    let added = memory.added_mb();
    println!("upload bombs added {added:.1} MB");
    assert!(added < 16.0, "{added} MB");
    assert_eq!(exceeded(&server, "expansion"), 3.0);
}

#[test]
fn a_form_with_a_field_twice_is_refused() {
    let server = Server::start();
    let admin = server.client("admin");
    for field in ["component", "settings", "note", "signature"] {
        let value = match field {
            "settings" => b"{}".to_vec(),
            "signature" => vec![b'A'; 86],
            _ => b"text".to_vec(),
        };
        // A signature is validated when it is read, so it is preceded by a duplicate of another field.
        let fields = match field {
            "signature" => vec![("note", b"text".to_vec()), ("note", b"text".to_vec())],
            _ => vec![(field, value.clone()), (field, value)],
        };
        let problem = form(&admin, &fields).problem(400);
        assert!(problem.contains("twice"), "{field}: {problem}");
    }
}

/// Sockets of one address that each send a request, then a head of which a byte arrives now and then. A socket that the
/// server closes is opened again.
struct Tricklers {
    stop: Arc<AtomicBool>,
    opened: Arc<AtomicUsize>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Tricklers {
    fn start(count: usize, from: &str, to: SocketAddr) -> Self {
        let (stop, opened) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let from: SocketAddr = format!("{from}:0").parse().expect("an address");
        let (stopping, opening) = (stop.clone(), opened.clone());
        let work = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let all = tokio::task::LocalSet::new();
            for at in 0..count as u64 {
                // Spread, because reconnections of all at once would only measure the machine.
                let pause = Duration::from_millis(500 + at * 37 % 1000);
                let (stop, opened) = (stopping.clone(), opening.clone());
                all.spawn_local(async move {
                    while !stop.load(Ordering::Relaxed) {
                        // An error means that the server refused or ended the connection.
                        let _ = trickle(from, to, &stop, &opened).await;
                        tokio::time::sleep(pause).await;
                    }
                });
            }
            runtime.expect("a runtime").block_on(all);
        };
        Self {
            stop,
            opened,
            thread: Some(thread::spawn(work)),
        }
    }
}

async fn trickle(from: SocketAddr, to: SocketAddr, stop: &AtomicBool, opened: &AtomicUsize) -> std::io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(from)?;
    let mut stream = socket.connect(to).await?;
    opened.fetch_add(1, Ordering::Relaxed);
    stream
        .write_all(b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await?;
    let mut answer = [0; 4096];
    if stream.read(&mut answer).await? == 0 {
        return Ok(());
    }
    stream.write_all(b"GET /health/live HTTP/1.1\r\nx: ").await?;
    while !stop.load(Ordering::Relaxed) {
        match tokio::time::timeout(Duration::from_millis(500), stream.read(&mut answer)).await {
            Ok(end) => {
                end?;
                return Ok(());
            }
            Err(_) => stream.write_all(b"x").await?,
        }
    }
    Ok(())
}

impl Drop for Tricklers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("it ends");
        }
    }
}

/// The abusers have the address 127.0.0.2. The limit per address applies to loopback addresses too, each for itself, so
/// the probe at 127.0.0.1 is another client.
#[test]
fn three_thousand_trickling_sockets_of_one_address_do_not_delay_a_probe_on_the_same_listener() {
    let server = Server::start().ready();
    let tricklers = Tricklers::start(3000, "127.0.0.2", server.plain);
    eventually("three thousand attempts", || {
        (tricklers.opened.load(Ordering::Relaxed) >= 3000).then_some(())
    });
    let mut slowest = Duration::ZERO;
    for _ in 0..30 {
        for probe in [server.plain_client(), server.client("admin")] {
            let begin = Instant::now();
            assert_eq!(probe.get("/health/live").status, 200);
            slowest = slowest.max(begin.elapsed());
        }
    }
    println!("the slowest probe took {slowest:?}");
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    assert!(exceeded(&server, "max_connections_per_address") > 1000.0);
    let line = server.logged("refused a connection");
    assert!(
        line.contains("127.0.0.2") && line.contains("http.max_connections_per_address"),
        "{line}"
    );
}

#[test]
fn the_head_of_every_request_has_a_timeout_and_idle_connections_end() {
    let server = Server::with("[http]\nheader_timeout = \"1s\"\nkeep_alive = \"2s\"\n").ready();
    for client in [server.plain_client(), server.client("admin")] {
        let second_head = |pipelined: &str| {
            let mut connection = client.connect().expect("it answers");
            connection
                .send(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
                .expect("sent");
            connection.send(pipelined.as_bytes()).expect("sent");
            assert_eq!(connection.answer(false).expect("an answer").status, 200);
            connection
        };
        let ends = |mut connection: Connection| {
            let begin = Instant::now();
            let rest = String::from_utf8_lossy(&connection.rest()).into_owned();
            assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
            rest
        };
        let mut partial = second_head("");
        partial.send(b"GET /health HTTP/1.1\r\nhost: lo").expect("sent");
        assert!(ends(partial).starts_with("HTTP/1.1 408"));
        // It was perhaps received before the first response was complete: then it counts as idle.
        ends(second_head("GET /health HTTP/1.1\r\nx"));
        assert_eq!(ends(second_head("")), "", "an idle connection ends without a response");
        // Requests within the limits are served for longer than the timeouts.
        let mut honest = second_head("");
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(3) {
            assert_eq!(honest.ask("GET", "/health").expect("it is open").status, 200);
        }
    }
    assert!(exceeded(&server, "header_timeout") >= 2.0);
}

#[test]
fn a_client_that_does_not_read_its_responses_loses_the_connection() {
    let server = Server::with("[http]\nsend_timeout = \"1s\"\n").ready();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let (to, memory) = (server.plain, PeakMemory::of(&server));
    // Each asks for a megabyte many times: more than the buffers of the kernel take.
    let requests = b"GET /docs/assets/redoc-2.5.4.js HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(16);
    let open = async || {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("set");
        let mut stream = socket.connect(to).await.expect("it listens");
        stream.write_all(&requests).await.expect("sent");
        stream
    };
    let unread: Vec<TcpStream> = runtime.block_on(async {
        let mut all = Vec::new();
        for _ in 0..20 {
            all.push(open().await);
        }
        all
    });
    eventually("ended connections", || {
        (exceeded(&server, "send_timeout") >= 20.0).then_some(())
    });
    let added = memory.added_mb();
    println!("20 clients that do not read added {added:.1} MB");
    assert!(added < 16.0, "{added} MB");
    drop(unread);
    // A slow client that reads gets all of it.
    let read = runtime.block_on(async {
        let mut stream = open().await;
        let mut buffer = vec![0; 64 << 10];
        let mut total = 0;
        while total < 16 * 1_000_000 {
            match stream.read(&mut buffer).await.expect("it is open") {
                0 => break,
                count => total += count,
            }
        }
        total
    });
    assert!(read > 16 * 1_000_000, "{read}");
}

/// An HTTP/2 connection that is written by hand.
fn http2(client: &Client, initial_window: u32) -> Connection {
    let mut tls = client.tls();
    tls.set_alpn_protos(b"\x02h2").expect("a protocol");
    let mut connection = client.connect_by(Some(&tls.build())).expect("it answers");
    let mut hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // SETTINGS with INITIAL_WINDOW_SIZE.
    hello.extend([0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4]);
    hello.extend(initial_window.to_be_bytes());
    connection.send(&hello).expect("sent");
    connection
}

/// A HEADERS frame with a whole GET request.
fn headers(stream: u32, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    request(stream, GET, path, more)
}

/// The methods in the static table of HPACK.
const GET: u8 = 0x82;
const POST: u8 = 0x83;

fn request(stream: u32, method: u8, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    // From the static table: the method, the scheme https, a path and an authority.
    let mut block = vec![method, 0x87, 0x04];
    block.extend(text(path));
    block.push(0x01);
    block.extend(text("localhost"));
    for (name, value) in more {
        block.push(0x00);
        block.extend(text(name));
        block.extend(text(value));
    }
    // The flags say that the stream and its headers end.
    let mut frame = (block.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([1, 0x05]);
    frame.extend(stream.to_be_bytes());
    frame.extend(block);
    frame
}

fn curl_http2(server: &Server, path: &str, more: &[&str]) -> (String, Vec<u8>) {
    let pki = server.folder().join("data/pki");
    let output = Command::new("curl")
        .args([
            "--silent",
            "--show-error",
            "--http2",
            "--write-out",
            "%{stderr}%{http_version} %{http_code}",
        ])
        .arg("--cacert")
        .arg(pki.join("ca.crt"))
        .arg("--cert")
        .arg(pki.join("clients/admin.crt"))
        .arg("--key")
        .arg(pki.join("clients/admin.key"))
        .args(more)
        .arg(format!("https://localhost:{}{path}", server.secure.port()))
        .output()
        .expect("curl runs");
    (String::from_utf8_lossy(&output.stderr).into_owned(), output.stdout)
}

#[test]
fn an_http_2_client_with_ten_thousand_streams_and_no_window_takes_little_memory() {
    let server = Server::with("[http]\nsend_timeout = \"5s\"\n").ready();
    // What the responses share is made once.
    let (_, asset) = curl_http2(&server, "/docs/assets/redoc-2.5.4.js", &[]);
    assert!(asset.len() > MIB, "{}", asset.len());
    for more in [&[][..], &[("accept-encoding", "br")], &[("accept-encoding", "zstd")]] {
        let path = if more.is_empty() {
            "/docs/assets/redoc-2.5.4.js"
        } else {
            "/openapi.json"
        };
        let _ = curl_http2(&server, path, &["--header", "accept-encoding: br"]);
        let memory = PeakMemory::of(&server);
        let mut connection = http2(&server.anonymous_client(), 0);
        let mut sent = 0;
        for at in 0..10_000_u32 {
            // The server may close a connection that ignores its limits.
            if connection.send(&headers(2 * at + 1, path, more)).is_err() {
                break;
            }
            sent += 1;
            if at % 1000 == 0 {
                assert_eq!(
                    curl_http2(&server, "/health/live", &[]).0,
                    "2 200",
                    "after {sent} streams"
                );
            }
        }
        for _ in 0..5 {
            assert_eq!(curl_http2(&server, "/health/live", &[]).0, "2 200");
        }
        let added = memory.added_mb();
        println!("{sent} streams with {more:?} added {added:.1} MB");
        assert!(added < 32.0, "{added} MB");
        drop(connection);
    }
}

#[test]
fn an_http_2_response_that_is_not_read_is_reset_and_further_requests_are_processed() {
    let server = Server::with("[http]\nsend_timeout = \"1s\"\nmax_requests_per_connection = 2\n").ready();
    let mut connection = http2(&server.anonymous_client(), 0);
    for at in 0..3 {
        connection
            .send(&headers(2 * at + 1, "/docs/assets/redoc-2.5.4.js", &[]))
            .expect("sent");
    }
    // The third waits until the first two are reset, and is reset too.
    eventually("three resets", || {
        (exceeded(&server, "send_timeout") >= 3.0).then_some(())
    });
}

#[test]
fn an_http_2_connection_ends_after_a_failed_authentication() {
    let server = Server::start().ready();
    let mut connection = http2(&server.anonymous_client(), 65_535);
    let token = [("authorization", "Bearer unknown")];
    connection.send(&headers(1, "/api/v1/whoami", &token)).expect("sent");
    let begin = Instant::now();
    connection.rest();
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
}

#[test]
fn a_change_whose_http_2_stream_is_reset_is_completed_and_audited() {
    let server = Server::start().ready();
    let admin = server.client("admin");
    let settings = serde_json::json!({ "roles": { "admin": ["*"], "agent": ["chunks.*"] } });
    let changed = admin.send("PUT", "/api/v1/rules/role/settings", &settings);
    assert_eq!(changed.status, 200, "{}", changed.text());
    let mut connection = http2(&admin, 65_535);
    let json = [("content-type", "application/json")];
    let mut frames = request(1, POST, "/api/v1/rules/role/rollback", &json);
    // RST_STREAM with the code CANCEL.
    frames.extend([0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 8]);
    connection.send(&frames).expect("sent");
    let audit = server.data().join("audit.log");
    let responses = || {
        let text = std::fs::read_to_string(&audit).expect("readable");
        text.lines()
            .filter(|line| line.contains("\"event\":\"response\""))
            .count()
    };
    eventually("both responses in the audit file", || (responses() == 2).then_some(()));
    assert_eq!(admin.get("/api/v1/rules").json()["generation"], 3);
}

#[test]
fn an_idle_http_2_connection_ends() {
    let server = Server::with("[http]\nheader_timeout = \"1s\"\nkeep_alive = \"1s\"\n").ready();
    let mut connection = http2(&server.anonymous_client(), 65_535);
    connection.send(&headers(1, "/health/live", &[])).expect("sent");
    let begin = Instant::now();
    let received = connection.rest();
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    // The last frame is GOAWAY without an error: the header, the last stream and the code.
    let end = &received[received.len() - 17..];
    assert_eq!((&end[..4], &end[13..]), (&[0, 0, 8, 7][..], &[0; 4][..]), "{end:?}");
    // A client that says nothing after the handshake.
    let mut tls = server.anonymous_client().tls();
    tls.set_alpn_protos(b"\x02h2").expect("a protocol");
    let silent = server.anonymous_client().connect_by(Some(&tls.build()));
    silent.expect("it answers").rest();
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
}

#[test]
fn the_headers_of_an_http_2_request_are_bounded() {
    let server = Server::with("[http]\nmax_headers = \"2KiB\"\n").ready();
    let with = |bytes: usize| {
        curl_http2(
            &server,
            "/health",
            &["--header", &format!("x-filler: {}", "x".repeat(bytes))],
        )
        .0
    };
    assert_eq!(with(1500), "2 200");
    assert_eq!(with(2100), "2 431");
    assert_eq!(with(60_000), "2 431");
}

#[test]
fn an_http_2_client_gets_the_same_as_an_http_1_client() {
    let server = Server::start().ready();
    let admin = server.client("admin");
    for path in ["/docs/assets/redoc-2.5.4.js", "/openapi.json", "/docs/assets/docs.css"] {
        let (said, body) = curl_http2(&server, path, &[]);
        assert_eq!(said, "2 200", "{path}");
        assert!(body == admin.get(path).body, "{path}");
        let (said, unpacked) = curl_http2(&server, path, &["--compressed"]);
        assert!(said == "2 200" && unpacked == body, "{path}");
    }
    let (said, head) = curl_http2(&server, "/openapi.json", &["--head"]);
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    assert!(
        said == "2 200" && head.contains("content-length: ") && head.contains("\ndate: "),
        "{head}"
    );
    // A body is uploaded, larger than the window.
    let body = server.folder().join("body");
    let mut file = std::fs::File::create(&body).expect("a file");
    file.write_all(b"[")
        .and_then(|()| file.write_all(&vec![b' '; 900 << 10]))
        .expect("written");
    let (said, problem) = curl_http2(
        &server,
        "/api/v1/chunks",
        &[
            "--header",
            "content-type: application/json",
            "--data-binary",
            &format!("@{}", body.display()),
        ],
    );
    let problem = String::from_utf8_lossy(&problem);
    assert!(
        said == "2 400" && problem.contains("ends in the middle"),
        "{said}: {problem}"
    );
}
