//! What serving costs, each figure beside a yardstick in the same run: a bare actix handler with the same acceptor,
//! nginx with the same bytes, `node_exporter` with the same series. `docs/PERFORMANCE.md` has the ratios.

#![expect(clippy::print_stdout, reason = "it is run for what it prints")]

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use actix_web::http::header::ContentType;
use actix_web::{App, HttpResponse, HttpServer, web};
use watchpost::tls::{ClientAuth, Files, Options, Tls};
use watchpost_tests::http::Client;
use watchpost_tests::nginx::Nginx;
use watchpost_tests::server::{Server, eventually, free_port};

/// Each subject and its yardstick take turns, so that both see the machine's good and bad moments.
const TURNS: usize = 5;
const TURN: Duration = Duration::from_secs(2);
const CONNECTIONS: usize = 8;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == "--bare") {
        return bare(
            Path::new(&arguments[at + 1]),
            arguments[at + 2].parse().expect("a port"),
        );
    }
    let server = Server::with(
        "[http]\nrequests_per_second = 0\naccess_log = false\n[server]\nworkers = 1\n[collector]\ninterval = \"10s\"",
    )
    .ready();
    let uncached = Server::with(
        "[http]\nrequests_per_second = 0\naccess_log = false\n[server]\nworkers = 1\n[rules.limits]\nremembered = 0",
    )
    .ready();
    let pki = server.data().join("pki");
    let status = server.client("reader").get("/api/v1/status").body;
    let (bare, nginx) = (
        Bare::start(&pki, &status, server.folder()),
        nginx(&pki, &status, server.folder()),
    );
    let client = |address: SocketAddr| {
        let file = |ending: &str| pki.join(format!("clients/reader.{ending}"));
        Client::new(address, &pki.join("ca.crt")).with_certificate(&file("crt"), &file("key"))
    };
    let (ours, bare_client, nginx_client) = (client(server.secure), client(bare.0), client(nginx.address));

    println!("| what | a second | ratio |\n| --- | --- | --- |");
    let kept = |client: &Client, path: &'static str| requests(client, path);
    let rates = in_turns(&[
        &|| kept(&bare_client, "/status"),
        &|| kept(&nginx_client, "/status"),
        &|| kept(&ours, "/api/v1/status"),
        &|| kept(&ours, "/health"),
        &|| kept(&uncached.client("reader"), "/health"),
    ]);
    row("a bare actix handler, the same bytes over mTLS", rates[0], rates[0]);
    row("nginx, the same bytes over mTLS", rates[1], rates[0]);
    row("`/api/v1/status` over mTLS", rates[2], rates[0]);
    row("`/health` over mTLS, its decision remembered", rates[3], rates[0]);
    row("`/health` over mTLS, its decision made afresh", rates[4], rates[0]);
    let rates = in_turns(&[
        &|| handshakes(&nginx_client, "/status"),
        &|| handshakes(&bare_client, "/status"),
        &|| handshakes(&ours, "/health"),
    ]);
    row("whole handshakes and a request, nginx", rates[0], rates[0]);
    row("whole handshakes and a request, a bare actix handler", rates[1], rates[0]);
    row("whole handshakes and a request, Watchpost", rates[2], rates[0]);

    scraping(&server);
    let before = memory(server.pid());
    let mut connection = ours.connect().expect("it answers");
    for _ in 0..10_000 {
        connection.ask("GET", "/api/v1/snapshot").expect("an answer");
    }
    println!(
        "\nresident after 10,000 more requests: {:.1} MB (before: {:.1} MB)",
        memory(server.pid()),
        before
    );
}

fn row(what: &str, rate: f64, yardstick: f64) {
    println!("| {what} | {rate:.0} | {:.2} |", rate / yardstick);
}

/// The median rate of each, measured by turns.
fn in_turns(subjects: &[&dyn Fn() -> f64]) -> Vec<f64> {
    let mut rates = vec![Vec::new(); subjects.len()];
    for _ in 0..TURNS {
        for (rates, subject) in rates.iter_mut().zip(subjects) {
            rates.push(subject());
        }
    }
    rates.into_iter().map(median).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Requests a second on connections that are kept.
fn requests(client: &Client, path: &'static str) -> f64 {
    at_once(|| {
        let mut connection = client.connect().expect("it answers");
        move || assert_eq!(connection.ask("GET", path).expect("an answer").status, 200)
    })
}

/// How often a second what `prepare` made is done, by several threads, each with its own.
fn at_once<F: FnMut()>(prepare: impl Fn() -> F + Sync) -> f64 {
    let barrier = Barrier::new(CONNECTIONS + 1);
    std::thread::scope(|scope| {
        let work = || {
            let mut once = prepare();
            once();
            barrier.wait();
            let (begin, mut count) = (Instant::now(), 0_u32);
            while begin.elapsed() < TURN {
                once();
                count += 1;
            }
            f64::from(count) / begin.elapsed().as_secs_f64()
        };
        let all: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(work)).collect();
        barrier.wait();
        all.into_iter()
            .map(|thread| thread.join().expect("it does not panic"))
            .sum()
    })
}

