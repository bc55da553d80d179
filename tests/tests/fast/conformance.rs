//! The built-in rules pass the conformance cases of their kind.

use watchpost_tests::cases::failures;
use watchpost_tests::guests::{ROLE, THRESHOLD, engine};

#[test]
fn the_threshold_rule_passes_the_conformance_cases() {
    let cases = include_str!("../../../wasm-rules/conformance/threshold.toml");
    let failed = failures(&engine(), THRESHOLD, cases);
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn the_role_rule_passes_the_conformance_cases() {
    let cases = include_str!("../../../wasm-rules/conformance/role.toml");
    let failed = failures(&engine(), ROLE, cases);
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// The runner of the cases detects a failure.
#[test]
fn a_case_that_expects_something_else_fails() {
    let wrong = r#"
        [[case]]
        name = "wrong"
        settings.defaults = false
        settings.thresholds = [{ metric = "cpu", alert = 95 }]
        [[case.round]]
        samples = [{ metric = "cpu", value = 99 }]
        expect = [{ metric = "cpu", severity = "ok", value = 99, limit = 95 }]
    "#;
    let failed = failures(&engine(), THRESHOLD, wrong);
    assert_eq!(failed.len(), 1);
    assert!(
        failed[0].starts_with(
            "wrong: round 1: findings differ\n  expected  cpu ok, value 99, limit 95\n  found     cpu alert"
        ),
        "{}",
        failed[0]
    );
}
