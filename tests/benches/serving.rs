//! Benchmarks of serving. Each result is compared with a baseline of the same run: a bare actix handler with the same
//! acceptor, nginx with the same bytes, `node_exporter` with the same series. `docs/PERFORMANCE.md` has the ratios.

#![expect(clippy::print_stdout, reason = "it is run for what it prints")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use actix_web::http::header::ContentType;
use actix_web::{App, HttpResponse, HttpServer, web};
use watchpost::tls::{AcceptedProxies, ClientAuth, Files, Options, Parameters, Tls};
use watchpost_tests::http::Client;
use watchpost_tests::nginx::Nginx;
use watchpost_tests::ports;
use watchpost_tests::server::{Server, resident_mb};

/// The number of alternating measurements of a subject and its baseline, so that both see the same load of the host.
const TURNS: usize = 5;
const TURN: Duration = Duration::from_secs(2);
const CONNECTIONS: usize = 8;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == "--bare") {
        return bare(Path::new(&arguments[at + 1]));
    }
    let server = Server::with(
        "[http]\nrequests_per_second = 0\naccess_log = false\n[server]\nworkers = 1\n[collector]\ninterval = \"10s\"",
    )
    .ready();
    let uncached = Server::with(
        "[http]\nrequests_per_second = 0\naccess_log = false\n[server]\nworkers = 1\n[rules.limits]\ndecision_cache_entries = 0",
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

    let (of_bare, of_nginx, of_ours) = (bare.1.0.id(), nginx.worker(), server.pid());
    println!("kept connections, `GET /api/v1/status` where nothing else is said");
    in_turns(&[
        subject("a bare actix handler, the same bytes", of_bare, &|| {
            requests(&bare_client, "/status")
        }),
        subject("nginx, the same bytes", of_nginx, &|| {
            requests(&nginx_client, "/status")
        }),
        subject("Watchpost", of_ours, &|| requests(&ours, "/api/v1/status")),
        subject("Watchpost, `/health`", of_ours, &|| requests(&ours, "/health")),
        subject("Watchpost, `/health` decided afresh", uncached.pid(), &|| {
            requests(&uncached.client("reader"), "/health")
        }),
    ]);
    println!("\na whole handshake and a request");
    in_turns(&[
        subject("a bare actix handler", of_bare, &|| handshakes(&bare_client, "/status")),
        subject("nginx", of_nginx, &|| handshakes(&nginx_client, "/status")),
        subject("Watchpost", of_ours, &|| handshakes(&ours, "/health")),
    ]);

    scraping(&server);
    let before = resident_mb(server.pid());
    let mut connection = ours.connect().expect("it answers");
    for _ in 0..10_000 {
        connection.ask("GET", "/api/v1/snapshot").expect("an answer");
    }
    println!(
        "\nresident after 10,000 more requests: {:.1} MB (before: {:.1} MB)",
        resident_mb(server.pid()),
        before
    );
}

/// A workload, and the process whose CPU time it uses.
struct Subject<'w> {
    what: &'static str,
    pid: u32,
    work: &'w dyn Fn() -> Done,
}

/// The amount of work in one measurement.
struct Done {
    count: u32,
    a_second: f64,
}

fn subject<'w>(what: &'static str, pid: u32, work: &'w dyn Fn() -> Done) -> Subject<'w> {
    Subject { what, pid, work }
}

