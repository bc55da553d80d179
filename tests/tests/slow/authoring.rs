//! Authoring a rule with `watchpost rules`, from a new project to a tested rule, by the commands of docs/WRITING-RULES.md. The
//! contract and the limits of rules are tested elsewhere.

use std::process::Command;

use serde_json::Value;
use watchpost_policies::RuleModule;
use watchpost_tests::author::{Author, run};
use watchpost_tests::cases::failures;
use watchpost_tests::cli_session::CliSession;
use watchpost_tests::guests::{HOSTILE, ROLE, THRESHOLD, engine};
use watchpost_tests::server::Server;

/// Creates a project, builds it, runs its cases and the checks of a server, and returns the component.
#[track_caller]
fn from_nothing_to_a_rule(language: &str, kind: &str) -> Vec<u8> {
    let author = Author::new();
    let made = author
        .rules(&["new", "weekend-7", "--lang", language, "--kind", kind])
        .with(0);
    assert!(made.out.contains("cd weekend-7"), "{}", made.out);
    let lock = || (language == "rust").then(|| author.read("weekend-7/Cargo.lock"));
    let lock_before = lock();
    author.make("weekend-7", &[]).with(0);
    assert_eq!(lock(), lock_before, "the versions are those that were tried");
    let tested = author.make("weekend-7", &["test"]).with(0);
    assert!(tested.out.contains(" 0 failed"), "{}", tested.out);
    let checked = author.rules(&["check", "weekend-7/rule.wasm", "--json"]).with(0).json();
    assert_eq!(checked["rule"]["name"], "weekend-7");
    assert_eq!(checked["rule"]["kind"], kind);
    assert_eq!(checked["failed"], Value::Null);
    // Build results are ignored by git.
    let ignored = author.read("weekend-7/.gitignore");
    assert!(ignored.contains("/rule.wasm"), "{ignored}");
    std::fs::read(author.path("weekend-7/rule.wasm")).expect("it was made")
}

/// The next steps of an author on a server: upload, trial, activation, and rollback.
#[track_caller]
fn upload_and_activate(wasm: &[u8]) {
    let session = CliSession::with_rounds(2);
    session.author.keep("rule.wasm", wasm);
    let pushed = session.rules(&["push", "rule.wasm", "--note", "the first"]).with(0);
    let next = pushed.out.split("watchpost rules activate weekend-7 ").nth(1);
    let digest = next.expect("what to do next").trim();
    let tried = session.rules(&["trial", "weekend-7", digest, "--json"]);
    let tried = tried.json();
    assert!(tried["snapshots"].as_u64() >= Some(2), "{tried}");
    assert_eq!(tried["candidate"]["faults"], 0, "{tried}");
    let active = session.rules(&["activate", "weekend-7", digest]).with(0);
    assert!(active.out.ends_with(") is active, generation 2\n"), "{}", active.out);
    let back = session.rules(&["rollback", "weekend-7"]).with(0);
    assert_eq!(back.out, "weekend-7 is not in use, generation 3\n");
}

/// The settings that the rule shows list the defaults, and it accepts them as settings that mean the same.
#[track_caller]
fn shows_its_effective_settings(wasm: &[u8]) {
    let module = RuleModule::compile(&engine(), wasm).expect("it is taken");
    let shown = |settings: &str| {
        let rule = module.with_settings(settings).expect("valid settings");
        rule.effective_settings().cloned().expect("it shows them")
    };
    for settings in [
        "{}",
        r#"{"defaults": false, "thresholds": []}"#,
        r#"{"thresholds": [ {"metric": "disk", "warning": 0.125, "alert": {"enter": 1e2, "clear": 99.5}} ], "defaults": true}"#,
        r#"{"thresholds": [{"metric": "swap", "alert": 5, "direction": "below", "missing": "ok"}], "defaults": false}"#,
    ] {
        let effective = shown(settings);
        let given: Value = serde_json::from_str(settings).expect("JSON");
        assert_eq!(
            effective["defaults"],
            *given.get("defaults").unwrap_or(&Value::Bool(true))
        );
        let metrics: Vec<_> = effective["thresholds"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|entry| &entry["metric"])
            .collect();
        assert_eq!(
            metrics.contains(&&Value::from("memory")),
            effective["defaults"] == true,
            "{effective}"
        );
        assert_eq!(shown(&effective.to_string()), effective, "{settings}");
        if metrics.contains(&&Value::from("disk")) && settings.contains("disk") {
            let warning = &effective["thresholds"][0]["warning"];
            assert!(*warning == 0.125 || warning["enter"] == 0.125, "{effective}");
        }
    }
}

const THRESHOLD_CASES: &str = include_str!("../../../wasm-rules/conformance/threshold.toml");

