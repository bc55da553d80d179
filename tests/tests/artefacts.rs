//! Compiled rules are kept and taken back, and nothing is loaded that was changed in between.

use watchpost_policies::{ArtefactError, ArtefactKey, Refusal, RuleModule};
use watchpost_tests::guests::{HOSTILE, THRESHOLD, engine, engine_with, rules};
use watchpost_tests::sample::machine;

fn key() -> ArtefactKey {
    ArtefactKey::new([7; 32])
}

fn restore(artefact: &[u8], key: &ArtefactKey) -> Result<(), ArtefactError> {
    let engine = engine();
    let (module, restored) = RuleModule::restore(&engine, THRESHOLD, artefact, key).expect("it is a rule");
    // Either way there is a rule, and it judges.
    let rule = module.with_settings("{}").expect("the settings are taken");
    let report = rules(&engine, Some(rule), None).judge(&machine(95.0, 0.0, 0.0), None);
    assert!(report.faults().is_empty() && report.findings().len() == 5);
    restored
}

fn artefact() -> Vec<u8> {
    let module = RuleModule::compile(&engine(), THRESHOLD).expect("it is a rule");
    module.artefact(&key()).expect("it can be kept")
}

#[test]
fn an_artefact_comes_back_in_another_engine_of_the_same_kind() {
    assert_eq!(restore(&artefact(), &key()), Ok(()));
}

#[test]
fn a_changed_artefact_is_not_loaded_wherever_it_was_changed() {
    let whole = artefact();
    let places = [0, 15, 16, 47, 48, 100, whole.len() / 2, whole.len() - 1];
    for at in places {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        let expected = if at < 16 {
            ArtefactError::NotAnArtefact
        } else {
            ArtefactError::WrongSeal
        };
        assert_eq!(restore(&changed, &key()), Err(expected), "changed at {at}");
    }
}

#[test]
fn what_is_cut_off_or_something_else_is_not_loaded() {
    let whole = artefact();
    assert_eq!(restore(&[], &key()), Err(ArtefactError::NotAnArtefact));
    assert_eq!(restore(b"watchpost-rule-1", &key()), Err(ArtefactError::NotAnArtefact));
    assert_eq!(
        restore(&whole[..whole.len() - 1], &key()),
        Err(ArtefactError::WrongSeal)
    );
    assert_eq!(restore(THRESHOLD, &key()), Err(ArtefactError::NotAnArtefact));
}

#[test]
fn an_artefact_under_another_key_is_not_loaded() {
    assert_eq!(
        restore(&artefact(), &ArtefactKey::new([8; 32])),
        Err(ArtefactError::WrongSeal)
    );
    assert_eq!(format!("{:?}", key()), "ArtefactKey(…)");
}

#[test]
fn an_artefact_of_another_rule_is_not_loaded() {
    let other = RuleModule::compile(&engine(), HOSTILE).expect("it is a rule");
    let other = other.artefact(&key()).expect("it can be kept");
    assert_eq!(restore(&other, &key()), Err(ArtefactError::WrongSeal));
}

#[test]
fn the_stack_belongs_to_the_running_engine_and_not_to_the_code() {
    let other = engine_with(|limits| limits.stack_bytes = 256 << 10);
    let module = RuleModule::compile(&other, THRESHOLD).expect("it is a rule");
    let artefact = module.artefact(&key()).expect("it can be kept");
    assert_eq!(restore(&artefact, &key()), Ok(()));
}

#[test]
fn an_artefact_does_not_bring_in_a_rule_that_is_too_large() {
    let small = engine_with(|limits| limits.component_bytes = THRESHOLD.len() - 1);
    let refused = RuleModule::restore(&small, THRESHOLD, &artefact(), &key()).expect_err("refused");
    assert!(matches!(refused, Refusal::TooLarge { .. }), "{refused}");
}
