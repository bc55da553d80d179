//! Modules that were not built for Watchpost: they are refused quickly with the names of their imports, and the server
//! is not affected.

use std::time::{Duration, Instant};

use watchpost_policies::{Engine, Limits, RuleModule};
use watchpost_tests::rules::upload;
use watchpost_tests::server::{Server, tools};

#[test]
fn foreign_modules_are_refused_with_their_imports() {
    let server = Server::with("[rules.limits]\ncomponent_bytes = \"64MiB\"\n").ready();
    let admin = server.client("admin");
    let folder = std::fs::read_dir(tools().join("foreign-modules")).expect("`make test-all` has fetched them");
    let mut count = 0;
    for path in folder.map(|entry| entry.expect("readable").path()) {
        if path.extension().is_none_or(|ending| ending != "wasm") {
            continue;
        }
        let began = Instant::now();
        let problem = upload(&admin, &std::fs::read(&path).expect("readable")).problem(422);
        // This module has no imports, but is not a rule.
        let wants_nothing = path.display().to_string().contains("dprint");
        let expected = match wants_nothing {
            true => "it is a core module, and a rule is a component",
            false => "core module, which imports ",
        };
        assert!(problem.contains(expected), "{}: {problem}", path.display());
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "{}: {:?}",
            path.display(),
            began.elapsed()
        );
        count += 1;
    }
    assert!(count >= 15, "only {count} were fetched");
    assert_eq!(
        admin.get("/api/v1/rules").json()["rules"].as_array().map(Vec::len),
        Some(2),
        "none was kept"
    );
    let resident = server.resident_mb();
    assert!(resident < 400.0, "{resident} MB are resident after {count} of them");
}

#[test]
fn generated_modules_are_refused_each_with_a_sentence() {
    let engine = Engine::new(Limits::default()).expect("an engine starts");
    let mut reasons = std::collections::BTreeSet::new();
    for seed in 0..300 {
        let Some(wasm) = component(seed) else { continue };
        let refused = RuleModule::compile(&engine, &wasm).expect_err("it is no rule");
        let message = refused.to_string();
        assert!(message.len() > 20, "seed {seed}: {message}");
        reasons.insert(message.split(' ').take(2).collect::<Vec<_>>().join(" "));
    }
    assert!(
        reasons.len() >= 2,
        "they are refused for different reasons: {reasons:?}"
    );
}

/// A valid generated component, another one for each seed.
fn component(seed: u64) -> Option<Vec<u8>> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    let bytes: Vec<u8> = (0..4096).map(|_| random()).collect();
    let mut source = arbitrary::Unstructured::new(&bytes);
    let config = wasm_smith::Config::default();
    wasm_smith::Component::new(config, &mut source)
        .ok()
        .map(|component| component.to_bytes())
}