/// Whole handshakes a second, each with one request. None offers a session to resume.
fn handshakes(client: &Client, path: &'static str) -> f64 {
    at_once(|| {
        let tls = client.tls().build();
        move || {
            let mut connection = client.connect_by(Some(&tls)).expect("it answers");
            assert_eq!(connection.ask("GET", path).expect("an answer").status, 200);
        }
    })
}

/// `/metrics` beside that of `node_exporter`, both without TLS, compressed and not.
fn scraping(server: &Server) {
    let port = free_port();
    let child = Command::new("prometheus-node-exporter")
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .stderr(Stdio::null())
        .spawn()
        .expect("node_exporter starts; `make bench` installs it");
    let _exporter = Killed(child);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    eventually("node_exporter", || std::net::TcpStream::connect(address).ok());
    let theirs = Client::plain(address).with("accept-encoding", "gzip");
    let ours = server.client("reader").with("accept-encoding", "gzip");
    let series = |client: &Client| {
        let text = client
            .clone()
            .with("accept-encoding", "identity")
            .get("/metrics")
            .text();
        text.lines().filter(|line| !line.starts_with('#')).count()
    };
    let count = (series(&Client::plain(address)), series(&server.client("reader")));
    let time = |client: &Client| {
        let mut connection = client.connect().expect("it answers");
        let times = (0..200).map(|_| {
            let begin = Instant::now();
            assert_eq!(connection.ask("GET", "/metrics").expect("an answer").status, 200);
            begin.elapsed().as_secs_f64() * 1e6
        });
        median(times.collect())
    };
    let (theirs, ours) = (time(&theirs), time(&ours));
    println!("\n| a scrape, compressed | µs | series | ratio a series |\n| --- | --- | --- | --- |");
    println!("| node_exporter, without TLS | {theirs:.0} | {} | 1 |", count.0);
    let ratio = (ours / count.1 as f64) / (theirs / count.0 as f64);
    println!("| Watchpost, over mTLS | {ours:.0} | {} | {ratio:.3} |", count.1);
}

/// Resident memory in MB.
fn memory(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line");
    let kilobytes: f64 = line
        .split_whitespace()
        .nth(1)
        .and_then(|number| number.parse().ok())
        .expect("a number");
    kilobytes / 1024.0
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Bare(SocketAddr, #[expect(dead_code, reason = "it ends with this")] Killed);

impl Bare {
    fn start(pki: &Path, body: &[u8], folder: &Path) -> Self {
        fs::write(folder.join("status"), body).expect("written");
        let port = free_port();
        let child = Command::new(std::env::current_exe().expect("this is somewhere"))
            .args(["--bare", &pki.display().to_string(), &port.to_string()])
            .current_dir(folder)
            .spawn()
            .expect("it starts");
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let child = Killed(child);
        eventually("a bare server", || std::net::TcpStream::connect(address).ok());
        Self(address, child)
    }
}

/// The least that serves the same bytes by the same acceptor.
fn bare(pki: &Path, port: u16) {
    let body = web::Bytes::from(fs::read("status").expect("it was written"));
    let options = Options {
        files: Files {
            certificate: pki.join("server.crt"),
            key: pki.join("server.key"),
            client_ca: pki.join("ca.crt"),
            crl: Some(pki.join("crl.pem")),
        },
        only_1_3: false,
        proxy_certificates: false,
        resumption: true,
        http2: true,
    };
    let tls = Tls::load(options).expect("the files are well");
    let serve = async move {
        let socket = std::net::TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
        let handler = move || {
            let body = body.clone();
            let answer = move || {
                let body = body.clone();
                async move { HttpResponse::Ok().content_type(ContentType::json()).body(body) }
            };
            App::new().route("/status", web::get().to(answer))
        };
        let server = HttpServer::new(handler).workers(1).tcp_nodelay(true);
        let server = server.listen_openssl(socket, tls.acceptor(ClientAuth::Optional).expect("an acceptor"));
        server.expect("it listens").run().await.expect("it serves");
    };
    actix_web::rt::System::new().block_on(serve);
}

/// It serves the same bytes from a file, which it keeps open.
fn nginx(pki: &Path, body: &[u8], folder: &Path) -> Nginx {
    let folder = folder.join("nginx");
    fs::create_dir_all(folder.join("www")).expect("made");
    fs::write(folder.join("www/status"), body).expect("written");
    let http = "default_type application/json; open_file_cache max=10; keepalive_requests 10000000;";
    let server = format!(
        "listen {{listen}} ssl; root {}/www;
        ssl_certificate {pki}/server.crt; ssl_certificate_key {pki}/server.key; ssl_session_cache off;
        ssl_client_certificate {pki}/ca.crt; ssl_crl {pki}/crl.pem; ssl_verify_client optional;",
        folder.display(),
        pki = pki.display(),
    );
    Nginx::start(&folder, http, &server)
}
