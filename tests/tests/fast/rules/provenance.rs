//! Signatures of rules. Keys are generated and rules are signed by the program itself, as an operator does.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value, json};
use watchpost_tests::guests::{HOSTILE, numbered};
use watchpost_tests::http::{Answer, Client};
use watchpost_tests::rules::{activate, active, form, generation, keygen, settled, sign, upload, uploaded};
use watchpost_tests::server::{Server, eventually, program};

/// A folder with the keys of ops and dev, and a configuration that trusts some of them.
struct Keys(tempfile::TempDir);

impl Keys {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["ops", "dev"] {
            keygen(folder.path(), name);
        }
        Self(folder)
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    fn sign(&self, name: &str, wasm: &[u8]) -> String {
        sign(&self.path(&format!("{name}.key")), wasm)
    }

    fn trusting(&self, names: &[&str], more: &str) -> String {
        let item = |name: &&str| {
            let path = self.path(&format!("{name}.pub"));
            format!("{{ name = \"{name}\", key = \"{}\" }}", path.display())
        };
        let items: Vec<_> = names.iter().map(item).collect();
        format!("[rules]\ntrusted_keys = [{}]\n{more}\n", items.join(", "))
    }
}

const REQUIRED: &str = "require_signature = true";

fn signed(client: &Client, wasm: &[u8], signature: &str) -> Answer {
    let answer = upload(&client.clone().with("x-watchpost-signature", signature.trim()), wasm);
    settled(client, answer)
}

fn reconfigure(server: &Server, settings: &str) {
    let reloads = |server: &Server| {
        let lines = server.log_lines().into_iter();
        lines.filter(|line| line.contains("configuration reloaded")).count()
    };
    let before = reloads(server);
    server.configure(settings);
    server.signal("HUP");
    eventually("a reload", || (reloads(server) > before).then_some(()));
}

#[test]
fn a_rule_with_a_trusted_signature_is_stored_with_its_signer() {
    let keys = Keys::new();
    let server = Server::with(&keys.trusting(&["ops", "dev"], REQUIRED));
    let admin = server.client("admin");
    let wasm = numbered(1);
    let taken = signed(&admin, &wasm, &keys.sign("dev", &wasm));
    assert_eq!(taken.status, 201, "{}", taken.text());
    assert_eq!(taken.json()["signer"], "dev");
    let checks = taken.json()["checks"].as_array().expect("a list").clone();
    assert_eq!(checks[0]["check"], "signed by a trusted key");
    let digest = taken.json()["digest"].as_str().expect("a text").to_owned();
    let active = activate(&admin, "numbered-001", &digest, json!({}));
    assert_eq!(active.status, 200, "{}", active.text());
    let fields = [
        ("signature", keys.sign("ops", HOSTILE).into_bytes()),
        ("component", HOSTILE.to_vec()),
    ];
    let taken = form(&admin, &fields);
    assert_eq!((taken.status, &taken.json()["signer"]), (201, &json!("ops")));
}

#[test]
fn an_unsigned_or_wrongly_signed_rule_is_refused_with_the_reason() {
    let keys = Keys::new();
    keygen(keys.0.path(), "untrusted");
    let server = Server::with(&keys.trusting(&["ops"], REQUIRED));
    let admin = server.client("admin");
    let wasm = numbered(1);
    let check = |answer: Answer, check: &str| {
        let problem = answer.problem(422);
        assert_eq!(answer.json()["check"], check, "{problem}");
        assert!(answer.json()["advice"].is_string());
    };
    check(upload(&admin, &wasm), "component is signed");
    let trusted = "signed by a trusted key";
    check(signed(&admin, &wasm, &keys.sign("untrusted", &wasm)), trusted);
    check(signed(&admin, &wasm, &keys.sign("ops", &numbered(2))), trusted);
    let fields = [
        ("component", wasm.clone()),
        ("signature", keys.sign("dev", &wasm).into_bytes()),
    ];
    check(form(&admin, &fields), trusted);
    let broken = signed(&admin, &wasm, "bm8=");
    assert!(broken.problem(400).contains("x-watchpost-signature"));
    let broken = form(&admin, &[("component", wasm.clone()), ("signature", b"no".to_vec())]);
    assert!(broken.problem(400).contains("the field signature"));
    let rules = admin.get("/api/v1/rules").json()["rules"].clone();
    assert_eq!(rules.as_array().map(Vec::len), Some(2), "nothing was kept: {rules}");
}

