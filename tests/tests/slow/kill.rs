//! A kill of the process, or of its database, during a change of rules: the change is complete or absent, acknowledged
//! changes are durable, and the active rules are those of the database.

use std::io;
use std::sync::Mutex;

use serde_json::{Value, json};
use watchpost_tests::guests::{HOSTILE, numbered};
use watchpost_tests::http::{Answer, Client};
use watchpost_tests::postgres::{self, Postgres};
use watchpost_tests::proxy::Proxy;
use watchpost_tests::rules::{activate, other_version, uploaded, versions};
use watchpost_tests::server::{Server, eventually};

/// The acknowledged changes of one rule whose versions are uploaded and activated one after the other.
struct Acknowledged {
    uploaded: Vec<String>,
    generation: i64,
}

#[test]
fn a_kill_during_a_change_leaves_the_old_or_the_new_state() {
    let name = "numbered-001";
    let all = versions(&numbered(1), 400);
    let mut left = all.iter();
    let mut server = Server::start();
    let mut known = 1;
    for round in 0..15 {
        let admin = server.client("admin");
        let acknowledged = Mutex::new(Acknowledged {
            uploaded: Vec::new(),
            generation: known,
        });
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // Until the server stops responding.
                let _ = left
                    .by_ref()
                    .try_for_each(|wasm| upload_and_activate(&admin, wasm, &acknowledged));
            });
            // The first kill is immediate, and each later one follows more changes.
            let wanted = known + round % 5;
            eventually("some changes", || {
                (acknowledged.lock().expect("the lock is not poisoned").generation >= wanted).then_some(())
            });
            server.signal("KILL");
            server.ended();
        });
        server = Server::prepared(server.stop()).ready();
        let admin = server.client("admin");
        let acknowledged = acknowledged.into_inner().expect("the lock is not poisoned");
        let overview = admin.get("/api/v1/rules").json();
        known = overview["generation"].as_i64().expect("a number");
        // At most one change was in progress.
        assert!(
            [acknowledged.generation, acknowledged.generation + 1].contains(&known),
            "{} was acknowledged, and {known} is active",
            acknowledged.generation
        );
        assert_eq!(overview["pending_generation"], Value::Null, "{overview}");
        for digest in &acknowledged.uploaded {
            let kept = admin.get(&format!("/api/v1/rules/{name}/versions/{digest}"));
            assert_eq!(kept.status, 200, "{digest} was answered: {}", kept.text());
        }
        // The active version is the last one in the audit log.
        let last = admin.get(&format!("/api/v1/rules/{name}/log?limit=5")).json();
        let active = overview["active"].as_array().expect("a list").iter();
        let active = active
            .filter(|line| line["name"] == name)
            .map(|line| &line["digest"])
            .next();
        let log = last["log"].as_array();
        let logged = log.and_then(|log| log.iter().find(|line| line["action"] == "activated"));
        assert_eq!(active, logged.map(|line| &line["digest"]), "{last}");
    }
}

fn upload_and_activate(admin: &Client, wasm: &[u8], acknowledged: &Mutex<Acknowledged>) -> io::Result<()> {
    let mut connection = admin.connect()?;
    let uploaded = connection.ask_bytes("POST", "/api/v1/rules", "application/wasm", wasm)?;
    if uploaded.status != 201 {
        return Ok(());
    }
    let uploaded = uploaded.json();
    let text = |key: &str| uploaded[key].as_str().expect("a text").to_owned();
    let (name, digest) = (text("name"), text("digest"));
    acknowledged
        .lock()
        .expect("the lock is not poisoned")
        .uploaded
        .push(digest.clone());
    let path = format!("/api/v1/rules/{name}/active");
    let active = connection.ask_with("PUT", &path, &json!({ "digest": digest }))?;
    assert_eq!(active.status, 200, "{}", active.text());
    acknowledged.lock().expect("the lock is not poisoned").generation =
        active.json()["generation"].as_i64().expect("a number");
    Ok(())
}

