//! Components that are not rules are refused with the reason and a remedy, before any of their code runs or in the
//! first call.

use watchpost_policies::{Call, ComponentError, Kind, Misbehaviour, RuleModule};
use watchpost_tests::crafted::{CONTRACT, manifest, of_world, threshold, wat};
use watchpost_tests::guests::{HOSTILE, ROLE, THRESHOLD, engine, engine_with};

fn refusal(wasm: &[u8]) -> ComponentError {
    RuleModule::compile(&engine(), wasm).expect_err("it is refused")
}

/// Imports and exports are checked without compiling, which takes ten seconds for a rule in Python.
#[test]
fn imports_and_exports_are_checked_before_compiling() {
    let engine = engine();
    let check = |wit: &str| engine.check_bytes(&of_world(wit, "other"));
    let needy = format!("{CONTRACT}\nworld other {{ import log: func(line: string); export threshold-rule; }}");
    assert!(matches!(check(&needy), Err(ComponentError::Import { name, .. }) if name == "log"));
    let types = format!("{CONTRACT}\nworld other {{ use threshold-rule.{{severity}}; export threshold-rule; }}");
    assert!(matches!(check(&types), Err(ComponentError::Import { .. })));
    let nothing = format!("{CONTRACT}\nworld other {{ export run: func(); }}");
    assert_eq!(
        check(&nothing),
        Err(ComponentError::WrongExports { exports: Vec::new() })
    );
    let later = CONTRACT.replace("package watchpost:rules@1.0.0", "package watchpost:rules@1.1.0");
    assert!(matches!(
        engine.check_bytes(&of_world(&later, "threshold")),
        Err(ComponentError::WrongVersion { .. })
    ));
    for taken in [THRESHOLD, ROLE, HOSTILE] {
        assert_eq!(engine.check_bytes(taken), Ok(()));
    }
}

#[test]
fn the_built_in_rules_have_their_manifests() {
    for (wasm, name, kind) in [(THRESHOLD, "threshold", Kind::Threshold), (ROLE, "role", Kind::Role)] {
        let module = RuleModule::compile(&engine(), wasm).expect("it is taken");
        assert_eq!((module.manifest().name.as_str(), module.kind()), (name, kind));
        assert!(module.manifest().settings_schema["properties"].is_object());
    }
}

#[test]
fn random_bytes_and_other_files_are_not_webassembly() {
    assert_eq!(refusal(b""), ComponentError::NotWebAssembly);
    assert_eq!(refusal(b"#!/bin/sh\necho hello\n"), ComponentError::NotWebAssembly);
    let noise: Vec<u8> = (0..10_000u32)
        .map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()[2])
        .collect();
    assert_eq!(refusal(&noise), ComponentError::NotWebAssembly);
    let behind_a_header = [b"\0asm\x0d\0\x01\0".as_slice(), &noise].concat();
    assert!(matches!(
        refusal(&behind_a_header),
        ComponentError::Truncated | ComponentError::Invalid { .. }
    ));
}

#[test]
fn a_core_module_is_refused_with_the_way_to_pack_it() {
    let core = wat::parse_str("(module)").expect("legal WAT");
    let refused = refusal(&core);
    assert!(matches!(refused, ComponentError::CoreModule { .. }), "{refused:?}");
    assert!(refused.to_string().contains("watchpost rules pack"));
}

#[test]
fn a_truncated_file_is_reported_as_truncated() {
    for length in [3, 8 + 1, 100, HOSTILE.len() / 2, HOSTILE.len() - 1] {
        assert_eq!(
            refusal(&HOSTILE[..length]),
            ComponentError::Truncated,
            "cut at {length}"
        );
    }
}

#[test]
fn a_component_that_breaks_webassembly_is_invalid() {
    let mut broken = HOSTILE.to_vec();
    let code = broken.len() / 3;
    broken[code..code + 64].fill(0xff);
    assert!(matches!(
        refusal(&broken),
        ComponentError::Invalid { .. } | ComponentError::Truncated
    ));
}

#[test]
fn an_import_is_reported_with_the_way_to_remove_it() {
    let check = |import: &str, remedy: &str| {
        let wit = format!("{CONTRACT}\nworld needy {{ {import} export threshold-rule; }}");
        let ComponentError::Import { name, remedy: actual } = refusal(&of_world(&wit, "needy")) else {
            panic!("{import}");
        };
        assert!(actual.contains(remedy), "{name}: {actual}");
    };
    check("import log: func(line: string);", "as arguments");
    check("import role-rule;", "check the world");

    // A package that toolchains add.
    let wasi = "package wasi:clocks@0.2.3; interface wall-clock { now: func() -> u64; }
        world needy { import wall-clock; export run: func(); }";
    let ComponentError::Import { name, remedy } = refusal(&of_world(wasi, "needy")) else {
        panic!("an import");
    };
    assert_eq!(name, "wasi:clocks/wall-clock@0.2.3");
    assert!(
        remedy.contains("--stub-wasi") && remedy.contains("disableFeatures"),
        "{remedy}"
    );
}

