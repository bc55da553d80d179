//! Work chunks over the API.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use watchpost_tests::http::Client;
use watchpost_tests::postgres;
use watchpost_tests::proxy::Proxy;
use watchpost_tests::server::{Server, eventually};

const PATH: &str = "/api/v1/chunks";

fn chunk(job: i64, index: i64) -> Value {
    json!({ "job_id": job, "chunk_index": index, "image_range": { "start": 0, "end": 99 } })
}

/// Runs a test on both databases.
fn on_both(settings: &str, check: impl Fn(Server)) {
    check(Server::with(settings).ready());
    let url = postgres::shared().database();
    check(Server::with(&format!("[database]\nurl = \"{url}\"\n{settings}")).ready());
}

fn metric(server: &Server, name: &str) -> Option<f64> {
    let snapshot = server.get("/api/v1/snapshot").json();
    let samples = snapshot["samples"].as_array()?.clone();
    samples.iter().find(|sample| sample["metric"] == name)?["value"].as_f64()
}

#[test]
fn a_worker_reports_a_chunk_works_on_it_and_it_is_counted() {
    on_both("", |server| {
        let agent = server.client("agent");
        let made = agent.send("POST", PATH, &chunk(1, 0));
        assert_eq!(made.status, 201, "{}", made.text());
        let (id, body) = (made.json()["id"].as_i64().expect("an id"), made.json());
        assert_eq!(made.header("location"), Some(format!("{PATH}/{id}").as_str()));
        assert_eq!(
            (&body["status"], &body["priority"], &body["created"]),
            (&json!("pending"), &json!(5), &json!(true))
        );
        let again = agent.send("POST", PATH, &chunk(1, 0));
        assert_eq!(
            (again.status, &again.json()["id"]),
            (200, &json!(id)),
            "it may be sent twice"
        );
        let one = format!("{PATH}/{id}");
        let changed = agent.send("PATCH", &one, &json!({ "status": "processing", "task_id": "celery-1" }));
        assert_eq!((changed.status, &changed.json()["task_id"]), (200, &json!("celery-1")));
        eventually("it to be counted", || {
            (metric(&server, "active_chunks") == Some(1.0)).then_some(())
        });
        assert_eq!(server.get(&one).json()["status"], "processing");
        let illegal = agent.send("PATCH", &one, &json!({ "status": "pending" }));
        assert_eq!(illegal.status, 200, "it goes back to who takes it next");
        let illegal = agent.send("PATCH", &one, &json!({ "status": "completed" }));
        assert_eq!(illegal.status, 409);
        assert_eq!(
            illegal.json()["detail"],
            "the chunk is pending; it can become processing or failed, not completed"
        );
        let summary = server.get("/api/v1/chunks/summary").json();
        assert_eq!(
            summary["by_status"],
            json!({ "pending": 1, "processing": 0, "completed": 0, "failed": 0 })
        );
        assert_eq!(summary["retries"], 1);
    });
}

#[test]
fn a_completed_chunk_cannot_change() {
    on_both("", |server| {
        let agent = server.client("agent");
        let id = &agent.send("POST", PATH, &chunk(1, 0)).json()["id"];
        let one = format!("{PATH}/{id}");
        let change = |body: Value| agent.send("PATCH", &one, &body);
        assert_eq!(
            change(json!({ "status": "processing", "task_id": "celery-1" })).status,
            200
        );
        let completed = change(json!({ "status": "completed", "priority": 7 }));
        assert_eq!(completed.status, 200, "it may be reported again with its last change");
        for refused in [
            json!({ "priority": 1 }),
            json!({ "task_id": "celery-2" }),
            json!({ "error_message": "late" }),
            json!({ "status": "completed", "error_message": "late" }),
        ] {
            let answer = change(refused);
            assert_eq!((answer.status, server.get(&one).json()), (409, completed.json()));
            assert_eq!(
                answer.json()["detail"],
                "the chunk is completed, which is final; its priority, task_id and error_message cannot be changed"
            );
        }
        for repeated in [
            json!({ "status": "completed", "priority": 7 }),
            json!({ "task_id": "celery-1" }),
        ] {
            let answer = change(repeated);
            assert_eq!((answer.status, answer.json()), (200, completed.json()));
        }
        let failed = change(json!({ "status": "failed" }));
        assert_eq!(
            (failed.status, &failed.json()["detail"]),
            (
                409,
                &json!("the chunk is completed, which is final; it cannot become failed")
            )
        );
    });
}