#[test]
fn a_signature_is_verified_even_if_none_is_required() {
    let keys = Keys::new();
    let server = Server::with(&keys.trusting(&["ops"], ""));
    let admin = server.client("admin");
    let wasm = numbered(1);
    signed(&admin, &wasm, &keys.sign("dev", &wasm)).problem(422);
    assert_eq!(settled(&admin, upload(&admin, &wasm)).json()["signer"], Value::Null);
    // The same bytes again, now with a signature.
    let again = signed(&admin, &wasm, &keys.sign("ops", &wasm));
    assert_eq!((again.status, &again.json()["signer"]), (200, &json!("ops")));
    assert_eq!(upload(&admin, &wasm).json()["signer"], "ops", "the signer is kept");
    let log = admin.get("/api/v1/rules/numbered-001/log").json()["log"].clone();
    let deeds: Vec<_> = log
        .as_array()
        .expect("a list")
        .iter()
        .map(|line| &line["action"])
        .collect();
    assert_eq!(deeds, ["signed", "uploaded"], "and it is recorded once");
    assert_eq!(log[0]["note"], "by ops");
}

#[test]
fn an_unsigned_rule_cannot_be_activated_after_signatures_become_required() {
    let keys = Keys::new();
    let server = Server::with(&keys.trusting(&["ops"], ""));
    let admin = server.client("admin");
    let (one, two) = (numbered(1), numbered(2));
    let (name, digest) = uploaded(&admin, &one);
    let (other, other_digest) = uploaded(&admin, &two);
    activate(&admin, &name, &digest, json!({}));
    reconfigure(&server, &keys.trusting(&["ops"], REQUIRED));
    let line = server.logged("active rule has no trusted signature");
    assert!(line.contains(&name), "{line}");
    for mode in ["active", "shadow"] {
        let refused = activate(&admin, &other, &other_digest, json!({ "mode": mode }));
        let problem = refused.problem(409);
        assert!(problem.contains("has no signature"), "{problem}");
    }
    let settings = json!({});
    let path = format!("/api/v1/rules/{name}/settings");
    assert_eq!(
        admin.send("PUT", &path, &settings).status,
        200,
        "the active version stays"
    );
    admin.ask("DELETE", &format!("/api/v1/rules/{name}/active"));
    let back = admin.send("POST", &format!("/api/v1/rules/{name}/rollback"), &json!({}));
    assert!(
        back.problem(409).contains("has no signature"),
        "it does not come back by this way either"
    );
    let again = signed(&admin, &two, &keys.sign("ops", &two));
    assert_eq!(again.status, 200, "{}", again.text());
    assert_eq!(activate(&admin, &other, &other_digest, json!({})).status, 200);
}

#[test]
fn a_revoked_key_is_not_trusted_and_active_rules_stay_active_over_a_restart() {
    let keys = Keys::new();
    let server = Server::with(&keys.trusting(&["ops", "dev"], REQUIRED));
    let admin = server.client("admin");
    let rules = [numbered(1), numbered(2)].map(|wasm| {
        let body = signed(&admin, &wasm, &keys.sign("dev", &wasm)).json();
        let text = |key: &str| body[key].as_str().expect("a text").to_owned();
        (text("name"), text("digest"))
    });
    let [(kept, kept_digest), (late, late_digest)] = &rules;
    assert_eq!(activate(&admin, kept, kept_digest, json!({})).status, 200);
    let without = keys.trusting(&["ops"], REQUIRED);
    reconfigure(&server, &without);
    let problem = activate(&admin, late, late_digest, json!({})).problem(409);
    assert!(
        problem.contains("signed by dev, whose key is no longer in"),
        "{problem}"
    );
    let wasm = numbered(3);
    signed(&admin, &wasm, &keys.sign("dev", &wasm)).problem(422);
    let now = generation(&admin);
    let server = Server::in_folder(server.stop(), &without);
    let admin = server.client("admin");
    assert_eq!(generation(&admin), now);
    let lines = active(&admin.get("/api/v1/rules").json());
    assert!(lines.iter().any(|line| line.starts_with(kept)), "{lines:?}");
    server.logged("active rule has no trusted signature");
    // A new key with the old name is another key.
    std::fs::remove_file(keys.path("dev.key")).expect("it was there");
    std::fs::remove_file(keys.path("dev.pub")).expect("it was there");
    keygen(keys.0.path(), "dev");
    reconfigure(&server, &keys.trusting(&["ops", "dev"], REQUIRED));
    activate(&admin, late, late_digest, json!({})).problem(409);
    let wasm = numbered(2);
    assert_eq!(signed(&admin, &wasm, &keys.sign("dev", &wasm)).status, 200);
    assert_eq!(activate(&admin, late, late_digest, json!({})).status, 200);
}

