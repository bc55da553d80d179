//! Runs conformance cases against a rule in any language, as `watchpost rules test` does. The cases themselves are
//! files in `wasm-rules/conformance`.

use watchpost::rules::cases::{Cases, Runner};
use watchpost_policies::{Engine, RuleModule};

/// Runs all cases of a file against a component; returns the failures with their differences.
pub fn failures(engine: &Engine, wasm: &[u8], cases: &str) -> Vec<String> {
    let cases = Cases::read(cases).expect("the cases can be read");
    let module = match RuleModule::compile(engine, wasm) {
        Ok(module) => module,
        Err(refusal) => return vec![format!("it is refused: {refusal}")],
    };
    let outcomes = Runner::new(engine, module).expect("our own rule is taken").run(&cases);
    let failures = outcomes.into_iter().filter_map(|outcome| {
        let failure = outcome.failure?;
        Some(format!("{}: {failure}", outcome.name))
    });
    failures.collect()
}
