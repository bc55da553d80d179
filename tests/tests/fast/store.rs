//! The store, on SQLite and on PostgreSQL.

use std::fs;
use std::path::Path;

use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection, RunQueryDsl, SqliteConnection, sql_query, sql_types};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use watchpost::collect::chunks::Chunks;
use watchpost::collect::probe::Probe;
use watchpost::store::chunks::{Change, Chunk, ChunkChange, ChunkFilter, ImageRange, Report, Status};
use watchpost::store::{DatabaseAddress, MigrationError, Store, StoreError};
use watchpost_tests::postgres::{self, Postgres};
use watchpost_tests::server::eventually;

/// Runs a test on both databases.
fn on_both(check: impl Fn(Store)) {
    let folder = tempfile::tempdir().expect("a folder");
    check(open("sqlite:watchpost.db", folder.path()).expect("a file is made"));
    check(open(&postgres::shared().database(), folder.path()).expect("a server answers"));
}

fn open(url: &str, folder: &Path) -> Result<Store, MigrationError> {
    Store::open(place(url, folder), 1)
}

fn place(url: &str, folder: &Path) -> DatabaseAddress {
    DatabaseAddress::parse(url, folder, false).expect("an address")
}

fn report(job_id: i32, chunk_index: i32) -> Report {
    Report {
        job_id,
        chunk_index,
        status: Status::Pending,
        priority: 5,
        image_range: ImageRange { start: 0, end: 499 },
        task_id: None,
        error_message: None,
    }
}

fn all() -> ChunkFilter {
    ChunkFilter {
        limit: 1000,
        ..ChunkFilter::default()
    }
}

fn become_it(status: Status) -> Change {
    Change {
        status: Some(status),
        ..Change::default()
    }
}

fn done(changed: ChunkChange) -> Chunk {
    match changed {
        ChunkChange::Done(chunk) => chunk,
        other => panic!("it is legal, not {other:?}"),
    }
}

#[test]
fn a_chunk_that_is_reported_twice_is_stored_once() {
    on_both(|store| {
        let first = store.report_chunks(&[report(7, 0), report(7, 1)]).expect("taken");
        assert!(first.iter().all(|(_, new)| *new));
        let again = store.report_chunks(&[report(7, 1), report(7, 2)]).expect("taken");
        assert_eq!(again.iter().map(|(_, new)| *new).collect::<Vec<_>>(), [false, true]);
        assert_eq!(again[0].0, first[1].0);
        let chunks = store.chunks(&all()).expect("read");
        assert_eq!(
            chunks.iter().map(|chunk| chunk.chunk_index).collect::<Vec<_>>(),
            [0, 1, 2]
        );
        assert_eq!(chunks[0].image_range, serde_json::json!({ "start": 0, "end": 499 }));
    });
}

#[test]
fn one_invalid_report_rolls_back_the_whole_batch() {
    on_both(|store| {
        let bad = Report {
            priority: 11,
            ..report(1, 1)
        };
        let refused = store.report_chunks(&[report(1, 0), bad]);
        assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
        assert_eq!(store.chunks(&all()).expect("read"), []);
    });
}

#[test]
fn only_valid_status_transitions_are_made() {
    on_both(|store| {
        let (chunk, _) = store.report_chunks(&[report(1, 0)]).expect("taken").remove(0);
        let change = |status| store.change_chunk(chunk.id, &become_it(status)).expect("asked");
        let illegal = |current: &str| ChunkChange::Illegal {
            current: current.to_owned(),
        };
        assert_eq!(change(Status::Completed), illegal("pending"));
        assert_eq!(done(change(Status::Processing)).status, "processing");
        assert_eq!(
            done(change(Status::Processing)).retry_count,
            0,
            "the second report changes nothing"
        );
        assert_eq!(done(change(Status::Failed)).retry_count, 0);
        assert_eq!(done(change(Status::Processing)).retry_count, 1);
        assert_eq!(done(change(Status::Pending)).retry_count, 2);
        done(change(Status::Processing));
        let finished = done(change(Status::Completed));
        assert!(finished.updated_ms >= chunk.updated_ms && finished.created_ms == chunk.created_ms);
        assert_eq!(change(Status::Pending), illegal("completed"));
        let missing = store.change_chunk(chunk.id + 1, &become_it(Status::Failed));
        assert_eq!(missing.expect("asked"), ChunkChange::Missing);
    });
}