#[test]
fn a_batch_is_accepted_as_a_whole_or_rejected_and_read_page_by_page() {
    on_both("", |server| {
        let agent = server.client("agent");
        let batch: Vec<_> = (0..5).map(|index| chunk(9, index)).collect();
        let made = agent.send("POST", PATH, &json!(batch));
        assert_eq!(
            (made.status, made.json()["chunks"].as_array().map(Vec::len)),
            (201, Some(5))
        );
        let mut bad = batch;
        bad.push(json!({ "job_id": 9, "chunk_index": 5, "image_range": { "start": 3, "end": 1 } }));
        let refused = agent.send("POST", PATH, &json!(bad));
        assert_eq!(refused.status, 400);
        assert_eq!(refused.json()["detail"], "/5: image_range begins at 3 and ends at 1");
        let first = server.get("/api/v1/chunks?job=9&limit=3").json();
        assert_eq!(first["chunks"].as_array().map(Vec::len), Some(3));
        let rest = server
            .get(&format!("/api/v1/chunks?job=9&limit=3&after={}", first["next"]))
            .json();
        assert_eq!(
            (rest["chunks"].as_array().map(Vec::len), &rest["next"]),
            (Some(2), &Value::Null)
        );
        assert_eq!(server.get("/api/v1/chunks?status=failed").json()["chunks"], json!([]));
    });
}

#[test]
fn errors_say_what_to_change() {
    let server = Server::start().ready();
    let agent = server.client("agent");
    let refused = |body: &Value, says: &str| {
        let answer = agent.send("POST", PATH, body);
        let detail = answer.json()["detail"].to_string();
        assert!(answer.status == 400 && detail.contains(says), "{body}: {detail}");
    };
    refused(&json!([]), "send 1 to 1000");
    refused(&json!({ "job_id": 1 }), "/chunk_index is missing; write an integer");
    refused(
        &json!({ "job_id": 1, "chunk_index": 0, "image_range": { "start": 0, "end": 1 }, "x": 1 }),
        "/x: unknown field; the fields are",
    );
    let with = |name: &str, value: Value| {
        let mut chunk = chunk(1, 0);
        chunk[name] = value;
        chunk
    };
    refused(&with("priority", json!(11)), "priority is 11; write one from 0 to 10");
    refused(&with("status", json!("done")), "/status: expected one of");
    refused(&with("chunk_index", json!(-1)), "count from 0");
    refused(&with("job_id", json!(-1)), "at least 0");
    refused(&with("job_id", json!("7")), "/job_id: expected an integer");
    refused(&with("task_id", json!("x".repeat(256))), "255");
    refused(&with("error_message", json!("a\0b")), "zero byte");
    assert!(
        server.get("/api/v1/chunks?state=x").json()["detail"]
            .to_string()
            .contains("status")
    );
    assert_eq!(server.get("/api/v1/chunks?limit=0").status, 400);
    assert_eq!(agent.send("PATCH", "/api/v1/chunks/1", &json!({})).status, 400);
    assert_eq!(
        server.get("/api/v1/chunks/77").problem(404),
        "there is no chunk 77; GET /api/v1/chunks lists the chunks"
    );
    assert_eq!(
        agent
            .send("PATCH", "/api/v1/chunks/77", &json!({ "status": "failed" }))
            .status,
        404
    );
    let allow = agent.ask("DELETE", PATH);
    assert_eq!(
        (allow.status, allow.header("allow")),
        (405, Some("GET, HEAD, POST, OPTIONS"))
    );
}

#[test]
fn a_client_with_read_permission_cannot_report_chunks() {
    let server = Server::start().ready();
    assert_eq!(server.client("reader").send("POST", PATH, &chunk(1, 0)).status, 403);
    assert_eq!(server.client("reader").get(PATH).status, 200);
    assert_eq!(server.anonymous_client().get(PATH).status, 401);
}

#[test]
fn chunks_of_a_pixcrawler_database_are_read_only() {
    let url = postgres::shared().database();
    drop(Server::with(&format!("[database]\nurl = \"{url}\"")).ready());
    let name = url.rsplit('/').next().expect("a name");
    let row = "INSERT INTO job_chunks (job_id, chunk_index, status, image_range)
        SELECT 1, n, 'processing', '{\"start\": 0, \"end\": 9}' FROM generate_series(1, 41) AS n";
    assert!(postgres::shared().psql(name, row));
    let theirs = url.replace("postgres://", "postgresql+asyncpg://");
    let server = Server::with(&format!("[chunks]\ndatabase_url = \"{theirs}\"")).ready();
    assert_eq!(metric(&server, "active_chunks"), Some(41.0));
    let report = server.get("/api/v1/report").json();
    let findings = report["findings"].as_array().expect("a list");
    let finding = findings
        .iter()
        .find(|finding| finding["subject"]["metric"] == "active_chunks");
    assert_eq!(finding.expect("it is judged")["severity"], "alert");
    let refused = server.client("agent").send("POST", PATH, &chunk(1, 0));
    assert_eq!(refused.status, 409);
    assert!(refused.json()["detail"].to_string().contains("chunks.database_url"));
}

#[test]
fn a_chunk_database_that_cannot_be_reached_is_unknown_and_never_zero() {
    let server = Server::with("[chunks]\ndatabase_url = \"postgresql://pix:secret@127.0.0.1:1/pix\"").ready();
    assert_eq!(metric(&server, "active_chunks"), None);
    let snapshot = server.get("/api/v1/snapshot").text();
    assert!(snapshot.contains("postgresql://pix@127.0.0.1:1/pix"), "{snapshot}");
    assert!(!snapshot.contains("secret") && !server.log_lines().join("\n").contains("secret"));
    let report = server.get("/api/v1/report").json();
    let findings = report["findings"].as_array().expect("a list");
    let finding = findings
        .iter()
        .find(|finding| finding["subject"]["metric"] == "active_chunks");
    assert_eq!(finding.expect("it is judged")["severity"], "unknown");
    let answer = server.get(PATH);
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("5")));
    assert_eq!(answer.json()["detail"], "the database is unreachable");
}

