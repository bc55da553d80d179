//! Storage of records, on SQLite and on PostgreSQL.

use std::path::Path;

use serde_json::{Map, Value, json};
use watchpost::store::decisions::{DecisionFilter, Kind, NewRecord, RetentionLimits, Verdict};
use watchpost::store::{DatabaseAddress, Store, StoreError};
use watchpost_tests::postgres;

const HOST: &str = "edge-1";

/// Runs a test on both databases.
fn on_both(check: impl Fn(Store)) {
    let folder = tempfile::tempdir().expect("a folder");
    let open = |url: &str| {
        let place = DatabaseAddress::parse(url, Path::new(folder.path()), false).expect("an address");
        Store::open(place, 1).expect("it opens")
    };
    check(open("sqlite:watchpost.db"));
    check(open(&postgres::shared().database()));
}

/// The record with this number, one second after the previous one.
fn fresh(number: i64) -> NewRecord {
    let odd = number % 2 == 1;
    NewRecord {
        dedupe_key: -number,
        time_ms: number * 1000,
        kind: if odd { "decision" } else { "judgement" },
        identity: odd.then(|| format!("token t{}", number % 3)),
        action: odd.then_some("rules.write"),
        verdict: odd.then_some(if number % 5 == 0 { "fault" } else { "deny" }),
        rule: Some(if odd { "role" } else { "threshold" }.to_owned()),
        payload: json!({ "number": number }).to_string(),
        host: HOST.to_owned(),
        class: "ordinary",
    }
}

fn numbers(store: &Store, wanted: &DecisionFilter) -> Vec<i64> {
    let wanted = DecisionFilter {
        limit: if wanted.limit == 0 { 1000 } else { wanted.limit },
        ..wanted.clone()
    };
    let records = store.decisions(&wanted).expect("read");
    let number = |payload: &Map<String, Value>| payload["number"].as_i64().expect("a number");
    records.iter().map(|record| number(&record.payload)).collect()
}

#[test]
fn a_record_that_is_written_twice_is_stored_once() {
    on_both(|store| {
        let records: Vec<_> = (1..=300).map(fresh).collect();
        store.insert_decisions(&records[..200]).expect("written");
        store.insert_decisions(&records[100..]).expect("written");
        store.insert_decisions(&[]).expect("nothing is written");
        assert_eq!(
            numbers(&store, &DecisionFilter::default()),
            (1..=300).collect::<Vec<_>>()
        );
    });
}

#[test]
fn records_are_found_by_each_indexed_column() {
    on_both(|store| {
        let records: Vec<_> = (1..=30).map(fresh).collect();
        store.insert_decisions(&records).expect("written");
        let check = |wanted: DecisionFilter, is_wanted: &dyn Fn(&NewRecord) -> bool| {
            let expected = (1..=30).filter(|number| is_wanted(&fresh(*number)));
            assert_eq!(numbers(&store, &wanted), expected.collect::<Vec<_>>(), "{wanted:?}");
        };
        let any = DecisionFilter::default;
        let kind = Some(Kind::Judgement);
        check(DecisionFilter { kind, ..any() }, &|fresh| fresh.kind == "judgement");
        let identity = Some("token t2".to_owned());
        check(
            DecisionFilter {
                identity: identity.clone(),
                ..any()
            },
            &|fresh| fresh.identity == identity,
        );
        let action = Some("rules.write");
        check(DecisionFilter { action, ..any() }, &|fresh| fresh.action == action);
        let verdict = Some(Verdict::Fault);
        check(DecisionFilter { verdict, ..any() }, &|fresh| {
            fresh.verdict == Some("fault")
        });
        let rule = Some("threshold".to_owned());
        check(
            DecisionFilter {
                rule: rule.clone(),
                ..any()
            },
            &|fresh| fresh.rule == rule,
        );
        let (from_ms, to_ms) = (Some(10_000), Some(20_000));
        let between = |fresh: &NewRecord| (10_000..=20_000).contains(&fresh.time_ms);
        check(
            DecisionFilter {
                from_ms,
                to_ms,
                ..any()
            },
            &between,
        );
        check(
            DecisionFilter {
                action: Some("rules.read"),
                ..any()
            },
            &|_| false,
        );
        let several = DecisionFilter {
            verdict: Some(Verdict::Deny),
            to_ms,
            identity: Some("token t1".to_owned()),
            ..any()
        };
        assert_eq!(numbers(&store, &several), [1, 7, 13, 19]);
    });
}

