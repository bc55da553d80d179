//! `watchpost rules` against a running server: the life of a rule by commands, and their exit codes and errors. `rules`
//! tests the server.

use std::process::{Command, Stdio};

use serde_json::{Value, json};
use watchpost_tests::author::{CommandOutput, run};
use watchpost_tests::cli_session::CliSession;
use watchpost_tests::guests::{HOSTILE, LOCKOUT_RULE, numbered};
use watchpost_tests::rules::{generation, keygen, other_version, sign, two_alike};
use watchpost_tests::server::{Server, eventually};
use watchpost_tests::slow_rule::ponderous;

#[track_caller]
fn has(text: &str, part: &str) {
    assert!(text.contains(part), "{part}:\n{text}");
}

#[test]
fn the_commands_cover_the_whole_life_of_a_rule() {
    let session = CliSession::with_rounds(2);
    session.author.keep("rule.wasm", HOSTILE);
    let pushed = session.rules(&["push", "rule.wasm", "--note", "the first"]).with(0);
    has(&pushed.out, "component is a valid rule and compiles\n");
    has(&pushed.out, "evaluates sample rounds\n");
    let next = pushed
        .out
        .split("watchpost rules activate ")
        .nth(1)
        .expect("what to do next")
        .trim();
    let digest = next.strip_prefix("hostile ").expect("the rule's name");
    assert_eq!(digest.len(), 12, "{}", pushed.out);
    assert_eq!(generation(&session.server.client("admin")), 1, "no rule is active yet");
    let version = |said: &CommandOutput| said.out.split(' ').nth(1).expect("a version").to_owned();

    let shadow = session
        .rules(&["shadow", "hostile", &digest[..8], "--note", "for a week"])
        .with(0);
    let number = version(&shadow);
    assert_eq!(
        shadow.out,
        format!("hostile {number} ({digest}) runs in shadow, generation 2\n")
    );
    let listed = session.rules(&["list"]).with(0).out;
    let line = listed
        .lines()
        .find(|line| line.starts_with("hostile"))
        .expect("its line");
    assert!(
        line.ends_with(&format!("-                   {number} {digest}")),
        "{listed}"
    );
    has(&listed, "\ngeneration 2\n");

    // It has no findings, and no other rule has its name.
    let same = session.rules(&["trial", "hostile", digest, "--from", "-1h"]).with(0);
    has(&same.out, ": 0 differ\n");
    has(&same.out, "candidate");

    let settings = r#"{"do": "well", "count": 3}"#;
    let activate = ["activate", "hostile", digest, "--settings", settings, "--if-generation"];
    let late = session.rules(&[&activate[..], &["1"]].concat()).with(1);
    has(&late.error, "generation 2 is active, not the expected one");
    let active = session.rules(&[&activate[..], &["2"]].concat()).with(0);
    has(&active.out, &format!("hostile {number} ({digest}) is active"));
    has(&active.out, ", generation 3\n");
    let shown = session.rules(&["show", "hostile"]).with(0).out;
    let count = shown.lines().find(|line| line.starts_with("count ")).expect("a line");
    assert!(count.contains("API, by CN=admin") && count.ends_with(" 3"), "{shown}");

    session.author.keep("settings.json", r#"{"do": "well", "count": 4}"#);
    has(
        &session.rules(&["settings", "hostile", "settings.json"]).with(0).out,
        "generation 4\n",
    );
    let printed = session.rules(&["settings", "hostile"]).with(0).json();
    assert_eq!(printed, json!({ "do": "well", "count": 4 }));
    has(
        &session.rules(&["settings", "hostile", settings]).with(0).out,
        "generation 5\n",
    );
    let same = session.rules(&["settings", "hostile", settings]).with(0);
    has(&same.out, "nothing changed: ");
    has(
        &session
            .rules(&["rollback", "hostile", "--note", "too much"])
            .with(0)
            .out,
        "generation 6\n",
    );
    assert_eq!(session.rules(&["settings", "hostile"]).with(0).json()["count"], 4);

    let log = session.rules(&["log", "hostile", "--limit", "2"]).with(0);
    let lines: Vec<_> = log.out.lines().collect();
    has(lines[0], "TIME");
    has(lines[1], "rolled back");
    has(lines[1], "too much");
    has(lines[2], "configured");
    let older = log.out.split("--before ").nth(1).expect("there is more").trim();
    has(
        &session.rules(&["log", "hostile", "--before", older]).with(0).out,
        "for a week",
    );

    let other = r#"{"do": "well", "count": 9}"#;
    let beside = session
        .rules(&["shadow", "hostile", digest, "--settings", other])
        .with(0);
    has(&beside.out, "generation 7\n");
    let out = session.rules(&["deactivate", "hostile", "--note", "enough"]).with(0);
    // The shadow still runs, although the active version was deactivated.
    has(
        &out.out,
        &format!("hostile {number} ({digest}) runs in shadow, generation 8\n"),
    );
    has(
        &session.rules(&["log", "hostile", "--limit", "1"]).with(0).out,
        "enough",
    );
    let out = session.rules(&["deactivate", "hostile", "--shadow"]).with(0);
    assert_eq!(out.out, "hostile is not in use, generation 9\n");
    let gone = session.rules(&["settings", "hostile"]).with(1);
    has(&gone.error, "hostile is not in use");
}

#[test]
fn push_can_activate_a_rule_with_its_settings() {
    let session = CliSession::new("admin");
    session.author.keep("rule.wasm", HOSTILE);
    let settings = r#"{"do": "well", "count": 7}"#;
    let push = ["push", "rule.wasm", "--settings", settings, "--note", "by a form"];
    let output = session.rules(&[&push[..], &["--activate"]].concat()).with(0);
    has(&output.out, "evaluates sample rounds\n");
    has(&output.out, ") is active, generation 2\n");
    assert_eq!(session.rules(&["settings", "hostile"]).with(0).json()["count"], 7);
    has(&session.rules(&["log", "hostile"]).with(0).out, "by a form");
    let other = other_version(HOSTILE);
    session.author.keep("rule.wasm", &other);
    let output = session
        .rules(&["push", "rule.wasm", "--shadow", "--json"])
        .with(0)
        .json();
    let modes: Vec<_> = output["active"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|line| &line["mode"])
        .collect();
    assert!(modes.contains(&&json!("shadow")), "{output}");
}

#[test]
fn a_refusal_is_printed_with_its_check_and_advice() {
    let session = CliSession::new("admin");
    session.author.keep("rule.wasm", "not a rule");
    let refused = session.rules(&["push", "rule.wasm"]).with(1);
    has(&refused.error, "422 Unprocessable Entity: it is not WebAssembly");
    has(&refused.error, "\n  failed check: ");
    let admin = session.server.client("admin");
    let problem = admin
        .send_bytes("POST", "/api/v1/rules", "application/wasm", b"not a rule")
        .json();
    has(&refused.error, problem["advice"].as_str().expect("an advice"));
    session.author.keep("rule.wasm", HOSTILE);
    let panics = session
        .rules(&["push", "rule.wasm", "--settings", r#"{"do": "panic"}"#])
        .with(1);
    has(&panics.error, "failed check: evaluates sample rounds");
    has(&panics.error, "is on fire");
    let unread = session.rules(&["push", "rule.wasm", "--settings", "{no"]).with(65);
    has(&unread.error, "--settings: settings must be a JSON object");
    session.rules(&["push", "nowhere.wasm"]).with(74);
    assert_eq!(
        session.rules(&["list", "--json"]).with(0).json()["rules"]
            .as_array()
            .map(Vec::len),
        Some(2)
    );
}

#[test]
fn push_waits_for_a_slow_compilation() {
    let session = CliSession::with("admin", "[rules.compiler]\ntimeout = \"3s\"\n");
    session.author.keep("rule.wasm", ponderous(300, 300));
    let refused = session.rules(&["push", "rule.wasm"]).with(1);
    has(&refused.error, "/api/v1/uploads/1: the server responds with 422");
    has(&refused.error, "failed check: compiles within limits");
}

#[test]
fn a_trial_with_faults_or_differences_has_exit_code_1() {
    let session = CliSession::with_rounds(2);
    let digest = session.pushed(HOSTILE);
    let trial = |more: &[&str]| session.rules(&[&["trial", "hostile", &digest], more].concat());
    let differs = trial(&["--settings", r#"{"do": "miss"}"#]).with(1);
    let lines: Vec<_> = differs.out.lines().collect();
    has(lines[0], "SUBJECT");
    has(lines[1], "unknown");
    has(&differs.out, " snapshots from ");
    let fails = trial(&["--settings", r#"{"do": "panic"}"#]).with(1);
    has(&fails.out, "the candidate failed ");
    has(&fails.out, "is on fire");
    let nothing = trial(&["--host", "unknown"]).with(1);
    has(&nothing.out, "the rule was not evaluated");
    let output = trial(&["--json", "--to", "-0s"]).with(0).json();
    assert_eq!((&output["state"], &output["active"]), (&json!("done"), &Value::Null));
    trial(&["--from", "yesterday"]).with(1);
}

#[test]
fn a_trial_that_takes_long_is_followed_to_its_end() {
    let session = CliSession::with_rounds(6);
    let digest = session.pushed(HOSTILE);
    // Each round uses the whole time limit, so the server responds before the trial is finished.
    let trial = ["trial", "hostile", &digest, "--settings", r#"{"do": "loop"}"#, "--json"];
    let output = session.rules(&trial).with(1).json();
    assert_eq!(output["state"], "done");
    assert!(output["candidate"]["faults"].as_u64() >= Some(6), "{output}");
}

#[test]
fn interrupting_a_trial_cancels_it_on_the_server() {
    let session = CliSession::with_rounds(8);
    let digest = session.pushed(HOSTILE);
    let mut command = session.command(&["trial", "hostile", &digest, "--settings", r#"{"do": "loop"}"#]);
    let trial = command.stdout(Stdio::piped()).spawn().expect("it starts");
    let admin = session.server.client("admin");
    eventually("a trial", || {
        Some(admin.get("/api/v1/trials/1")).filter(|now| now.status == 202)
    });
    let status = Command::new("kill").args(["-INT", &trial.id().to_string()]).status();
    assert!(status.expect("kill runs").success());
    let ended = trial.wait_with_output().expect("it ends");
    assert_eq!(ended.status.code(), Some(1));
    has(&String::from_utf8_lossy(&ended.stdout), "; cancelled before the end: ");
    assert_eq!(admin.get("/api/v1/trials/1").json()["state"], "cancelled");
}

#[test]
fn an_ambiguous_digest_prefix_is_refused() {
    let session = CliSession::new("admin");
    let digests = two_alike(&numbered(1)).map(|wasm| session.pushed(&wasm));
    assert_eq!(digests[0][..8], digests[1][..8]);
    let refused = session.rules(&["activate", "numbered-001", &digests[0][..8]]).with(64);
    has(&refused.error, &digests[0]);
    has(&refused.error, &digests[1]);
    let known = session.rules(&["activate", "numbered-001", &digests[0][..12]]);
    has(&known.with(0).out, &digests[0][..12]);
    has(
        &session.rules(&["activate", "numbered-001", "00000000"]).with(1).error,
        "has no version whose digest begins with",
    );
    session.rules(&["activate", "numbered-001", "0000000"]).with(64);
    session.rules(&["activate", "../../snapshot", &digests[0]]).with(64);
    let unknown = session.rules(&["show", "missing"]).with(1);
    has(
        &unknown.error,
        "there is no rule missing; `watchpost rules list` lists the rules",
    );
    let similar = session.rules(&["show", "treshold"]).with(1);
    has(&similar.error, "there is no rule treshold; did you mean threshold?");
}

#[test]
fn json_output_is_the_response_of_the_server() {
    let session = CliSession::new("admin");
    let admin = session.server.client("admin");
    let digest = session.pushed(&numbered(1));
    let check = |arguments: &[&str], path: &str| {
        let output = session.rules(&[arguments, &["--json"]].concat()).with(0);
        assert_eq!(output.out, format!("{}\n", admin.get(path).text()));
    };
    check(&["list"], "/api/v1/rules");
    check(&["show", "numbered-001"], "/api/v1/rules/numbered-001");
    check(&["log", "numbered-001"], "/api/v1/rules/numbered-001/log");
    check(&["settings", "threshold"], "/api/v1/rules/threshold");
    let changed = session
        .rules(&["activate", "numbered-001", &digest, "--json"])
        .with(0)
        .json();
    assert_eq!((&changed["generation"], &changed["changed"]), (&json!(2), &json!(true)));
}

#[test]
fn settings_are_set_and_reset() {
    let session = CliSession::new("admin");
    let settings = || session.rules(&["settings", "threshold"]).with(0).json();
    let configured = settings();
    session
        .rules(&[
            "settings",
            "threshold",
            r#"{"thresholds": [{"metric": "disk", "alert": 70}]}"#,
        ])
        .with(0);
    let changed = settings();
    let of = |settings: &Value, at: usize| settings["thresholds"][at]["metric"].clone();
    assert_eq!((of(&configured, 0), of(&changed, 1)), (json!("disk"), json!("memory")));
    assert_eq!(
        changed["thresholds"][0]["alert"], 70.0,
        "the defaults that apply are listed too: {changed}"
    );
    let shown = session.rules(&["show", "threshold"]).with(0).out;
    has(&shown, "API, by CN=admin");
    let printed = session.rules(&["settings", "threshold"]).with(0);
    has(&printed.error, "thresholds: API, by CN=admin");
    let role = session.rules(&["settings", "role"]).with(0);
    has(&role.error, "roles: built-in default");
    has(&role.out, "\"admin\"");
    session
        .rules(&["settings", "threshold", "--default", "--note", "back"])
        .with(0);
    assert_eq!(settings(), configured);
    has(&session.rules(&["log", "threshold"]).with(0).out, "back");
    let wrong = session
        .rules(&["settings", "threshold", r#"{"thresholds": 7}"#])
        .with(1);
    has(&wrong.error, "422 Unprocessable Entity: invalid settings: ");
    let alone = session
        .rules(&["settings", "role", r#"{"roles": {"admin": []}}"#])
        .with(1);
    has(&alone.error, "would deny you rules.write");
    // Only administrators of the configuration may force it.
    session
        .rules(&["settings", "role", r#"{"roles": {"admin": []}}"#, "--force"])
        .with(1);
}

#[test]
fn a_client_without_permission_or_identity_gets_an_error() {
    let session = CliSession::new("reader");
    session.author.keep("rule.wasm", LOCKOUT_RULE);
    let refused = session.rules(&["push", "rule.wasm"]).with(1);
    has(&refused.error, "403 Forbidden");
    let (url, authority) = (session.url(), session.pki("ca.crt"));
    let anonymous = session
        .author
        .rules(&["list", "--server", &url, "--cacert", &authority]);
    assert!([1, 69].contains(&anonymous.code), "{}", anonymous.error);
    let other = Server::fresh("");
    let [certificate, key] = ["crt", "key"].map(|kind| {
        other
            .data()
            .join(format!("pki/clients/admin.{kind}"))
            .display()
            .to_string()
    });
    let proof = ["--cacert", &authority, "--cert", &certificate, "--key", &key];
    let untrusted = session
        .author
        .rules(&[&["list", "--server", &url], &proof[..]].concat())
        .with(69);
    has(&untrusted.error, &url);
    let unproven = session
        .author
        .rules(&["list", "--server", &url, "--cert", &certificate, "--key", &key]);
    has(&unproven.with(69).error, "--cacert");
}

#[test]
fn the_server_url_comes_from_a_flag_or_a_variable_and_must_be_reachable() {
    let session = CliSession::new("admin");
    has(&session.author.rules(&["list"]).with(64).error, "set WATCHPOST_SERVER");
    let [certificate, key] = ["crt", "key"].map(|kind| session.pki(&format!("clients/admin.{kind}")));
    let authority = session.pki("ca.crt");
    let list = ["list", "--cacert", &authority, "--cert", &certificate, "--key", &key];
    let url = session.url();
    let named = |arguments: &[&str]| run(session.author.command(arguments).env("WATCHPOST_SERVER", &url));
    has(&named(&list).with(0).out, "generation 1");
    // Variables of the command line are not settings of the server.
    session.author.keep("rule.wasm", HOSTILE);
    named(&["check", "rule.wasm"]).with(0);
    let _folder = session.server.stop();
    let away = session
        .author
        .rules(&[&list[..], &["--server", &url]].concat())
        .with(69);
    has(&away.error, &url);
    session.author.rules(&["list", "--server", "localhost:1"]).with(64);
}

#[test]
fn a_signature_file_next_to_a_component_is_uploaded_with_it() {
    let keys = tempfile::tempdir().expect("a folder");
    keygen(keys.path(), "ops");
    let settings = format!(
        "[rules]\nrequire_signature = true\ntrusted_keys = [{{ name = \"ops\", key = \"{}\" }}]\n",
        keys.path().join("ops.pub").display()
    );
    let session = CliSession::with("admin", &settings);
    session.author.keep("rule.wasm", HOSTILE);
    let refused = session.rules(&["push", "rule.wasm"]).with(1);
    has(&refused.error, "signature");
    session
        .author
        .keep("rule.wasm.sig", sign(&keys.path().join("ops.key"), HOSTILE));
    let taken = session.rules(&["push", "rule.wasm"]).with(0);
    has(&taken.out, "signed by a trusted key\n");

    let other = other_version(HOSTILE);
    session
        .author
        .keep("elsewhere", sign(&keys.path().join("ops.key"), &other));
    session.author.keep("other.wasm", &other);
    let push = ["push", "other.wasm", "--settings", r#"{"do": "well"}"#, "--signature"];
    session.rules(&[&push[..], &["elsewhere"]].concat()).with(0);
    let wrong = session.rules(&[&push[..], &["rule.wasm.sig"]].concat()).with(1);
    has(&wrong.error, "trusted");
    let none = session.rules(&[&push[..], &["nowhere.sig"]].concat()).with(74);
    has(&none.error, "cannot read nowhere.sig");
}
