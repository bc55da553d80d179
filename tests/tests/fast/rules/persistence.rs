//! Persistence of rules over restarts and kills.

use serde_json::json;
use watchpost_tests::guests::{HOSTILE, numbered};
use watchpost_tests::rules::{activate, active, generation, uploaded};
use watchpost_tests::server::{Server, eventually};

#[test]
fn an_acknowledged_change_is_active_after_a_kill() {
    let mut server = Server::start();
    for round in 0..10 {
        let admin = server.client("admin");
        let (name, digest) = uploaded(&admin, &numbered(round));
        let answer = activate(&admin, &name, &digest, json!({}));
        assert_eq!(answer.status, 200, "{}", answer.text());
        server.signal("KILL");
        server.ended();
        server = Server::prepared(server.stop());
        let admin = server.client("admin");
        let overview = admin.get("/api/v1/rules").json();
        assert_eq!(overview["generation"], answer.json()["generation"]);
        assert!(
            active(&overview).iter().any(|line| line.starts_with(&name)),
            "{overview}"
        );
    }
}

#[test]
fn the_settings_of_the_configuration_are_ignored_while_others_are_active() {
    let configured = "[rules.threshold]\nthresholds = [{ metric = \"disk\", warning = 11 }]\n";
    let server = Server::with(configured);
    let admin = server.client("admin");
    let given = |server: &Server| {
        let rule = server.get("/api/v1/rules/threshold").json();
        rule["active"][0]["settings"]["thresholds"][0]["warning"].as_i64()
    };
    assert_eq!(given(&server), Some(11));
    let other = json!({ "thresholds": [{ "metric": "disk", "warning": 12 }] });
    admin.send("PUT", "/api/v1/rules/threshold/settings", &other);
    let folder = server.stop();
    let server = Server::in_folder(folder, &configured.replace("11", "13"));
    assert_eq!(given(&server), Some(12), "what was given while it served");
    server.client("admin").ask("DELETE", "/api/v1/rules/threshold/settings");
    assert_eq!(given(&server), Some(13), "what the configuration says now");
    server.configure(&configured.replace("11", "14"));
    server.signal("HUP");
    server.logged("configuration reloaded");
    assert_eq!(given(&server), Some(14));
    let log = server.get("/api/v1/rules/threshold/log").json();
    assert_eq!(
        (&log["log"][0]["action"], &log["log"][0]["actor"]),
        (&json!("configured"), &json!("configuration"))
    );
}

#[test]
fn a_version_that_cannot_be_loaded_is_reported_and_the_others_serve() {
    let server = Server::start();
    let admin = server.client("admin");
    for wasm in [HOSTILE, &numbered(1)] {
        let (name, digest) = uploaded(&admin, wasm);
        activate(&admin, &name, &digest, json!({}));
    }
    let folder = server.stop();
    let database = folder.path().join("data/watchpost.db");
    std::fs::remove_dir_all(folder.path().join("data/cache")).expect("there was a cache");
    let mut connection =
        <diesel::SqliteConnection as diesel::Connection>::establish(&database.display().to_string()).expect("it opens");
    let damage = "UPDATE rule_versions SET wasm = x'00' WHERE name = 'hostile'";
    diesel::connection::SimpleConnection::batch_execute(&mut connection, damage).expect("it is damaged");
    drop(connection);
    let server = Server::prepared(folder);
    let ready = server.plain_client().get("/health/ready");
    assert_eq!(ready.status, 503);
    assert!(
        ready.text().contains("the latest generation of rules is not loaded"),
        "{}",
        ready.text()
    );
    let overview = server.get("/api/v1/rules").json();
    let lines = active(&overview);
    assert!(lines.iter().any(|line| line.starts_with("numbered-001")), "{lines:?}");
    assert!(!lines.iter().any(|line| line.starts_with("hostile")), "{lines:?}");
    let reason = overview["pending_generation"]["reason"]
        .as_str()
        .expect("the reason is reported");
    assert!(
        reason.contains("hostile") && reason.contains("has been modified in the database"),
        "{reason}"
    );
    assert_eq!(generation(&server.client("admin")), 3);
}

#[test]
fn the_owner_of_settings_does_not_depend_on_their_content() {
    let configured = "[rules.threshold]\nthresholds = [{ metric = \"disk\", warning = 70 }]\n";
    let server = Server::with(configured);
    let admin = server.client("admin");
    let warning = || {
        let rule = server.get("/api/v1/rules/threshold").json();
        rule["active"][0]["settings"]["thresholds"][0]["warning"].as_i64()
    };
    let again = |warning: i64| {
        let before = server.log_lines().len();
        server.configure(&configured.replace("70", &warning.to_string()));
        server.signal("HUP");
        eventually("the configuration", || {
            let lines = server.log_lines();
            lines[before..]
                .iter()
                .any(|line| line.contains("configuration reloaded"))
                .then_some(())
        });
    };
    // An operator sets the same settings as the configuration, and they stay the operator's.
    let same = json!({ "thresholds": [{ "metric": "disk", "warning": 70 }] });
    assert_eq!(admin.send("PUT", "/api/v1/rules/threshold/settings", &same).status, 200);
    again(60);
    assert_eq!(warning(), Some(70));
    // After a reset, the settings follow the configuration again.
    again(70);
    assert_eq!(admin.ask("DELETE", "/api/v1/rules/threshold/settings").status, 200);
    again(50);
    assert_eq!(warning(), Some(50));
}