#[test]
fn the_oldest_records_are_pruned_by_age_and_by_number() {
    on_both(|store| {
        let records: Vec<_> = (1..=2500).map(fresh).collect();
        store.insert_decisions(&records).expect("written");
        let prune = |oldest_ms, most| {
            let once = || {
                store
                    .prune_decisions(
                        HOST,
                        RetentionLimits {
                            oldest_ms,
                            max_records: most,
                        },
                    )
                    .expect("asked")
            };
            let steps = std::iter::repeat_with(once).take_while(|did| *did).count();
            (
                steps,
                store
                    .decisions(&DecisionFilter {
                        limit: 5000,
                        ..DecisionFilter::default()
                    })
                    .expect("read"),
            )
        };
        assert_eq!(prune(0, 2500).0, 0, "it is not too much");
        let (steps, left) = prune(0, 1200);
        assert_eq!((steps, left.len(), left[0].time_ms), (2, 1200, 1_301_000));
        let (_, left) = prune(2_000_000, 1200);
        assert_eq!((left.len(), left[0].time_ms), (501, 2_000_000));
        let (_, left) = prune(2_000_000, 1);
        assert_eq!((left.len(), left[0].time_ms), (1, 2_500_000));
    });
}

#[test]
fn differences_of_shadow_rules_use_at_most_half_of_the_records() {
    on_both(|store| {
        let difference = |number| NewRecord {
            kind: "difference",
            ..fresh(number)
        };
        store
            .insert_decisions(&(1..=60).map(fresh).collect::<Vec<_>>())
            .expect("written");
        store
            .insert_decisions(&(61..=200).map(difference).collect::<Vec<_>>())
            .expect("written");
        let bounds = RetentionLimits {
            oldest_ms: 0,
            max_records: 100,
        };
        while store.prune_decisions(HOST, bounds).expect("asked") {}
        let of = |kind: &str| {
            let all = store
                .decisions(&DecisionFilter {
                    limit: 500,
                    ..DecisionFilter::default()
                })
                .expect("read");
            all.into_iter().filter(|record| record.kind == kind).count()
        };
        let differences = of("difference");
        assert_eq!((differences, of("decision") + of("judgement")), (50, 50));
    });
}

/// Prunes to this number of records, and returns the numbers that are left.
fn pruned(store: &Store, host: &str, max_records: u64) -> Vec<i64> {
    let bounds = RetentionLimits {
        oldest_ms: 0,
        max_records,
    };
    while store.prune_decisions(host, bounds).expect("asked") {}
    numbers(store, &DecisionFilter::default())
}

#[test]
fn anonymous_clients_use_a_quarter_of_the_records_and_displace_no_privileged_record() {
    on_both(|store| {
        let of_class = |class, numbers: std::ops::RangeInclusive<i64>| {
            let records = numbers.map(|number| NewRecord { class, ..fresh(number) });
            store.insert_decisions(&records.collect::<Vec<_>>()).expect("written");
        };
        of_class("privileged", 1..=10);
        of_class("ordinary", 11..=30);
        of_class("anonymous", 31..=600);
        let left = pruned(&store, HOST, 100);
        assert_eq!(left, (1..=30).chain(576..=600).collect::<Vec<_>>());
        of_class("ordinary", 601..=900);
        let left = pruned(&store, HOST, 100);
        assert_eq!(left.len(), 100);
        assert_eq!(left[..10], (1..=10).collect::<Vec<_>>(), "privileged records stay");
        assert_eq!(left[99], 900);
    });
}