#[test]
fn a_lost_connection_during_a_change_leaves_the_old_or_the_new_state() {
    let shared = postgres::shared();
    let proxy = Proxy::to(shared.address());
    let url = shared.database();
    let behind = url.replace(&shared.address().to_string(), &proxy.address.to_string());
    let server = Server::with(&format!("[database]\nurl = \"{behind}\"\n")).ready();
    // This server is never disconnected, and shows the state of the database.
    let witness = Server::with(&format!(
        "[server]\nhostname = \"witness\"\n[database]\nurl = \"{url}\"\n"
    ))
    .ready();
    let admin = server.client("admin");
    let (name, digest) = uploaded(&admin, HOSTILE);
    let mut cut_off = 0;
    for round in 0..30 {
        let answer = std::thread::scope(|scope| {
            let settings = json!({ "settings": { "do": "well", "count": round } });
            let changing = scope.spawn(|| activate(&admin, &name, &digest, settings));
            // From before the start of the change until after its end.
            std::thread::yield_now();
            spin_until(u32::try_from(round).expect("few") * 700);
            proxy.cut();
            changing.join().expect("no panic")
        });
        assert!(
            [200, 503].contains(&answer.status),
            "{}: {}",
            answer.status,
            answer.text()
        );
        cut_off += usize::from(answer.status == 503);
        let agreed = eventually("both to agree", || agreed_on(&server, &witness));
        if answer.status == 200 {
            assert!(agreed["generation"].as_i64() >= answer.json()["generation"].as_i64());
            let rule = server.get(&format!("/api/v1/rules/{name}")).json();
            assert_eq!(rule["active"][0]["settings"]["count"], round, "{rule}");
        }
    }
    assert!(cut_off > 0, "nothing was ever cut off in the middle");
}

/// The active rules, if both servers report the same and neither has a pending generation.
fn agreed_on(one: &Server, other: &Server) -> Option<Value> {
    let overview = |server: &Server| -> Option<Value> {
        let answer: Answer = server.get("/api/v1/rules");
        (answer.status == 200).then(|| answer.json())
    };
    let (one, other) = (overview(one)?, overview(other)?);
    let same = ["generation", "active"].iter().all(|key| one[key] == other[key]);
    (same && one["pending_generation"] == Value::Null).then_some(one)
}

/// Busy-waits for this number of microseconds, to vary the time of the interruption.
fn spin_until(micros: u32) {
    let began = std::time::Instant::now();
    while began.elapsed().as_micros() < u128::from(micros) {
        std::hint::spin_loop();
    }
}

#[test]
fn during_an_outage_the_active_rules_stay_and_changes_are_deferred() {
    let mut database = Postgres::start();
    let server = Server::with(&format!("[database]\nurl = \"{}\"\n", database.database())).ready();
    let admin = server.client("admin");
    let (name, digest) = uploaded(&admin, HOSTILE);
    assert_eq!(activate(&admin, &name, &digest, json!({})).status, 200);
    database.stop();
    let refused = activate(
        &admin,
        &name,
        &digest,
        json!({ "settings": { "do": "well", "count": 5 } }),
    );
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("5")));
    let upload = watchpost_tests::rules::upload(&admin, &other_version(HOSTILE));
    assert_eq!(upload.status, 503, "{}", upload.text());
    // The server keeps judging and deciding.
    eventually("a round judged by them", || {
        (admin.get("/api/v1/report").json()["generation"] == 2).then_some(())
    });
    assert_eq!(
        server
            .client("reader")
            .send("PUT", "/api/v1/rules/hostile/active", &json!({}))
            .status,
        403
    );
    database.start_again();
    let again = eventually("the database", || {
        let answer = activate(
            &admin,
            &name,
            &digest,
            json!({ "settings": { "do": "well", "count": 5 } }),
        );
        (answer.status == 200).then_some(answer)
    });
    assert_eq!(again.json()["generation"], 3, "{}", again.text());
}