#[test]
fn a_rule_in_rust_needs_cargo_and_watchpost() {
    upload_and_activate(&from_nothing_to_a_rule("rust", "threshold"));
    from_nothing_to_a_rule("rust", "role");
}

#[test]
fn a_rule_in_python_needs_what_its_makefile_fetches() {
    let wasm = from_nothing_to_a_rule("python", "threshold");
    assert_eq!(failures(&engine(), &wasm, THRESHOLD_CASES), Vec::<String>::new());
    shows_its_effective_settings(&wasm);
    upload_and_activate(&wasm);
}

#[test]
fn a_rule_in_javascript_needs_what_its_makefile_fetches() {
    let wasm = from_nothing_to_a_rule("javascript", "threshold");
    assert_eq!(failures(&engine(), &wasm, THRESHOLD_CASES), Vec::<String>::new());
    shows_its_effective_settings(&wasm);
    upload_and_activate(&wasm);
}

#[test]
fn a_rule_in_c_needs_clang_and_watchpost() {
    let wasm = from_nothing_to_a_rule("c", "threshold");
    assert_eq!(failures(&engine(), &wasm, THRESHOLD_CASES), Vec::<String>::new());
    shows_its_effective_settings(&wasm);
    upload_and_activate(&wasm);
}

#[test]
fn an_invalid_project_is_refused_with_a_sentence() {
    let author = Author::new();
    let check = |arguments: &[&str], part: &str| {
        let said = author.rules(&[&["new"], arguments].concat()).with(64);
        assert!(said.error.contains(part), "{}", said.error);
    };
    check(&["Weekend", "--lang", "rust"], "lower case letters, digits and hyphens");
    check(
        &["../weekend", "--lang", "rust"],
        "lower case letters, digits and hyphens",
    );
    check(
        &["weekend", "--lang", "c", "--kind", "role"],
        "no template of a role rule in C",
    );
    check(
        &["weekend", "--lang", "cobol"],
        "[possible values: rust, python, javascript, c]",
    );
    assert!(!author.path("weekend").exists());
    std::fs::create_dir(author.path("weekend")).expect("a folder");
    author.keep("weekend/mine", "mine");
    check(&["weekend", "--lang", "rust"], "weekend exists already");
    assert_eq!(author.read("weekend/mine"), "mine");
}

#[test]
fn only_a_core_module_that_carries_a_contract_is_packed() {
    let author = Author::new();
    let check = |bytes: &[u8], part: &str| {
        author.keep("core.wasm", bytes);
        let said = author.rules(&["pack", "core.wasm", "-o", "packed.wasm"]).with(1);
        assert!(said.error.contains(part), "{}", said.error);
        assert!(!author.path("packed.wasm").exists());
    };
    check(b"<!doctype html>", "it is not WebAssembly");
    check(THRESHOLD, "it is a component already");
    check(
        &wat::parse_str("(module)").expect("a module"),
        "it has no component type",
    );
    let missing = author.rules(&["pack", "nowhere.wasm"]).with(74);
    assert!(missing.error.contains("cannot read nowhere.wasm"), "{}", missing.error);
}

#[test]
fn each_check_is_printed_and_an_untrusted_component_is_refused_with_the_reason() {
    let author = Author::new();
    author.keep("rule.wasm", THRESHOLD);
    let said = author.rules(&["check", "rule.wasm"]).with(0);
    for part in [
        "component is complete",
        "implements the contract without imports",
        "component compiles",
        "describe() succeeds",
        "accepts {} as settings",
        "schema agrees with check-settings",
        "evaluates sample rounds",
        "a threshold rule of",
        "sha256:",
    ] {
        assert!(said.out.contains(part), "{part}:\n{}", said.out);
    }
    let refused = author.rules(&[
        "check",
        "rule.wasm",
        "--settings",
        r#"{"thresholds": [{"metric": "disk"}]}"#,
    ]);
    let refused = refused.with(1);
    assert!(
        refused.out.contains("FAILED            accepts the given settings"),
        "{}",
        refused.out
    );
    assert!(refused.out.contains("/thresholds/0"), "{}", refused.out);

    let importing = r#"(component (import "wasi:clocks/wall-clock@0.2.0" (instance)))"#;
    author.keep("importing.wasm", wat::parse_str(importing).expect("a component"));
    let refused = author.rules(&["check", "importing.wasm"]).with(1);
    assert!(
        refused.out.contains("it imports wasi:clocks/wall-clock@0.2.0"),
        "{}",
        refused.out
    );
    let output = author.rules(&["check", "importing.wasm", "--json"]).with(1).json();
    assert_eq!(output["failed"]["check"], "implements the contract without imports");
    assert_eq!(output["rule"], Value::Null);

    author.keep("core.wasm", wat::parse_str("(module)").expect("a module"));
    let refused = author.rules(&["check", "core.wasm"]).with(1);
    assert!(refused.out.contains("watchpost rules pack"), "{}", refused.out);
}

