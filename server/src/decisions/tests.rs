//! Tests of recording without a server.

use std::path::Path;

use serde_json::{Value, json};
use watchpost_policies::{Action, Decision, Digest, Identity};

use super::writer::classify;
use super::*;
use crate::metrics::Build;
use crate::store::decisions::{DecisionFilter, NewRecord};
use crate::store::{DatabaseAddress, StoreError};
use crate::write_behind::WriteError;

/// The reason as the built-in rule words it, with the name, the role and the resource.
const REASON: &str = "the token grafana has the role reader, which does not allow rules.write on disk";

fn options() -> Options {
    Options {
        enabled: true,
        record_allowed: false,
        record_judgements: true,
        mask: Vec::new(),
        retention: Duration::from_secs(60),
        max_records: 100,
        queue_capacity: 1,
        when_full: WhenFull::Drop,
        max_repeats: 5,
        log: false,
    }
}

/// A recorder without its task: nothing is written unless a test does it.
fn decisions(url: &str, folder: &Path, options: Options) -> Decisions {
    let address = DatabaseAddress::parse(url, folder, false).expect("an address");
    let store = match url.starts_with("sqlite") {
        true => Store::open(address, 1).expect("it opens"),
        false => Store::open_external(address),
    };
    let service_metrics = ServiceMetrics::new(&Build {
        version: "",
        commit: "",
        rustc: "",
    });
    let clock = TrustedClock::load(None, 1, Instant::now());
    Decisions::new(store, "edge-1", options, Arc::new(service_metrics), None, clock)
}

fn refusal(request_id: &str) -> Record {
    Record::Decision(refused(request_id))
}

pub(super) fn refused(request_id: &str) -> DecisionRecord {
    DecisionRecord {
        request: RequestRecord {
            time_ms: 7,
            identity: Identity::of_token("grafana"),
            address: [192, 0, 2, 1].into(),
            action: Action::RulesWrite,
            resource: "disk".into(),
            request_id: request_id.into(),
            server_request_id: format!("own-{request_id}").into(),
        },
        verdict: Verdict::Deny,
        decision: Some(Arc::new(Decision {
            verdict: watchpost_policies::Verdict::Deny {
                reason: REASON.to_owned(),
            },
            roles: vec!["reader".to_owned()],
            rule: "role".to_owned(),
            digest: Digest::of(b"role"),
            generation: 3,
        })),
        duration: None,
        requests: 1,
    }
}

/// A request that a role rule in shadow mode would have denied and the active rule allowed.
fn difference(request_id: &str) -> Record {
    Record::Difference(ShadowDifference {
        shadow_decision: refused(request_id),
        actual: Arc::new(Decision {
            verdict: watchpost_policies::Verdict::Allow,
            roles: vec!["admin".to_owned()],
            rule: "other".to_owned(),
            digest: Digest::of(b"other"),
            generation: 3,
        }),
    })
}

/// The rows of these records.
fn rows(writer: &Writer, records: impl IntoIterator<Item = Record>) -> Vec<NewRecord> {
    let keyed: Vec<_> = records.into_iter().map(|record| writer.keyed(record)).collect();
    writer.rows(&keyed).expect("it can be written")
}

/// The number of records that were dropped for this reason.
fn dropped(decisions: &Decisions, reason: DropReason) -> u64 {
    let all = decisions.0.service_metrics.gather();
    let family = all
        .iter()
        .find(|family| family.name() == "watchpost_decisions_dropped_total");
    let mut series = family.expect("it exists from the start").get_metric().iter();
    let of_reason = series.find(|series| series.get_label()[0].value() == reason.as_str());
    of_reason.expect("each reason has a series").get_counter().get_value() as u64
}

fn run(test: impl Future<Output = ()>) {
    actix_web::rt::System::new().block_on(test);
}

#[test]
fn a_row_has_the_full_record_and_columns_for_searching() {
    let rows = rows(&Writer::new("edge-1", &[]), [refusal("a1"), refusal("a2")]);
    let payload: Value = serde_json::from_str(&rows[0].payload).expect("JSON");
    assert_eq!(
        payload,
        json!({
            "host": "edge-1", "identity": "token grafana", "identity_details": { "kind": "token", "name": "grafana" },
            "address": "192.0.2.1", "action": "rules.write", "resource": "disk", "verdict": "deny",
            "reason": REASON, "roles": ["reader"], "rule": "role", "digest": Digest::of(b"role"),
            "generation": 3, "request_id": "a1", "server_request_id": "own-a1", "requests": 1, "cached": true, "cost_us": null,
        })
    );
    assert_eq!((rows[0].kind, rows[0].time_ms), ("decision", 7));
    assert_eq!((rows[0].host.as_str(), rows[0].class), ("edge-1", "ordinary"));
    assert_eq!(rows[0].identity.as_deref(), Some("token grafana"));
    assert_eq!((rows[0].action, rows[0].verdict), (Some("rules.write"), Some("deny")));
    assert_eq!(rows[0].rule.as_deref(), Some("role"));
    assert_ne!(rows[0].dedupe_key, rows[1].dedupe_key);
}

