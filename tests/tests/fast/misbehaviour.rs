//! Every misbehaviour of a rule is a fault with a name, and the engine works normally afterwards.

use watchpost_policies::{
    Action, Call, Engine, Fault, Identity, Limits, Misbehaviour, Report, Request, RuleModule, RuleSet, SettingsError,
    Severity, Verdict,
};
use watchpost_tests::guests::{HOSTILE, LOCKOUT_RULE, ROLE, THRESHOLD, engine, engine_with, rule, rules};
use watchpost_tests::isolated::isolated;
use watchpost_tests::sample::{NOW_MS, file_systems, machine};

/// Judges a snapshot by a rule with this misbehaviour and by the built-in rule.
fn judged(engine: &Engine, way: &str, count: usize) -> Report {
    let settings = format!(r#"{{"do": "{way}", "count": {count}}}"#);
    let thresholds = vec![rule(engine, HOSTILE, &settings), rule(engine, THRESHOLD, "{}")];
    let rules = RuleSet::new(1, thresholds, rule(engine, ROLE, "{}")).expect("the rules make a set");
    rules.judge(&machine(95.0, 10.0, 10.0), None)
}

fn fault(engine: &Engine, way: &str, count: usize) -> Fault {
    let report = judged(engine, way, count);
    let [fault] = report.faults() else {
        panic!("{way}: {:?}", report.faults());
    };
    assert_eq!((fault.rule.as_str(), fault.call), ("hostile", Call::Judge));
    assert_eq!(
        fault.digest,
        RuleModule::compile(engine, HOSTILE).expect("it is taken").digest()
    );

    // The findings of the other rule are unaffected, and the fault is reported.
    let disk = report
        .findings()
        .iter()
        .find(|finding| finding.rule == "threshold" && finding.subject.metric == "disk");
    let disk = disk.expect("the disk is judged");
    assert_eq!(disk.severity, Severity::Alert, "{way}");
    assert_eq!(report.findings().len(), 6, "{way}");

    // Metrics without an earlier finding of the rule are unknown.
    let stand_in = &report.findings()[0];
    assert_eq!(
        (stand_in.rule.as_str(), stand_in.subject.to_string().as_str()),
        ("hostile", "disk"),
        "{way}"
    );
    assert_eq!(
        (stand_in.severity, stand_in.carried),
        (Severity::Unknown, true),
        "{way}"
    );

    // The engine works normally afterwards.
    assert!(judged(engine, "well", 0).faults().is_empty(), "after {way}");
    fault.clone()
}

fn check(way: &str, count: usize, expected: Misbehaviour) {
    let engine = engine();
    assert_eq!(fault(&engine, way, count).misbehaviour, expected, "{way}");
}

fn limits() -> Limits {
    Limits::default()
}

#[test]
fn an_endless_loop_is_stopped_in_time() {
    let limit_ms = limits().judge_ms;
    check("loop", 0, Misbehaviour::Timeout { limit_ms });
}

#[test]
fn endless_growth_ends_at_the_limit() {
    let limit_bytes = limits().memory_bytes as u64;
    check("grow", 0, Misbehaviour::OutOfMemory { limit_bytes });
}

#[test]
fn deep_recursion_ends_at_the_limit() {
    let limit_bytes = limits().stack_bytes as u64;
    check("recurse", 0, Misbehaviour::StackOverflow { limit_bytes });
}

/// The guest has a second stack in its linear memory, which may overflow first.
#[test]
fn an_overflow_of_the_guests_own_stack_is_reported_as_a_likely_cause() {
    let engine = engine();
    let fault = fault(&engine, "recurse-with-baggage", 0);
    assert!(fault.to_string().contains("often caused by a full stack"), "{fault}");
}

#[test]
fn a_trap_is_named() {
    let engine = engine();
    let misbehaviour = fault(&engine, "trap", 0).misbehaviour;
    assert!(
        matches!(&misbehaviour, Misbehaviour::Trap { trap, .. } if trap.contains("unreachable")),
        "{misbehaviour:?}"
    );
}

#[test]
fn a_panic_is_reported_with_its_message_and_location() {
    let engine = engine();
    let fault = fault(&engine, "panic", 0);
    let Misbehaviour::Panic { message } = &fault.misbehaviour else {
        panic!("{fault:?}");
    };
    assert!(message.starts_with("the disk of edge-1 is on fire ("), "{message}");
    assert!(message.contains("hostile/src/lib.rs:"), "{message}");
    assert!(
        fault
            .to_string()
            .starts_with("the rule hostile failed in judge: it panicked: the disk"),
        "{fault}"
    );
}

#[test]
fn a_very_long_panic_message_is_truncated() {
    let engine = engine();
    let Misbehaviour::Panic { message } = fault(&engine, "panic-at-length", 100_000).misbehaviour else {
        panic!("it panicked");
    };
    assert!(message.starts_with("long long"), "{message}");
    assert!(message.len() <= 1000, "{}", message.len());
}

#[test]
fn a_rule_may_return_an_error_with_a_sentence() {
    let message = "no basis for a judgement".to_owned();
    check("give-up", 0, Misbehaviour::ReturnedError { message });
}

#[test]
fn a_million_findings_are_refused() {
    let engine = engine_with(|limits| {
        limits.memory_bytes = 512 << 20;
        limits.judge_ms = 20_000;
    });
    let hostile = rule(&engine, HOSTILE, r#"{"do": "many-findings", "count": 1000000}"#);
    let report = rules(&engine, Some(hostile), None).judge(&file_systems(1_000_000), None);
    let limit_bytes = limits().result_bytes as u64;
    assert_eq!(
        report.faults()[0].misbehaviour,
        Misbehaviour::ResultTooLarge { limit_bytes }
    );
}

#[test]
fn a_finding_of_a_hundred_megabytes_is_refused() {
    let memory = limits().memory_bytes as u64;
    check(
        "long-message",
        100 << 20,
        Misbehaviour::OutOfMemory { limit_bytes: memory },
    );

    let engine = engine_with(|limits| {
        limits.memory_bytes = 256 << 20;
        limits.judge_ms = 20_000;
    });
    let misbehaviour = fault(&engine, "long-message", 100 << 20).misbehaviour;
    let limit_bytes = limits().result_bytes as u64;
    assert_eq!(misbehaviour, Misbehaviour::ResultTooLarge { limit_bytes });
}

/// Ten thousand findings may share one text of a megabyte; copies of it would take ten gigabytes.
#[test]
fn one_large_text_given_many_times_is_refused_before_it_is_copied() {
    let limit_bytes = limits().result_bytes as u64;
    check(
        "one-text-many-times",
        10_000,
        Misbehaviour::ResultTooLarge { limit_bytes },
    );
}

#[test]
fn findings_about_unknown_subjects_are_refused() {
    let subject = "unicorns".to_owned();
    check("unknown-metric", 0, Misbehaviour::UnknownSubject { subject });
    let subject = r#"disk{mountpoint="/no/such/place"}"#.to_owned();
    check("unknown-labels", 0, Misbehaviour::UnknownSubject { subject });
}

#[test]
fn a_subject_reported_as_missing_may_not_have_a_value_in_the_next_round() {
    let engine = engine();
    let second_round = |way: &str| {
        let settings = format!(r#"{{"do": "{way}"}}"#);
        let rules = rules(&engine, Some(rule(&engine, HOSTILE, &settings)), None);
        let first = rules.judge(&machine(95.0, 10.0, 10.0), None);
        assert!(first.faults().is_empty(), "{way}: {:?}", first.faults());
        let second = rules.judge(&machine(95.0, 10.0, 10.0), Some(&first));
        second.faults().first().map(|fault| fault.misbehaviour.clone())
    };
    assert_eq!(second_round("miss"), None);
    let subject = r#"disk{mountpoint="/invented"}"#.to_owned();
    assert_eq!(
        second_round("invent-later"),
        Some(Misbehaviour::UnknownSubject { subject })
    );
}

#[test]
fn two_findings_about_one_subject_are_refused() {
    let subject = "disk".to_owned();
    check("twice", 0, Misbehaviour::RepeatedSubject { subject });
}

#[test]
fn a_subject_that_names_a_label_twice_is_refused() {
    let what = "the label a is duplicated".to_owned();
    check("label-twice", 0, Misbehaviour::InvalidSubject { what });
}

#[test]
fn values_that_are_not_finite_are_refused() {
    let not_finite = |field, number: &str| Misbehaviour::NotFinite {
        subject: "disk".to_owned(),
        field,
        number: number.to_owned(),
    };
    check("nan", 0, not_finite("value", "NaN"));
    check("infinite", 0, not_finite("limit", "inf"));
}

#[test]
fn an_alert_without_a_sentence_is_refused() {
    let subject = "disk".to_owned();
    let same = subject.clone();
    check("silent", 0, Misbehaviour::NoMessage { subject });
    check("invisible", 0, Misbehaviour::NoMessage { subject: same });
}

#[test]
fn misbehaviour_in_check_settings_is_a_fault_too() {
    let engine = engine_with(|limits| {
        limits.describe_ms = 200;
        limits.memory_bytes = 4 << 20;
    });
    let module = RuleModule::compile(&engine, HOSTILE).expect("it is taken");
    let check = |settings: &str, expected: Misbehaviour| {
        let refusal = module.with_settings(settings).expect_err("refused");
        let SettingsError::Fault { fault } = refusal else {
            panic!("{refusal:?}");
        };
        assert_eq!((fault.call, fault.misbehaviour), (Call::CheckSettings, expected));
    };
    check(r#"{"check": "loop"}"#, Misbehaviour::Timeout { limit_ms: 200 });
    let reason = r#""no*t" is not a metric pattern: use a name, or a prefix followed by *"#.to_owned();
    check(r#"{"check": "invalid-plan"}"#, Misbehaviour::InvalidPlan { reason });
    let limit_bytes = 4 << 20;
    check(r#"{"check": "grow"}"#, Misbehaviour::OutOfMemory { limit_bytes });

    let refusal = module.with_settings("{\"do\": \"dance\"}").expect_err("refused");
    assert!(matches!(&refusal, SettingsError::Problems { problems } if problems[0].message.contains("dance")));
    assert!(module.with_settings("{}").is_ok());
}

#[test]
fn a_role_rule_that_misbehaves_denies() {
    let engine = engine_with(|limits| {
        limits.decide_ms = 200;
        limits.memory_bytes = 4 << 20;
    });
    let report = rules(&engine, None, None).before_the_first("edge-1", NOW_MS);
    let identity = Identity::of_token("ci");
    let check = |way: &str, expected: Misbehaviour| {
        let settings = format!(r#"{{"do": "{way}"}}"#);
        let rules = rules(&engine, None, Some(rule(&engine, LOCKOUT_RULE, &settings)));
        let asked = Request {
            resource: "session-7",
            ..Request::new(&identity, Action::HealthRead)
        };
        for _ in 0..2 {
            let decision = rules.decide(&asked, &report).expect("an instance is free");
            assert!(!decision.is_allowed(), "{way}");
            let Verdict::Fault { fault } = &decision.verdict else {
                panic!("{way}: {decision:?}");
            };
            assert_eq!((fault.rule.as_str(), fault.call), ("lockout", Call::Decide));
            let same = match (&fault.misbehaviour, &expected) {
                (Misbehaviour::Panic { message }, Misbehaviour::Panic { message: part }) => message.starts_with(part),
                (is, expected) => is == expected,
            };
            assert!(same, "{way}: {fault:?}");
        }
    };
    check("loop", Misbehaviour::Timeout { limit_ms: 200 });
    let limit_bytes = 4 << 20;
    check("grow", Misbehaviour::OutOfMemory { limit_bytes });
    let message = "who is session-7?".to_owned();
    check("panic", Misbehaviour::Panic { message });
    let message = "not today".to_owned();
    check("give-up", Misbehaviour::ReturnedError { message });
    check("silent", Misbehaviour::NoReason);
    check("invisible", Misbehaviour::NoReason);
    let too_many = |what, count, limit| Misbehaviour::TooMany { what, count, limit };
    check("many-roles", too_many("roles", 1000, 64));
    check(
        "long-reason",
        too_many("bytes in a reason", 80_000, limits().text_bytes),
    );
    check("long-role", too_many("bytes in the name of a role", 65, 64));

    let well = rules(&engine, None, Some(rule(&engine, LOCKOUT_RULE, "{}")));
    let asked = Request::new(&identity, Action::HealthRead);
    assert!(well.decide(&asked, &report).expect("an instance is free").is_allowed());
}

#[test]
fn role_names_are_sanitized_to_one_line() {
    let engine = engine();
    let rules = rules(
        &engine,
        None,
        Some(rule(&engine, LOCKOUT_RULE, r#"{"do": "rude-roles"}"#)),
    );
    let report = rules.before_the_first("edge-1", NOW_MS);
    let decision = rules.decide(&Request::new(&Identity::anonymous(), Action::HealthRead), &report);
    assert_eq!(decision.expect("an instance is free").roles, ["ad min"]);
}

/// Repeats the worst misbehaviours: the memory of an instance is freed each time.
#[test]
fn memory_is_freed_after_every_misbehaviour() {
    isolated(
        "misbehaviour::memory_is_freed_after_every_misbehaviour",
        misbehave_over_and_over,
    );
}

fn misbehave_over_and_over() {
    let engine = engine_with(|limits| limits.judge_ms = 50);
    let ways = [
        "grow",
        "recurse",
        "panic",
        "trap",
        "loop",
        "one-text-many-times",
        "long-message",
    ];
    let sets = ways.map(|way| {
        let settings = format!(r#"{{"do": "{way}", "count": 10000}}"#);
        rules(&engine, Some(rule(&engine, HOSTILE, &settings)), None)
    });
    let snapshot = machine(95.0, 10.0, 10.0);
    let misbehave = |times: usize| {
        for rules in sets.iter().cycle().take(times * sets.len()) {
            assert_eq!(rules.judge(&snapshot, None).faults().len(), 1);
        }
    };
    misbehave(3);
    let before = resident_bytes();
    misbehave(20);
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 8 << 20, "{} KiB stayed", grown >> 10);
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux has it");
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.expect("it names the resident pages") * 4096
}