#[test]
fn a_role_rule_decides_sample_requests_in_its_checks() {
    let author = Author::new();
    author.keep("rule.wasm", ROLE);
    let said = author.rules(&["check", "rule.wasm"]).with(0);
    assert!(said.out.contains("decides sample requests"), "{}", said.out);
}

#[test]
fn a_rule_that_misbehaves_when_it_judges_fails_the_check() {
    let author = Author::new();
    author.keep("rule.wasm", HOSTILE);
    author.keep("settings.json", r#"{"do": "panic"}"#);
    let said = author
        .rules(&["check", "rule.wasm", "--settings", "settings.json"])
        .with(1);
    assert!(
        said.out.contains("FAILED            evaluates sample rounds"),
        "{}",
        said.out
    );
    assert!(said.out.contains("failed in judge: it panicked"), "{}", said.out);
}

const SNAPSHOT: &str = r#"{
    "host": "edge-9", "time": "2027-01-15T08:00:00Z",
    "samples": [
        {"metric": "disk", "labels": {"mountpoint": "/"}, "value": 95, "unit": "percent", "time": "2027-01-15T08:00:00Z"},
        {"metric": "memory", "value": 10, "unit": "percent", "time": "2027-01-15T08:00:00Z"}
    ]
}"#;

#[test]
fn a_snapshot_is_judged_and_the_worst_finding_is_first() {
    let author = Author::new();
    author.keep("rule.wasm", THRESHOLD);
    author.keep("snapshot.json", SNAPSHOT);
    let said = author
        .rules(&["run", "rule.wasm", "--snapshot", "snapshot.json"])
        .with(0);
    let lines: Vec<_> = said.out.lines().collect();
    assert!(lines[0].starts_with("SEVERITY  SUBJECT"), "{}", said.out);
    assert!(
        lines[1].starts_with("alert     disk{mountpoint=\"/\"}  95"),
        "{}",
        said.out
    );
    assert!(said.out.contains("of edge-9 at 2027-01-15"), "{}", said.out);

    let settings = r#"{"defaults": false, "thresholds": [{"metric": "memory", "alert": 5}]}"#;
    let output = author.rules(&[
        "run",
        "rule.wasm",
        "--snapshot",
        "snapshot.json",
        "--settings",
        settings,
        "--host",
        "me",
        "--json",
    ]);
    let output = output.with(0).json();
    assert_eq!(output["host"], "me");
    assert_eq!(output["severity"], "alert");
    assert_eq!(output["findings"][0]["subject"]["metric"], "memory");

    author.keep("broken.json", r#"{"host": "edge-9"}"#);
    let refused = author
        .rules(&["run", "rule.wasm", "--snapshot", "broken.json"])
        .with(65);
    assert!(
        refused.error.contains("broken.json is not a snapshot"),
        "{}",
        refused.error
    );
    author.keep("role.wasm", ROLE);
    let refused = author
        .rules(&["run", "role.wasm", "--snapshot", "snapshot.json"])
        .with(64);
    assert!(
        refused.error.contains("role is a role rule and judges no snapshots"),
        "{}",
        refused.error
    );
    author.rules(&["run", "rule.wasm"]).with(64);
}

#[test]
fn a_snapshot_is_fetched_from_a_running_server_as_by_any_client() {
    let token = "wp_4d1f5b7e2c";
    let hash: String = openssl::sha::sha256(token.as_bytes())
        .map(|byte| format!("{byte:02x}"))
        .concat();
    let server = Server::with(&format!(
        "tokens = [{{ name = \"grafana\", sha256 = \"{hash}\" }}]
        [rules.role]
        identities = [
            {{ match = {{ token = \"grafana\" }}, roles = [\"reader\"] }},
            {{ match = {{ attributes = {{ OU = \"reader\" }} }}, roles = [\"reader\"] }},
        ]"
    ))
    .ready();
    let author = Author::new();
    author.keep("rule.wasm", THRESHOLD);
    author.keep("token", format!("{token}\n"));
    let url = format!("https://localhost:{}", server.secure.port());
    let pki = |name: &str| server.data().join("pki").join(name).display().to_string();
    let (authority, certificate, key) = (pki("ca.crt"), pki("clients/reader.crt"), pki("clients/reader.key"));
    let ask = ["run", "rule.wasm", "--json", "--live", &url];
    let known = [
        &ask[..],
        &["--cacert", &authority, "--cert", &certificate, "--key", &key],
    ]
    .concat();
    let output = author.rules(&known).with(0).json();
    let findings = output["findings"].as_array().expect("a list");
    assert!(
        findings.iter().any(|finding| finding["subject"]["metric"] == "memory"),
        "{output}"
    );

    author
        .rules(&[&ask[..], &["--cacert", &authority, "--token-file", "token"]].concat())
        .with(0);

    // A server without a trusted certificate is refused.
    let unproven = author
        .rules(&[&ask[..], &["--cert", &certificate, "--key", &key]].concat())
        .with(69);
    assert!(unproven.error.contains("--cacert"), "{}", unproven.error);
    let unauthenticated = author.rules(&[&ask[..], &["--cacert", &authority]].concat()).with(69);
    assert!(
        unauthenticated.error.contains("/api/v1/snapshot: "),
        "{}",
        unauthenticated.error
    );
    author.rules(&["run", "rule.wasm", "--live", "localhost:1"]).with(64);
}

const CASES: &str = r#"
[[case]]
name = "as it should be"
[[case.round]]
samples = [{ metric = "disk", value = 50 }, { metric = "memory", value = 50 }, { metric = "cpu_mean_1m", value = 50 }]
expect = [
    { metric = "cpu_mean_1m", severity = "ok", value = 50, limit = 90 },
    { metric = "disk", severity = "ok", value = 50, limit = 80 },
    { metric = "memory", severity = "ok", value = 50, limit = 80 },
]

[[case]]
name = "quite <wrong> & \"odd\""
settings.defaults = false
settings.thresholds = [{ metric = "cpu", alert = 95 }]
[[case.round]]
samples = [{ metric = "cpu", value = 99 }]
expect = [{ metric = "cpu", severity = "ok", value = 99, limit = 95 }]
"#;

#[test]
fn a_failed_case_is_printed_with_its_difference() {
    let author = Author::new();
    author.keep("rule.wasm", THRESHOLD);
    author.keep("cases.toml", CASES);
    let said = author.rules(&["test", "rule.wasm", "--junit", "junit.xml"]).with(1);
    for part in [
        "as it should be\n",
        "FAILED",
        "expected  cpu ok, value 99, limit 95",
        "found     cpu alert, value 99, limit 95: \"",
        "2 cases: 1 passed, 1 failed",
    ] {
        assert!(said.out.contains(part), "{part}:\n{}", said.out);
    }
    let output = author.rules(&["test", "rule.wasm", "--json"]).with(1).json();
    assert_eq!((&output["passed"], &output["failed"]), (&1.into(), &1.into()));

    // Another reader than ours has to understand it.
    let reader = "import sys, xml.etree.ElementTree as tree\n\
                  suite = tree.parse(sys.argv[1]).getroot().find('testsuite')\n\
                  failed = [case.get('name') for case in suite.iter('testcase') if case.find('failure') is not None]\n\
                  print(suite.get('name'), suite.get('tests'), suite.get('failures'), *failed)";
    let read = run(Command::new("python3")
        .args(["-c", reader])
        .arg(author.path("junit.xml")));
    assert_eq!(read.with(0).out, "threshold 2 1 quite <wrong> & \"odd\"\n");

    author.rules(&["test", "rule.wasm", "--filter", "should be"]).with(0);
    let none = author.rules(&["test", "rule.wasm", "--filter", "nothing"]).with(64);
    assert!(none.error.contains("no case in cases.toml"), "{}", none.error);
    author.keep("cases.toml", "[[case]]\nname = \"idle\"\n");
    let idle = author.rules(&["test", "rule.wasm"]).with(65);
    assert!(idle.error.contains("\"idle\" expects nothing"), "{}", idle.error);
}

#[test]
fn the_cost_of_a_call_is_measured_for_either_kind() {
    let author = Author::new();
    author.keep("rule.wasm", THRESHOLD);
    author.keep("role.wasm", ROLE);
    for (file, call) in [("rule.wasm", "judge"), ("role.wasm", "decide")] {
        let output = author.rules(&["bench", file, "--seconds", "1", "--samples", "200", "--json"]);
        let output = output.with(0).json();
        assert_eq!(output["call"], call);
        let number = |name: &str| output[name].as_f64().unwrap_or_else(|| panic!("{name}: {output}"));
        assert!(number("calls") >= 1.0 && number("memory_bytes") > 0.0, "{output}");
        assert!(number("p50_seconds") <= number("p99_seconds"), "{output}");
        assert!(number("p99_seconds") <= number("worst_seconds"), "{output}");
    }
    let said = author.rules(&["bench", "rule.wasm", "--seconds", "1"]).with(0);
    assert!(said.out.contains("of judge with 1000 samples"), "{}", said.out);
    assert!(said.out.contains("of at most 500 ms"), "{}", said.out);
    author.rules(&["bench", "rule.wasm", "--seconds", "0"]).with(64);
    author.rules(&["bench", "rule.wasm", "--seconds", "601"]).with(64);
}