#[test]
fn a_difference_is_searched_by_the_decision_of_the_shadow() {
    let row = rows(&Writer::new("edge-1", &[]), [difference("a1")])[0].clone();
    assert_eq!(
        (row.kind, row.verdict, row.rule.as_deref()),
        ("difference", Some("deny"), Some("role"))
    );
    let payload: Value = serde_json::from_str(&row.payload).expect("JSON");
    assert_eq!(payload["reason"], REASON);
    assert_eq!(
        payload["actual"],
        json!({ "verdict": "allow", "rule": "other", "digest": Digest::of(b"other") })
    );
}

#[test]
fn a_masked_field_is_nowhere_in_a_row() {
    let fields = [
        (Masked::Identity, "grafana"),
        (Masked::Address, "192.0.2.1"),
        (Masked::Resource, "disk"),
        (Masked::Reason, REASON),
        (Masked::Roles, "reader"),
        (Masked::RequestId, "a-request"),
    ];
    for (field, text) in fields {
        for record in [refusal, difference] {
            let open = format!("{:?}", rows(&Writer::new("edge-1", &[]), [record("a-request")]));
            assert!(open.contains(text), "{open}");
            let masked = format!("{:?}", rows(&Writer::new("edge-1", &[field]), [record("a-request")]));
            assert!(!masked.contains(text) && masked.contains("***"), "{masked}");
        }
    }
}

#[test]
fn a_record_that_finds_no_room_is_dropped_and_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let decisions = decisions("sqlite:x.db", folder.path(), options());
    for _ in 0..3 {
        assert!(decisions.enqueue(refusal("a")).is_none(), "the request does not wait");
    }
    assert_eq!(dropped(&decisions, DropReason::Full), 2);
}

#[test]
fn differences_leave_room_for_decisions() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options {
        queue_capacity: 4,
        ..options()
    };
    let decisions = decisions("sqlite:x.db", folder.path(), options);
    for _ in 0..4 {
        let Record::Difference(difference) = difference("a") else {
            unreachable!("it is a difference");
        };
        decisions.record_difference(difference);
    }
    assert_eq!(dropped(&decisions, DropReason::Full), 1);
    assert!(decisions.enqueue(refusal("a")).is_none(), "the request does not wait");
    assert_eq!(dropped(&decisions, DropReason::Full), 1, "a refusal found room");
}

#[test]
fn a_request_that_waits_gets_room_and_one_that_times_out_is_counted() {
    run(async {
        let folder = tempfile::tempdir().expect("a folder");
        let blocks = Options {
            when_full: WhenFull::Block,
            ..options()
        };
        let decisions = decisions("sqlite:x.db", folder.path(), blocks);
        assert!(decisions.enqueue(refusal("first")).is_none(), "there is room");
        let waits = decisions.enqueue(refusal("second")).expect("there is none");
        tokio::select! {
            () = waits => {}
            () = decisions.clone().run() => {}
        }
        assert_eq!(dropped(&decisions, DropReason::Full), 0);
        let gives_up = decisions.enqueue(refusal("third")).expect("the second has the room");
        let began = std::time::Instant::now();
        gives_up.await;
        assert!(began.elapsed() >= MAX_BLOCK_TIME);
        assert_eq!(dropped(&decisions, DropReason::Full), 1);
        drop(decisions.enqueue(refusal("fourth")).expect("there is still none"));
    });
}

#[test]
fn a_record_of_a_client_that_disconnects_while_it_waits_is_counted_too() {
    run(async {
        let folder = tempfile::tempdir().expect("a folder");
        let blocks = Options {
            when_full: WhenFull::Block,
            ..options()
        };
        let decisions = decisions("sqlite:x.db", folder.path(), blocks);
        assert!(decisions.enqueue(refusal("first")).is_none());
        let waits = decisions.enqueue(refusal("second")).expect("there is no room");
        assert!(tokio::time::timeout(Duration::ZERO, waits).await.is_err());
        assert_eq!(dropped(&decisions, DropReason::Full), 1);
    });
}

