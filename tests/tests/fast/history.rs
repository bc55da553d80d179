//! The history of measurements and reports, on SQLite and on PostgreSQL.

use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use actix_web::rt::{System, spawn};
use diesel::connection::SimpleConnection;
use diesel::{Connection as _, PgConnection, SqliteConnection};
use serde_json::Value;
use watchpost::history::{History, Options, WRITE_TIMEOUT};
use watchpost::host_id::HostId;
use watchpost::judge::Evaluations;
use watchpost::metrics::{Build, ServiceMetrics};
use watchpost::rules::{Rules, Settings};
use watchpost::store::history::{RetentionLimits, RoundWriter, Selection};
use watchpost::store::{DatabaseAddress, Store};
use watchpost_policies::{Gap, Labels, Limits, MetricName, MetricPattern, Report, Sample, Snapshot, Unit, rfc3339};
use watchpost_tests::postgres;
use watchpost_tests::proxy::Proxy;
use watchpost_tests::server::{Server, eventually};

const HOUR: u64 = 3_600_000;
const BEGIN: u64 = 1_700_000_000_000;

fn on_both(check: impl Fn(Store)) {
    let folder = tempfile::tempdir().expect("a folder");
    check(open("sqlite:watchpost.db", folder.path()));
    check(open(&postgres::shared().database(), folder.path()));
}

fn open(url: &str, folder: &Path) -> Store {
    let place = DatabaseAddress::parse(url, folder, false).expect("an address");
    Store::open(place, 1).expect("it opens")
}

/// A round of three series: a counter, a wave, and one that is not in every round.
fn round(number: u64) -> (Arc<Snapshot>, Arc<Report>) {
    static RULES: LazyLock<Rules> = LazyLock::new(|| {
        let settings = Settings {
            threshold: "{}".to_owned(),
            role: "{}".to_owned(),
        };
        Rules::load(Limits::default(), &settings, None).expect("our own rules are taken")
    });
    let time_ms = BEGIN + number * 10_000;
    let sample = |metric: &str, core: &str, value: f64| {
        let labels = Labels::new([("core", core)]).expect("legal");
        let unit = Unit::new(if metric == "wave" { "" } else { "ticks" });
        let metric = MetricName::new(metric).expect("legal");
        Sample::new(metric, labels, value, unit, time_ms - 3).expect("finite")
    };
    let mut samples = vec![
        sample("ticks", "0", number as f64 * 7.0),
        sample("wave", "0", (number as f64 / 10.0).sin()),
    ];
    let mut gaps = Vec::new();
    if number.is_multiple_of(5) {
        gaps.push(Gap {
            source: "host.cores".to_owned(),
            metrics: vec![MetricPattern::new("ticks").expect("legal")],
            reason: "it did not say".to_owned(),
        });
    } else {
        samples.push(sample("ticks", "1", number as f64));
    }
    let facts = Labels::new([("cores", "2")]).expect("legal");
    let snapshot = Snapshot::new("edge-1".to_owned(), time_ms, facts, samples, gaps);
    let report = RULES.current().set.before_the_first("edge-1", time_ms);
    (Arc::new(snapshot), Arc::new(report))
}

fn keep(store: &Store, rounds: std::ops::Range<u64>) {
    let rounds: Vec<_> = rounds.map(round).collect();
    let mut writer = RoundWriter::new(store.clone());
    for some in rounds.chunks(50) {
        writer.write(some).expect("written");
    }
}

fn select(metric: &str, from: u64, to: u64) -> Selection {
    Selection {
        metric: Some(MetricPattern::new(metric).expect("legal")),
        labels: Vec::new(),
        host: None,
        // A sample is a little older than its round.
        from_ms: BEGIN + from * 10_000 - 5,
        to_ms: BEGIN + to * 10_000,
    }
}

/// For each series, the numbers of the rounds with a point, and the points.
fn read(store: &Store, wanted: &Selection) -> Vec<(String, Vec<(u64, f64)>)> {
    let series = store.find_series(wanted).expect("found");
    let plan = store.plan_history(wanted, series).expect("planned");
    let points = |series| store.points(&plan, series).expect("read");
    let named = plan.series.iter().map(|series| {
        let core = series.labels.get("core").unwrap_or_default();
        (format!("{}/{core}", series.metric), points(series))
    });
    named.collect()
}

fn past(store: &Store, wanted: &Selection) -> Vec<(Snapshot, Value)> {
    let mut all = Vec::new();
    let result = store.past("edge-1", wanted, |past| {
        all.push((past.snapshot, past.report));
        true
    });
    result.expect("read");
    all
}

