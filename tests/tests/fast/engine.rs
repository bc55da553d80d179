//! The engine: allocation and number of instances, deterministic results, and the range of every limit.

use std::path::Path;
use std::process::Command;

use watchpost_policies::{
    Allocation, ArtefactError, ArtefactKey, Digest, Engine, Limits, Misbehaviour, RuleModule, Severity,
};
use watchpost_tests::guests::{HOSTILE, THRESHOLD, engine, engine_with, rule, rules};
use watchpost_tests::sample::{file_systems, machine, sample, snapshot};

#[test]
fn instances_are_pooled_if_the_address_space_is_large_enough() {
    assert_eq!(engine().allocation(), &Allocation::Pooling);
}

/// Runs in a separate process with little address space, as on boards whose processor has 39 bits: the pool does not
/// fit, but rules work. Code that was compiled for the pool has no bounds checks, which are needed here, so it is not
/// loaded.
#[test]
fn with_little_address_space_instances_are_allocated_on_demand() {
    const NAME: &str = "engine::with_little_address_space_instances_are_allocated_on_demand";
    let key = ArtefactKey::new([7; 32]);
    if let Some(pooled) = std::env::var_os("POOLED_ARTEFACT") {
        let engine = engine();
        assert!(
            matches!(engine.allocation(), Allocation::OnDemand { reason } if !reason.is_empty()),
            "{engine:?}"
        );
        let report = rules(&engine, None, None).judge(&machine(95.0, 10.0, 10.0), None);
        assert!(report.faults().is_empty(), "{:?}", report.faults());
        assert_eq!(report.severity(), Severity::Alert);
        let hostile = rule(&engine, HOSTILE, r#"{"do": "grow"}"#);
        let report = rules(&engine, Some(hostile), None).judge(&machine(95.0, 10.0, 10.0), None);
        assert!(
            matches!(report.faults()[0].misbehaviour, Misbehaviour::OutOfMemory { .. }),
            "{report:?}"
        );
        let pooled = std::fs::read(pooled).expect("it was written");
        let refused = RuleModule::load(&engine, Digest::of(THRESHOLD), &pooled, &key).expect_err("for another engine");
        assert_eq!(refused, ArtefactError::WrongSeal);
        let own = engine.recipe().compile(THRESHOLD, &key).expect("it is a component");
        let loaded = RuleModule::load(&engine, Digest::of(THRESHOLD), &own, &key);
        assert!(loaded.expect("it was compiled for this engine").is_ok());
        return;
    }
    let module = RuleModule::compile(&engine(), THRESHOLD).expect("it is a rule");
    let pooled = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pooled-artefact");
    std::fs::write(&pooled, module.artefact(&key).expect("it can be kept")).expect("there is room");
    let this = std::env::current_exe().expect("a test is a program");
    let limited = format!("ulimit -v 8000000 && exec '{}' --exact {NAME}", this.display());
    let mut shell = Command::new("sh");
    let output = shell
        .args(["-c", &limited])
        .env("POOLED_ARTEFACT", &pooled)
        .output()
        .expect("a shell");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(said.contains("1 passed"), "{said}");
}

#[test]
fn invalid_limits_are_refused_by_name() {
    let message = |change: fn(&mut Limits)| {
        let mut limits = Limits::default();
        change(&mut limits);
        Engine::new(limits).expect_err("refused").to_string()
    };
    let none = message(|limits| limits.instances = 0);
    assert_eq!(none, "the limit instances is 0; it must be between 1 and 1000");
    assert!(message(|limits| limits.instance_wait_ms = u64::MAX).contains("instance_wait_ms"));
    type Change = fn(&mut Limits, usize);
    let changes: [(&str, Change); 7] = [
        ("component_bytes", |limits, to| limits.component_bytes = to),
        ("stack_bytes", |limits, to| limits.stack_bytes = to),
        ("memory_bytes", |limits, to| limits.memory_bytes = to),
        ("table_elements", |limits, to| limits.table_elements = to),
        ("result_bytes", |limits, to| limits.result_bytes = to),
        ("findings", |limits, to| limits.findings = to),
        ("text_bytes", |limits, to| limits.text_bytes = to),
    ];
    for (name, change) in changes {
        for outside in [0, 1000 - 1, usize::MAX] {
            let mut limits = Limits::default();
            change(&mut limits, outside);
            let message = Engine::new(limits).expect_err("refused").to_string();
            assert!(
                message.starts_with(&format!("the limit {name} is {outside};")),
                "{message}"
            );
        }
    }
    assert!(message(|limits| limits.decision_cache_entries = usize::MAX).contains("decision_cache_entries"));
}

#[test]
fn the_minimum_limits_are_enough_for_the_built_in_rules() {
    let engine = engine_with(|limits| {
        limits.text_bytes = 1600;
        limits.findings = 9000;
        limits.result_bytes = 5 << 20;
        limits.judge_ms = 20_000;
    });
    let rules = rules(&engine, None, None);
    let full = |at: usize| {
        let mountpoint = format!("/{at}{}", "\"".repeat(990));
        sample("disk", &[("mountpoint", &mountpoint)], 99.0, "percent")
    };
    let report = rules.judge(&snapshot((0..10_001).map(full).collect(), Vec::new()), None);
    assert!(report.faults().is_empty(), "{:?}", report.faults());
    assert!(report.findings().len() > 1000, "{}", report.findings().len());
    assert_eq!(report.severity(), Severity::Alert);
}

#[test]
fn the_same_snapshot_gets_the_same_findings_in_every_engine() {
    let snapshot = file_systems(300);
    let judged = || serde_json::to_string(rules(&engine(), None, None).judge(&snapshot, None).findings());
    assert_eq!(judged().expect("it is JSON"), judged().expect("it is JSON"));
}

#[test]
fn a_rule_within_the_limits_is_served() {
    fn check(way: &str, count: usize, change: impl FnOnce(&mut Limits)) -> Option<Misbehaviour> {
        let engine = engine_with(change);
        let settings = format!(r#"{{"do": "{way}", "count": {count}}}"#);
        let set = rules(&engine, Some(rule(&engine, HOSTILE, &settings)), None);
        let series = if way == "many-findings" { count } else { 1 };
        let report = set.judge(&file_systems(series), None);
        report.faults().first().map(|fault| fault.misbehaviour.clone())
    }
    let too_many = |what, count, limit| Some(Misbehaviour::TooMany { what, count, limit });
    assert_eq!(check("many-findings", 10_000, |_| {}), None);
    let one_more = check("many-findings", 10_001, |_| {});
    assert_eq!(one_more, too_many("findings", 10_001, 10_000));

    assert_eq!(check("long-message", 2048, |_| {}), None);
    let one_more = check("long-message", 2049, |_| {});
    assert_eq!(one_more, too_many("bytes in a message", 2049, 2048));

    assert_eq!(check("take", 4 << 20, |limits| limits.memory_bytes = 6 << 20), None);
    let more = check("take", 6 << 20, |limits| limits.memory_bytes = 6 << 20);
    assert_eq!(more, Some(Misbehaviour::OutOfMemory { limit_bytes: 6 << 20 }));

    const LEAST: usize = 5 << 20;
    let answer = |limits: &mut Limits| {
        limits.text_bytes = 2 * LEAST;
        limits.result_bytes = LEAST;
    };
    assert_eq!(check("long-message", LEAST - 1000, answer), None);
    let more = check("long-message", LEAST + 1000, answer);
    let limit_bytes = LEAST as u64;
    assert_eq!(more, Some(Misbehaviour::ResultTooLarge { limit_bytes }));
}
