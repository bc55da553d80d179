//! Rules from the rules folder.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use watchpost_tests::guests::{ALLOW_ALL, HOSTILE, THRESHOLD, numbered};
use watchpost_tests::http::Client;
use watchpost_tests::postgres;
use watchpost_tests::rules::{activate, generation, keygen, other_version, sign, uploaded};
use watchpost_tests::server::{Server, eventually};

/// A server with a rules folder, and the folder.
fn watching(more: &str) -> (Server, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let rules = folder.path().join("rules");
    fs::create_dir(&rules).expect("made");
    (Server::in_folder(folder, &settings(more)), rules)
}

fn settings(more: &str) -> String {
    format!("[rules]\ndir = \"{{folder}}/rules\"\n{more}\n")
}

/// Writes a file atomically, by renaming.
fn put(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) {
    let staging = folder.join(format!(".{name}.new"));
    fs::write(&staging, bytes).expect("written");
    fs::rename(staging, folder.join(name)).expect("renamed");
}

fn line(admin: &Client, file: &str) -> Option<Value> {
    let overview = admin.get("/api/v1/rules").json();
    let lines = overview["folder"].as_array().cloned().unwrap_or_default();
    lines.into_iter().find(|line| line["file"] == file)
}

/// Waits until a file has a state, and returns the reason.
fn is(admin: &Client, file: &str, state: &str) -> String {
    let found = eventually(&format!("{file} is {state}"), || {
        line(admin, file).filter(|line| line["state"] == state)
    });
    found["reason"].as_str().unwrap_or_default().to_owned()
}

/// Waits until a file is rejected with a reason.
fn is_rejected(admin: &Client, file: &str, reason: &str) {
    eventually(&format!("{file} is refused: {reason}"), || {
        let line = line(admin, file).filter(|line| line["state"] == "rejected")?;
        line["reason"].as_str()?.contains(reason).then_some(())
    });
}

/// The settings of a rule, if it is active.
fn active(admin: &Client, rule: &str) -> Option<Value> {
    let response = admin.get(&format!("/api/v1/rules/{rule}"));
    let lines = (response.status == 200).then(|| response.json()["active"].clone())?;
    let active = lines.as_array()?.iter().find(|line| line["mode"] == "active").cloned();
    active.map(|line| line["settings"].clone())
}

/// Waits until a rule is active with these settings, or not active.
fn comes_to(admin: &Client, rule: &str, wanted: Option<Value>) {
    eventually(&format!("{rule} under {wanted:?}"), || {
        (active(admin, rule) == wanted).then_some(())
    });
}

fn refused(admin: &Client) -> String {
    let page = admin.get("/metrics").text();
    let line = page
        .lines()
        .find(|line| line.starts_with("watchpost_rules_folder_rejected_files"));
    line.and_then(|line| line.split(' ').nth(1))
        .expect("a gauge")
        .to_owned()
}

/// The action, the actor and the note of the last audit entry of a rule.
fn last_entry(admin: &Client, rule: &str) -> [String; 3] {
    let log = admin.get(&format!("/api/v1/rules/{rule}/log")).json();
    ["action", "actor", "note"].map(|key| log["log"][0][key].as_str().expect("a text").to_owned())
}