fn condense(store: &Store, now: u64) -> usize {
    let once = || {
        store
            .compact_history("edge-1", HOUR, BEGIN + now * 10_000)
            .expect("condensed")
    };
    std::iter::repeat_with(once).take_while(|did| *did).count()
}

#[test]
fn history_reads_back_the_same_before_and_after_compaction() {
    on_both(|store| {
        keep(&store, 0..500);
        let whole = select("ticks", 0, 1000);
        let before = read(&store, &whole);
        assert_eq!(before[0].0, "ticks/0");
        assert_eq!((before[0].1.len(), before[1].1.len()), (500, 400));
        assert_eq!(before[0].1[2], (BEGIN + 20_000 - 3, 14.0));
        let snapshots = past(&store, &whole);
        assert_eq!(condense(&store, 400), 1, "an hour has passed for the first 360");
        let usage = store.history_usage().expect("counted");
        assert_eq!((usage.windows, usage.rounds), (1, 140));
        assert_eq!(read(&store, &whole), before);
        assert_eq!(past(&store, &whole), snapshots);
        for (number, (snapshot, report)) in snapshots.iter().enumerate() {
            let (kept, judged) = round(number as u64);
            assert!(*snapshot == *kept, "{number}");
            assert_eq!(*report, serde_json::to_value(&*judged).expect("JSON"));
        }
    });
}

#[test]
fn only_the_requested_time_range_and_series_are_read() {
    on_both(|store| {
        keep(&store, 0..400);
        condense(&store, 400);
        let some = read(&store, &select("wave", 100, 109));
        assert_eq!(some.len(), 1);
        let times: Vec<_> = some[0].1.iter().map(|(time_ms, _)| time_ms + 3).collect();
        assert_eq!(times, (100..=109).map(|n| BEGIN + n * 10_000).collect::<Vec<_>>());
        let of_core = Selection {
            labels: vec![("core".to_owned(), "1".to_owned())],
            ..select("*", 0, 400)
        };
        assert_eq!(read(&store, &of_core).len(), 1);
        let of_unknown_host = Selection {
            host: Some("edge-2".to_owned()),
            ..select("*", 0, 400)
        };
        assert_eq!(read(&store, &of_unknown_host), []);
        assert_eq!(past(&store, &select("*", 100, 109)).len(), 10);
    });
}

#[test]
fn a_prefix_finds_exactly_the_series_that_start_with_it() {
    on_both(|store| {
        let names = [
            "disk_used",
            "disk_useless",
            "disk_free",
            "diskXused",
            "Disk_used",
            "load",
        ];
        let samples = names.map(|name| {
            let metric = MetricName::new(name).expect("legal");
            Sample::new(metric, Labels::default(), 1.0, Unit::new(""), BEGIN).expect("finite")
        });
        let snapshot = Snapshot::new(
            "edge-1".to_owned(),
            BEGIN,
            Labels::default(),
            samples.into(),
            Vec::new(),
        );
        let mut writer = RoundWriter::new(store.clone());
        writer.write(&[(Arc::new(snapshot), round(0).1)]).expect("written");
        let found = |pattern: &str| -> Vec<String> {
            let series = store.find_series(&select(pattern, 0, 1)).expect("found");
            let mut names: Vec<_> = series.into_iter().map(|series| series.metric).collect();
            names.sort();
            names
        };
        assert_eq!(found("disk_use*"), ["disk_used", "disk_useless"]);
        assert_eq!(found("disk_*"), ["disk_free", "disk_used", "disk_useless"]);
        assert_eq!(found("disk_used"), ["disk_used"]);
        assert_eq!(found("Disk*"), ["Disk_used"]);
        assert_eq!(found("*").len(), names.len());
    });
}

#[test]
fn too_many_series_are_refused_before_windows_are_read() {
    let url = postgres::shared().database();
    for database in [String::new(), format!("[database]\nurl = \"{url}\"")] {
        let server = Server::with(&format!("{database}\n[history]\nmax_series = 3")).ready();
        let asked = |metric: &str| server.get(&format!("/api/v1/history?metric={metric}"));
        eventually("a series", || {
            let series = asked("memory").json()["series"].as_array()?.len();
            (series == 1).then_some(())
        });
        let gone = "DROP TABLE history_windows";
        match database.is_empty() {
            true => {
                let path = server.data().join("watchpost.db").display().to_string();
                let mut file = SqliteConnection::establish(&path).expect("open");
                file.batch_execute(&format!("PRAGMA busy_timeout = 5000; {gone}"))
                    .expect("dropped");
            }
            false => {
                let mut connection = PgConnection::establish(&url).expect("it answers");
                connection.batch_execute(gone).expect("dropped");
            }
        }
        let missing = asked("memory").problem(503);
        assert!(
            missing.contains("lacks a table") && !missing.contains("history_windows"),
            "{missing}"
        );
        assert!(server.logged("a database query failed").contains("history_windows"));
        let refused = asked("*").problem(422);
        assert!(refused.contains("history.max_series"), "{refused}");
    }
}

