//! Rules that reach a server through its database: they are verified like those that reach it through the API.

use std::path::Path;

use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection, SqliteConnection};
use serde_json::json;
use watchpost_tests::guests::numbered;
use watchpost_tests::postgres;
use watchpost_tests::rules::{activate, active, generation, keygen, upload, uploaded};
use watchpost_tests::server::{Server, eventually};
use watchpost_tests::slow_rule::ponderous;

/// A configuration that requires signatures by a new key in this folder.
fn requiring(folder: &Path, more: &str) -> String {
    if !folder.join("ops.key").exists() {
        keygen(folder, "ops");
    }
    let key = folder.join("ops.pub");
    format!(
        "{more}[rules]\nrequire_signature = true\ntrusted_keys = [{{ name = \"ops\", key = \"{}\" }}]\n",
        key.display()
    )
}

/// What a client with access to the database, and not to the API, can do.
fn write(database: &Path, statements: &str) {
    let mut connection = SqliteConnection::establish(&database.display().to_string()).expect("it opens");
    connection.batch_execute("PRAGMA busy_timeout = 5000").expect("set");
    connection.batch_execute(statements).expect("written");
}

/// Copies the latest generation under the next number, with this text of its entries replaced.
fn next_generation(from: &str, to: &str) -> String {
    format!(
        "INSERT INTO rule_generations (generation, created_ms, entries)
         SELECT generation + 1, created_ms + 1, replace(entries, '{from}', '{to}') FROM rule_generations
         ORDER BY generation DESC LIMIT 1"
    )
}

fn pending_reason(server: &Server) -> String {
    eventually("a pending generation", || {
        let status = server.get("/api/v1/status").json();
        status["pending_generation"]["reason"].as_str().map(str::to_owned)
    })
}

#[test]
fn an_unsigned_component_that_is_written_to_the_database_is_not_activated() {
    let keys = tempfile::tempdir().expect("a folder");
    let server = Server::start().ready();
    let admin = server.client("admin");
    let (name, digest) = uploaded(&admin, &numbered(1));
    let required = requiring(keys.path(), "");
    server.configure(&required);
    server.signal("HUP");
    server.logged("configuration reloaded");
    let before = generation(&admin);
    let entry = format!(
        "[{{\"rule\":\"{name}\",\"kind\":\"threshold\",\"mode\":\"active\",\"digest\":\"{digest}\",\"settings\":1}},"
    );
    write(&server.data().join("watchpost.db"), &next_generation("[", &entry));
    let reason = pending_reason(&server);
    assert!(reason.contains("has no signature"), "{reason}");
    assert_eq!(generation(&admin), before);
    assert!(
        !active(&admin.get("/api/v1/rules").json())
            .iter()
            .any(|line| line.starts_with(&name))
    );
    let ready = server.plain_client().get("/health/ready");
    assert_eq!(ready.status, 503);
    assert!(
        ready.text().contains("the latest generation of rules is not loaded"),
        "{}",
        ready.text()
    );
    eventually("the metric", || {
        let metrics = admin.get("/metrics").text();
        metrics.contains("\nwatchpost_rules_behind 1").then_some(())
    });
    // A change here would be based on it.
    let settings = json!({ "thresholds": [{ "metric": "disk", "warning": 12 }] });
    let refused = admin.send("PUT", "/api/v1/rules/threshold/settings", &settings);
    assert!(refused.problem(409).contains("has no signature"), "{}", refused.text());
    // A restart does not load it either.
    let server = Server::in_folder(server.stop(), &required);
    assert_eq!(generation(&server.client("admin")), before);
    assert!(pending_reason(&server).contains("has no signature"));
    assert_eq!(server.plain_client().get("/health/ready").status, 503);
}

#[test]
fn settings_of_the_role_rule_that_are_written_to_the_database_are_not_activated() {
    let keys = tempfile::tempdir().expect("a folder");
    let required = requiring(keys.path(), "");
    let server = Server::with(&required).ready();
    let admin = server.client("admin");
    let own = json!({ "roles": { "reader": ["metrics.read"] } });
    assert_eq!(
        admin.send("PUT", "/api/v1/rules/role/settings", &own).status,
        200,
        "set on this server"
    );
    let before = generation(&admin);
    let settings = admin.get("/api/v1/rules/role").json()["active"][0]["settings_id"].clone();
    let forged = format!(
        "INSERT INTO rule_settings (id, name, digest, settings, updated_ms, updated_by)
         VALUES (1000, 'role', 'forged', '{{\"roles\": {{\"agent\": [\"rules.*\"]}}}}', 1, 'configuration');
         {}",
        next_generation(&format!("\"settings\":{settings}"), "\"settings\":1000")
    );
    write(&server.data().join("watchpost.db"), &forged);
    let reason = pending_reason(&server);
    assert!(reason.contains("were not set on this server"), "{reason}");
    assert_eq!(server.client("agent").get("/api/v1/rules").status, 403);
    let server = Server::in_folder(server.stop(), &required);
    assert_eq!(server.client("agent").get("/api/v1/rules").status, 403);
    assert_eq!(generation(&server.client("admin")), before, "the one that was accepted");
}