#[test]
fn privileged_records_displace_only_each_other_and_use_at_most_half() {
    on_both(|store| {
        let records = (1..=300).map(|number| NewRecord {
            class: if number <= 200 { "privileged" } else { "ordinary" },
            ..fresh(number)
        });
        store.insert_decisions(&records.collect::<Vec<_>>()).expect("written");
        let left = pruned(&store, HOST, 100);
        assert_eq!(left, (151..=200).chain(251..=300).collect::<Vec<_>>());
    });
}

#[test]
fn a_machine_deletes_no_records_of_other_machines() {
    on_both(|store| {
        let records = (1..=40).map(|number| NewRecord {
            host: if number <= 20 { HOST } else { "edge-2" }.to_owned(),
            ..fresh(number)
        });
        store.insert_decisions(&records.collect::<Vec<_>>()).expect("written");
        assert_eq!(pruned(&store, HOST, 5), (16..=40).collect::<Vec<_>>());
        let everything = RetentionLimits {
            oldest_ms: u64::MAX,
            max_records: 1,
        };
        while store.prune_decisions(HOST, everything).expect("asked") {}
        assert_eq!(
            numbers(&store, &DecisionFilter::default()),
            (21..=40).collect::<Vec<_>>()
        );
    });
}

#[test]
fn a_client_that_pages_by_id_misses_no_record_of_several_writers() {
    const WRITERS: i64 = 4;
    const BATCHES: i64 = 50;
    const IN_BATCH: i64 = 20;
    on_both(|store| {
        let (mut after, mut seen) = (0, 0);
        let mut read_on = || {
            let wanted = DecisionFilter {
                after,
                limit: 1000,
                ..DecisionFilter::default()
            };
            let page = store.decisions(&wanted).expect("read");
            after = page.last().map_or(after, |last| last.id);
            seen += page.len() as i64;
            page.len()
        };
        std::thread::scope(|scope| {
            let store = &store;
            let write = move |writer: i64| {
                for batch in 0..BATCHES {
                    let first = (writer * BATCHES + batch) * IN_BATCH;
                    let records: Vec<_> = (first..first + IN_BATCH).map(fresh).collect();
                    store.insert_decisions(&records).expect("written");
                }
            };
            let writers: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(move || write(writer))).collect();
            while !writers.iter().all(|writer| writer.is_finished()) {
                read_on();
            }
        });
        while read_on() > 0 {}
        assert_eq!(seen, WRITERS * BATCHES * IN_BATCH);
    });
}

#[test]
fn ids_are_never_reused_so_a_client_that_pages_by_id_misses_no_record() {
    on_both(|store| {
        let records: Vec<_> = (1..=10).map(fresh).collect();
        store.insert_decisions(&records).expect("written");
        let all = DecisionFilter {
            limit: 1000,
            ..DecisionFilter::default()
        };
        let after = store.decisions(&all).expect("read").last().expect("ten").id;
        let none = RetentionLimits {
            oldest_ms: 1_000_000,
            max_records: 1000,
        };
        while store.prune_decisions(HOST, none).expect("asked") {}
        assert_eq!(numbers(&store, &all), Vec::<i64>::new(), "all are gone");
        store.insert_decisions(&[fresh(11)]).expect("written");
        assert_eq!(numbers(&store, &DecisionFilter { after, ..all }), [11]);
    });
}

#[test]
fn a_record_that_cannot_be_read_is_an_error_and_not_an_empty_one() {
    on_both(|store| {
        let damaged = NewRecord {
            payload: "{\"number\":".to_owned(),
            ..fresh(1)
        };
        store.insert_decisions(&[damaged]).expect("written");
        let all = DecisionFilter {
            limit: 10,
            ..DecisionFilter::default()
        };
        let error = store.decisions(&all).expect_err("it cannot be read");
        assert!(matches!(error, StoreError::Unreadable(_)), "{error:?}");
        assert!(error.to_string().contains("decisions.payload holds"), "{error}");
    });
}
