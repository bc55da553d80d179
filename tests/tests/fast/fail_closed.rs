//! A damaged database closes access until an operator accepts that its rules are lost; and what makes a server not ready.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};
use serde_json::json;
use watchpost_tests::http::Answer;
use watchpost_tests::server::{self, Server, eventually};

const CLOSED: &str = "access is closed, because the database was damaged or lost its rules";

/// Sets role settings under which only administrators have a role, damages the database, and starts again.
fn damaged() -> Server {
    let server = Server::start().ready();
    let strict = json!({ "roles": { "agent": [], "user": [], "reader": [] } });
    let set = server
        .client("admin")
        .send("PUT", "/api/v1/rules/role/settings", &strict);
    assert_eq!(set.status, 200, "{}", set.text());
    assert_eq!(server.client("agent").get("/api/v1/chunks").status, 403);
    let folder = server.stop();
    let database = folder.path().join("data/watchpost.db");
    let mut bytes = std::fs::read(&database).expect("a database");
    bytes[..512].fill(0);
    std::fs::write(&database, bytes).expect("damaged");
    Server::prepared(folder)
}

fn ready(server: &Server) -> Answer {
    server.plain_client().get("/health/ready")
}

fn restore_access(folder: &Path) -> String {
    let output = server::command(folder).args(["rules", "restore-access"]).output();
    let output = output.expect("watchpost runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn after_a_damaged_database_was_replaced_access_is_closed_until_an_operator_accepts_it() {
    let mut server = damaged();
    for restart in [false, true] {
        if restart {
            server = Server::prepared(server.stop());
        }
        for client in ["admin", "agent", "user"] {
            assert_eq!(server.client(client).get("/api/v1/chunks").status, 403, "{client}");
        }
        assert_eq!(server.plain_client().get("/health/live").status, 200);
        let reason = eventually("the only reason", || {
            let answer = ready(&server);
            assert_eq!(answer.status, 503);
            let reason = answer.json()["reason"].as_str().expect("a text").to_owned();
            (!reason.contains("nothing has been measured")).then_some(reason)
        });
        assert!(reason.contains(CLOSED), "{reason}");
        server.logged(CLOSED);
    }
    let restored = restore_access(server.folder());
    assert!(restored.contains("generation  2"), "{restored}");
    eventually("access", || {
        (server.client("agent").get("/api/v1/chunks").status == 200).then_some(())
    });
    assert_eq!(ready(&server).status, 200);
    let server = Server::prepared(server.stop()).ready();
    assert_eq!(server.client("agent").get("/api/v1/chunks").status, 200);
}

#[test]
fn access_is_closed_if_a_database_that_had_rules_is_truncated_or_deleted() {
    for is_deleted in [false, true] {
        let folder = Server::start().ready().stop();
        let database = folder.path().join("data/watchpost.db");
        for suffix in ["-wal", "-shm"] {
            // A server that stopped in order may have removed them.
            let _ = std::fs::remove_file(folder.path().join(format!("data/watchpost.db{suffix}")));
        }
        if is_deleted {
            std::fs::remove_file(&database).expect("deleted");
        } else {
            std::fs::write(&database, []).expect("truncated");
        }
        let mut server = Server::prepared(folder);
        server.logged("the database has no rules, although this server has accepted some");
        for restart in [false, true] {
            if restart {
                server = Server::prepared(server.stop());
            }
            server.logged(CLOSED);
            assert_eq!(server.client("admin").get("/api/v1/chunks").status, 403, "{is_deleted}");
            let answer = ready(&server);
            assert_eq!(answer.status, 503);
            assert!(answer.text().contains(CLOSED), "{}", answer.text());
        }
        assert!(restore_access(server.folder()).contains("generation  2"));
        eventually("access", || {
            (server.client("agent").get("/api/v1/chunks").status == 200).then_some(())
        });
    }
}

#[test]
fn access_is_restored_without_a_running_server() {
    let folder = damaged().stop();
    assert!(restore_access(folder.path()).contains("generation  2"));
    let server = Server::prepared(folder).ready();
    assert_eq!(server.client("agent").get("/api/v1/chunks").status, 200);
}

#[test]
fn access_is_open_again_after_a_copy_of_the_database_was_restored() {
    let folder = Server::start().ready().stop();
    let database = folder.path().join("data/watchpost.db");
    let copy = std::fs::read(&database).expect("a database");
    std::fs::write(&database, vec![0x5a; copy.len()]).expect("damaged");
    let server = Server::prepared(folder);
    server.logged(CLOSED);
    let folder = server.stop();
    std::fs::write(&database, copy).expect("restored");
    for suffix in ["-wal", "-shm"] {
        // A server that stopped in order may have removed them.
        let _ = std::fs::remove_file(folder.path().join(format!("data/watchpost.db{suffix}")));
    }
    let server = Server::prepared(folder).ready();
    assert_eq!(server.client("agent").get("/api/v1/chunks").status, 200);
}

#[test]
fn the_rules_folder_does_not_open_access_after_the_database_was_replaced() {
    let folder = damaged().stop();
    let rules = folder.path().join("rules");
    std::fs::create_dir(&rules).expect("created");
    std::fs::write(rules.join("all.wasm"), watchpost_tests::guests::ALLOW_ALL).expect("written");
    let server = Server::in_folder(folder, "[rules]\ndir = \"{folder}/rules\"\n");
    server.logged("access is closed");
    let waits = || {
        let lines = server.log_lines();
        lines
            .iter()
            .any(|line| line.contains("all.wasm") && line.contains(CLOSED))
            .then_some(())
    };
    eventually("the file to be rejected", waits);
    assert_eq!(server.client("agent").get("/api/v1/chunks").status, 403);
}

#[test]
fn the_files_of_the_database_are_private() {
    let server = Server::start().ready();
    for file in ["watchpost.db", "watchpost.db-wal", "accepted-rules.json", "cache.key"] {
        let metadata = std::fs::metadata(server.data().join(file)).expect(file);
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "{file}");
    }
}

#[test]
fn a_server_is_not_ready_while_its_database_rejects_writes_for_too_long() {
    let server = Server::with("[database]\nunready_after = \"1s\"\n").ready();
    let database = server.data().join("watchpost.db");
    let mut other = SqliteConnection::establish(&database.display().to_string()).expect("it opens");
    other
        .batch_execute("PRAGMA busy_timeout = 5000; BEGIN IMMEDIATE")
        .expect("locked");
    let reason = eventually("the database to fail", || {
        let answer = ready(&server);
        (answer.status == 503).then(|| answer.json()["reason"].as_str().expect("a text").to_owned())
    });
    assert!(reason.contains("the database fails"), "{reason}");
    let status = server.get("/api/v1/status").json();
    assert_eq!(
        (&status["ready"], &status["not_ready_reason"]),
        (&json!(false), &json!(reason))
    );
    other.batch_execute("ROLLBACK").expect("unlocked");
    eventually("readiness", || (ready(&server).status == 200).then_some(()));
}

#[test]
fn the_failure_of_a_database_can_be_no_reason_and_then_a_server_stays_ready() {
    let server = Server::with("[database]\nunready_after = \"0s\"\n").ready();
    let database = server.data().join("watchpost.db");
    let mut other = SqliteConnection::establish(&database.display().to_string()).expect("it opens");
    other
        .batch_execute("PRAGMA busy_timeout = 5000; BEGIN IMMEDIATE")
        .expect("locked");
    // A write has failed by then.
    server.logged("busy");
    assert_eq!(ready(&server).status, 200);
}