#[test]
fn settings_of_the_configuration_do_not_replace_stricter_ones_through_the_database() {
    let keys = tempfile::tempdir().expect("a folder");
    let server = Server::with(&requiring(keys.path(), "")).ready();
    let admin = server.client("admin");
    let id = || admin.get("/api/v1/rules/role").json()["active"][0]["settings_id"].clone();
    let configured = id();
    let strict = json!({ "roles": { "agent": [] } });
    assert_eq!(admin.send("PUT", "/api/v1/rules/role/settings", &strict).status, 200);
    let entry = |settings: &serde_json::Value| format!("\"settings\":{settings}}}");
    let reset = next_generation(&entry(&id()), &entry(&configured));
    write(&server.data().join("watchpost.db"), &reset);
    let reason = pending_reason(&server);
    assert!(reason.contains("were not set on this server"), "{reason}");
    assert_eq!(server.client("agent").get("/api/v1/chunks").status, 403);
}

#[test]
fn a_change_of_the_role_rule_needs_its_settings_in_the_request_where_signatures_are_required() {
    let keys = tempfile::tempdir().expect("a folder");
    let server = Server::with(&requiring(keys.path(), "")).ready();
    let admin = server.client("admin");
    let set = |role: serde_json::Value| admin.send("PUT", "/api/v1/rules/role/settings", &role).status;
    let earlier = json!({ "roles": { "agent": [] } });
    assert_eq!(set(earlier.clone()), 200);
    assert_eq!(set(json!({ "roles": { "user": [] } })), 200);
    let before = generation(&admin);
    // A client of the database may have changed the earlier settings.
    let refused = admin.send("POST", "/api/v1/rules/role/rollback", &json!({}));
    assert!(
        refused.problem(409).contains("are not in this request"),
        "{}",
        refused.text()
    );
    assert_eq!(generation(&admin), before);
    assert_eq!(set(earlier), 200, "they are stored already, and in the request");
    assert_eq!(admin.ask("DELETE", "/api/v1/rules/role/settings").status, 200);
    assert_eq!(generation(&admin), before + 2);
}

#[test]
fn a_replica_that_requires_signatures_does_not_follow_one_that_requires_none() {
    let keys = tempfile::tempdir().expect("a folder");
    let database = postgres::shared().database();
    let of = |name: &str| format!("[server]\nhostname = \"{name}\"\n[database]\nurl = \"{database}\"\n");
    let lax = Server::with(&of("lax")).ready();
    let strict = Server::with(&requiring(keys.path(), &of("strict"))).ready();
    let admin = lax.client("admin");
    let before = generation(&admin);
    let settings = json!({ "roles": { "agent": ["rules.*"] } });
    assert_eq!(admin.send("PUT", "/api/v1/rules/role/settings", &settings).status, 200);
    assert_eq!(lax.client("agent").get("/api/v1/rules").status, 200);
    let reason = pending_reason(&strict);
    assert!(reason.contains("were not set on this server"), "{reason}");
    assert_eq!(strict.client("agent").get("/api/v1/rules").status, 403);
    assert_eq!(generation(&strict.client("admin")), before);
    // The settings of the configuration are trusted, wherever they were activated.
    assert_eq!(admin.ask("DELETE", "/api/v1/rules/role/settings").status, 200);
    eventually("the latest generation", || {
        (generation(&strict.client("admin")) == before + 2).then_some(())
    });
    assert_eq!(strict.plain_client().get("/health/ready").status, 200);
}