#[test]
fn a_file_in_the_folder_is_activated_and_so_is_its_replacement() {
    let (server, folder) = watching("");
    let admin = server.client("admin");
    put(&folder, "h.json", r#"{"count": 1}"#);
    put(&folder, "h.wasm", HOSTILE);
    is(&admin, "h.wasm", "active");
    assert_eq!(active(&admin, "hostile"), Some(json!({ "count": 1 })));
    assert_eq!(
        last_entry(&admin, "hostile"),
        ["activated", "folder", "h.wasm"].map(str::to_owned)
    );
    assert_eq!(line(&admin, "h.wasm").expect("it is there")["rule"], "hostile");
    let before = generation(&admin);
    put(&folder, "h.wasm", other_version(HOSTILE));
    eventually("the other version", || (generation(&admin) > before).then_some(()));
    assert_eq!(active(&admin, "hostile"), Some(json!({ "count": 1 })));
    let versions = admin.get("/api/v1/rules/hostile/versions").json()["versions"].clone();
    assert_eq!(versions.as_array().map(Vec::len), Some(2));
    server.logged("rule from the folder is active");
}

#[test]
fn a_settings_file_next_to_a_rule_has_its_settings() {
    let (server, folder) = watching("");
    let admin = server.client("admin");
    put(&folder, "h.wasm", HOSTILE);
    comes_to(&admin, "hostile", Some(json!({})));
    put(&folder, "h.toml", "count = 2\n");
    comes_to(&admin, "hostile", Some(json!({ "count": 2 })));
    put(&folder, "h.json", r#"{"count": 3}"#);
    is_rejected(&admin, "h.wasm", "delete one of them");
    assert_eq!(
        active(&admin, "hostile"),
        Some(json!({ "count": 2 })),
        "the last good stays"
    );
    fs::remove_file(folder.join("h.toml")).expect("it was there");
    comes_to(&admin, "hostile", Some(json!({ "count": 3 })));
    put(&folder, "h.json", r#"{"count": "many"}"#);
    is_rejected(&admin, "h.wasm", "/count: write an integer that is not negative");
    assert_eq!(active(&admin, "hostile"), Some(json!({ "count": 3 })));
    fs::remove_file(folder.join("h.json")).expect("it was there");
    comes_to(&admin, "hostile", Some(json!({})));
}

#[test]
fn swapping_a_symlink_as_kubernetes_does_replaces_all_files_together() {
    let (server, folder) = watching("");
    let admin = server.client("admin");
    let volume = |name: &str, wasm: &[u8], count: u32| {
        fs::create_dir(folder.join(name)).expect("made");
        fs::write(folder.join(name).join("h.wasm"), wasm).expect("written");
        fs::write(folder.join(name).join("h.json"), format!("{{\"count\": {count}}}")).expect("written");
        symlink(name, folder.join("..data_tmp")).expect("linked");
        fs::rename(folder.join("..data_tmp"), folder.join("..data")).expect("swapped");
    };
    volume("..2026_11_21_one", HOSTILE, 1);
    for file in ["h.wasm", "h.json"] {
        symlink(format!("..data/{file}"), folder.join(file)).expect("linked");
    }
    comes_to(&admin, "hostile", Some(json!({ "count": 1 })));
    let before = generation(&admin);
    volume("..2026_11_21_two", &other_version(HOSTILE), 2);
    fs::remove_dir_all(folder.join("..2026_11_21_one")).expect("it was there");
    comes_to(&admin, "hostile", Some(json!({ "count": 2 })));
    assert_eq!(generation(&admin), before + 1, "component and settings came together");
}

#[test]
fn a_growing_file_is_read_only_when_it_is_complete() {
    let (server, folder) = watching("");
    let admin = server.client("admin");
    let mut file = fs::File::create(folder.join("n.wasm")).expect("made");
    let wasm = numbered(1);
    let pieces: Vec<&[u8]> = wasm.chunks(wasm.len() / 150).collect();
    let mut pieces = pieces.into_iter();
    eventually("all of it is written, over some seconds", || match pieces.next() {
        Some(piece) => {
            file.write_all(piece).expect("written");
            None
        }
        None => Some(()),
    });
    is(&admin, "n.wasm", "active");
    let lines = server.log_lines();
    assert!(!lines.iter().any(|line| line.contains("is rejected")), "{lines:?}");
}

#[test]
fn an_invalid_file_is_rejected_and_the_last_good_version_stays_active() {
    let (server, folder) = watching("");
    let admin = server.client("admin");
    put(&folder, "n.wasm", numbered(1));
    comes_to(&admin, "numbered-001", Some(json!({})));
    assert_eq!(refused(&admin), "0");
    let whole = other_version(&numbered(1));
    let half = whole.len() / 2;
    fs::write(folder.join("n.wasm"), &whole[..half]).expect("written");
    is_rejected(&admin, "n.wasm", "truncated");
    assert_eq!(
        (active(&admin, "numbered-001"), refused(&admin)),
        (Some(json!({})), "1".to_owned())
    );
    let before = generation(&admin);
    let mut file = fs::File::options()
        .append(true)
        .open(folder.join("n.wasm"))
        .expect("it is there");
    file.write_all(&whole[half..]).expect("written");
    is(&admin, "n.wasm", "active");
    assert_eq!((generation(&admin), refused(&admin)), (before + 1, "0".to_owned()));
    let complaints = server
        .log_lines()
        .into_iter()
        .filter(|line| line.contains("is rejected"));
    assert_eq!(complaints.count(), 1, "it is logged once");
}

#[test]
fn a_rule_is_deactivated_with_its_file_and_activated_again_with_it() {
    let (server, folder) = watching("");
    let admin = server.client("admin");
    put(&folder, "n.wasm", numbered(1));
    comes_to(&admin, "numbered-001", Some(json!({})));
    fs::remove_file(folder.join("n.wasm")).expect("it was there");
    comes_to(&admin, "numbered-001", None);
    let gone = ["deactivated", "folder", "removed from n.wasm"];
    assert_eq!(last_entry(&admin, "numbered-001"), gone.map(str::to_owned));
    assert_eq!(admin.get("/api/v1/rules").json()["folder"], Value::Null);
    put(&folder, "n.wasm", numbered(1));
    comes_to(&admin, "numbered-001", Some(json!({})));
    put(&folder, "n.wasm", numbered(2));
    comes_to(&admin, "numbered-002", Some(json!({})));
    comes_to(&admin, "numbered-001", None);
}

#[test]
fn a_change_through_the_api_is_kept_until_the_file_changes() {
    let (server, folder) = watching("");
    let admin = server.client("admin");
    put(&folder, "h.wasm", HOSTILE);
    put(&folder, "n.wasm", numbered(1));
    is(&admin, "h.wasm", "active");
    is(&admin, "n.wasm", "active");
    let by_hand = json!({ "count": 7 });
    assert_eq!(
        admin.send("PUT", "/api/v1/rules/hostile/settings", &by_hand).status,
        200
    );
    assert_eq!(admin.ask("DELETE", "/api/v1/rules/numbered-001/active").status, 200);
    is(&admin, "h.wasm", "overridden");
    is(&admin, "n.wasm", "overridden");
    // A restart changes nothing.
    let server = Server::in_folder(server.stop(), &settings(""));
    let folder = server.folder().join("rules");
    let admin = server.client("admin");
    is(&admin, "h.wasm", "overridden");
    is(&admin, "n.wasm", "overridden");
    assert_eq!(
        (active(&admin, "hostile"), active(&admin, "numbered-001")),
        (Some(by_hand), None)
    );
    put(&folder, "n.wasm", other_version(&numbered(1)));
    is(&admin, "n.wasm", "active");
    // A missing file does not affect a rule that was changed by hand.
    fs::remove_file(folder.join("h.wasm")).expect("it was there");
    eventually("nothing is known of it", || {
        line(&admin, "h.wasm").is_none().then_some(())
    });
    put(&folder, "m.wasm", numbered(2));
    is(&admin, "m.wasm", "active");
    assert_eq!(active(&admin, "hostile"), Some(json!({ "count": 7 })));
    // A file that returns is a change, even with its earlier content.
    put(&folder, "h.wasm", HOSTILE);
    comes_to(&admin, "hostile", Some(json!({})));
}

#[test]
fn a_file_that_was_deleted_while_the_server_was_stopped_deactivates_its_rule() {
    let (server, folder) = watching("");
    let admin = server.client("admin");
    for (file, number) in [("a.wasm", 1), ("b.wasm", 2), ("c.wasm", 3)] {
        put(&folder, file, numbered(number));
        is(&admin, file, "active");
    }
    let kept = server.stop();
    fs::remove_file(folder.join("a.wasm")).expect("it was there");
    fs::write(folder.join("b.wasm"), "broken").expect("written");
    let server = Server::in_folder(kept, &settings(""));
    let admin = server.client("admin");
    comes_to(&admin, "numbered-001", None);
    is_rejected(&admin, "b.wasm", "not WebAssembly");
    is(&admin, "c.wasm", "active");
    assert_eq!(active(&admin, "numbered-002"), Some(json!({})), "the last good stays");
}

#[test]
fn without_the_file_of_a_role_rule_the_built_in_one_decides_again() {
    let (server, folder) = watching("");
    let admin = server.client("admin");
    put(&folder, "yes.wasm", ALLOW_ALL);
    eventually("everybody may do everything", || {
        (server.anonymous_client().get("/api/v1/status").status == 200).then_some(())
    });
    put(&folder, "z.wasm", watchpost_tests::guests::LOCKOUT_RULE);
    is_rejected(&admin, "z.wasm", "yes.wasm contains a role rule already");
    fs::remove_file(folder.join("z.wasm")).expect("it was there");
    fs::remove_file(folder.join("yes.wasm")).expect("it was there");
    eventually("anonymous clients to be denied", || {
        (server.anonymous_client().get("/api/v1/status").status == 401).then_some(())
    });
    assert_eq!(admin.get("/api/v1/status").status, 200);
}

#[test]
fn without_the_file_of_a_version_of_a_built_in_rule_the_built_in_version_is_active_again() {
    let levels = "threshold = { thresholds = [{ metric = \"disk\", warning = 11 }] }";
    let (server, folder) = watching(levels);
    let admin = server.client("admin");
    let configured = json!({ "thresholds": [{ "metric": "disk", "warning": 11 }] });
    put(&folder, "threshold.wasm", other_version(THRESHOLD));
    is(&admin, "threshold.wasm", "active");
    let built_in = || admin.get("/api/v1/rules/threshold").json()["active"][0]["built_in"].clone();
    assert_eq!(built_in(), json!(false));
    assert_eq!(
        active(&admin, "threshold"),
        Some(configured.clone()),
        "as it is configured"
    );
    let own = admin.get("/api/v1/rules/threshold").json()["versions"].clone();
    let own = own
        .as_array()
        .expect("a list")
        .iter()
        .find(|version| version["built_in"] == true);
    let digest = own.expect("there is a built-in one")["digest"]
        .as_str()
        .expect("a text")
        .to_owned();
    let beside = json!({ "mode": "shadow", "settings": {} });
    assert_eq!(activate(&admin, "threshold", &digest, beside).status, 200);
    fs::remove_file(folder.join("threshold.wasm")).expect("it was there");
    eventually("our own", || (built_in() == json!(true)).then_some(()));
    let lines = admin.get("/api/v1/rules/threshold").json()["active"].clone();
    assert_eq!(
        lines.as_array().map(Vec::len),
        Some(1),
        "it is not compared with itself: {lines}"
    );
    assert_eq!(active(&admin, "threshold"), Some(configured));
}

#[test]
fn of_two_files_with_one_rule_the_first_by_name_is_used() {
    let (server, folder) = watching("");
    let admin = server.client("admin");
    put(&folder, "b.wasm", numbered(1));
    is(&admin, "b.wasm", "active");
    put(&folder, "c.wasm", other_version(&numbered(1)));
    is_rejected(&admin, "c.wasm", "b.wasm contains the rule numbered-001 already");
    put(&folder, "a.wasm", other_version(&numbered(1)));
    is(&admin, "a.wasm", "active");
    is_rejected(&admin, "b.wasm", "a.wasm contains the rule numbered-001 already");
    for file in ["a.wasm", "b.wasm"] {
        fs::remove_file(folder.join(file)).expect("it was there");
    }
    is(&admin, "c.wasm", "active");
    assert_eq!(active(&admin, "numbered-001"), Some(json!({})));
}

#[test]
fn an_unreadable_folder_deactivates_no_rule() {
    let (server, folder) = watching("");
    let admin = server.client("admin");
    put(&folder, "n.wasm", numbered(1));
    is(&admin, "n.wasm", "active");
    let moved = folder.with_file_name("moved");
    fs::rename(&folder, &moved).expect("renamed");
    let name = folder.display().to_string();
    is_rejected(&admin, &name, "the folder cannot be read");
    assert_eq!(refused(&admin), "1");
    let kept = server.stop();
    let server = Server::in_folder(kept, &settings(""));
    let admin = server.client("admin");
    is_rejected(&admin, &name, "the folder cannot be read");
    assert_eq!(active(&admin, "numbered-001"), Some(json!({})));
    fs::rename(&moved, &folder).expect("renamed");
    is(&admin, "n.wasm", "active");
    assert_eq!(refused(&admin), "0");
}

#[test]
fn required_signatures_are_required_in_the_folder_too() {
    let keys = tempfile::tempdir().expect("a folder");
    for name in ["ops", "dev"] {
        keygen(keys.path(), name);
    }
    let trusting = |names: &[&str]| {
        let item = |name: &&str| {
            let path = keys.path().join(format!("{name}.pub"));
            format!("{{ name = \"{name}\", key = \"{}\" }}", path.display())
        };
        let items: Vec<_> = names.iter().map(item).collect();
        format!("trusted_keys = [{}]\nrequire_signature = true", items.join(", "))
    };
    let (server, folder) = watching(&trusting(&["ops"]));
    let admin = server.client("admin");
    let wasm = numbered(1);
    put(&folder, "n.wasm", &wasm);
    is_rejected(&admin, "n.wasm", "has no signature");
    put(&folder, "n.wasm.sig", sign(&keys.path().join("dev.key"), &wasm));
    is_rejected(&admin, "n.wasm", "not by a key in rules.trusted_keys");
    server.configure(&settings(&trusting(&["ops", "dev"])));
    server.signal("HUP");
    is(&admin, "n.wasm", "active");
    let versions = admin.get("/api/v1/rules/numbered-001/versions").json();
    assert_eq!(versions["versions"][0]["signer"], "dev");
    server.configure(&settings(&trusting(&["ops"])));
    server.signal("HUP");
    server.logged("active rule has no trusted signature");
    is(&admin, "n.wasm", "active");
}

#[test]
fn servers_that_share_a_database_and_a_folder_apply_each_change_once() {
    let database = postgres::shared().database();
    let shared = tempfile::tempdir().expect("a folder");
    let replicas = ["one", "two"].map(|name| {
        let (server, database) = (format!("hostname = \"{name}\""), format!("url = \"{database}\""));
        let rules = format!("dir = \"{}\"", shared.path().display());
        Server::with(&format!(
            "[server]\n{server}\n[database]\n{database}\n[rules]\n{rules}\n"
        ))
    });
    put(shared.path(), "n.wasm", numbered(1));
    for replica in &replicas {
        is(&replica.client("admin"), "n.wasm", "active");
    }
    let admin = replicas[0].client("admin");
    let log = admin.get("/api/v1/rules/numbered-001/log").json()["log"].clone();
    let deeds: Vec<_> = log
        .as_array()
        .expect("a list")
        .iter()
        .map(|line| &line["action"])
        .collect();
    assert_eq!(deeds, ["activated", "uploaded"]);
    fs::remove_file(shared.path().join("n.wasm")).expect("it was there");
    for replica in &replicas {
        comes_to(&replica.client("admin"), "numbered-001", None);
    }
    assert_eq!(last_entry(&admin, "numbered-001")[0], "deactivated");
}

#[test]
fn a_rule_that_was_activated_by_hand_is_not_deactivated_with_its_file() {
    let (server, folder) = watching("");
    let admin = server.client("admin");
    let (name, digest) = uploaded(&admin, &numbered(1));
    activate(&admin, &name, &digest, json!({ "settings": {} }));
    let before = generation(&admin);
    put(&folder, "n.wasm", numbered(1));
    is(&admin, "n.wasm", "active");
    assert_eq!(generation(&admin), before, "nothing is otherwise");
    fs::remove_file(folder.join("n.wasm")).expect("it was there");
    put(&folder, "m.wasm", numbered(2));
    is(&admin, "m.wasm", "active");
    assert_eq!(
        active(&admin, &name),
        Some(json!({})),
        "it was activated without the file"
    );
}
