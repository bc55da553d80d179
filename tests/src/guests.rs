//! The guests that the build script builds, and engines to run them.

use watchpost_policies::{Engine, Limits, Rule, RuleModule, RuleSet};

/// A threshold rule that misbehaves as its settings say.
pub const HOSTILE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/watchpost-hostile.wasm"));

/// A role rule that misbehaves as its settings say.
pub const LOCKOUT_RULE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/watchpost-lockout-rule.wasm"));

/// A threshold rule that reports the number of samples of each metric.
const NUMBERED_RULE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/watchpost-numbered-rule.wasm"));

/// The size of the rule above under any of its names.
pub const NUMBERED_BYTES: usize = NUMBERED_RULE.len();

/// A role rule that allows every request.
pub const ALLOW_ALL: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/watchpost-allow-all.wasm"));

/// The built-in rules.
pub use watchpost::rules::builtin::{ROLE, THRESHOLD};

/// An engine with the default limits.
pub fn engine() -> Engine {
    engine_with(|_| {})
}

/// An engine with changed limits.
pub fn engine_with(change: impl FnOnce(&mut Limits)) -> Engine {
    let mut limits = Limits::default();
    change(&mut limits);
    Engine::new(limits).expect("an engine starts")
}

/// A rule from these bytes with these settings.
pub fn rule(engine: &Engine, wasm: &[u8], settings: &str) -> Rule {
    let module = RuleModule::compile(engine, wasm).expect("the rule is taken");
    module.with_settings(settings).expect("the settings are taken")
}

/// Generation 1 of these rules; `None` is the built-in rule with default settings.
pub fn rules(engine: &Engine, threshold: Option<Rule>, role: Option<Rule>) -> RuleSet {
    let threshold = threshold.unwrap_or_else(|| rule(engine, THRESHOLD, "{}"));
    let role = role.unwrap_or_else(|| rule(engine, ROLE, "{}"));
    RuleSet::new(1, vec![threshold], role).expect("the rules make a set")
}

/// The numbered rule under another name and digest: the name is replaced in its bytes.
pub fn numbered(number: usize) -> Vec<u8> {
    replaced(
        NUMBERED_RULE.to_vec(),
        b"numbered-000",
        format!("numbered-{number:03}").as_bytes(),
    )
}

/// The numbered rule with this settings schema, whatever settings it accepts.
pub fn with_schema(number: usize, schema: &str) -> Vec<u8> {
    let mut room = [b' '; 4096];
    (room[0], room[4095]) = (b'{', b'}');
    replaced(numbered(number), &room, format!("{schema:4096}").as_bytes())
}

fn replaced(mut wasm: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len(), "there is only so much room");
    let places: Vec<usize> = (0..wasm.len() - from.len())
        .filter(|at| wasm[*at..].starts_with(from))
        .collect();
    assert!(!places.is_empty(), "it stands in the bytes");
    for at in places {
        wasm[at..at + to.len()].copy_from_slice(to);
    }
    wasm
}
