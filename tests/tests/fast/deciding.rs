//! A generation decides requests: by the role rule, against what is not ok just now, and remembers what it
//! may.

use std::sync::Arc;
use std::thread;

use watchpost_policies::{Action, Busy, Identity, Labels, Report, Request, RuleModule, RuleSet, Verdict};
use watchpost_tests::guests::{HOSTILE, LOCKOUT_RULE, ROLE, THRESHOLD, engine, engine_with, rule, rules};
use watchpost_tests::sample::{NOW_MS, developer, machine};

const WHILE: &str = r#"{"while": [{"metric": "disk", "at_least": "alert", "deny": ["sessions.*"]}]}"#;

fn reason(verdict: &Verdict) -> &str {
    match verdict {
        Verdict::Deny { reason } => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_denial_says_who_may_not_do_what_and_why() {
    let engine = engine();
    let rules = rules(&engine, None, None);
    let report = rules.before_the_first("edge-1", NOW_MS);
    let check = |identity: &Identity, action, expected: &str| {
        let decision = rules
            .decide(&Request::new(identity, action), &report)
            .expect("nobody else is there");
        assert_eq!(reason(&decision.verdict), expected);
    };
    check(
        &Identity::anonymous(),
        Action::MetricsRead,
        "anonymous clients may not do metrics.read; present a client certificate or a token",
    );
    check(
        &developer("rob", "reader"),
        Action::RulesWrite,
        "CN=rob,OU=reader,O=Watchpost has the role reader, which does not allow rules.write",
    );
    check(
        &Identity::of_token("ci"),
        Action::RulesWrite,
        "the token ci has no role here, and rules.write needs one",
    );
}

#[test]
fn a_decision_names_the_rule_and_the_generation_it_was_made_by() {
    let engine = engine();
    let role = rule(&engine, ROLE, "{}");
    let digest = role.module().digest();
    let rules = RuleSet::new(7, vec![], role).expect("the rules make a set");
    let ada = developer("ada", "admin");
    let request = Request::new(&ada, Action::RulesWrite);
    let decision = rules
        .decide(&request, &rules.before_the_first("edge-1", NOW_MS))
        .expect("nobody else is there");
    assert!(decision.is_allowed());
    assert_eq!(
        (decision.generation, decision.rule.as_str(), decision.digest),
        (7, "role", digest)
    );
    let json = serde_json::to_value(&*decision).expect("it is JSON");
    assert_eq!(
        (&json["verdict"], &json["roles"][0]),
        (&"allow".into(), &"admin".into())
    );
}

#[test]
fn what_is_not_ok_takes_actions_away_until_it_is_ok_again() {
    let engine = engine();
    let rules = rules(&engine, None, Some(rule(&engine, ROLE, WHILE)));
    let user = developer("uma", "user");
    let may = |report: &Report, action| {
        let decision = rules
            .decide(&Request::new(&user, action), report)
            .expect("nobody else is there");
        decision.is_allowed()
    };
    let calm = rules.judge(&machine(50.0, 50.0, 50.0), None);
    let storm = rules.judge(&machine(95.0, 50.0, 50.0), Some(&calm));
    for _ in 0..2 {
        assert!(may(&calm, Action::SessionsRun));
        assert!(!may(&storm, Action::SessionsRun));
        assert!(may(&storm, Action::MetricsRead));
    }
    let decision = rules
        .decide(&Request::new(&user, Action::SessionsRun), &storm)
        .expect("nobody else is there");
    assert_eq!(
        reason(&decision.verdict),
        r#"disk{mountpoint="/"} is in alert: sessions.run is not allowed meanwhile"#
    );
}

/// A broken threshold rule must not lift what hangs on its findings.
#[test]
fn a_threshold_rule_that_breaks_lifts_no_ban() {
    let engine = engine();
    let well = rules(&engine, None, Some(rule(&engine, ROLE, WHILE)));
    let storm = well.judge(&machine(95.0, 0.0, 0.0), None);
    let hurried = engine_with(|limits| limits.judge_ms = 0);
    let many = format!(
        r#"{{"thresholds": [{}]}}"#,
        vec![r#"{"metric": "disk", "alert": 99}"#; 3000].join(",")
    );
    let broken = rules(
        &hurried,
        Some(rule(&hurried, THRESHOLD, &many)),
        Some(rule(&hurried, ROLE, WHILE)),
    );
    let report = broken.judge(&watchpost_tests::sample::file_systems(5000), Some(&storm));
    assert_eq!(report.faults().len(), 1);
    let user = developer("uma", "user");
    let decision = broken
        .decide(&Request::new(&user, Action::SessionsRun), &report)
        .expect("nobody else is there");
    assert!(!decision.is_allowed());
}

/// What is taken away while nobody knows is taken away before anybody can know, and where the rule that would know
/// is broken from the beginning.
#[test]
fn what_was_never_judged_is_unknown_to_the_role_rule() {
    let engine = engine();
    let at_least = |severity: &str| {
        let settings =
            format!(r#"{{"while": [{{"metric": "disk", "at_least": "{severity}", "deny": ["sessions.run"]}}]}}"#);
        rule(&engine, ROLE, &settings)
    };
    let user = developer("uma", "user");
    let allowed = |rules: &RuleSet, report: &Report| {
        let decision = rules.decide(&Request::new(&user, Action::SessionsRun), report);
        decision.expect("nobody else is there").is_allowed()
    };
    for (severity, expected) in [("unknown", false), ("warning", true)] {
        let trapping = rule(&engine, HOSTILE, r#"{"do": "trap"}"#);
        let broken = rules(&engine, Some(trapping), Some(at_least(severity)));
        let report = broken.judge(&machine(10.0, 10.0, 10.0), None);
        assert_eq!(report.faults().len(), 1);
        assert_eq!(allowed(&broken, &report), expected, "broken, {severity}");

        let well = rules(&engine, None, Some(at_least(severity)));
        let before = well.before_the_first("edge-1", NOW_MS);
        assert_eq!(allowed(&well, &before), expected, "before the first, {severity}");
        let first = well.judge(&machine(10.0, 10.0, 10.0), Some(&before));
        assert!(allowed(&well, &first), "{severity}");
    }
}

#[test]
fn a_role_rule_is_shown_only_the_standings_it_asked_for() {
    let engine = engine();
    let report = rules(&engine, None, None).judge(&machine(95.0, 95.0, 10.0), None);
    let shown = |metrics: &str| {
        let settings = format!(r#"{{"do": "tell", "metrics": {metrics}}}"#);
        let rules = rules(&engine, None, Some(rule(&engine, LOCKOUT_RULE, &settings)));
        let identity = Identity::anonymous();
        let decision = rules.decide(&Request::new(&identity, Action::HealthRead), &report);
        reason(&decision.expect("nobody else is there").verdict).to_owned()
    };
    assert!(!shown("[]").contains("threshold"));
    let disk = shown(r#"["disk"]"#);
    assert!(
        disk.contains("\"disk\"") && disk.contains("Alert") && !disk.contains("memory"),
        "{disk}"
    );
    assert!(shown(r#"["*"]"#).contains("memory"));
}

#[test]
fn everything_about_a_certificate_reaches_the_rule() {
    let engine = engine();
    let rules = rules(&engine, None, Some(rule(&engine, LOCKOUT_RULE, r#"{"do": "tell"}"#)));
    let ada = developer("ada", "admin");
    let facts = Labels::new([("listener", "public")]).expect("legal labels");
    let request = Request {
        resource: "disk-forecast",
        facts: &facts,
        ..Request::new(&ada, Action::RulesWrite)
    };
    let decision = rules
        .decide(&request, &rules.before_the_first("edge-1", NOW_MS))
        .expect("nobody else is there");
    let told = reason(&decision.verdict);
    let parts = [
        "\"CN=ada,OU=admin,O=Watchpost\"",
        "\"/O=Watchpost/OU=admin/CN=ada\"",
        "\"CN=Watchpost development CA,O=Watchpost\"",
        "\"rules.write\"",
        "\"disk-forecast\"",
        "\"listener\"",
    ];
    for part in parts {
        assert!(told.contains(part), "{part}\n{told}");
    }
}

#[test]
fn the_same_request_gets_the_same_answer_without_asking_again() {
    let engine = engine();
    let rules = rules(&engine, None, None);
    let calm = rules.judge(&machine(50.0, 50.0, 50.0), None);
    let ada = developer("ada", "admin");
    let request = Request::new(&ada, Action::RulesWrite);
    let first = rules.decide(&request, &calm).expect("nobody else is there");
    let again = rules.decide(&request, &calm).expect("nobody else is there");
    assert!(Arc::ptr_eq(&first, &again));
    // A change that the role rule did not ask about forgets nothing.
    let storm = rules.judge(&machine(95.0, 50.0, 50.0), None);
    let under_storm = rules.decide(&request, &storm).expect("nobody else is there");
    assert!(Arc::ptr_eq(&first, &under_storm));
    // Another generation remembers nothing.
    let next = RuleSet::new(2, vec![], rules.role().clone()).expect("the rules make a set");
    let decision = next.decide(&request, &calm).expect("nobody else is there");
    assert_eq!(decision.generation, 2);
}

#[test]
fn no_more_decisions_are_remembered_than_the_limit_allows() {
    let engine = engine_with(|limits| limits.decision_cache_entries = 0);
    let rules = rules(&engine, None, None);
    let report = rules.before_the_first("edge-1", NOW_MS);
    let ada = developer("ada", "admin");
    let request = Request::new(&ada, Action::RulesWrite);
    let first = rules.decide(&request, &report).expect("nobody else is there");
    let again = rules.decide(&request, &report).expect("nobody else is there");
    assert!(!Arc::ptr_eq(&first, &again));
    assert_eq!(first, again);
}

/// Exhaustion is "busy", and says nothing about the request.
#[test]
fn when_all_instances_are_taken_the_answer_is_busy_and_not_no() {
    let engine = engine_with(|limits| {
        limits.instances = 1;
        limits.instance_wait_ms = 20;
        limits.decide_ms = 3000;
    });
    let slow = rules(&engine, None, Some(rule(&engine, LOCKOUT_RULE, r#"{"do": "loop"}"#)));
    let quick = rules(&engine, None, None);
    let report = quick.before_the_first("edge-1", NOW_MS);
    let ada = developer("ada", "admin");
    thread::scope(|scope| {
        let holding = scope.spawn(|| slow.decide(&Request::new(&ada, Action::RulesRead), &report));
        let is_busy = || quick.decide_uncached(&Request::new(&ada, Action::RulesWrite), &report) == Err(Busy);
        while !is_busy() {
            assert!(
                !holding.is_finished(),
                "the slow rule held the only instance and nobody was told"
            );
        }
        let decision = holding.join().expect("it ends").expect("it had the instance");
        assert!(matches!(decision.verdict, Verdict::Fault { .. }));
    });
    let decision = quick
        .decide(&Request::new(&ada, Action::RulesWrite), &report)
        .expect("it is free again");
    assert!(decision.is_allowed());
}

#[test]
fn patience_is_enough_where_the_instance_is_soon_free() {
    let engine = engine_with(|limits| {
        limits.instances = 1;
        limits.instance_wait_ms = 10_000;
    });
    let rules = rules(&engine, None, None);
    let report = rules.before_the_first("edge-1", NOW_MS);
    let ada = developer("ada", "admin");
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let decision = rules.decide_uncached(&Request::new(&ada, Action::RulesWrite), &report);
                    assert!(decision.expect("patience is enough").is_allowed());
                }
            });
        }
    });
}

#[test]
fn mistakes_in_the_settings_are_named_with_what_there_is() {
    let engine = engine();
    let module = RuleModule::compile(&engine, ROLE).expect("it is taken");
    let told = |settings: &str| module.with_settings(settings).expect_err("refused").to_string();
    let misspelt = told(r#"{"roles": {"ops": ["rule.write"]}}"#);
    assert!(
        misspelt.contains("/roles/ops/0: rule.write is no action; the actions are health.read,"),
        "{misspelt}"
    );
    let empty = told(r#"{"identities": [{"match": {}, "roles": ["admin"]}]}"#);
    assert!(
        empty.contains("/identities/0/match: match at least one field"),
        "{empty}"
    );
}
