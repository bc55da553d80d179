//! Compiled rules are stored as sealed artefacts and loaded again; a changed artefact is never loaded.

use watchpost_policies::{ArtefactError, ArtefactKey, ComponentError, Digest, Recipe, RecipeError, RuleModule};
use watchpost_tests::crafted::{CONTRACT, of_world};
use watchpost_tests::guests::{HOSTILE, THRESHOLD, engine, engine_with, rules};
use watchpost_tests::sample::machine;

fn key() -> ArtefactKey {
    ArtefactKey::new([7; 32])
}

fn load(artefact: &[u8], key: &ArtefactKey) -> Result<(), ArtefactError> {
    let engine = engine();
    let module = RuleModule::load(&engine, Digest::of(THRESHOLD), artefact, key)?.expect("it is a rule");
    let rule = module.with_settings("{}").expect("the settings are taken");
    let report = rules(&engine, Some(rule), None).judge(&machine(95.0, 0.0, 0.0), None);
    assert!(report.faults().is_empty() && report.findings().len() == 5);
    Ok(())
}

fn artefact() -> Vec<u8> {
    let module = RuleModule::compile(&engine(), THRESHOLD).expect("it is a rule");
    module.artefact(&key()).expect("it can be kept")
}

#[test]
fn an_artefact_is_loaded_by_another_engine_with_the_same_configuration() {
    assert_eq!(load(&artefact(), &key()), Ok(()));
}

#[test]
fn code_that_was_compiled_by_an_engines_recipe_is_loaded_by_that_engine() {
    let engine = engine();
    let written = serde_json::to_string(&engine.recipe()).expect("it is JSON");
    let recipe: Recipe = serde_json::from_str(&written).expect("it is a recipe");
    let artefact = recipe.compile(THRESHOLD, &key()).expect("it is a component");
    let load = |artefact: &[u8], digest| RuleModule::load(&engine, digest, artefact, &key());
    let module = load(&artefact, Digest::of(THRESHOLD))
        .expect("it is loaded")
        .expect("it is taken");
    assert_eq!(module.manifest().name, "threshold");
    assert_eq!(
        load(&artefact, Digest::of(HOSTILE)).expect_err("of another rule"),
        ArtefactError::WrongSeal
    );
    let for_another = Recipe {
        is_pooled: false,
        ..recipe
    };
    let artefact = for_another.compile(THRESHOLD, &key()).expect("it is a component");
    let refused = load(&artefact, Digest::of(THRESHOLD)).expect_err("for another engine");
    assert_eq!(refused, ArtefactError::WrongSeal);
}

#[test]
fn a_recipe_reports_an_invalid_component_without_running_it() {
    let recipe = engine().recipe();
    let broken = recipe.compile(&THRESHOLD[..THRESHOLD.len() / 2], &key());
    assert!(matches!(broken, Err(RecipeError::Invalid { reason }) if !reason.is_empty()));
    // Its `describe` would trap.
    let trapping = of_world(CONTRACT, "threshold");
    let artefact = recipe.compile(&trapping, &key()).expect("it is a component");
    let loaded = RuleModule::load(&engine(), Digest::of(&trapping), &artefact, &key());
    let refused = loaded.expect("it is loaded").expect_err("it traps");
    assert!(matches!(refused, ComponentError::Fault { .. }), "{refused}");
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
        assert_eq!(load(&changed, &key()), Err(expected), "changed at {at}");
    }
}

#[test]
fn truncated_or_foreign_files_are_not_loaded() {
    let whole = artefact();
    assert_eq!(load(&[], &key()), Err(ArtefactError::NotAnArtefact));
    assert_eq!(load(b"watchpost-rule-1", &key()), Err(ArtefactError::NotAnArtefact));
    assert_eq!(load(&whole[..whole.len() - 1], &key()), Err(ArtefactError::WrongSeal));
    assert_eq!(load(THRESHOLD, &key()), Err(ArtefactError::NotAnArtefact));
}

#[test]
fn an_artefact_under_another_key_is_not_loaded() {
    assert_eq!(
        load(&artefact(), &ArtefactKey::new([8; 32])),
        Err(ArtefactError::WrongSeal)
    );
    assert_eq!(format!("{:?}", key()), "ArtefactKey(…)");
}

#[test]
fn an_artefact_of_another_rule_is_not_loaded() {
    let other = RuleModule::compile(&engine(), HOSTILE).expect("it is a rule");
    let other = other.artefact(&key()).expect("it can be kept");
    assert_eq!(load(&other, &key()), Err(ArtefactError::WrongSeal));
}

#[test]
fn the_stack_belongs_to_the_running_engine_and_not_to_the_code() {
    let other = engine_with(|limits| limits.stack_bytes = 256 << 10);
    let module = RuleModule::compile(&other, THRESHOLD).expect("it is a rule");
    let artefact = module.artefact(&key()).expect("it can be kept");
    assert_eq!(load(&artefact, &key()), Ok(()));
}