#[test]
fn a_component_of_another_world_is_refused_with_the_known_worlds() {
    let other = "package acme:things@1.0.0; interface thing { run: func(); } world other { export thing; }";
    let refused = refusal(&of_world(other, "other"));
    assert_eq!(
        refused,
        ComponentError::WrongExports {
            exports: vec!["acme:things/thing@1.0.0".to_owned()]
        }
    );
    let both = format!("{CONTRACT}\nworld both {{ export threshold-rule; export role-rule; }}");
    assert!(
        matches!(refusal(&of_world(&both, "both")), ComponentError::WrongExports { exports } if exports.len() == 2)
    );
}

#[test]
fn names_of_a_component_are_truncated_in_messages() {
    let interface = |at: usize| format!("interface i{at} {{ run: func(); }}");
    let interfaces: Vec<_> = (0..40).map(interface).collect();
    let exports: Vec<_> = (0..40).map(|at| format!("export i{at};")).collect();
    let many = format!(
        "package acme:things@1.0.0; {} world other {{ {} }}",
        interfaces.join(" "),
        exports.join(" ")
    );
    let ComponentError::WrongExports { exports } = refusal(&of_world(&many, "other")) else {
        panic!("another world");
    };
    assert_eq!((exports.len(), exports[12].as_str()), (13, "28 more"));

    let long = "x".repeat(5000);
    let wit = format!("{CONTRACT}\nworld needy {{ import {long}: func(); export threshold-rule; }}");
    let ComponentError::Import { name, .. } = refusal(&of_world(&wit, "needy")) else {
        panic!("an import");
    };
    assert_eq!(name.len(), 200);

    let named = format!(r#"(func $"{long}\n" unreachable)"#);
    let trapping = threshold(&wat(1, &format!(r#"(call $"{long}\n") unreachable"#), &named));
    let Misbehaviour::Trap { frames, .. } = fault_in_describe(&trapping) else {
        panic!("a trap");
    };
    assert!(!frames.is_empty());
    assert!(frames.iter().all(|frame| frame.len() <= 200), "{frames:?}");
}

#[test]
fn a_rule_for_another_contract_version_is_refused_with_the_supported_one() {
    for version in ["0.9.0", "1.1.0", "2.0.0"] {
        let wit = CONTRACT.replace("watchpost:rules@1.0.0", &format!("watchpost:rules@{version}"));
        let refused = refusal(&of_world(&wit, "threshold"));
        let found = format!("watchpost:rules/threshold-rule@{version}");
        assert_eq!(refused, ComponentError::WrongVersion { found, spoken: "1.0" });
    }
}

#[test]
fn a_rule_for_a_contract_version_that_differs_in_comments_only_is_accepted() {
    let wit = CONTRACT.replace("watchpost:rules@1.0.0", "watchpost:rules@1.0.7");
    let refused = refusal(&of_world(&wit, "threshold"));
    // All of its functions trap, so the first call, `describe`, fails after every check of the contract has passed.
    assert!(
        matches!(&refused, ComponentError::Fault { fault } if fault.call == Call::Describe),
        "{refused}"
    );
}

#[test]
fn exports_with_other_types_are_refused() {
    let other_type = CONTRACT.replacen("value: f64", "value: f32", 1);
    assert_ne!(other_type, CONTRACT);
    assert!(matches!(
        refusal(&of_world(&other_type, "threshold")),
        ComponentError::WrongTypes { .. }
    ));
    let missing = CONTRACT.replacen("describe: func() -> manifest;", "", 1);
    let refused = refusal(&of_world(&missing, "threshold"));
    assert!(
        matches!(&refused, ComponentError::WrongTypes { reason, .. } if reason.contains("describe")),
        "{refused}"
    );
}

#[test]
fn a_component_may_be_as_large_as_the_limit_and_no_larger() {
    let with_limit = |limit| {
        let engine = engine_with(|limits| limits.component_bytes = limit);
        RuleModule::compile(&engine, HOSTILE)
    };
    assert!(with_limit(HOSTILE.len()).is_ok());
    let refused = with_limit(HOSTILE.len() - 1).expect_err("refused");
    assert!(matches!(refused, ComponentError::TooLarge { .. }), "{refused}");
}

fn fault_in_describe(wasm: &[u8]) -> Misbehaviour {
    let refused = refusal(wasm);
    let ComponentError::Fault { fault } = refused else {
        panic!("{refused}");
    };
    assert_eq!(fault.call, Call::Describe);
    assert!(fault.rule.starts_with("sha256:"), "{}", fault.rule);
    fault.misbehaviour
}

#[test]
fn a_rule_that_never_returns_from_describe_is_stopped() {
    let endless = threshold(&wat(1, "(loop br 0) unreachable", ""));
    assert_eq!(fault_in_describe(&endless), Misbehaviour::Timeout { limit_ms: 500 });
}

#[test]
fn a_rule_that_never_finishes_its_start_function_is_stopped() {
    let eager = threshold(&wat(1, "unreachable", "(func $forever (loop br 0)) (start $forever)"));
    assert_eq!(fault_in_describe(&eager), Misbehaviour::Timeout { limit_ms: 500 });
}

#[test]
fn a_rule_with_too_much_initial_memory_is_refused() {
    let refused = refusal(&threshold(&wat(20_000, "unreachable", "")));
    assert!(
        matches!(&refused, ComponentError::Invalid { reason } if reason.contains("memory")),
        "{refused}"
    );
}

#[test]
fn a_rule_with_too_large_a_table_is_refused() {
    let refused = refusal(&threshold(&wat(1, "unreachable", "(table 1000000 funcref)")));
    assert!(
        matches!(&refused, ComponentError::Invalid { reason } if reason.contains("table")),
        "{refused}"
    );
}

#[test]
fn a_table_may_not_grow_beyond_the_limit() {
    let grow = "(drop (table.grow 0 (ref.null func) (i32.const 1000000))) unreachable";
    let greedy = threshold(&wat(1, grow, "(table 1 funcref)"));
    let expected = Misbehaviour::TableTooLarge {
        limit_elements: 100_000,
    };
    assert_eq!(fault_in_describe(&greedy), expected);
}

#[test]
fn an_answer_that_cannot_be_read_is_a_fault() {
    let answering = |texts, data: &str| {
        let extra = format!("{} {data}", manifest(texts));
        fault_in_describe(&threshold(&wat(1, "i32.const 2048", &extra)))
    };
    let outside = answering([(u32::MAX - 8, 100), (0, 0), (0, 0), (0, 0)], "");
    assert!(matches!(outside, Misbehaviour::UndecodableResult { .. }), "{outside}");
    let not_utf8 = answering(
        [(3000, 2), (0, 0), (0, 0), (0, 0)],
        r#"(data (i32.const 3000) "\ff\fe")"#,
    );
    assert!(matches!(not_utf8, Misbehaviour::UndecodableResult { .. }), "{not_utf8}");
}

#[test]
fn an_invalid_manifest_is_refused_with_the_field() {
    let answering = |name: &str, schema: &str| {
        let text = format!(
            r#"(data (i32.const 3000) "{}") (data (i32.const 3500) "{schema}")"#,
            name
        );
        let length = |text: &str| u32::try_from(text.len()).expect("short");
        let texts = [(3000, length(name)), (3000, 1), (3000, 1), (3500, length(schema))];
        let extra = format!("{} {text}", manifest(texts));
        RuleModule::compile(&engine(), &threshold(&wat(1, "i32.const 2048", &extra)))
    };
    let field = |refused: ComponentError| match refused {
        ComponentError::Fault { fault } => match fault.misbehaviour {
            Misbehaviour::InvalidManifest { field, .. } => field,
            other => panic!("{other}"),
        },
        other => panic!("{other}"),
    };
    assert!(answering("disk-forecast", "{}").is_ok());
    assert_eq!(field(answering("Disk Forecast", "{}").expect_err("refused")), "name");
    assert_eq!(field(answering("", "{}").expect_err("refused")), "name");
    assert_eq!(field(answering("../../etc", "{}").expect_err("refused")), "name");
    assert_eq!(
        field(answering("disk", "not JSON").expect_err("refused")),
        "settings schema"
    );
    assert_eq!(field(answering("disk", "[]").expect_err("refused")), "settings schema");
}

/// A simple version of the fuzz target in `tests/fuzz`: thousands of mutations of a valid rule.
#[test]
fn no_corrupted_rule_breaks_the_engine() {
    let engine = engine_with(|limits| {
        limits.describe_ms = 20;
    });
    let good = threshold(&wat(1, "i32.const 2048", ""));
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed % below as u64).expect("it is below a usize")
    };
    for _ in 0..3000 {
        let mut broken = good.clone();
        for _ in 0..=random(4) {
            let at = random(broken.len());
            match random(3) {
                0 => broken[at] = u8::try_from(random(256)).expect("a byte"),
                1 => {
                    broken.remove(at);
                }
                _ => broken.insert(at, u8::try_from(random(256)).expect("a byte")),
            }
        }
        // Accepted or refused, in bounded time.
        if let Err(refused) = RuleModule::compile(&engine, &broken) {
            assert!(!refused.to_string().is_empty());
        }
    }
    assert!(RuleModule::compile(&engine, THRESHOLD).is_ok());
}
