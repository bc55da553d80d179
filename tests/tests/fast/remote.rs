//! `watchpost rules` against a Watchpost that runs: the whole story of a rule, told by its commands, and how they end
//! when it goes otherwise. What the server does with rules is tested in `rules`.

use std::process::{Command, Stdio};

use serde_json::{Value, json};
use watchpost_tests::author::{Said, run};
use watchpost_tests::cli_session::Desk;
use watchpost_tests::guests::{HOSTILE, LOCKOUT_RULE, numbered};
use watchpost_tests::rules::{generation, keygen, other_version, sign, two_alike};
use watchpost_tests::server::{Server, eventually};
use watchpost_tests::slow_rule::ponderous;

#[track_caller]
fn has(text: &str, part: &str) {
    assert!(text.contains(part), "{part}:\n{text}");
}

#[test]
fn the_story_of_a_rule_is_told_by_commands() {
    let desk = Desk::with_rounds(2);
    desk.author.keep("rule.wasm", HOSTILE);
    let pushed = desk.rules(&["push", "rule.wasm", "--note", "the first"]).with(0);
    has(&pushed.out, "it is a rule and compiles\n");
    has(&pushed.out, "it judges sample rounds\n");
    let next = pushed
        .out
        .split("watchpost rules activate ")
        .nth(1)
        .expect("what to do next")
        .trim();
    let digest = next.strip_prefix("hostile ").expect("the rule's name");
    assert_eq!(digest.len(), 12, "{}", pushed.out);
    assert_eq!(generation(&desk.server.client("admin")), 1, "nothing is in force yet");
    let version = |said: &Said| said.out.split(' ').nth(1).expect("a version").to_owned();

    let shadow = desk
        .rules(&["shadow", "hostile", &digest[..8], "--note", "for a week"])
        .with(0);
    let number = version(&shadow);
    assert_eq!(
        shadow.out,
        format!("hostile {number} ({digest}) runs in shadow, generation 2\n")
    );
    let listed = desk.rules(&["list"]).with(0).out;
    let line = listed
        .lines()
        .find(|line| line.starts_with("hostile"))
        .expect("its line");
    assert!(
        line.ends_with(&format!("-                   {number} {digest}")),
        "{listed}"
    );
    has(&listed, "\ngeneration 2\n");

    // It says nothing, and neither does anybody else by its name.
    let same = desk.rules(&["trial", "hostile", digest, "--from", "-1h"]).with(0);
    has(&same.out, ": 0 differ\n");
    has(&same.out, "candidate");

    let settings = r#"{"do": "well", "count": 3}"#;
    let activate = ["activate", "hostile", digest, "--settings", settings, "--if-generation"];
    let late = desk.rules(&[&activate[..], &["1"]].concat()).with(1);
    has(&late.error, "generation 2 is in force, not the one that you changed");
    let active = desk.rules(&[&activate[..], &["2"]].concat()).with(0);
    has(&active.out, &format!("hostile {number} ({digest}) is active"));
    has(&active.out, ", generation 3\n");
    has(&desk.rules(&["show", "hostile"]).with(0).out, "\"count\":3");

    desk.author.keep("settings.json", r#"{"do": "well", "count": 4}"#);
    has(
        &desk.rules(&["settings", "hostile", "settings.json"]).with(0).out,
        "generation 4\n",
    );
    let printed = desk.rules(&["settings", "hostile"]).with(0).json();
    assert_eq!(printed, json!({ "do": "well", "count": 4 }));
    has(
        &desk.rules(&["settings", "hostile", settings]).with(0).out,
        "generation 5\n",
    );
    let same = desk.rules(&["settings", "hostile", settings]).with(0);
    has(&same.out, "nothing changed: ");
    has(
        &desk.rules(&["rollback", "hostile", "--note", "too much"]).with(0).out,
        "generation 6\n",
    );
    assert_eq!(desk.rules(&["settings", "hostile"]).with(0).json()["count"], 4);

    let log = desk.rules(&["log", "hostile", "--limit", "2"]).with(0);
    let lines: Vec<_> = log.out.lines().collect();
    has(lines[0], "TIME");
    has(lines[1], "rolled back");
    has(lines[1], "too much");
    has(lines[2], "configured");
    let older = log.out.split("--before ").nth(1).expect("there is more").trim();
    has(
        &desk.rules(&["log", "hostile", "--before", older]).with(0).out,
        "for a week",
    );

    let other = r#"{"do": "well", "count": 9}"#;
    let beside = desk.rules(&["shadow", "hostile", digest, "--settings", other]).with(0);
    has(&beside.out, "generation 7\n");
    let out = desk.rules(&["retire", "hostile", "--note", "enough"]).with(0);
    // It still runs beside what there is no more.
    has(
        &out.out,
        &format!("hostile {number} ({digest}) runs in shadow, generation 8\n"),
    );
    has(&desk.rules(&["log", "hostile", "--limit", "1"]).with(0).out, "enough");
    let out = desk.rules(&["retire", "hostile", "--shadow"]).with(0);
    assert_eq!(out.out, "hostile is not in use, generation 9\n");
    let gone = desk.rules(&["settings", "hostile"]).with(1);
    has(&gone.error, "hostile is not in use");
}

#[test]
fn what_is_pushed_can_be_in_force_at_once_with_its_settings() {
    let desk = Desk::new("admin");
    desk.author.keep("rule.wasm", HOSTILE);
    let settings = r#"{"do": "well", "count": 7}"#;
    let push = ["push", "rule.wasm", "--settings", settings, "--note", "by a form"];
    let told = desk.rules(&[&push[..], &["--activate"]].concat()).with(0);
    has(&told.out, "it judges sample rounds\n");
    has(&told.out, ") is active, generation 2\n");
    assert_eq!(desk.rules(&["settings", "hostile"]).with(0).json()["count"], 7);
    has(&desk.rules(&["log", "hostile"]).with(0).out, "by a form");
    let other = other_version(HOSTILE);
    desk.author.keep("rule.wasm", &other);
    let told = desk.rules(&["push", "rule.wasm", "--shadow", "--json"]).with(0).json();
    let modes: Vec<_> = told["active"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|line| &line["mode"])
        .collect();
    assert!(modes.contains(&&json!("shadow")), "{told}");
}

#[test]
fn what_is_refused_is_told_with_its_check_and_what_to_do() {
    let desk = Desk::new("admin");
    desk.author.keep("rule.wasm", "not a rule");
    let refused = desk.rules(&["push", "rule.wasm"]).with(1);
    has(&refused.error, "422 Unprocessable Entity: it is not WebAssembly");
    has(&refused.error, "\n  failed check: ");
    let admin = desk.server.client("admin");
    let problem = admin
        .send_bytes("POST", "/api/v1/rules", "application/wasm", b"not a rule")
        .json();
    has(&refused.error, problem["advice"].as_str().expect("an advice"));
    desk.author.keep("rule.wasm", HOSTILE);
    let panics = desk
        .rules(&["push", "rule.wasm", "--settings", r#"{"do": "panic"}"#])
        .with(1);
    has(&panics.error, "failed check: evaluates sample rounds");
    has(&panics.error, "is on fire");
    let unread = desk.rules(&["push", "rule.wasm", "--settings", "{no"]).with(65);
    has(&unread.error, "--settings: settings must be a JSON object");
    desk.rules(&["push", "nowhere.wasm"]).with(74);
    assert_eq!(
        desk.rules(&["list", "--json"]).with(0).json()["rules"]
            .as_array()
            .map(Vec::len),
        Some(2)
    );
}

#[test]
fn what_takes_longer_than_a_moment_to_compile_is_waited_for() {
    let desk = Desk::with("admin", "[rules.compiler]\ntimeout = \"3s\"\n");
    desk.author.keep("rule.wasm", ponderous(300, 300));
    let refused = desk.rules(&["push", "rule.wasm"]).with(1);
    has(&refused.error, "/api/v1/uploads/1: the server responds with 422");
    has(&refused.error, "failed check: compiles within limits");
}

#[test]
fn a_trial_in_which_the_candidate_fails_or_differs_holds_a_pipeline() {
    let desk = Desk::with_rounds(2);
    let digest = desk.pushed(HOSTILE);
    let trial = |more: &[&str]| desk.rules(&[&["trial", "hostile", &digest], more].concat());
    let differs = trial(&["--settings", r#"{"do": "miss"}"#]).with(1);
    let lines: Vec<_> = differs.out.lines().collect();
    has(lines[0], "SUBJECT");
    has(lines[1], "unknown");
    has(&differs.out, " snapshots from ");
    let fails = trial(&["--settings", r#"{"do": "panic"}"#]).with(1);
    has(&fails.out, "the candidate failed ");
    has(&fails.out, "is on fire");
    let nothing = trial(&["--host", "nobody"]).with(1);
    has(&nothing.out, "the rule was not evaluated");
    let told = trial(&["--json", "--to", "-0s"]).with(0).json();
    assert_eq!((&told["state"], &told["active"]), (&json!("done"), &Value::Null));
    trial(&["--from", "yesterday"]).with(1);
}

#[test]
fn a_trial_that_takes_long_is_followed_to_its_end() {
    let desk = Desk::with_rounds(6);
    let digest = desk.pushed(HOSTILE);
    // Each round takes as long as a rule may, so the server answers before it is done.
    let trial = ["trial", "hostile", &digest, "--settings", r#"{"do": "loop"}"#, "--json"];
    let told = desk.rules(&trial).with(1).json();
    assert_eq!(told["state"], "done");
    assert!(told["candidate"]["faults"].as_u64() >= Some(6), "{told}");
}

#[test]
fn whoever_interrupts_a_trial_ends_it_on_the_server_too() {
    let desk = Desk::with_rounds(8);
    let digest = desk.pushed(HOSTILE);
    let mut command = desk.command(&["trial", "hostile", &digest, "--settings", r#"{"do": "loop"}"#]);
    let trial = command.stdout(Stdio::piped()).spawn().expect("it starts");
    let admin = desk.server.client("admin");
    eventually("a trial", || {
        Some(admin.get("/api/v1/trials/1")).filter(|now| now.status == 202)
    });
    let told = Command::new("kill").args(["-INT", &trial.id().to_string()]).status();
    assert!(told.expect("kill runs").success());
    let ended = trial.wait_with_output().expect("it ends");
    assert_eq!(ended.status.code(), Some(1));
    has(&String::from_utf8_lossy(&ended.stdout), "; cancelled before the end: ");
    assert_eq!(admin.get("/api/v1/trials/1").json()["state"], "cancelled");
}

#[test]
fn a_beginning_that_two_versions_have_names_neither() {
    let desk = Desk::new("admin");
    let digests = two_alike(&numbered(1)).map(|wasm| desk.pushed(&wasm));
    assert_eq!(digests[0][..8], digests[1][..8]);
    let refused = desk.rules(&["activate", "numbered-001", &digests[0][..8]]).with(64);
    has(&refused.error, &digests[0]);
    has(&refused.error, &digests[1]);
    let known = desk.rules(&["activate", "numbered-001", &digests[0][..12]]);
    has(&known.with(0).out, &digests[0][..12]);
    has(
        &desk.rules(&["activate", "numbered-001", "00000000"]).with(1).error,
        "has no version whose digest begins with",
    );
    desk.rules(&["activate", "numbered-001", "0000000"]).with(64);
    desk.rules(&["activate", "../../snapshot", &digests[0]]).with(64);
    let stranger = desk.rules(&["show", "nobody"]).with(1);
    has(&stranger.error, "there is no rule nobody");
}

#[test]
fn programs_get_what_the_server_answered() {
    let desk = Desk::new("admin");
    let admin = desk.server.client("admin");
    let digest = desk.pushed(&numbered(1));
    let check = |arguments: &[&str], path: &str| {
        let told = desk.rules(&[arguments, &["--json"]].concat()).with(0);
        assert_eq!(told.out, format!("{}\n", admin.get(path).text()));
    };
    check(&["list"], "/api/v1/rules");
    check(&["show", "numbered-001"], "/api/v1/rules/numbered-001");
    check(&["log", "numbered-001"], "/api/v1/rules/numbered-001/log");
    check(&["settings", "threshold"], "/api/v1/rules/threshold");
    let changed = desk
        .rules(&["activate", "numbered-001", &digest, "--json"])
        .with(0)
        .json();
    assert_eq!((&changed["generation"], &changed["changed"]), (&json!(2), &json!(true)));
}

#[test]
fn settings_are_given_and_taken_back() {
    let desk = Desk::new("admin");
    let settings = || desk.rules(&["settings", "threshold"]).with(0).json();
    let configured = settings();
    desk.rules(&["settings", "threshold", r#"{"thresholds": []}"#]).with(0);
    assert_eq!(settings(), json!({ "thresholds": [] }));
    has(&desk.rules(&["show", "threshold"]).with(0).out, "by CN=admin");
    desk.rules(&["settings", "threshold", "--default", "--note", "back"])
        .with(0);
    assert_eq!(settings(), configured);
    has(&desk.rules(&["log", "threshold"]).with(0).out, "back");
    let wrong = desk.rules(&["settings", "threshold", r#"{"thresholds": 7}"#]).with(1);
    has(&wrong.error, "422 Unprocessable Entity: invalid settings: ");
    let alone = desk.rules(&["settings", "role", r#"{"identities": []}"#]).with(1);
    has(&alone.error, "you could not change rules any more");
    // Only those who are named in the configuration may force it.
    desk.rules(&["settings", "role", r#"{"identities": []}"#, "--force"])
        .with(1);
}

#[test]
fn whoever_may_not_or_is_not_known_is_told_so() {
    let desk = Desk::new("reader");
    desk.author.keep("rule.wasm", LOCKOUT_RULE);
    let refused = desk.rules(&["push", "rule.wasm"]).with(1);
    has(&refused.error, "403 Forbidden");
    let (url, authority) = (desk.url(), desk.pki("ca.crt"));
    let nobody = desk.author.rules(&["list", "--server", &url, "--cacert", &authority]);
    assert!([1, 69].contains(&nobody.code), "{}", nobody.error);
    let other = Server::fresh("");
    let [certificate, key] = ["crt", "key"].map(|kind| {
        other
            .data()
            .join(format!("pki/clients/admin.{kind}"))
            .display()
            .to_string()
    });
    let proof = ["--cacert", &authority, "--cert", &certificate, "--key", &key];
    let stranger = desk
        .author
        .rules(&[&["list", "--server", &url], &proof[..]].concat())
        .with(69);
    has(&stranger.error, &url);
    let unproven = desk
        .author
        .rules(&["list", "--server", &url, "--cert", &certificate, "--key", &key]);
    has(&unproven.with(69).error, "--cacert");
}

#[test]
fn a_server_is_named_by_a_flag_or_a_variable_and_has_to_be_there() {
    let desk = Desk::new("admin");
    has(&desk.author.rules(&["list"]).with(64).error, "set WATCHPOST_SERVER");
    let [certificate, key] = ["crt", "key"].map(|kind| desk.pki(&format!("clients/admin.{kind}")));
    let authority = desk.pki("ca.crt");
    let list = ["list", "--cacert", &authority, "--cert", &certificate, "--key", &key];
    let url = desk.url();
    let named = |arguments: &[&str]| run(desk.author.command(arguments).env("WATCHPOST_SERVER", &url));
    has(&named(&list).with(0).out, "generation 1");
    // What is meant for the command line is no setting.
    desk.author.keep("rule.wasm", HOSTILE);
    named(&["check", "rule.wasm"]).with(0);
    let _folder = desk.server.stop();
    let away = desk.author.rules(&[&list[..], &["--server", &url]].concat()).with(69);
    has(&away.error, &url);
    desk.author.rules(&["list", "--server", "localhost:1"]).with(64);
}

#[test]
fn a_signature_beside_a_component_goes_with_it() {
    let keys = tempfile::tempdir().expect("a folder");
    keygen(keys.path(), "ops");
    let settings = format!(
        "[rules]\nrequire_signature = true\ntrusted_keys = [{{ name = \"ops\", key = \"{}\" }}]\n",
        keys.path().join("ops.pub").display()
    );
    let desk = Desk::with("admin", &settings);
    desk.author.keep("rule.wasm", HOSTILE);
    let refused = desk.rules(&["push", "rule.wasm"]).with(1);
    has(&refused.error, "signature");
    desk.author
        .keep("rule.wasm.sig", sign(&keys.path().join("ops.key"), HOSTILE));
    let taken = desk.rules(&["push", "rule.wasm"]).with(0);
    has(&taken.out, "its signature is by a trusted key\n");

    let other = other_version(HOSTILE);
    desk.author
        .keep("elsewhere", sign(&keys.path().join("ops.key"), &other));
    desk.author.keep("other.wasm", &other);
    let push = ["push", "other.wasm", "--settings", r#"{"do": "well"}"#, "--signature"];
    desk.rules(&[&push[..], &["elsewhere"]].concat()).with(0);
    let wrong = desk.rules(&[&push[..], &["rule.wasm.sig"]].concat()).with(1);
    has(&wrong.error, "trusted");
    let none = desk.rules(&[&push[..], &["nowhere.sig"]].concat()).with(74);
    has(&none.error, "cannot read nowhere.sig");
}
