//! Fuzz target: any bytes are accepted or refused as a rule in bounded time, and never crash the engine. `make fuzz`
//! runs it with valid rules as the initial corpus.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use watchpost_policies::{Engine, Limits, RuleModule};

static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    let limits = Limits {
        describe_ms: 50,
        instances: 1,
        ..Limits::default()
    };
    Engine::new(limits).expect("an engine starts")
});

fuzz_target!(|bytes: &[u8]| {
    if let Err(refusal) = RuleModule::compile(&ENGINE, bytes) {
        assert!(!refusal.to_string().is_empty());
    }
});