#[test]
fn chunks_are_read_page_by_page() {
    on_both(|store| {
        let reports: Vec<_> = (0..25).map(|index| report(index % 2, index)).collect();
        store.report_chunks(&reports).expect("taken");
        let (mut seen, mut after) = (Vec::new(), 0);
        loop {
            let page = store.chunks(&ChunkFilter {
                job: Some(1),
                after,
                limit: 5,
                ..ChunkFilter::default()
            });
            let page = page.expect("read");
            let Some(last) = page.last() else { break };
            after = last.id;
            seen.extend(page.iter().map(|chunk| chunk.chunk_index));
        }
        assert_eq!(seen, (1..25).step_by(2).collect::<Vec<i64>>());
        let working = ChunkFilter {
            status: Some(Status::Processing),
            ..all()
        };
        assert_eq!(store.chunks(&working).expect("read"), []);
    });
}

#[test]
fn a_summary_counts_every_status_and_knows_the_oldest_in_work() {
    on_both(|store| {
        let none = store.chunk_summary().expect("counted");
        assert_eq!(none.by_status.values().sum::<i64>(), 0);
        assert_eq!(none.by_status.len(), 4, "a status without chunks is zero");
        let chunks = store
            .report_chunks(&[report(1, 0), report(1, 1), report(1, 2)])
            .expect("taken");
        let working = done(
            store
                .change_chunk(chunks[0].0.id, &become_it(Status::Processing))
                .expect("changed"),
        );
        done(
            store
                .change_chunk(chunks[1].0.id, &become_it(Status::Failed))
                .expect("changed"),
        );
        let summary = store.chunk_summary().expect("counted");
        assert_eq!(summary.by_status["processing"], 1);
        assert_eq!(summary.by_status["failed"], 1);
        assert_eq!(summary.by_status["pending"], 1);
        let in_work_seconds = (summary.as_of_ms - working.updated_ms) as f64 / 1000.0;
        assert!(
            (summary.oldest_active_seconds - in_work_seconds).abs() < 0.01 && in_work_seconds >= 0.0,
            "{summary:?}"
        );
        let next = summary.as_of_ms + 1;
        assert_eq!(store.chunks_failed(working.updated_ms, next).expect("counted"), 1);
        assert_eq!(store.chunks_failed(next, next + 1).expect("counted"), 0);
    });
}

/// The value of a metric of the chunks source.
fn looked(source: &mut Chunks, our_clock_ms: u64, metric: &str) -> f64 {
    let reading = source.measure(our_clock_ms).expect("the database answers");
    let sample = reading.samples.iter().find(|sample| sample.metric().as_str() == metric);
    sample.expect("the metric is measured").value()
}

#[test]
fn failures_and_ages_of_chunks_are_measured_by_the_database_clock() {
    on_both(|store| {
        let mut source = Chunks::new(store.clone());
        let mut clocks = [u64::MAX / 2, 1, 4_102_444_800_000].into_iter().cycle();
        let mut failed = || looked(&mut source, clocks.next().unwrap_or(1), "chunks_failed_since_last_look");
        let chunks = store.report_chunks(&[report(1, 0), report(1, 1)]).expect("taken");
        for (chunk, _) in &chunks {
            assert!(failed().abs() < 0.1, "nothing failed");
            done(
                store
                    .change_chunk(chunk.id, &become_it(Status::Failed))
                    .expect("changed"),
            );
            let count = eventually("the failure to be counted", || {
                Some(failed()).filter(|failed| *failed > 0.0)
            });
            assert!((count - 1.0).abs() < 0.1, "{count}");
            assert!(failed().abs() < 0.1, "it is counted once");
        }
        done(
            store
                .change_chunk(chunks[0].0.id, &become_it(Status::Processing))
                .expect("changed"),
        );
        for our_clock_ms in [1, 4_102_444_800_000] {
            let seconds = looked(&mut source, our_clock_ms, "chunks_oldest_active_seconds");
            assert!((0.0..60.0).contains(&seconds), "{seconds}");
        }
    });
}

#[test]
fn failures_in_a_discarded_measurement_are_counted_again() {
    on_both(|store| {
        let mut source = Chunks::new(store.clone());
        let failed = |source: &mut Chunks| looked(source, 1, "chunks_failed_since_last_look");
        // The first measurement is discarded, but counting starts there.
        assert!(failed(&mut source).abs() < 0.1);
        source.on_discarded();
        let chunks = store.report_chunks(&[report(1, 0)]).expect("taken");
        let failing = become_it(Status::Failed);
        done(store.change_chunk(chunks[0].0.id, &failing).expect("changed"));
        eventually("the failure to be counted", || {
            (failed(&mut source) > 0.0).then_some(())
        });
        for _ in 0..2 {
            source.on_discarded();
            assert!((failed(&mut source) - 1.0).abs() < 0.1, "it is counted again");
        }
        assert!(failed(&mut source).abs() < 0.1, "it was reported");
    });
}

const SQLITE: EmbeddedMigrations = embed_migrations!("../migrations/sqlite");
const POSTGRES: EmbeddedMigrations = embed_migrations!("../migrations/postgres");