#[test]
fn the_oldest_rounds_are_pruned_by_age_and_by_size() {
    on_both(|store| {
        keep(&store, 0..1100);
        condense(&store, 1100);
        let windows = || store.history_usage().expect("counted").windows;
        assert_eq!(windows(), 3);
        let sweep = |bounds| {
            let once = || store.prune_history("edge-1", bounds).expect("swept");
            std::iter::repeat_with(once).take_while(|did| *did).count()
        };
        let by_age = |rounds: u64| RetentionLimits {
            oldest_ms: BEGIN + rounds * 10_000,
            max_bytes: u64::MAX,
        };
        assert_eq!(sweep(by_age(359)), 0, "its last round is as old as that");
        assert_eq!(sweep(by_age(360)), 1);
        let first = read(&store, &select("ticks", 0, 1100))[0].1[0];
        assert_eq!(first.0, BEGIN + 360 * 10_000 - 3);
        let by_size = RetentionLimits {
            oldest_ms: 0,
            max_bytes: u64::try_from(store.history_usage().expect("counted").bytes).expect("positive") - 1,
        };
        assert_eq!(sweep(by_size), 1);
        assert_eq!(windows(), 1);
    });
}

#[test]
fn a_host_deletes_no_history_of_other_hosts() {
    on_both(|store| {
        keep(&store, 0..400);
        condense(&store, 400);
        let before = store.history_usage().expect("counted");
        assert!(before.windows > 0 && before.rounds > 0, "{before:?}");
        let everything = RetentionLimits {
            oldest_ms: u64::MAX,
            max_bytes: 0,
        };
        assert!(!store.prune_history("edge-2", everything).expect("swept"));
        assert_eq!(store.history_usage().expect("counted"), before);
        while store.prune_history("edge-1", everything).expect("swept") {}
        assert_eq!(store.history_usage().expect("counted").windows, 0);
    });
}

#[test]
fn history_of_an_earlier_name_of_the_machine_is_deleted_from_a_file_by_age_and_first_by_size() {
    on_both(|store| {
        keep(&store, 0..400);
        condense(&store, 400);
        let earlier = store.earlier_history_hosts("edge-2").expect("asked");
        // In a shared database it may be another machine.
        assert_eq!(
            earlier.iter().any(|host| host == "edge-1"),
            store.is_file(),
            "{earlier:?}"
        );
        assert_eq!(
            store.earlier_history_hosts("edge-1").expect("asked"),
            Vec::<String>::new()
        );
        let bytes = u64::try_from(store.history_usage().expect("counted").bytes).expect("positive");
        let prune = |oldest_ms: u64, max_bytes: u64| {
            let bounds = RetentionLimits { oldest_ms, max_bytes };
            store.prune_earlier_history("edge-1", bounds).expect("swept")
        };
        assert!(!prune(0, bytes), "the limits are obeyed");
        assert!(prune(0, bytes - 1), "the whole history is too large");
        while prune(u64::MAX, u64::MAX) {}
        assert_eq!(store.history_usage().expect("counted").windows, 0);
    });
}

#[test]
fn a_series_without_samples_is_deleted_and_may_return() {
    on_both(|store| {
        keep(&store, 0..400);
        condense(&store, 400);
        let mut writer = RoundWriter::new(store.clone());
        assert_eq!(
            writer.delete_unused_series("edge-1").expect("asked"),
            0,
            "all of them are in use"
        );
        while store
            .prune_history(
                "edge-1",
                RetentionLimits {
                    oldest_ms: u64::MAX,
                    max_bytes: 0,
                },
            )
            .expect("swept")
        {}
        writer.write(&[round(501)]).expect("written");
        assert_eq!(
            writer.delete_unused_series("edge-1").expect("asked"),
            0,
            "rounds that are not packed have them"
        );
        condense(&store, 1000);
        while store
            .prune_history(
                "edge-1",
                RetentionLimits {
                    oldest_ms: u64::MAX,
                    max_bytes: 0,
                },
            )
            .expect("swept")
        {}
        assert_eq!(writer.delete_unused_series("edge-1").expect("asked"), 3);
        writer.write(&[round(1001)]).expect("they are given numbers again");
        assert_eq!(
            read(&store, &select("wave", 1000, 1001))[0].1.len(),
            1,
            "a series starts again"
        );
    });
}