#[test]
fn a_signed_generation_is_followed_and_an_earlier_one_does_not_come_back() {
    let keys = tempfile::tempdir().expect("a folder");
    let database = postgres::shared().database();
    let of = |name: &str| format!("[server]\nhostname = \"{name}\"\n[database]\nurl = \"{database}\"\n");
    let [one, two] = ["one", "two"].map(|name| Server::with(&requiring(keys.path(), &of(name))).ready());
    let admin = one.client("admin");
    let set = |role: serde_json::Value| {
        let answer = admin.send("PUT", "/api/v1/rules/role/settings", &role);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["generation"].as_i64().expect("a number")
    };
    let sign = |key: &str| {
        let mut command = std::process::Command::new(watchpost_tests::server::program());
        command
            .args(["rules", "sign-generation", "--signing-key"])
            .arg(keys.path().join(key));
        let pki = |file: &str| one.data().join("pki").join(file);
        command.args(["--server", &format!("https://localhost:{}", one.secure.port())]);
        command.arg("--cacert").arg(pki("ca.crt"));
        command.arg("--cert").arg(pki("clients/admin.crt"));
        command.arg("--key").arg(pki("clients/admin.key"));
        command.output().expect("watchpost runs")
    };
    let follows = |number: i64| {
        eventually("the signed generation", || {
            (generation(&two.client("admin")) == number).then_some(())
        });
    };
    let generous = set(json!({ "roles": { "agent": ["rules.*"] } }));
    assert!(pending_reason(&two).contains("sign-generation"));
    keygen(keys.path(), "dev");
    let refused = sign("dev.key");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && said.contains("rules.trusted_keys"),
        "{said}"
    );
    let signed = sign("ops.key");
    let output = String::from_utf8_lossy(&signed.stdout).into_owned();
    assert!(signed.status.success(), "{}", String::from_utf8_lossy(&signed.stderr));
    assert!(
        output.contains(&format!("\"generation\": {generous}")) && output.contains("signed by ops"),
        "{output}"
    );
    follows(generous);
    assert_eq!(two.client("agent").get("/api/v1/rules").status, 200);
    let strict = set(json!({ "roles": { "agent": [] } }));
    assert!(sign("ops.key").status.success());
    follows(strict);
    // The earlier generation with its signature, under its own number or as the next one.
    let mut connection = PgConnection::establish(&database).expect("it answers");
    let delete = format!("DELETE FROM rule_generations WHERE generation = {strict}");
    connection.batch_execute(&delete).expect("deleted");
    pending_reason(&two);
    let copy = format!(
        "INSERT INTO rule_generations SELECT {strict} + 1, created_ms, entries FROM rule_generations WHERE generation = {generous};
         INSERT INTO rule_generation_signatures SELECT {strict} + 1, signer, signature FROM rule_generation_signatures
         WHERE generation = {generous}"
    );
    connection.batch_execute(&copy).expect("copied");
    eventually("the forged generation to be noticed", || {
        let pending = two.get("/api/v1/status").json()["pending_generation"]["generation"].clone();
        (pending == strict + 1).then_some(())
    });
    assert_eq!(two.client("agent").get("/api/v1/rules").status, 403);
}

#[test]
fn a_change_does_not_wait_for_the_compilation_of_another() {
    let database = postgres::shared().database();
    let of = |name: &str, more: &str| {
        Server::with(&format!(
            "[server]\nhostname = \"{name}\"\n[database]\nurl = \"{database}\"\n{more}"
        ))
        .ready()
    };
    let one = of("one", "");
    let two = of("two", "[rules.compiler]\ntimeout = \"20s\"\n");
    let there = two.client("admin");
    let (unused, unused_digest) = uploaded(&there, &numbered(2));
    // Rules are compiled one after the other, and this one uses the whole time limit.
    assert_eq!(upload(&there, &ponderous(400, 400)).status, 202);
    let admin = one.client("admin");
    let (name, digest) = uploaded(&admin, &numbered(1));
    assert_eq!(activate(&admin, &name, &digest, json!({})).status, 200);
    assert_eq!(pending_reason(&two), "one of its rules is being compiled");
    let path = format!("/api/v1/rules/{unused}/versions/{unused_digest}");
    assert_eq!(there.ask("DELETE", &path).status, 204);
    two.signal("HUP");
    two.logged("configuration reloaded");
    assert_eq!(
        pending_reason(&two),
        "one of its rules is being compiled",
        "both were faster"
    );
}

#[test]
fn a_forged_generation_is_noticed_even_if_it_has_the_number_of_the_active_one() {
    let database = postgres::shared().database();
    let server = Server::with(&format!(
        "[server]\nhostname = \"one\"\n[database]\nurl = \"{database}\"\n"
    ))
    .ready();
    let admin = server.client("admin");
    let (name, digest) = uploaded(&admin, &numbered(1));
    activate(&admin, &name, &digest, json!({}));
    let number = generation(&admin);
    // As after a failover to a server that had not received the last change.
    let mut connection = PgConnection::establish(&database).expect("it answers");
    let lost = format!(
        "UPDATE rule_generations SET created_ms = created_ms + 1,
         entries = (SELECT entries FROM rule_generations WHERE generation = {number} - 1)
         WHERE generation = {number}"
    );
    connection.batch_execute(&lost).expect("changed");
    eventually("the other generation", || {
        let overview = admin.get("/api/v1/rules").json();
        let lines = active(&overview);
        (overview["generation"] == number && !lines.iter().any(|line| line.starts_with(&name))).then_some(())
    });
}