#[test]
fn a_database_behind_a_broken_connection_is_503_and_recovers() {
    let shared = postgres::shared();
    let proxy = Proxy::to(shared.address());
    let url = shared.database();
    let url = url.replace(&shared.address().to_string(), &proxy.address.to_string());
    let server = Server::with(&format!("[database]\nurl = \"{url}\"\n[history]\nenabled = false")).ready();
    let agent = server.client("agent");
    assert_eq!(agent.send("POST", PATH, &chunk(1, 0)).status, 201);
    proxy.cut();
    eventually("it to connect again", || (server.get(PATH).status == 200).then_some(()));
    proxy.hold();
    let answer = agent.send("POST", PATH, &chunk(1, 1));
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (503, Some("5")),
        "{}",
        answer.text()
    );
    assert_eq!(server.get("/api/v1/report").status, 200, "others are not held up");
    proxy.resume();
    eventually("the chunk that was sent again", || {
        let again = agent.send("POST", PATH, &chunk(1, 1));
        (again.status < 300).then_some(())
    });
    assert_eq!(server.get("/api/v1/chunks/summary").json()["by_status"]["pending"], 2);
}

#[test]
fn a_full_disk_is_reported_and_work_continues_when_space_is_freed() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = folder.path().join("data");
    std::fs::create_dir(&disk).expect("made");
    let mount = |arguments: &[&str]| {
        let status = Command::new(arguments[0]).args(&arguments[1..]).arg(&disk).status();
        assert!(
            status.expect("it runs").success(),
            "the tests mount a small disk, so they run as root"
        );
    };
    mount(&["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs"]);
    let server = Server::in_folder(folder, "[history]\nenabled = false").ready();
    let agent = server.client("agent");
    assert_eq!(agent.send("POST", PATH, &chunk(1, 0)).status, 201);
    let filler = disk.join("filler");
    // Fills the disk.
    let _ = std::fs::write(&filler, vec![0; 16 << 20]);
    let mut refused = None;
    for index in 1..200 {
        let batch: Vec<_> = (0..1000).map(|at| chunk(index, at)).collect();
        let answer = agent.send("POST", PATH, &json!(batch));
        if answer.status != 201 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("a disk is full some time");
    assert_eq!(
        (refused.status, &refused.json()["detail"]),
        (503, &json!("the database has no space left"))
    );
    assert_eq!(server.get("/api/v1/chunks?job=1").status, 200, "reading goes on");
    std::fs::remove_file(filler).expect("removed");
    eventually("room", || {
        (agent.send("POST", PATH, &chunk(2000, 0)).status == 201).then_some(())
    });
    let _folder = server.stop();
    mount(&["umount"]);
}

#[test]
fn a_chunk_that_was_acknowledged_survives_a_hundred_kills() {
    let mut folder = tempfile::tempdir().expect("a folder");
    let mut acknowledged = 0;
    for round in 0..100 {
        let mut server = Server::in_folder(folder, "");
        let chunks = server.get("/api/v1/chunks/summary").json();
        let kept = chunks["by_status"]["pending"].as_i64().expect("a count");
        assert!(
            kept >= acknowledged,
            "of {acknowledged} only {kept} are left in round {round}"
        );
        acknowledged = kept;
        let (agent, stop) = (server.client("agent"), AtomicBool::new(false));
        acknowledged += std::thread::scope(|scope| {
            let reporting = scope.spawn(|| report_until(&agent, round, &stop));
            // Sometimes at once, sometimes after many reports.
            if round % 3 > 0 {
                eventually("some reports", || (reported(&server) > round % 7).then_some(()));
            }
            server.signal("KILL");
            server.ended();
            stop.store(true, Ordering::Relaxed);
            reporting.join().expect("no panic")
        });
        folder = server.stop();
    }
    let server = Server::in_folder(folder, "");
    let chunks = server.get("/api/v1/chunks/summary").json();
    assert!(chunks["by_status"]["pending"].as_i64().expect("a count") >= acknowledged);
}

fn reported(server: &Server) -> i64 {
    let last = server.get("/api/v1/chunks/summary").json();
    last["by_status"]["pending"].as_i64().unwrap_or_default()
}

/// Reports chunks until the server stops responding; returns the number of acknowledged ones.
fn report_until(agent: &Client, round: i64, stop: &AtomicBool) -> i64 {
    let Ok(mut connection) = agent.connect() else { return 0 };
    let mut acknowledged = 0;
    while !stop.load(Ordering::Relaxed) {
        match connection.ask_with("POST", PATH, &chunk(round, acknowledged)) {
            Ok(answer) if answer.status == 201 => acknowledged += 1,
            _ => break,
        }
    }
    acknowledged
}