#[test]
fn rounds_of_a_removed_host_are_readable_compacted_and_pruned() {
    on_both(|store| {
        keep(&store, 0..10);
        let left = |rounds: u64| store.abandoned_hosts(BEGIN + rounds * 10_000).expect("asked");
        assert_eq!(left(0), Vec::<String>::new());
        assert_eq!(left(1), ["edge-1"]);
        let bounds = RetentionLimits {
            oldest_ms: BEGIN + 50_000,
            max_bytes: u64::MAX,
        };
        assert!(
            !store.prune_history("edge-1", bounds).expect("swept"),
            "there is no window yet"
        );
        assert_eq!(store.history_usage().expect("counted").rounds, 5);
    });
}

#[test]
fn a_round_that_is_written_twice_is_stored_once() {
    on_both(|store| {
        keep(&store, 0..3);
        keep(&store, 0..3);
        assert_eq!(store.history_usage().expect("counted").rounds, 3);
    });
}

/// A writer of the rounds of one host.
fn history(store: &Store, write_timeout: Duration) -> History {
    let options = Options {
        retention: Duration::from_secs(14 * 24 * 3600),
        max_bytes: u64::MAX,
        window: Duration::from_secs(3600),
        write_timeout,
    };
    let build = Build {
        version: "",
        commit: "",
        rustc: "",
    };
    History::new(
        store.clone(),
        HostId::new("edge-1").expect("a legal name"),
        options,
        Arc::new(ServiceMetrics::new(&build)),
    )
}

fn enqueue(history: &History, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let (snapshot, report) = round(number);
        history.enqueue(snapshot, report);
    }
}

/// Starts the write buffer in the background.
fn write_behind(history: &History) {
    let history = history.clone();
    spawn(async move {
        // No round is judged here, so the buffer ends when its sender is dropped.
        history.write_rounds(Evaluations::new().subscribe("history")).await;
    });
}

