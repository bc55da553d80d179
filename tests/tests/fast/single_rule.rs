//! A rule that is evaluated by itself has the same results as in a rule set.

use watchpost_policies::{Action, Misbehaviour, Request, Severity};
use watchpost_tests::guests::{ROLE, THRESHOLD, engine, rule, rules};
use watchpost_tests::sample::{developer, machine};

#[test]
fn a_threshold_rule_judges_as_in_a_set_round_after_round() {
    let engine = engine();
    let settings = r#"{"defaults": false, "thresholds": [{"metric": "disk", "alert": {"enter": 90, "clear": 80}}]}"#;
    let alone = rule(&engine, THRESHOLD, settings);
    let set = rules(&engine, Some(alone.clone()), None);
    let (mut last, mut report) = (Vec::new(), None);
    let mut severities = Vec::new();
    for disk in [95.0, 85.0, 75.0] {
        let judged = set.judge(&machine(disk, 0.0, 0.0), report.as_ref());
        let (found, cost) = alone.judge_alone(&machine(disk, 0.0, 0.0), &last).expect("no fault");
        assert_eq!(found, judged.findings());
        assert!(cost.memory_bytes > 0 && cost.rule == "threshold");
        severities.push(found[0].severity);
        (last, report) = (found, Some(judged));
    }
    assert_eq!(severities, [Severity::Alert, Severity::Alert, Severity::Ok]);
}

#[test]
fn a_role_rule_decides_as_in_a_set_and_is_shown_no_more() {
    let engine = engine();
    let settings = r#"{"while": [{"metric": "disk", "at_least": "alert", "deny": ["sessions.run"]}]}"#;
    let alone = rule(&engine, ROLE, settings);
    let set = rules(&engine, None, Some(alone.clone()));
    let ada = developer("ada", "user");
    for (disk, memory, allowed) in [(95.0, 10.0, false), (50.0, 99.0, true)] {
        let report = set.judge(&machine(disk, memory, 0.0), None);
        let request = Request::new(&ada, Action::SessionsRun);
        let decided = alone.decide_alone(&request, report.findings()).expect("it is idle");
        let (decision, cost) = decided.expect("no fault");
        let in_set = set.decide_uncached(&request, &report).expect("it is idle");
        assert_eq!((&decision.verdict, &decision.roles), (&in_set.verdict, &in_set.roles));
        assert_eq!(decision.is_allowed(), allowed);
        assert!(cost.memory_bytes > 0);
    }
}

#[test]
fn a_failing_single_rule_is_a_fault() {
    let engine = engine();
    let (threshold, role) = (rule(&engine, THRESHOLD, "{}"), rule(&engine, ROLE, "{}"));
    let judged = role
        .judge_alone(&machine(1.0, 1.0, 1.0), &[])
        .expect_err("a role rule judges nothing");
    assert!(
        matches!(judged.misbehaviour, Misbehaviour::UndecodableResult { .. }),
        "{judged}"
    );
    let ada = developer("ada", "user");
    let decided = threshold.decide_alone(&Request::new(&ada, Action::SessionsRun), &[]);
    let decided = decided
        .expect("it is idle")
        .expect_err("a threshold rule decides nothing");
    assert!(
        matches!(decided.misbehaviour, Misbehaviour::UndecodableResult { .. }),
        "{decided}"
    );
}
