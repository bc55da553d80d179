//! Benchmarks of the store: writing rounds, reading a week of one series, bytes per sample, counting a million chunks,
//! and the effect of writing a round on the slowest requests. `docs/PERFORMANCE.md` has the results. With `--whole` the
//! store for reading has a hundred million samples, which takes some minutes to fill; otherwise ten million.

#![expect(clippy::print_stdout, reason = "it is run for what it prints")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};
use watchpost::rules::{Rules, Settings};
use watchpost::store::history::{RoundWriter, Selection};
use watchpost::store::{DatabaseAddress, Store};
use watchpost_policies::{Labels, Limits, MetricName, MetricPattern, Report, Sample, Snapshot, Unit};
use watchpost_tests::postgres;
use watchpost_tests::server::Server;

const SERIES: u64 = 1000;
const BEGIN: u64 = 1_700_000_000_000;
const STEP_MS: u64 = 10_000;
const HOUR_MS: u64 = 3_600_000;

fn main() {
    let whole = std::env::args().any(|argument| argument == "--whole");
    let folder = tempfile::tempdir().expect("a folder");
    let url = postgres::shared().database();
    let stores = [
        ("SQLite", open("sqlite:watchpost.db", folder.path())),
        ("PostgreSQL", open(&url, folder.path())),
    ];

    println!(
        "| a round of {SERIES} samples | written, median | slowest of 300 | a second |\n| --- | --- | --- | --- |"
    );
    for (name, store) in &stores {
        writing(name, store);
    }
    println!("\n| packed, with reports that are nearly empty | samples | bytes a sample |\n| --- | --- | --- |");
    let rounds = if whole { 100_000 } else { 10_000 };
    for (name, store) in &stores {
        filling(name, store, rounds);
    }
    println!(
        "\n| a week of one series out of {} million samples | time | points |\n| --- | --- | --- |",
        rounds / 1000
    );
    for (name, store) in &stores {
        reading(name, store);
    }
    println!("\n| a million chunks | counted, median |\n| --- | --- |");
    let sqlite = format!(
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 999999)
         INSERT INTO job_chunks (job_id, chunk_index, status, retry_count, image_range) {ROWS} FROM n"
    );
    let file = folder.path().join("watchpost.db").display().to_string();
    let mut connection = SqliteConnection::establish(&file).expect("open");
    connection.batch_execute(&sqlite).expect("written");
    let postgres = format!(
        "INSERT INTO job_chunks (job_id, chunk_index, status, retry_count, image_range) {ROWS}
         FROM generate_series(0, 999999) AS n(i)"
    );
    let database = url.rsplit('/').next().expect("a name");
    assert!(postgres::shared().psql(database, &postgres.replace("'{}'", "'{}'::jsonb")));
    assert!(postgres::shared().psql(database, "ANALYZE job_chunks"));
    for (name, store) in &stores {
        let times = (0..20).map(|_| timed(|| drop(store.chunk_summary().expect("counted"))));
        println!("| {name} | {:.1} ms |", median(times.collect()) * 1e3);
    }
    requests();
}

/// A realistic store: most chunks are completed, and few are in progress.
const ROWS: &str = "SELECT i / 1000, i % 1000,
    CASE WHEN i % 100 = 0 THEN 'failed' WHEN i % 20000 = 1 THEN 'processing' WHEN i % 50 = 3 THEN 'pending'
    ELSE 'completed' END, CASE WHEN i % 100 = 0 THEN 1 ELSE 0 END, '{}'";

fn open(url: &str, folder: &Path) -> Store {
    Store::open(DatabaseAddress::parse(url, folder, false).expect("an address"), 1).expect("it opens")
}

/// Realistic series: counters, percentages with two decimals, and values that rarely change.
fn round(number: u64, report: &Arc<Report>) -> (Arc<Snapshot>, Arc<Report>) {
    let time_ms = BEGIN + number * STEP_MS;
    let sample = |series: u64| {
        let noise = number
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(series * 1_442_695)
            >> 33;
        let value = match series % 4 {
            0 => (number * (series + 3) * 10 + noise % 50) as f64,
            1 => (noise % 10_000) as f64 / 100.0,
            2 => series as f64 * 4096.0,
            _ => (series * 1_000_000 + (noise % 16) * 4096) as f64,
        };
        let labels = Labels::new([("series", series.to_string().as_str())]).expect("legal");
        let metric = MetricName::new(["ticks", "share", "size", "free"][(series % 4) as usize]).expect("legal");
        Sample::new(metric, labels, value, Unit::default(), time_ms - 2).expect("finite")
    };
    let samples = (0..SERIES).map(sample).collect();
    let snapshot = Snapshot::new("edge-1".to_owned(), time_ms, Labels::none(), samples, Vec::new());
    (Arc::new(snapshot), report.clone())
}

