//! Benchmarks of changing rules while the server serves: upload to activation, the latency of other requests meanwhile,
//! and a trial. `docs/PERFORMANCE.md` has the results. With the file of a rule as an argument, that rule is measured
//! too.

#![expect(clippy::print_stdout, reason = "it is run for what it prints")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use watchpost::rules::sample;
use watchpost::rules::trial::{Progress, Trial};
use watchpost::rules::{Rules, Settings};
use watchpost::store::history::RoundWriter;
use watchpost::store::{DatabaseAddress, Store};
use watchpost_policies::{Kind, Labels, Limits, Report, Sample, Snapshot};
use watchpost_tests::guests::{THRESHOLD, rule};
use watchpost_tests::http::Client;
use watchpost_tests::rules::{activate, other_version, uploaded, versions};
use watchpost_tests::server::Server;

const TIMES: usize = 20;
const LOAD: Duration = Duration::from_secs(5);

fn main() {
    let server =
        Server::with("[http]\nrequests_per_second = 0\naccess_log = false\n[collector]\ninterval = \"10s\"").ready();
    let admin = server.client("admin");
    println!("| from upload to activation | bytes | median | slowest |\n| --- | --- | --- | --- |");
    let cold = versions(THRESHOLD, TIMES);
    row(
        "a rule in Rust, new each time",
        THRESHOLD.len(),
        cold.iter().map(|wasm| active(&admin, wasm)),
    );
    row(
        "the same, compiled before",
        THRESHOLD.len(),
        cold.iter().map(|wasm| active(&admin, wasm)),
    );
    for path in std::env::args().skip(1).filter(|argument| argument.ends_with(".wasm")) {
        let wasm = std::fs::read(&path).expect("the file is there");
        row(&path, wasm.len(), std::iter::once(active(&admin, &wasm)));
        let other = other_version(&wasm);
        active(&admin, &other);
        row(
            &format!("{path}, compiled before"),
            wasm.len(),
            std::iter::once(active(&admin, &wasm)),
        );
    }
    waiting(&server, &admin);
    trial();
}

/// The latency of requests while the role rule is replaced ten times a second, compared with the latency otherwise.
fn waiting(server: &Server, admin: &Client) {
    println!("\n| requests | p50 | p99 | worst |\n| --- | --- | --- | --- |");
    let mut p99 = Vec::new();
    for (what, reloads) in [
        ("nothing is changed", false),
        ("the role rule is replaced ten times a second", true),
    ] {
        let over = AtomicBool::new(false);
        let mut times = std::thread::scope(|scope| {
            let asking = scope.spawn(|| {
                let mut kept = server.client("admin").connect().expect("a connection");
                let (began, mut times) = (Instant::now(), Vec::new());
                while began.elapsed() < LOAD {
                    let asked = Instant::now();
                    assert_eq!(kept.ask("GET", "/api/v1/status").expect("answered").status, 200);
                    times.push(asked.elapsed());
                }
                over.store(true, Ordering::Relaxed);
                times
            });
            let mut round = 0;
            while !over.load(Ordering::Relaxed) {
                if reloads {
                    round += 1;
                    let mine = json!({ "match": { "attributes": { "OU": "admin" } }, "roles": ["admin"] });
                    let other = json!({ "match": { "token": format!("token-{round}") }, "roles": ["reader"] });
                    let settings = json!({ "identities": [mine, other] });
                    assert_eq!(admin.send("PUT", "/api/v1/rules/role/settings", &settings).status, 200);
                }
                std::thread::park_timeout(Duration::from_millis(100));
            }
            asking.join().expect("no panic")
        });
        times.sort();
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
        println!(
            "| {what} | {:.0} µs | {:.0} µs | {:.0} µs |",
            at(0.5),
            at(0.99),
            at(1.0)
        );
        p99.push(at(0.99));
    }
    println!(
        "\np99 while rules are replaced: {:.2} times that of otherwise",
        p99[1] / p99[0]
    );
}

/// A trial over ten thousand snapshots of a plausible host: the default rule against itself with other settings.
fn trial() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = DatabaseAddress::parse("sqlite:watchpost.db", folder.path(), false).expect("an address");
    let store = Store::open(place, 1).expect("it opens");
    let settings = Settings {
        threshold: "{}".to_owned(),
        role: "{}".to_owned(),
    };
    let rules = Rules::load(Limits::default(), &settings, None).expect("our own rules are taken");
    let (begin, step, count) = (1_700_000_000_000, 10_000, 10_000);
    let report: Arc<Report> = Arc::new(rules.current().set.before_the_first("edge-1", begin));
    let mut writer = RoundWriter::new(store.clone());
    let rounds: Vec<_> = (0..count)
        .map(|number| (Arc::new(at(begin + number * step)), report.clone()))
        .collect();
    for some in rounds.chunks(600) {
        writer.write(some).expect("kept");
        while store
            .compact_history("edge-1", 3_600_000, begin + count * step * 2)
            .expect("packed")
        {}
    }
    let stricter = r#"{"thresholds": [{"metric": "disk", "warning": 30, "alert": 50}]}"#;
    let trial = Trial {
        candidate: rule(
            rules.engine(),
            watchpost::rules::builtin::bytes(Kind::Threshold),
            stricter,
        ),
        active: Some(rule(rules.engine(), THRESHOLD, "{}")),
        host: "edge-1".to_owned(),
        from_ms: begin,
        to_ms: begin + count * step,
    };
    let began = Instant::now();
    let outcome = trial.run(&store, &Progress::default()).expect("replayed");
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "\na trial of {} snapshots took {seconds:.2} s, {:.0} a second; {} differ, the candidate took {:.1} µs on average",
        outcome.snapshots,
        outcome.snapshots as f64 / seconds,
        outcome.differing_snapshots,
        outcome.candidate.mean_us
    );
}

fn at(time_ms: u64) -> Snapshot {
    let like = sample::round();
    let again = |sample: &Sample| {
        let (metric, labels, unit) = (sample.metric().clone(), sample.labels().clone(), sample.unit().clone());
        Sample::new(metric, labels, sample.value(), unit, time_ms).expect("it was legal before")
    };
    let samples = like.samples().iter().map(again).collect();
    Snapshot::new(
        "edge-1".to_owned(),
        time_ms,
        Labels::none(),
        samples,
        like.gaps().to_vec(),
    )
}

fn active(admin: &Client, wasm: &[u8]) -> f64 {
    let began = Instant::now();
    let (name, digest) = uploaded(admin, wasm);
    let answer = activate(admin, &name, &digest, json!({}));
    assert_eq!(answer.status, 200, "{}", answer.text());
    began.elapsed().as_secs_f64() * 1e3
}

fn row(what: &str, bytes: usize, times: impl Iterator<Item = f64>) {
    let mut times: Vec<f64> = times.collect();
    times.sort_by(f64::total_cmp);
    let (median, slowest) = (times[times.len() / 2], times[times.len() - 1]);
    println!("| {what} | {bytes} | {median:.1} ms | {slowest:.1} ms |");
}