#[test]
fn queued_records_are_written_at_shutdown() {
    run(async {
        let folder = tempfile::tempdir().expect("a folder");
        let queue_capacity = 1000;
        let decisions = decisions(
            "sqlite:x.db",
            folder.path(),
            Options {
                queue_capacity,
                ..options()
            },
        );
        for number in 0..450 {
            assert!(decisions.enqueue(refusal(&number.to_string())).is_none());
        }
        assert_eq!(decisions.finish(Duration::from_secs(30)).await, 0);
        let all = DecisionFilter {
            limit: 1000,
            ..DecisionFilter::default()
        };
        let stored = decisions.store().decisions(&all).expect("read");
        assert_eq!(stored.len(), 450);
        assert_eq!(stored[449].payload["request_id"], "449");
        assert!(decisions.enqueue(refusal("late")).is_none());
        assert_eq!(dropped(&decisions, DropReason::Shutdown), 1);
    });
}

#[test]
fn records_that_a_database_does_not_accept_at_shutdown_are_lost_and_counted() {
    run(async {
        let folder = tempfile::tempdir().expect("a folder");
        let unreachable = "postgres://watchpost@127.0.0.1:1/x";
        let decisions = decisions(
            unreachable,
            folder.path(),
            Options {
                queue_capacity: 10,
                ..options()
            },
        );
        for _ in 0..7 {
            assert!(decisions.enqueue(refusal("a")).is_none());
        }
        assert_eq!(decisions.finish(Duration::from_millis(300)).await, 7);
        assert_eq!(dropped(&decisions, DropReason::Shutdown), 7);
    });
}

#[test]
fn a_record_that_is_written_again_has_the_same_dedupe_key() {
    let writer = Writer::new("edge-1", &[]);
    let keyed = [writer.keyed(refusal("a1"))];
    let dedupe_key = || writer.rows(&keyed).expect("it can be written")[0].dedupe_key;
    assert_eq!(dedupe_key(), dedupe_key());
}

#[test]
fn a_rejected_batch_is_given_up_and_an_unavailable_database_is_retried() {
    let message = || "message".to_owned();
    for rejected in [
        StoreError::Refused(message()),
        StoreError::Failed(message()),
        StoreError::Unencodable(message()),
    ] {
        assert!(matches!(classify(rejected), WriteError::Rejected(_)));
    }
    for temporary in [StoreError::Unreachable(message()), StoreError::Busy, StoreError::Full] {
        assert!(matches!(classify(temporary), WriteError::Unavailable(_)));
    }
}

#[test]
fn only_break_glass_access_and_permitted_changes_of_rules_are_privileged() {
    let class = |verdict, action, identity| {
        let mut record = refused("a1");
        (record.verdict, record.request.action, record.request.identity) = (verdict, action, identity);
        record.class()
    };
    let token = || Identity::of_token("grafana");
    assert_eq!(
        class(Verdict::BreakGlass, Action::RulesRead, token()),
        Class::Privileged
    );
    assert_eq!(class(Verdict::Allow, Action::RulesWrite, token()), Class::Privileged);
    assert_eq!(
        class(Verdict::Allow, Action::RulesWrite, Identity::anonymous()),
        Class::Privileged
    );
    assert_eq!(class(Verdict::Deny, Action::RulesWrite, token()), Class::Ordinary);
    assert_eq!(class(Verdict::Allow, Action::RulesRead, token()), Class::Ordinary);
    assert_eq!(
        class(Verdict::Deny, Action::RulesWrite, Identity::anonymous()),
        Class::Anonymous
    );
    assert_eq!(
        class(Verdict::Allow, Action::HealthRead, Identity::anonymous()),
        Class::Anonymous
    );
}

#[test]
fn refusals_beyond_the_first_of_a_minute_are_written_as_one_record_at_shutdown() {
    run(async {
        let folder = tempfile::tempdir().expect("a folder");
        let options = Options {
            queue_capacity: 100,
            ..options()
        };
        let decisions = decisions("sqlite:x.db", folder.path(), options);
        for number in 0..1000 {
            assert!(decisions.record_decision(refused(&number.to_string())).is_none());
        }
        assert_eq!(decisions.finish(Duration::from_secs(30)).await, 0);
        let all = DecisionFilter {
            limit: 1000,
            ..DecisionFilter::default()
        };
        let stored = decisions.store().decisions(&all).expect("read");
        let requests: Vec<_> = stored.iter().map(|record| record.payload["requests"].clone()).collect();
        assert_eq!(requests, [1, 1, 1, 1, 1, 995]);
        assert_eq!(stored[5].payload["request_id"], "999", "the last one");
    });
}