fn report() -> Arc<Report> {
    let settings = Settings {
        threshold: "{}".to_owned(),
        role: "{}".to_owned(),
    };
    let rules = Rules::load(Limits::default(), &settings, None).expect("our own rules are taken");
    Arc::new(rules.current().set.before_the_first("edge-1", BEGIN))
}

fn writing(name: &str, store: &Store) {
    let (mut writer, report) = (RoundWriter::new(store.clone()), report());
    writer.write(&[round(0, &report)]).expect("its series are named");
    let times = (1..=300).map(|number| {
        let round = [round(number, &report)];
        timed(|| writer.write(&round).expect("written"))
    });
    let mut times: Vec<f64> = times.collect();
    times.sort_by(f64::total_cmp);
    let a_second = times.len() as f64 / times.iter().sum::<f64>();
    let (half, most) = (times[times.len() / 2] * 1e3, times[times.len() - 1] * 1e3);
    println!("| {name} | {half:.2} ms | {most:.1} ms | {a_second:.0} |");
}

fn filling(name: &str, store: &Store, rounds: u64) {
    let (mut writer, report) = (RoundWriter::new(store.clone()), report());
    let numbers: Vec<u64> = (301..rounds).collect();
    for some in numbers.chunks(360) {
        let some: Vec<_> = some.iter().map(|number| round(*number, &report)).collect();
        writer.write(&some).expect("written");
        while store
            .compact_history("edge-1", HOUR_MS, BEGIN + rounds * STEP_MS * 2)
            .expect("packed")
        {}
    }
    let usage = store.history_usage().expect("counted");
    let bytes = usage.bytes as f64 / usage.samples as f64;
    println!("| {name} | {} | {bytes:.2} |", usage.samples);
}

fn reading(name: &str, store: &Store) {
    let wanted = Selection {
        metric: Some(MetricPattern::new("share").expect("legal")),
        labels: vec![("series".to_owned(), "501".to_owned())],
        host: None,
        from_ms: BEGIN,
        to_ms: BEGIN + 7 * 24 * HOUR_MS,
    };
    let mut points = 0;
    let read = || {
        let plan = store
            .plan_history(&wanted, store.find_series(&wanted).expect("found"))
            .expect("planned");
        points = plan
            .series
            .iter()
            .map(|series| store.points(&plan, series).expect("read").len())
            .sum();
    };
    let mut read = read;
    let times = (0..20).map(|_| timed(&mut read)).collect();
    println!("| {name} | {:.1} ms | {points} |", median(times) * 1e3);
}

/// The 99th percentile of the latency, with ten rounds per second and with almost none.
fn requests() {
    println!("\n| requests for the status, one after the other | median | p99 |\n| --- | --- | --- |");
    let settings = |interval: &str, history: bool| {
        format!("[http]\naccess_log = false\n[collector]\ninterval = \"{interval}\"\n[history]\nenabled = {history}")
    };
    for (what, settings) in [
        ("a round an hour", settings("1h", false)),
        ("ten rounds a second, not kept", settings("100ms", false)),
        ("ten rounds a second, kept", settings("100ms", true)),
    ] {
        let server = Server::with(&settings).ready();
        let mut connection = server.client("reader").connect().expect("it answers");
        let mut times = Vec::new();
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(10) {
            times.push(timed(|| {
                assert_eq!(connection.ask("GET", "/api/v1/status").expect("an answer").status, 200);
            }));
        }
        times.sort_by(f64::total_cmp);
        let at = |share: f64| times[(times.len() as f64 * share) as usize] * 1e6;
        println!("| {what} | {:.0} µs | {:.0} µs |", at(0.5), at(0.99));
    }
}

fn timed(work: impl FnOnce()) -> f64 {
    let begin = Instant::now();
    work();
    begin.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