#[test]
fn a_rule_that_is_not_on_the_allow_list_is_neither_uploaded_nor_activated() {
    let server = Server::start();
    let admin = server.client("admin");
    let (name, digest) = uploaded(&admin, &numbered(1));
    let (other, other_digest) = uploaded(&admin, &numbered(2));
    reconfigure(&server, &format!("[rules]\nallowed_digests = [\"{digest}\"]\n"));
    let refused = upload(&admin, &numbered(3));
    refused.problem(422);
    assert_eq!(refused.json()["check"], "digest is allowed");
    let problem = activate(&admin, &other, &other_digest, json!({})).problem(409);
    assert!(problem.contains("rules.allowed_digests"), "{problem}");
    assert_eq!(upload(&admin, &numbered(1)).status, 200);
    assert_eq!(activate(&admin, &name, &digest, json!({})).status, 200);
    let own = admin.get("/api/v1/rules/role").json()["versions"][0]["digest"].clone();
    let own = own.as_str().expect("a digest");
    assert_eq!(
        activate(&admin, "role", own, json!({})).status,
        200,
        "built-in rules need no signature"
    );
}

#[test]
fn a_failing_rule_is_not_replaced_by_an_unsigned_version() {
    let edge = "[server]\nhostname = \"edge-9\"\n";
    let keys = Keys::new();
    let limit = "max_consecutive_faults = 2\n";
    let server = Server::with(&format!("{edge}{}", keys.trusting(&["ops"], limit))).ready();
    let admin = server.client("admin");
    let older = watchpost_tests::rules::other_version(HOSTILE);
    let (name, unsigned) = uploaded(&admin, &older);
    activate(&admin, &name, &unsigned, json!({}));
    let body = signed(&admin, HOSTILE, &keys.sign("ops", HOSTILE)).json();
    let required = format!("{limit}{REQUIRED}");
    reconfigure(&server, &format!("{edge}{}", keys.trusting(&["ops"], &required)));
    let soon = watchpost::clock::now_ms() + 2000;
    let bad = json!({ "settings": { "do": "panic", "on": "edge-9", "from_ms": soon } });
    let digest = body["digest"].as_str().expect("a text");
    assert_eq!(activate(&admin, &name, digest, bad).status, 200);
    eventually("the quarantine", || {
        let log = admin.get("/api/v1/rules/hostile/log").json();
        (log["log"][0]["action"] == "quarantined").then_some(())
    });
    let lines = active(&admin.get("/api/v1/rules").json());
    assert!(!lines.iter().any(|line| line.starts_with("hostile")), "{lines:?}");
}

#[test]
fn a_generated_key_is_private_and_is_never_overwritten() {
    let keys = Keys::new();
    let mode = |file: &str| {
        let metadata = std::fs::metadata(keys.path(file)).expect("it is there");
        metadata.permissions().mode() & 0o777
    };
    assert_eq!(mode("ops.key"), 0o600);
    let before = std::fs::read(keys.path("ops.key")).expect("a key");
    let again = run(keys.0.path(), &["keygen", "--out", "ops"]);
    assert_eq!(again.status.code(), Some(74));
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(said.contains("ops.pub exists already"), "{said}");
    std::fs::remove_file(keys.path("ops.pub")).expect("it was there");
    assert_eq!(run(keys.0.path(), &["keygen", "--out", "ops"]).status.code(), Some(74));
    assert!(!keys.path("ops.pub").exists(), "no half of another key is left behind");
    assert_eq!(std::fs::read(keys.path("ops.key")).expect("a key"), before);
}

#[test]
fn signing_with_an_unsuitable_key_is_refused() {
    let keys = Keys::new();
    std::fs::write(keys.path("rule.wasm"), numbered(1)).expect("written");
    let check = |key: &str, expected: &str| {
        let refused = run(keys.0.path(), &["sign", "rule.wasm", "--key", key]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains(expected), "{said}");
        assert!(!keys.path("rule.wasm.sig").exists());
    };
    check("ops.pub", "this is a public key");
    check("rule.wasm", "not a PEM key");
    check("nowhere.key", "cannot read");
    let done = run(
        keys.0.path(),
        &["sign", "rule.wasm", "--key", "ops.key", "-o", "elsewhere"],
    );
    assert!(done.status.success() && keys.path("elsewhere").exists());
}

#[test]
fn signatures_of_openssl_are_accepted() {
    let keys = Keys::new();
    let wasm = numbered(1);
    std::fs::write(keys.path("rule.wasm"), &wasm).expect("written");
    let done = std::process::Command::new("openssl")
        .args([
            "pkeyutl",
            "-sign",
            "-rawin",
            "-inkey",
            "ops.key",
            "-in",
            "rule.wasm",
            "-out",
            "raw",
        ])
        .current_dir(keys.0.path())
        .status();
    assert!(done.expect("openssl runs").success());
    let raw = std::fs::read(keys.path("raw")).expect("a signature");
    let server = Server::with(&keys.trusting(&["ops"], REQUIRED));
    let taken = form(&server.client("admin"), &[("component", wasm), ("signature", raw)]);
    assert_eq!((taken.status, &taken.json()["signer"]), (201, &json!("ops")));
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = std::process::Command::new(program());
    command.arg("rules").args(arguments).current_dir(folder);
    command.output().expect("watchpost runs")
}