#[derive(diesel::QueryableByName)]
struct Named {
    #[diesel(sql_type = sql_types::Text)]
    name: String,
}

fn names<C: diesel::connection::LoadConnection>(connection: &mut C, sql: &str) -> Vec<String>
where
    diesel::query_builder::SqlQuery: diesel::query_dsl::LoadQuery<'static, C, Named>,
{
    let named: Vec<Named> = sql_query(sql.to_owned()).load(connection).expect("read");
    named.into_iter().map(|named| named.name).collect()
}

const COLUMNS_OF_SQLITE: &str =
    "SELECT m.name || '.' || c.name AS name FROM sqlite_master m, pragma_table_info(m.name) c
    WHERE m.type = 'table' AND m.name NOT LIKE '\\_\\_%' ESCAPE '\\' AND m.name NOT LIKE 'sqlite%' ORDER BY 1";
const COLUMNS_OF_POSTGRES: &str = "SELECT name FROM (SELECT table_name || '.' || column_name AS name
    FROM information_schema.columns WHERE table_schema = 'public' AND table_name NOT LIKE '\\_\\_%') AS columns
    ORDER BY name COLLATE \"C\"";

#[test]
fn every_migration_can_be_reverted_and_applied_again() {
    let mut sqlite = SqliteConnection::establish(":memory:").expect("memory");
    let url = postgres::shared().database();
    let mut server = PgConnection::establish(&url).expect("a server answers");
    sqlite.run_pending_migrations(SQLITE).expect("up");
    server.run_pending_migrations(POSTGRES).expect("up");
    let made = (
        names(&mut sqlite, COLUMNS_OF_SQLITE),
        names(&mut server, COLUMNS_OF_POSTGRES),
    );
    assert_eq!(made.0, made.1, "both have the same history");
    sqlite.revert_all_migrations(SQLITE).expect("down");
    server.revert_all_migrations(POSTGRES).expect("down");
    assert_eq!(names(&mut sqlite, COLUMNS_OF_SQLITE), Vec::<String>::new());
    assert_eq!(names(&mut server, COLUMNS_OF_POSTGRES), Vec::<String>::new());
    sqlite.run_pending_migrations(SQLITE).expect("up again");
    server.run_pending_migrations(POSTGRES).expect("up again");
    assert_eq!(
        (
            names(&mut sqlite, COLUMNS_OF_SQLITE),
            names(&mut server, COLUMNS_OF_POSTGRES)
        ),
        made
    );
}

#[test]
fn the_schema_in_rust_is_the_one_in_the_database() {
    let text = include_str!("../../../server/src/store/schema.rs");
    let (mut table, mut declared) = ("", Vec::new());
    for line in text.lines().map(str::trim) {
        if let Some((name, _)) = line.split_once(" (").filter(|_| line.ends_with('{')) {
            table = name;
        } else if let Some((column, _)) = line.split_once(" -> ") {
            declared.push(format!("{table}.{column}"));
        }
    }
    // These types exist in only one of the databases.
    declared.extend(["created_at", "image_range", "updated_at"].map(|column| format!("job_chunks.{column}")));
    declared.sort();
    let mut sqlite = SqliteConnection::establish(":memory:").expect("memory");
    sqlite.run_pending_migrations(SQLITE).expect("up");
    assert_eq!(names(&mut sqlite, COLUMNS_OF_SQLITE), declared);
}

#[test]
fn concurrent_starts_run_migrations_one_after_the_other() {
    let folder = tempfile::tempdir().expect("a folder");
    for url in ["sqlite:watchpost.db".to_owned(), postgres::shared().database()] {
        std::thread::scope(|scope| {
            let started: Vec<_> = (0..8).map(|_| scope.spawn(|| open(&url, folder.path()))).collect();
            for one in started {
                let store = one.join().expect("no panic").expect("each of them starts");
                assert_eq!(store.chunks(&all()).expect("read"), []);
            }
        });
    }
}

#[test]
fn a_database_of_a_newer_version_is_refused_unchanged() {
    let folder = tempfile::tempdir().expect("a folder");
    for url in ["sqlite:watchpost.db".to_owned(), postgres::shared().database()] {
        drop(open(&url, folder.path()).expect("made"));
        let newer = "INSERT INTO __diesel_schema_migrations (version) VALUES ('99990101000000')";
        if url.starts_with("sqlite") {
            let path = folder.path().join("watchpost.db").display().to_string();
            let mut connection = SqliteConnection::establish(&path).expect("open");
            connection.batch_execute(newer).expect("written");
        } else {
            PgConnection::establish(&url)
                .expect("open")
                .batch_execute(newer)
                .expect("written");
        }
        let refused = open(&url, folder.path()).err().expect("refused");
        assert!(
            refused
                .to_string()
                .contains("newer Watchpost (migration 99990101000000)"),
            "{refused}"
        );
    }
}

