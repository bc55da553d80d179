//! Collapses repeated refusals: the first few of an identity, an action and a verdict in a minute are recorded one by one,
//! and the others are counted in one record. It writes nothing itself.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use watchpost_policies::Action;

use super::record::DecisionRecord;
use crate::store::decisions::Verdict;

/// The period in which repeats are counted together.
const PERIOD: Duration = Duration::from_secs(60);

/// More identities than a server has; beyond that, refusals are recorded one by one, up to the quota of their class.
const MAX_COUNTERS: usize = 10_000;

/// The refusals of the last minute.
pub(super) struct Repeats {
    /// The number of refusals in a period that are recorded one by one.
    max_single: u32,
    counters: Mutex<HashMap<Key, Counter>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    identity: String,
    action: Action,
    verdict: &'static str,
}

struct Counter {
    began: Instant,
    single: u32,
    /// The number of counted refusals, and the last of them.
    counted: u64,
    last: Option<DecisionRecord>,
}

impl Repeats {
    pub(super) fn new(max_single: u32) -> Self {
        Self {
            max_single,
            counters: Mutex::default(),
        }
    }

    /// Returns the record if it is recorded now, or counts it.
    pub(super) fn admit(&self, record: DecisionRecord, now: Instant) -> Option<DecisionRecord> {
        if !matches!(record.verdict, Verdict::Deny | Verdict::Fault) {
            return Some(record);
        }
        let key = Key {
            identity: record.request.identity.to_string(),
            action: record.request.action,
            verdict: record.verdict.as_str(),
        };
        let mut counters = self.counters.lock();
        if counters.len() >= MAX_COUNTERS && !counters.contains_key(&key) {
            return Some(record);
        }
        let counter = counters.entry(key).or_insert(Counter {
            began: now,
            single: 0,
            counted: 0,
            last: None,
        });
        if now.saturating_duration_since(counter.began) >= PERIOD {
            // Nothing collected it yet; what it counted stays.
            (counter.began, counter.single) = (now, 0);
        }
        if counter.single < self.max_single {
            counter.single += 1;
            return Some(record);
        }
        counter.counted += 1;
        counter.last = Some(record);
        None
    }

    /// Removes the counters whose period has ended, or all, and returns a record for each that counted refusals.
    pub(super) fn collect(&self, now: Instant, all: bool) -> Vec<DecisionRecord> {
        let mut collected = Vec::new();
        self.counters.lock().retain(|_, counter| {
            let is_over = all || now.saturating_duration_since(counter.began) >= PERIOD;
            if is_over && let Some(mut record) = counter.last.take() {
                record.requests = counter.counted;
                collected.push(record);
            }
            !is_over
        });
        collected
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::refused;
    use super::*;

    fn denied(action: Action) -> DecisionRecord {
        let mut record = refused("a1");
        record.request.action = action;
        record
    }

    #[test]
    fn the_first_refusals_of_a_minute_are_recorded_and_the_others_are_counted() {
        let (repeats, begin) = (Repeats::new(3), Instant::now());
        let admitted = |action, at| repeats.admit(denied(action), at).is_some();
        let recorded = (0..1000).filter(|_| admitted(Action::ChunksWrite, begin)).count();
        assert_eq!(recorded, 3);
        assert!(
            admitted(Action::ChunksRead, begin),
            "another action has its own counter"
        );
        assert!(
            repeats.collect(begin + PERIOD / 2, false).is_empty(),
            "the minute is not over"
        );
        let collected = repeats.collect(begin + PERIOD, false);
        assert_eq!(collected.len(), 1);
        assert_eq!(
            (collected[0].requests, collected[0].request.action),
            (997, Action::ChunksWrite)
        );
        assert!(
            repeats.collect(begin + PERIOD, true).is_empty(),
            "they are counted once"
        );
        assert!(admitted(Action::ChunksWrite, begin + PERIOD), "a new minute begins");
    }

    #[test]
    fn at_the_end_all_counted_refusals_are_collected() {
        let (repeats, begin) = (Repeats::new(1), Instant::now());
        for _ in 0..5 {
            repeats.admit(denied(Action::ChunksWrite), begin);
        }
        let collected = repeats.collect(begin, true);
        assert_eq!((collected.len(), collected[0].requests), (1, 4));
    }

    #[test]
    fn allowed_requests_and_break_glass_access_are_never_counted_together() {
        let repeats = Repeats::new(1);
        for verdict in [Verdict::Allow, Verdict::BreakGlass] {
            for _ in 0..5 {
                let mut record = denied(Action::RulesWrite);
                record.verdict = verdict;
                assert!(repeats.admit(record, Instant::now()).is_some(), "{verdict:?}");
            }
        }
    }

    #[test]
    fn counters_do_not_exhaust_the_memory() {
        let repeats = Repeats::new(1);
        let now = Instant::now();
        for number in 0..MAX_COUNTERS + 100 {
            let mut record = denied(Action::ChunksRead);
            record.request.identity = watchpost_policies::Identity::of_token(&number.to_string());
            assert!(repeats.admit(record, now).is_some());
        }
        assert_eq!(repeats.counters.lock().len(), MAX_COUNTERS);
    }
}
