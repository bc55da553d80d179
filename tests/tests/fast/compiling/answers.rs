//! Results of a compilation: a module, a refusal, or a module from the cache.

use std::path::Path;

use watchpost::rules::cache::Cache;
use watchpost::rules::compiler::{CompileError, Compiler};
use watchpost_policies::{ComponentError, Digest, RuleModule};
use watchpost_tests::crafted::{CONTRACT, of_world};
use watchpost_tests::guests::{HOSTILE, ROLE, THRESHOLD, engine, rules};
use watchpost_tests::sample::machine;
use watchpost_tests::server::program;

use super::{compile, options, run};

#[test]
fn a_component_is_compiled_in_the_sandbox_and_cached() {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = Cache::open(folder.path());
    let engine = engine();
    let first = Compiler::by_program(engine.clone(), cache, options(1), &program());
    let digest = Digest::of(THRESHOLD);
    assert!(!first.is_cached(digest));
    let compiled = compile(&first, THRESHOLD).expect("it is a rule");
    assert!(!compiled.from_cache && first.is_cached(digest));
    assert_eq!(
        (compiled.module.manifest().name.as_str(), compiled.module.digest()),
        ("threshold", digest)
    );
    let rule = compiled.module.with_settings("{}").expect("the settings are taken");
    let report = rules(&engine, Some(rule), None).judge(&machine(95.0, 0.0, 0.0), None);
    assert!(report.faults().is_empty() && report.findings().len() == 5, "{report:?}");

    let without_program = Compiler::by_program(engine, Cache::open(folder.path()), options(1), Path::new("/none"));
    assert!(compile(&without_program, THRESHOLD).expect("it is kept").from_cache);
    let broken = compile(&without_program, ROLE).expect_err("it is not kept").to_string();
    assert!(broken.contains("could not be started"), "{broken}");
}

#[test]
fn concurrent_uploads_of_one_component_compile_it_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let compiler = Compiler::by_program(engine(), Cache::open(folder.path()), options(2), &program());
    let both = run(async {
        let second = actix_web::rt::spawn({
            let compiler = compiler.clone();
            async move { compiler.module(ROLE.into()).await }
        });
        [
            compiler.module(ROLE.into()).await,
            second.await.expect("it does not panic"),
        ]
    });
    let kept = both.map(|compiled| compiled.expect("it is a rule").from_cache);
    assert_ne!(kept[0], kept[1], "one of the two, whichever was first");
}

#[test]
fn a_component_that_is_invalid_by_its_bytes_needs_no_sandbox() {
    let without_program = Compiler::by_program(engine(), None, options(3), Path::new("/none"));
    let refused = |wasm: Vec<u8>| match compile(&without_program, wasm) {
        Err(CompileError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(b"hello".to_vec()), ComponentError::NotWebAssembly);
    assert_eq!(refused(THRESHOLD[..1000].to_vec()), ComponentError::Truncated);
    let needy = format!("{CONTRACT}\nworld needy {{ import log: func(line: string); export threshold-rule; }}");
    assert!(matches!(refused(of_world(&needy, "needy")), ComponentError::Import { name, .. } if name == "log"));
}

#[test]
fn a_refusal_by_the_sandbox_or_the_rule_is_not_cached() {
    let folder = tempfile::tempdir().expect("a folder");
    let compiler = Compiler::by_program(engine(), Cache::open(folder.path()), options(4), &program());
    let mut broken = HOSTILE.to_vec();
    let code = broken.len() / 3;
    broken[code..code + 64].fill(0xff);
    assert_eq!(engine().check_bytes(&broken), Ok(()), "only a validator sees it");
    let same = RuleModule::compile(&engine(), &broken).expect_err("it is broken");
    let refused = compile(&compiler, broken).expect_err("it is broken");
    assert!(
        matches!(&refused, CompileError::Refused(refusal) if *refusal == same),
        "{refused}"
    );

    let trapping = of_world(CONTRACT, "threshold");
    let digest = Digest::of(&trapping);
    let refused = compile(&compiler, trapping).expect_err("it does not say who it is");
    assert!(
        matches!(&refused, CompileError::Refused(ComponentError::Fault { .. })),
        "{refused}"
    );
    assert!(!compiler.is_cached(digest));
}