#[test]
fn a_lost_database_server_is_reported_and_the_store_reconnects() {
    let mut server = Postgres::start();
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&server.database(), folder.path()).expect("it answers");
    store.report_chunks(&[report(1, 0)]).expect("taken");
    server.stop();
    let lost = store.chunks(&all());
    assert!(matches!(lost, Err(StoreError::Unreachable(_))), "{lost:?}");
    let lost = store.report_chunks(&[report(1, 1)]);
    assert!(matches!(lost, Err(StoreError::Unreachable(_))), "{lost:?}");
    server.start_again();
    assert_eq!(store.chunks(&all()).expect("it answers again").len(), 1);
}

#[test]
fn a_file_that_another_process_locks_is_busy_and_not_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open("sqlite:watchpost.db", folder.path()).expect("made");
    let path = folder.path().join("watchpost.db").display().to_string();
    let mut other = SqliteConnection::establish(&path).expect("open");
    other.batch_execute("BEGIN IMMEDIATE").expect("locked");
    let refused = store.report_chunks(&[report(1, 0)]);
    assert!(matches!(refused, Err(StoreError::Busy)), "{refused:?}");
    assert_eq!(store.chunks(&all()).expect("readers are not disturbed"), []);
    other.batch_execute("COMMIT").expect("the lock is released");
    store.report_chunks(&[report(1, 0)]).expect("taken");
}

#[test]
fn a_damaged_file_is_renamed_and_never_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("watchpost.db");
    fs::write(&path, vec![b'x'; 8192]).expect("written");
    let store = open("sqlite:watchpost.db", folder.path()).expect("a new one is begun");
    store.report_chunks(&[report(1, 0)]).expect("taken");
    let kept = fs::read(folder.path().join("watchpost.db.damaged-1")).expect("it is kept");
    assert!(kept == vec![b'x'; 8192]);
}

#[test]
fn damage_that_is_detected_at_run_time_is_recovered_at_the_next_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("watchpost.db");
    let store = open("sqlite:watchpost.db", folder.path()).expect("made");
    let reports: Vec<_> = (0..2000).map(|index| report(1, index)).collect();
    store.report_chunks(&reports).expect("taken");
    drop(store);
    let mut bytes = fs::read(&path).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle..].fill(0x5a);
    fs::write(&path, &bytes).expect("written");
    let store = open("sqlite:watchpost.db", folder.path()).expect("its beginning is sound");
    let damaged = store
        .chunks(&all())
        .and_then(|_| store.chunk_summary().map(|_| Vec::<Chunk>::new()));
    assert!(matches!(damaged, Err(StoreError::Damaged(_))), "{damaged:?}");
    drop(store);
    let store = open("sqlite:watchpost.db", folder.path()).expect("a new one is begun");
    assert_eq!(store.chunks(&all()).expect("read"), []);
    assert_eq!(
        fs::read(folder.path().join("watchpost.db.damaged-1"))
            .expect("kept")
            .len(),
        bytes.len()
    );
}

#[test]
fn a_foreign_database_is_opened_read_only() {
    let folder = tempfile::tempdir().expect("a folder");
    for url in ["sqlite:pix.db".to_owned(), postgres::shared().database()] {
        let theirs = open(&url, folder.path()).expect("made");
        theirs.report_chunks(&[report(1, 0)]).expect("taken");
        let ours = Store::open_external(DatabaseAddress::parse(&url, folder.path(), true).expect("an address"));
        assert_eq!(ours.chunks(&all()).expect("read").len(), 1);
        let refused = ours.report_chunks(&[report(1, 1)]);
        assert!(refused.is_err(), "{refused:?}");
        assert_eq!(theirs.chunks(&all()).expect("read").len(), 1);
    }
}

#[test]
fn a_database_without_chunks_is_reported_and_a_missing_file_is_not_created() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing =
        Store::open_external(DatabaseAddress::parse("sqlite:nowhere.db", folder.path(), true).expect("an address"));
    let refused = missing.chunk_summary();
    assert!(matches!(refused, Err(StoreError::Unreachable(_))), "{refused:?}");
    assert!(!folder.path().join("nowhere.db").exists());
    let empty = Store::open_external(place(&postgres::shared().database(), folder.path()));
    let refused = empty.chunk_summary();
    assert!(matches!(refused, Err(StoreError::Missing(_))), "{refused:?}");
    let gone = Store::open_external(place("postgres://watchpost@127.0.0.1:1/x", folder.path()));
    assert!(matches!(gone.chunk_summary(), Err(StoreError::Unreachable(_))));
    eventually("the same answer again", || gone.chunk_summary().is_err().then_some(()));
}
