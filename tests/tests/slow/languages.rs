//! Rules in other languages pass the conformance cases. Each is built from the examples by its own toolchain.
//! `authoring` builds the projects.

use std::path::{Path, PathBuf};
use std::process::Command;

use watchpost_policies::{RuleModule, Severity};
use watchpost_tests::cases::failures;
use watchpost_tests::component_cache::cached;
use watchpost_tests::guests::{engine, rules};
use watchpost_tests::sample::machine;
use watchpost_tests::server::{program, tools};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn build(example: &str) -> Vec<u8> {
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(example.replace('/', "-") + ".wasm");
    build_to(example, &out);
    std::fs::read(&out).expect("make made it")
}

/// The same, where nothing of Watchpost makes the component, but only pinned tools of the language. The examples that
/// `authoring` begins with are made by them each time.
fn build_once(example: &str, sources: &[&str]) -> Vec<u8> {
    let folder = root().join("wasm-rules/examples").join(example);
    let mut inputs: Vec<PathBuf> = sources.iter().map(|source| folder.join(source)).collect();
    inputs.push(root().join("policies/wit"));
    cached(&inputs, |out| build_to(example, out))
}

fn build_to(example: &str, out: &Path) {
    let folder = root().join("wasm-rules/examples").join(example);
    let setting = |name: &str, path: &Path| format!("{name}={}", path.display());
    let made = Command::new("make")
        .arg("-C")
        .arg(&folder)
        .args([setting("TOOLS", &tools()), setting("OUT", out)])
        .arg(setting("WATCHPOST", &program()))
        .arg(setting("WIT_BINDGEN", Path::new(env!("CARGO_BIN_EXE_wit-bindgen"))))
        .output()
        .expect("make is there");
    let said = [made.stdout, made.stderr]
        .map(|said| String::from_utf8_lossy(&said).into_owned())
        .concat();
    assert!(made.status.success(), "{example} cannot be built:\n{said}");
}

fn check(wasm: &[u8], cases: &str) {
    assert_eq!(failures(&engine(), wasm, cases), Vec::<String>::new());
}

const THRESHOLD: &str = include_str!("../../../wasm-rules/conformance/threshold.toml");

/// With those that a project begins with.
const ROLE: &str = concat!(
    include_str!("../../../wasm-rules/conformance/role.toml"),
    include_str!("../../../wasm-rules/examples/cases/role.toml")
);

#[test]
fn a_rule_in_python_passes_the_conformance_cases() {
    let sources = ["rule.py", "Makefile", "../rule.mk", "../requirements.txt"];
    check(&build_once("python/role", &sources), ROLE);
}

#[test]
fn a_rule_in_javascript_passes_the_conformance_cases() {
    let sources = ["rule.js", "Makefile", "../rule.mk", "../package.json", "../build.mjs"];
    check(&build_once("javascript/role", &sources), ROLE);
}

#[test]
fn a_rule_in_c_passes_the_conformance_cases() {
    check(&build("c/threshold"), THRESHOLD);
}

/// The complete rule in `docs/WRITING-RULES.md` is this example, and it works as described.
#[test]
fn the_rule_in_the_document_works() {
    let page = include_str!("../../../docs/WRITING-RULES.md");
    let source = include_str!("../../../wasm-rules/examples/rust/threshold/src/lib.rs");
    assert!(
        page.contains(source),
        "docs/WRITING-RULES.md shows another rule than the example"
    );

    let engine = engine();
    let module = RuleModule::compile(&engine, &build("rust/threshold")).expect("it is taken");
    let rule = module.with_settings("{}").expect("it has defaults");
    let rules = rules(&engine, Some(rule), None);
    let severity = |disk| rules.judge(&machine(disk, 0.0, 0.0), None).findings()[0].severity;
    assert_eq!([severity(89.0), severity(90.0)], [Severity::Ok, Severity::Warning]);
    let refused = module.with_settings(r#"{"percent_a_day": -1}"#).expect_err("refused");
    assert!(
        refused.to_string().contains("/percent_a_day: a disk fills by more"),
        "{refused}"
    );
}
