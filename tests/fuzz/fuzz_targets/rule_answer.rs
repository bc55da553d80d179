//! Fuzz target: a rule may answer `judge` with any memory, and the engine accepts valid findings or reports a fault. The
//! input is the memory that the rule returns, eight bytes for each sample that it receives.
#![no_main]

#[path = "../../src/crafted.rs"]
#[allow(dead_code, reason = "shared with the tests, which need more of it")]
mod crafted;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use watchpost_policies::{Engine, Labels, Limits, MetricName, Rule, RuleModule, Sample, Severity, Snapshot, Unit};

/// Copies the time of each sample of the first metric to address 65536, and returns that address as its answer. The
/// addresses below 65536 have the manifest at 2048, an empty plan at 4096, and the texts.
const COPY_TIMES: &str = r#"(module
    (memory (export "memory") 4)
    (global $heap (mut i32) (i32.const 131072))
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
        (global.set $heap (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
        (global.get $heap)
        (global.set $heap (i32.add (global.get $heap) (local.get 3)))
        (if (i32.gt_u (global.get $heap) (i32.const 262144)) (then unreachable)))
    (func (export "watchpost:rules/threshold-rule@1.0.0#describe") (result i32) i32.const 2048)
    (func (export "watchpost:rules/threshold-rule@1.0.0#check-settings") (param i32 i32) (result i32) i32.const 4096)
    (func (export "watchpost:rules/threshold-rule@1.0.0#judge")
        (param i32 i32 i64 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
        (local $from i32) (local $count i32) (local $to i32)
        (if (local.get 6) (then
            (local.set $from (i32.load offset=16 (local.get 5)))
            (local.set $count (i32.load offset=20 (local.get 5)))
            (local.set $to (i32.const 65536))
            (loop $next
                (i64.store (local.get $to) (i64.load offset=16 (local.get $from)))
                (local.set $from (i32.add (local.get $from) (i32.const 24)))
                (local.set $to (i32.add (local.get $to) (i32.const 8)))
                (local.set $count (i32.sub (local.get $count) (i32.const 1)))
                (br_if $next (local.get $count)))))
        i32.const 65536)
    MANIFEST
    (data (i32.const 3000) "fuzz1.0.0any{}m"))"#;

/// The rule needs room for its input and answer above address 131072.
const MAX_WORDS: usize = 1000;

static RULE: LazyLock<Rule> = LazyLock::new(|| {
    let limits = Limits {
        instances: 1,
        ..Limits::default()
    };
    let engine = Engine::new(limits).expect("an engine starts");
    let manifest = crafted::manifest([(3000, 4), (3004, 5), (3009, 3), (3012, 2)]);
    let component = crafted::threshold(&COPY_TIMES.replace("MANIFEST", &manifest));
    let module = RuleModule::compile(&engine, &component).expect("the component is a rule");
    module.with_settings("{}").expect("it accepts all settings")
});

fn snapshot(words: &[u8]) -> Snapshot {
    let metric = MetricName::new("m").expect("a legal name");
    let sample = |(at, word): (usize, &[u8])| {
        let mut bytes = [0; 8];
        bytes[..word.len()].copy_from_slice(word);
        let labels = Labels::new([("n", format!("{at:04}"))]).expect("legal labels");
        let time = u64::from_le_bytes(bytes);
        Sample::new(metric.clone(), labels, 1.0, Unit::new(""), time).expect("a finite value")
    };
    let samples = words.chunks(8).take(MAX_WORDS).enumerate().map(sample).collect();
    Snapshot::new("edge-1".to_owned(), 1, Labels::none(), samples, Vec::new())
}

fuzz_target!(|bytes: &[u8]| {
    let snapshot = snapshot(bytes);
    match RULE.judge_alone(&snapshot, &[]) {
        Ok((findings, _)) => {
            for finding in findings {
                assert!(finding.severity == Severity::Ok || !finding.message.is_empty());
                assert!(finding.value.is_none_or(f64::is_finite) && finding.limit.is_none_or(f64::is_finite));
            }
        }
        Err(fault) => assert!(!fault.to_string().is_empty()),
    }
});
