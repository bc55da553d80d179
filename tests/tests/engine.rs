//! What the engine is by itself: where instances live, how many there are, that it answers the same every
//! time, and that every limit can be obeyed.

use std::process::Command;

use watchpost_policies::{Allocation, Limits, Misbehaviour, Severity};
use watchpost_tests::guests::{HOSTILE, engine, engine_with, rule, rules};
use watchpost_tests::sample::{file_systems, machine};

#[test]
fn instances_live_in_a_pool_where_there_is_room() {
    assert_eq!(engine().allocation(), &Allocation::Pooling);
}

/// A process of its own, for its address space is made small: as on boards whose processor has 39 bits, the
/// pool does not fit, and rules judge all the same.
#[test]
fn where_address_space_is_small_instances_are_made_one_by_one() {
    if std::env::var_os("SMALL").is_some() {
        let engine = engine();
        assert!(
            matches!(engine.allocation(), Allocation::OnDemand { why } if !why.is_empty()),
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
        return;
    }
    let this = std::env::current_exe().expect("a test is a program");
    let limit = format!("ulimit -v 8000000 && exec '{}' --exact {NAME}", this.display());
    const NAME: &str = "where_address_space_is_small_instances_are_made_one_by_one";
    let output = Command::new("sh")
        .args(["-c", &limit])
        .env("SMALL", "1")
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
fn the_same_snapshot_gets_the_same_findings_in_every_engine() {
    let snapshot = file_systems(300);
    let judged = || serde_json::to_string(rules(&engine(), None, None).judge(&snapshot, None).findings());
    assert_eq!(judged().expect("it is JSON"), judged().expect("it is JSON"));
}

#[test]
fn what_stays_within_the_limits_is_served() {
    let check = |way: &str, count: usize, change: fn(&mut Limits)| {
        let engine = engine_with(change);
        let settings = format!(r#"{{"do": "{way}", "count": {count}}}"#);
        let set = rules(&engine, Some(rule(&engine, HOSTILE, &settings)), None);
        let series = if way == "many-findings" { count } else { 1 };
        let report = set.judge(&file_systems(series), None);
        report.faults().first().map(|fault| fault.misbehaviour.clone())
    };
    let too_many = |what, count, limit| Some(Misbehaviour::TooMany { what, count, limit });
    assert_eq!(check("many-findings", 10_000, |_| {}), None);
    let one_more = check("many-findings", 10_001, |_| {});
    assert_eq!(one_more, too_many("findings", 10_001, 10_000));

    assert_eq!(check("long-sentence", 2048, |_| {}), None);
    let one_more = check("long-sentence", 2049, |_| {});
    assert_eq!(one_more, too_many("bytes in a sentence", 2049, 2048));

    assert_eq!(check("take", 4 << 20, |limits| limits.memory_bytes = 6 << 20), None);
    let more = check("take", 6 << 20, |limits| limits.memory_bytes = 6 << 20);
    assert_eq!(more, Some(Misbehaviour::OutOfMemory { limit_bytes: 6 << 20 }));

    assert_eq!(check("long-sentence", 1000, |limits| limits.answer_bytes = 2000), None);
    let more = check("long-sentence", 1000, |limits| limits.answer_bytes = 900);
    assert_eq!(more, Some(Misbehaviour::AnswerTooLarge { limit_bytes: 900 }));
}