/// Waits until this number of rounds is in the database.
async fn written(store: &Store, rounds: i64) {
    let all = async {
        while store.ask(Store::history_usage).await.map_or(0, |usage| usage.rounds) < rounds {
            actix_web::rt::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let soon = actix_web::rt::time::timeout(Duration::from_secs(60), all);
    soon.await.unwrap_or_else(|_| panic!("{rounds} rounds are written"));
}

#[test]
fn after_a_silent_connection_history_is_written_over_a_new_one() {
    let (shared, folder) = (postgres::shared(), tempfile::tempdir().expect("a folder"));
    let proxy = Proxy::to(shared.address());
    let url = shared.database();
    let direct = open(&url, folder.path());
    let url = url.replace(&shared.address().to_string(), &proxy.address.to_string());
    let store = open(&url, folder.path());
    System::new().block_on(async {
        let history = history(&store, Duration::from_secs(3));
        write_behind(&history);
        enqueue(&history, 0..3);
        written(&direct, 3).await;
        proxy.forget();
        let began = Instant::now();
        enqueue(&history, 3..7);
        written(&direct, 7).await;
        assert!(
            began.elapsed() >= Duration::from_secs(3),
            "the first attempt gets no response"
        );
        // Dropping the store would wait for the blocked thread.
        proxy.cut();
    });
}

#[test]
fn two_writers_with_one_host_name_detect_each_other() {
    on_both(|store| {
        System::new().block_on(async {
            keep(&store, 0..40);
            let (one, other) = (history(&store, WRITE_TIMEOUT), history(&store, WRITE_TIMEOUT));
            enqueue(&one, 40..50);
            assert_eq!(one.foreign_rounds().await.expect("asked"), 0, "none is written yet");
            write_behind(&one);
            written(&store, 50).await;
            assert_eq!(
                one.foreign_rounds().await.expect("asked"),
                0,
                "what was there before is not counted"
            );
            write_behind(&other);
            enqueue(&other, 50..53);
            written(&store, 53).await;
            assert_eq!(one.foreign_rounds().await.expect("asked"), 3);
            assert_eq!(
                other.foreign_rounds().await.expect("asked"),
                0,
                "there was no other writer since its first round"
            );
            enqueue(&one, 53..54);
            written(&store, 54).await;
            assert_eq!(other.foreign_rounds().await.expect("asked"), 1);
        });
    });
}

#[test]
fn a_sample_on_the_disk_is_small() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = DatabaseAddress::parse("sqlite:watchpost.db", folder.path(), false).expect("an address");
    let store = Store::open(place, 1).expect("it opens");
    keep(&store, 0..720);
    condense(&store, 1000);
    let usage = store.history_usage().expect("counted");
    let bytes = usage.bytes as f64 / usage.samples as f64;
    // A sine wave is hard to compress, and three series share the overhead of a round.
    assert!(bytes < 12.0, "{bytes} bytes a sample");
}

#[test]
fn history_is_served_raw_and_in_steps() {
    let url = postgres::shared().database();
    for database in [String::new(), format!("[database]\nurl = \"{url}\"")] {
        let server = Server::with(&format!("{database}\n[collector]\ninterval = \"200ms\"")).ready();
        let points = |query: &str| {
            let answer = server.get(&format!("/api/v1/history?metric=memory{query}"));
            assert_eq!(answer.status, 200, "{}", answer.text());
            answer.json()["series"][0]["points"]
                .as_array()
                .cloned()
                .unwrap_or_default()
        };
        eventually("some rounds", || (points("").len() > 3).then_some(()));
        let whole = server.get("/api/v1/history?metric=memory&from=-5m").json();
        assert_eq!(whole["series"][0]["unit"], "percent");
        assert!(whole["series"][0]["host"].is_string() && whole["step_ms"].is_null());
        let first = points("")[0][0].as_str().and_then(rfc3339::parse).expect("a time");
        let first = u64::try_from(first).expect("after 1970");
        assert!(first > BEGIN && points("")[0][1].as_f64().is_some_and(|value| value > 0.0));
        assert_eq!(points("&step=1h&aggregate=max").len(), 1);
        assert_eq!(points("&to=2020-01-01T00:00:00Z").len(), 0);
        let snapshots = server.get("/api/v1/snapshots?from=-1m").json();
        let snapshots = snapshots["snapshots"].as_array().expect("a list");
        assert!(snapshots.len() > 3 && snapshots[0]["samples"].as_array().is_some_and(|all| all.len() > 50));
        let reports = server.get("/api/v1/reports?from=-1m").json();
        assert_eq!(reports["reports"][0]["generation"], 1);
    }
}

#[test]
fn an_invalid_or_too_large_query_is_refused_with_the_limit() {
    let server = Server::with("[history]\nmax_points = 100\nmax_series = 3\n[collector]\ninterval = \"100ms\"").ready();
    let refused = |query: &str, status: u16, says: &str| {
        let answer = server.get(query);
        let detail = answer.json()["detail"].to_string();
        assert!(
            answer.status == status && detail.contains(says),
            "{query}: {} {detail}",
            answer.status
        );
    };
    refused("/api/v1/history", 400, "metric is missing");
    refused("/api/v1/history?metric=memory&from=yesterday", 400, "-1h");
    refused(
        "/api/v1/history?metric=memory&from=-1h&to=-2h",
        400,
        "`from` must be before `to`",
    );
    refused("/api/v1/history?metric=memory&step=5", 400, "such as 30s");
    refused("/api/v1/history?metric=memory&aggregate=min", 400, "requires a step");
    refused("/api/v1/history?metric=memory&aggregate=median&step=1m", 400, "median");
    refused("/api/v1/history?metric=memory&labels=x", 400, "name=value");
    eventually("a round that is kept", || {
        (server.get("/api/v1/history?metric=*").status != 200).then_some(())
    });
    refused("/api/v1/history?metric=*", 422, "history.max_series");
    refused(
        "/api/v1/snapshots?metric=memory",
        400,
        "the parameters are host, from, to",
    );
    refused("/api/v1/reports?step=5m", 400, "is not a parameter; the parameters are");
    eventually("more than a hundred points", || {
        let answer = server.get("/api/v1/history?metric=memory");
        (answer.status == 422).then(|| assert!(answer.text().contains("history.max_points")))
    });
    assert_eq!(
        server.get("/api/v1/history?metric=memory&step=1m").status,
        200,
        "of steps there are fewer"
    );
    assert_eq!(
        server.anonymous_client().get("/api/v1/history?metric=memory").status,
        401
    );
}
