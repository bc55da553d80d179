//! Decisions of a generation: by the role rule and the findings that are not ok, with a cache of decisions.

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
fn a_denial_has_the_client_the_action_and_the_reason() {
    let engine = engine();
    let rules = rules(&engine, None, None);
    let report = rules.before_the_first("edge-1", NOW_MS);
    let check = |identity: &Identity, action, expected: &str| {
        let decision = rules
            .decide(&Request::new(identity, action), &report)
            .expect("an instance is free");
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
        .expect("an instance is free");
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
fn a_while_clause_denies_actions_until_the_subject_is_ok_again() {
    let engine = engine();
    let rules = rules(&engine, None, Some(rule(&engine, ROLE, WHILE)));
    let user = developer("uma", "user");
    let may = |report: &Report, action| {
        let decision = rules
            .decide(&Request::new(&user, action), report)
            .expect("an instance is free");
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
        .expect("an instance is free");
    assert_eq!(
        reason(&decision.verdict),
        r#"disk{mountpoint="/"} is in alert: sessions.run is not allowed meanwhile"#
    );
}

/// A failing threshold rule must not lift denials that depend on its findings.
#[test]
fn a_failing_threshold_rule_lifts_no_denial() {
    let engine = engine();
    let well = rules(&engine, None, Some(rule(&engine, ROLE, WHILE)));
    let storm = well.judge(&machine(95.0, 0.0, 0.0), None);
    let hurried = engine_with(|limits| limits.judge_ms = 0);
    let many = format!(
        r#"{{"thresholds": [{}]}}"#,
        (0..3000)
            .map(|index| format!(r#"{{"metric": "disk", "labels": {{"mountpoint": "*{index}"}}, "alert": 99}}"#))
            .collect::<Vec<_>>()
            .join(",")
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
        .expect("an instance is free");
    assert!(!decision.is_allowed());
}

/// A clause from `unknown` on denies before the first round, and if the threshold rule fails from the start.
#[test]
fn a_subject_that_was_never_judged_is_unknown_to_the_role_rule() {
    let engine = engine();
    let at_least = |severity: &str| {
        let settings =
            format!(r#"{{"while": [{{"metric": "disk", "at_least": "{severity}", "deny": ["sessions.run"]}}]}}"#);
        rule(&engine, ROLE, &settings)
    };
    let user = developer("uma", "user");
    let allowed = |rules: &RuleSet, report: &Report| {
        let decision = rules.decide(&Request::new(&user, Action::SessionsRun), report);
        decision.expect("an instance is free").is_allowed()
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
fn a_role_rule_gets_only_the_standings_that_it_requested() {
    let engine = engine();
    let report = rules(&engine, None, None).judge(&machine(95.0, 95.0, 10.0), None);
    let shown = |metrics: &str| {
        let settings = format!(r#"{{"do": "echo", "metrics": {metrics}}}"#);
        let rules = rules(&engine, None, Some(rule(&engine, LOCKOUT_RULE, &settings)));
        let identity = Identity::anonymous();
        let decision = rules.decide(&Request::new(&identity, Action::HealthRead), &report);
        reason(&decision.expect("an instance is free").verdict).to_owned()
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
    let rules = rules(&engine, None, Some(rule(&engine, LOCKOUT_RULE, r#"{"do": "echo"}"#)));
    let ada = developer("ada", "admin");
    let facts = Labels::new([("listener", "public")]).expect("legal labels");
    let request = Request {
        resource: "disk-forecast",
        facts: &facts,
        ..Request::new(&ada, Action::RulesWrite)
    };
    let decision = rules
        .decide(&request, &rules.before_the_first("edge-1", NOW_MS))
        .expect("an instance is free");
    let message = reason(&decision.verdict);
    let parts = [
        "\"CN=ada,OU=admin,O=Watchpost\"",
        "\"/O=Watchpost/OU=admin/CN=ada\"",
        "\"CN=Watchpost development CA,O=Watchpost\"",
        "\"rules.write\"",
        "\"disk-forecast\"",
        "\"listener\"",
    ];
    for part in parts {
        assert!(message.contains(part), "{part}\n{message}");
    }
}

#[test]
fn the_decision_about_the_same_request_is_cached() {
    let engine = engine();
    let rules = rules(&engine, None, None);
    let calm = rules.judge(&machine(50.0, 50.0, 50.0), None);
    let ada = developer("ada", "admin");
    let request = Request::new(&ada, Action::RulesWrite);
    let first = rules.decide(&request, &calm).expect("an instance is free");
    let again = rules.decide(&request, &calm).expect("an instance is free");
    assert!(Arc::ptr_eq(&first, &again));
    // A change of a metric that the role rule did not request keeps the cache.
    let storm = rules.judge(&machine(95.0, 50.0, 50.0), None);
    let under_storm = rules.decide(&request, &storm).expect("an instance is free");
    assert!(Arc::ptr_eq(&first, &under_storm));
    // Another generation starts with an empty cache.
    let next = RuleSet::new(2, vec![], rules.role().clone()).expect("the rules make a set");
    let decision = next.decide(&request, &calm).expect("an instance is free");
    assert_eq!(decision.generation, 2);
}

#[test]
fn the_decision_cache_is_bounded() {
    let engine = engine_with(|limits| limits.decision_cache_entries = 0);
    let rules = rules(&engine, None, None);
    let report = rules.before_the_first("edge-1", NOW_MS);
    let ada = developer("ada", "admin");
    let request = Request::new(&ada, Action::RulesWrite);
    let first = rules.decide(&request, &report).expect("an instance is free");
    let again = rules.decide(&request, &report).expect("an instance is free");
    assert!(!Arc::ptr_eq(&first, &again));
    assert_eq!(first, again);
}

/// Without a free instance the result is busy, which is no decision about the request.
#[test]
fn when_all_instances_are_in_use_the_result_is_busy_and_not_a_denial() {
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
                "the slow rule held the only instance and no busy error was returned"
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
fn a_request_waits_for_an_instance_that_is_soon_free() {
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
fn errors_in_the_settings_list_the_valid_values() {
    let engine = engine();
    let module = RuleModule::compile(&engine, ROLE).expect("it is taken");
    let message = |settings: &str| module.with_settings(settings).expect_err("refused").to_string();
    let misspelt = message(r#"{"roles": {"ops": ["rule.write"]}}"#);
    assert!(
        misspelt.contains("/roles/ops/0: rule.write matches no action; the actions are health.read,"),
        "{misspelt}"
    );
    let empty = message(r#"{"identities": [{"match": {}, "roles": ["admin"]}]}"#);
    assert!(
        empty.contains("/identities/0/match: match at least one field"),
        "{empty}"
    );
}
