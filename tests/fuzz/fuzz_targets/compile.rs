//! Any bytes are taken or refused as a rule, in bounded time, and never break the engine. `make fuzz` runs it, and
//! puts good rules into its corpus to begin with.
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