/// Prints the median rate of each subject and the CPU time of one operation, measured alternately and relative to the
/// first subject. The CPU time is more reliable when other processes use the host.
fn in_turns(subjects: &[Subject<'_>]) {
    let mut figures = vec![(Vec::new(), Vec::new()); subjects.len()];
    for _ in 0..TURNS {
        for ((rates, costs), subject) in figures.iter_mut().zip(subjects) {
            let before = processor_seconds(subject.pid);
            let done = (subject.work)();
            costs.push((processor_seconds(subject.pid) - before) * 1e6 / f64::from(done.count));
            rates.push(done.a_second);
        }
    }
    println!("| what | a second | ratio | µs of its processor | ratio |\n| --- | --- | --- | --- | --- |");
    let medians: Vec<_> = figures
        .into_iter()
        .map(|(rates, costs)| (median(rates), median(costs)))
        .collect();
    for (subject, (rate, cost)) in subjects.iter().zip(&medians) {
        let (first, what) = (medians[0], subject.what);
        println!(
            "| {what} | {rate:.0} | {:.2} | {cost:.1} | {:.2} |",
            rate / first.0,
            first.1 / cost
        );
    }
}

/// The CPU time of a process, in user space and in the kernel.
fn processor_seconds(pid: u32) -> f64 {
    const TICKS_A_SECOND: f64 = 100.0;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
    let after_name = stat.rsplit(')').next().expect("a name in parentheses");
    let fields = after_name.split_whitespace().skip(11).take(2);
    fields.map(|ticks| ticks.parse::<f64>().expect("a number")).sum::<f64>() / TICKS_A_SECOND
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Requests per second on persistent connections.
fn requests(client: &Client, path: &'static str) -> Done {
    at_once(|| {
        let mut connection = client.connect().expect("it answers");
        move || assert_eq!(connection.ask("GET", path).expect("an answer").status, 200)
    })
}

/// Counts how often several threads do their work in one measurement; `prepare` makes the work of each thread.
fn at_once<F: FnMut()>(prepare: impl Fn() -> F + Sync) -> Done {
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
            (count, f64::from(count) / begin.elapsed().as_secs_f64())
        };
        let all: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(work)).collect();
        barrier.wait();
        let nothing = Done {
            count: 0,
            a_second: 0.0,
        };
        all.into_iter().fold(nothing, |sum, thread| {
            let (count, rate) = thread.join().expect("it does not panic");
            Done {
                count: sum.count + count,
                a_second: sum.a_second + rate,
            }
        })
    })
}

/// Full handshakes per second without session resumption, each with one request.
fn handshakes(client: &Client, path: &'static str) -> Done {
    at_once(|| {
        let tls = client.tls().build();
        move || {
            let mut connection = client.connect_by(Some(&tls)).expect("it answers");
            assert_eq!(connection.ask("GET", path).expect("an answer").status, 200);
        }
    })
}

/// `/metrics` compared with that of `node_exporter`, both without TLS, compressed and uncompressed.
fn scraping(server: &Server) {
    let start = |port| {
        Command::new("prometheus-node-exporter")
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stderr(Stdio::null())
            .spawn()
            .expect("node_exporter starts; `make bench` installs it")
    };
    let listens = |port| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
    let (child, port) = ports::started("node_exporter", start, listens);
    let _exporter = Killed(child);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
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

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Bare(SocketAddr, Killed);

impl Bare {
    fn start(pki: &Path, body: &[u8], folder: &Path) -> Self {
        fs::write(folder.join("status"), body).expect("written");
        let mut child = Command::new(std::env::current_exe().expect("this is somewhere"))
            .args(["--bare", &pki.display().to_string()])
            .current_dir(folder)
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut address = String::new();
        let mut out = BufReader::new(child.stdout.take().expect("it is piped"));
        out.read_line(&mut address).expect("it says where it listens");
        Self(address.trim().parse().expect("an address"), Killed(child))
    }
}

/// A minimal server with the same acceptor that serves the same bytes.
fn bare(pki: &Path) {
    let body = web::Bytes::from(fs::read("status").expect("it was written"));
    let options = Options {
        files: Files {
            certificate: pki.join("server.crt"),
            key: pki.join("server.key"),
            client_ca: pki.join("ca.crt"),
            crl: Some(pki.join("crl.pem")),
            development_ca: None,
        },
        only_1_3: false,
        proxies: AcceptedProxies {
            full: false,
            limited: false,
        },
        parameters: Parameters::default(),
        resumption: true,
        http2: true,
    };
    let tls = Tls::load(options).expect("the files are well");
    let serve = async move {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("there are ports");
        println!("{}", socket.local_addr().expect("it is bound"));
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

/// nginx, which serves the same bytes from a file that it keeps open.
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
