//! Records of the findings of rules.

use serde_json::json;
use watchpost::decisions::{Counts, changes};
use watchpost_policies::{Report, RuleSet};
use watchpost_tests::guests::{HOSTILE, engine, rule, rules};
use watchpost_tests::sample::machine;
use watchpost_tests::server::{Server, eventually};

use super::{recorded, records};

#[test]
fn a_judgement_is_recorded_when_a_rule_starts_and_stops_failing() {
    let engine = engine();
    let made = |way: &str| {
        rules(
            &engine,
            Some(rule(&engine, HOSTILE, &format!(r#"{{"do": "{way}"}}"#))),
            None,
        )
    };
    let (well, fails) = (made("well"), made("panic"));
    let judge = |set: &RuleSet, last: Option<&Report>| set.judge(&machine(50.0, 50.0, 50.0), last);
    let first = judge(&well, None);
    assert_eq!(changes(&well, None, &first).len(), 1);
    let failed = judge(&fails, Some(&first));
    let recorded = changes(&fails, Some(&first), &failed);
    let fault = recorded[0].fault.as_deref().expect("it failed");
    assert!(fault.contains("the rule hostile failed"), "{fault}");
    assert_eq!(recorded[0].duration, None);
    let still = judge(&fails, Some(&failed));
    assert_eq!(changes(&fails, Some(&failed), &still), [], "it fails as before");
    let again = judge(&well, Some(&still));
    let recorded = changes(&well, Some(&still), &again);
    assert_eq!((recorded.len(), &recorded[0].fault), (1, &None));
    assert_ne!(recorded[0].findings, Counts::default());
}

#[test]
fn a_judgement_is_recorded_only_when_the_findings_change() {
    let never = json!({ "defaults": false, "thresholds": [{ "metric": "memory", "alert": 101 }] });
    let always = json!({ "defaults": false, "thresholds": [{ "metric": "memory", "alert": 0 }] });
    let server =
        Server::with("[rules.threshold]\ndefaults = false\nthresholds = [{ metric = \"memory\", alert = 101 }]\n")
            .ready();
    let admin = server.client("admin");
    let rounds = |more: u64| {
        let number = || {
            admin.get("/api/v1/status").json()["round"]["number"]
                .as_u64()
                .expect("a number")
        };
        let last = number();
        eventually("more rounds", || (number() >= last + more).then_some(()));
    };
    let first = recorded(&admin, "kind=judgement", 1).remove(0);
    assert_eq!((&first["rule"], &first["generation"]), (&json!("threshold"), &json!(1)));
    assert_eq!(
        first["findings"],
        json!({ "ok": 1, "unknown": 0, "warning": 0, "alert": 0 })
    );
    assert!(first["cost_us"].is_u64() && first["fault"].is_null(), "{first}");
    rounds(3);
    assert_eq!(records(&admin, "kind=judgement").len(), 1, "nothing else was found");
    for settings in [always, never] {
        let answer = admin.send("PUT", "/api/v1/rules/threshold/settings", &settings);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let generation = answer.json()["generation"].as_i64();
        eventually("its judgement", || {
            let last = records(&admin, "kind=judgement&rule=threshold").pop()?;
            (last["generation"].as_i64() == generation).then_some(())
        });
    }
    let found: Vec<_> = records(&admin, "kind=judgement")
        .iter()
        .map(|record| record["findings"]["alert"].clone())
        .collect();
    assert_eq!(found, [json!(0), json!(1), json!(0)]);
}
