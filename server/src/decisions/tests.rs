//! What records promise before a server makes them.

use std::path::Path;

use serde_json::{Value, json};
use watchpost_policies::{Action, Decision, Digest, Identity};

use super::writer::classify;
use super::*;
use crate::metrics::Build;
use crate::store::decisions::{DecisionFilter, NewRecord};
use crate::store::{DatabaseAddress, StoreError};
use crate::write_behind::WriteError;

/// As the rule that Watchpost brings says it: with the name and the role, and the resource.
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
        log: false,
    }
}

/// Nothing is written unless a test does it.
fn decisions(url: &str, folder: &Path, options: Options) -> Decisions {
    let place = DatabaseAddress::parse(url, folder, false).expect("an address");
    let store = match url.starts_with("sqlite") {
        true => Store::open(place, 1).expect("it opens"),
        false => Store::of_others(place),
    };
    let service_metrics = ServiceMetrics::new(&Build {
        version: "",
        commit: "",
        rustc: "",
    });
    Decisions::new(store, "edge-1", options, Arc::new(service_metrics))
}

fn refusal(request_id: &str) -> Record {
    Record::Decision(refused(request_id))
}

fn refused(request_id: &str) -> DecisionRecordParts {
    DecisionRecordParts {
        request: RequestRecord {
            time_ms: 7,
            identity: Identity::of_token("grafana"),
            address: [192, 0, 2, 1].into(),
            action: Action::RulesWrite,
            resource: "disk".into(),
            request_id: request_id.into(),
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
        took: None,
    }
}

/// What a role rule in shadow would have refused, and the one in force allowed.
fn difference(request_id: &str) -> Record {
    Record::Difference(ShadowDifference {
        would: refused(request_id),
        counted: Arc::new(Decision {
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
    let marked: Vec<_> = records.into_iter().map(|record| writer.marked(record)).collect();
    writer.written(&marked).expect("it can be written")
}

fn dropped(decisions: &Decisions) -> u64 {
    let all = decisions.0.service_metrics.gather();
    let family = all
        .iter()
        .find(|family| family.name() == "watchpost_decisions_dropped_total");
    let counter = family.expect("it is told from the beginning").get_metric()[0].get_counter();
    counter.get_value() as u64
}

fn run(test: impl Future<Output = ()>) {
    actix_web::rt::System::new().block_on(test);
}

#[test]
fn a_row_says_everything_and_its_columns_what_is_searched() {
    let rows = rows(&Writer::new("edge-1", &[]), [refusal("a1"), refusal("a2")]);
    let told: Value = serde_json::from_str(&rows[0].told).expect("JSON");
    assert_eq!(
        told,
        json!({
            "host": "edge-1", "identity": "token grafana", "identity_details": { "kind": "token", "name": "grafana" },
            "address": "192.0.2.1", "action": "rules.write", "resource": "disk", "verdict": "deny",
            "reason": REASON, "roles": ["reader"], "rule": "role", "digest": Digest::of(b"role"),
            "generation": 3, "request_id": "a1", "remembered": true, "cost_us": null,
        })
    );
    assert_eq!((rows[0].kind, rows[0].time_ms), ("decision", 7));
    assert_eq!(rows[0].identity.as_deref(), Some("token grafana"));
    assert_eq!((rows[0].action, rows[0].verdict), (Some("rules.write"), Some("deny")));
    assert_eq!(rows[0].rule.as_deref(), Some("role"));
    assert_ne!(rows[0].mark, rows[1].mark, "each is known by a mark of its own");
}

#[test]
fn a_difference_is_searched_by_what_the_shadow_would_have_said() {
    let row = rows(&Writer::new("edge-1", &[]), [difference("a1")])[0].clone();
    assert_eq!(
        (row.kind, row.verdict, row.rule.as_deref()),
        ("difference", Some("deny"), Some("role"))
    );
    let told: Value = serde_json::from_str(&row.told).expect("JSON");
    assert_eq!(told["reason"], REASON);
    assert_eq!(
        told["actual"],
        json!({ "verdict": "allow", "rule": "other", "digest": Digest::of(b"other") })
    );
}

#[test]
fn what_is_masked_stands_nowhere_in_a_row() {
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
fn what_finds_no_room_is_dropped_and_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let decisions = decisions("sqlite:x.db", folder.path(), options());
    for _ in 0..3 {
        assert!(decisions.take_in(refusal("a")).is_none(), "nobody waits");
    }
    assert_eq!(dropped(&decisions), 2);
}

#[test]
fn what_only_would_have_been_leaves_room_for_what_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options {
        queue_capacity: 4,
        ..options()
    };
    let decisions = decisions("sqlite:x.db", folder.path(), options);
    for _ in 0..4 {
        let Record::Difference(differed) = difference("a") else {
            unreachable!("it is one");
        };
        decisions.differed(differed);
    }
    assert_eq!(dropped(&decisions), 1);
    assert!(decisions.take_in(refusal("a")).is_none(), "nobody waits");
    assert_eq!(dropped(&decisions), 1, "a refusal found room");
}

#[test]
fn who_waits_for_room_gets_it_and_whoever_gives_up_is_counted() {
    run(async {
        let folder = tempfile::tempdir().expect("a folder");
        let blocks = Options {
            when_full: WhenFull::Block,
            ..options()
        };
        let decisions = decisions("sqlite:x.db", folder.path(), blocks);
        assert!(decisions.take_in(refusal("first")).is_none(), "there is room");
        let waits = decisions.take_in(refusal("second")).expect("there is none");
        tokio::select! {
            () = waits => {}
            () = decisions.clone().keep() => {}
        }
        assert_eq!(dropped(&decisions), 0);
        let gives_up = decisions.take_in(refusal("third")).expect("the second has the room");
        let began = std::time::Instant::now();
        gives_up.await;
        assert!(began.elapsed() >= MAX_BLOCK_TIME);
        assert_eq!(dropped(&decisions), 1);
        drop(decisions.take_in(refusal("fourth")).expect("there is still none"));
    });
}

#[test]
fn whoever_goes_away_while_it_waits_is_counted_too() {
    run(async {
        let folder = tempfile::tempdir().expect("a folder");
        let blocks = Options {
            when_full: WhenFull::Block,
            ..options()
        };
        let decisions = decisions("sqlite:x.db", folder.path(), blocks);
        assert!(decisions.take_in(refusal("first")).is_none());
        let waits = decisions.take_in(refusal("second")).expect("there is no room");
        assert!(tokio::time::timeout(Duration::ZERO, waits).await.is_err());
        assert_eq!(dropped(&decisions), 1);
    });
}

#[test]
fn what_waits_at_the_end_is_written() {
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
            assert!(decisions.take_in(refusal(&number.to_string())).is_none());
        }
        assert_eq!(decisions.finish(Duration::from_secs(30)).await, 0);
        let all = DecisionFilter {
            most: 1000,
            ..DecisionFilter::default()
        };
        let kept = decisions.store().decisions(&all).expect("read");
        assert_eq!(kept.len(), 450);
        assert_eq!(kept[449].told["request_id"], "449");
        assert!(decisions.take_in(refusal("late")).is_none());
        assert_eq!(dropped(&decisions), 1);
    });
}

#[test]
fn what_a_database_does_not_take_at_the_end_is_lost_and_counted() {
    run(async {
        let folder = tempfile::tempdir().expect("a folder");
        let nobody = "postgres://watchpost@127.0.0.1:1/x";
        let decisions = decisions(
            nobody,
            folder.path(),
            Options {
                queue_capacity: 10,
                ..options()
            },
        );
        for _ in 0..7 {
            assert!(decisions.take_in(refusal("a")).is_none());
        }
        assert_eq!(decisions.finish(Duration::from_millis(300)).await, 7);
        assert_eq!(dropped(&decisions), 7);
    });
}

#[test]
fn a_record_that_is_written_again_has_the_mark_that_it_had() {
    let writer = Writer::new("edge-1", &[]);
    let marked = [writer.marked(refusal("a1"))];
    let mark = || writer.written(&marked).expect("it can be written")[0].mark;
    assert_eq!(mark(), mark());
}

#[test]
fn what_the_database_refuses_is_given_up_and_what_is_wrong_with_it_is_waited_for() {
    let words = || "words".to_owned();
    for refused in [
        StoreError::Refused(words()),
        StoreError::Failed(words()),
        StoreError::Unencodable(words()),
    ] {
        assert!(matches!(classify(refused), WriteError::Rejected(_)));
    }
    for passing in [StoreError::Unreachable(words()), StoreError::Busy, StoreError::Full] {
        assert!(matches!(classify(passing), WriteError::Unavailable(_)));
    }
}
