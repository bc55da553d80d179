//! Where evaluated rounds are published: the latest of each host for whoever asks, and every one of them, in order, for
//! whoever subscribes. It renders nothing and knows no subscriber by name.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{broadcast, watch};

use super::Judged;
use crate::host_id::HostId;
use crate::tasks;

/// Rounds that wait for a subscriber that is busy. A subscriber that is further behind skips the oldest; with one
/// machine and a round every ten seconds, that is one that did nothing for ten minutes.
const CAPACITY: usize = 64;

/// The evaluated rounds of all hosts. Cheap to clone; all clones see a round at once.
#[derive(Clone)]
pub struct Evaluations(Arc<Inner>);

struct Inner {
    latest: Mutex<Latest>,
    events: broadcast::Sender<Arc<Judged>>,
    observers: Mutex<Vec<Observer>>,
}

/// The latest round of each host; nothing of one that is only watched so far.
type Latest = BTreeMap<HostId, watch::Sender<Option<Arc<Judged>>>>;

type Observer = Arc<dyn Fn(&Arc<Judged>) + Send + Sync>;

/// The rounds of all hosts, one after the other; dropping it ends the subscription.
pub struct Subscription {
    name: &'static str,
    evaluations: Evaluations,
    /// What was published before the events begin.
    replayed: VecDeque<Arc<Judged>>,
    events: broadcast::Receiver<Arc<Judged>>,
}

impl Evaluations {
    /// Without rounds and without observers.
    pub fn new() -> Self {
        Self(Arc::new(Inner {
            latest: Mutex::default(),
            events: broadcast::Sender::new(CAPACITY),
            observers: Mutex::default(),
        }))
    }

    /// Calls `observer` with every round before anyone can ask for that round, on a thread that may block: for what has
    /// to be there when the round is. A panic in it is logged, and the round is published all the same.
    pub fn before_publication(&self, observer: impl Fn(&Arc<Judged>) + Send + Sync + 'static) {
        let mut observers = self.0.observers.lock().unwrap_or_else(PoisonError::into_inner);
        observers.push(Arc::new(observer));
    }

    /// Makes a round the latest of its host. Rounds of one host are published one after the other; the caller waits for
    /// one before it publishes the next.
    pub async fn publish(&self, judged: Judged) {
        let judged = Arc::new(judged);
        let observers = self.0.observers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for observer in observers {
            let observed = judged.clone();
            if let Err(panic) = tasks::block(move || observer(&observed)).await {
                log::error!(reason = panic.as_str(); "a round could not be prepared for publication");
            }
        }
        let mut latest = self.lock();
        of_host(&mut latest, &judged.host).send_replace(Some(judged.clone()));
        // Without subscribers nobody hears it, which is no error.
        let _ = self.0.events.send(judged);
    }

    /// The latest round of a host, if there was one.
    pub fn latest(&self, host: &HostId) -> Option<Arc<Judged>> {
        self.lock().get(host).and_then(|latest| latest.borrow().clone())
    }

    /// The latest round of one host, now and whenever it changes. Rounds may be skipped.
    pub fn watch(&self, host: &HostId) -> watch::Receiver<Option<Arc<Judged>>> {
        of_host(&mut self.lock(), host).subscribe()
    }

    /// Every round of every host from now on, after the latest of each that was published before: so a subscriber that
    /// is started again misses none that is still true. The log calls the subscriber by `name`.
    pub fn subscribe(&self, name: &'static str) -> Subscription {
        let (replayed, events) = self.replay();
        Subscription {
            name,
            evaluations: self.clone(),
            replayed,
            events,
        }
    }

    /// Both under one lock, under which rounds are published too: so none is in neither and none in both.
    fn replay(&self) -> (VecDeque<Arc<Judged>>, broadcast::Receiver<Arc<Judged>>) {
        let latest = self.lock();
        let replayed = latest.values().filter_map(|latest| latest.borrow().clone());
        (replayed.collect(), self.0.events.subscribe())
    }

    fn lock(&self) -> MutexGuard<'_, Latest> {
        self.0.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Evaluations {
    fn default() -> Self {
        Self::new()
    }
}

impl Subscription {
    /// The next round, whatever host it is of. It can be given up and asked for again without losing one.
    pub async fn next(&mut self) -> Arc<Judged> {
        loop {
            if let Some(judged) = self.replayed.pop_front() {
                return judged;
            }
            match self.events.recv().await {
                Ok(judged) => return judged,
                Err(broadcast::error::RecvError::Lagged(skipped)) => {
                    log::warn!(subscriber = self.name, skipped; "a subscriber of evaluated rounds is too slow and goes on with the latest of each host");
                    (self.replayed, self.events) = self.evaluations.replay();
                }
                // The sender lives as long as `evaluations`, which is held here.
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

fn of_host<'l>(latest: &'l mut Latest, host: &HostId) -> &'l watch::Sender<Option<Arc<Judged>>> {
    latest.entry(host.clone()).or_insert_with(|| watch::Sender::new(None))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::super::test_round::{host, judged};
    use super::*;

    fn run(test: impl Future<Output = ()>) {
        actix_web::rt::System::new().block_on(test);
    }

    fn number(judged: Option<Arc<Judged>>) -> Option<u64> {
        judged.map(|judged| judged.round.number)
    }

    /// What a subscriber gets next, by host and number.
    async fn next(rounds: &mut Subscription) -> (String, u64) {
        let judged = rounds.next().await;
        (judged.host.to_string(), judged.round.number)
    }

    #[test]
    fn the_latest_round_of_one_host_is_not_that_of_another() {
        run(async {
            let (evaluations, one, other) = (Evaluations::new(), host("edge-1"), host("edge-2"));
            assert_eq!(number(evaluations.latest(&one)), None);
            let mut watched = evaluations.watch(&one);
            evaluations.publish(judged("edge-2", 7)).await;
            assert!(
                !watched.has_changed().expect("it is published to"),
                "another host's round"
            );
            evaluations.publish(judged("edge-1", 1)).await;
            evaluations.publish(judged("edge-1", 2)).await;
            assert_eq!(number(evaluations.latest(&one)), Some(2));
            assert_eq!(number(evaluations.latest(&other)), Some(7));
            assert_eq!(number(watched.borrow_and_update().clone()), Some(2));
        });
    }

    #[test]
    fn a_subscriber_gets_the_latest_of_each_host_and_then_every_round() {
        run(async {
            let evaluations = Evaluations::new();
            for round in [judged("edge-2", 1), judged("edge-1", 1), judged("edge-1", 2)] {
                evaluations.publish(round).await;
            }
            let mut rounds = evaluations.subscribe("test");
            for round in [judged("edge-1", 3), judged("edge-2", 2), judged("edge-1", 4)] {
                evaluations.publish(round).await;
            }
            let mut heard = Vec::new();
            for _ in 0..5 {
                heard.push(next(&mut rounds).await);
            }
            let expected = [
                ("edge-1", 2),
                ("edge-2", 1),
                ("edge-1", 3),
                ("edge-2", 2),
                ("edge-1", 4),
            ];
            assert_eq!(heard, expected.map(|(host, number)| (host.to_owned(), number)));
        });
    }

    #[test]
    fn a_subscriber_that_is_too_slow_goes_on_with_the_latest_of_each_host() {
        run(async {
            let evaluations = Evaluations::new();
            let mut rounds = evaluations.subscribe("test");
            evaluations.publish(judged("edge-2", 1)).await;
            let last = CAPACITY as u64 + 10;
            for number in 1..=last {
                evaluations.publish(judged("edge-1", number)).await;
            }
            assert_eq!(next(&mut rounds).await, ("edge-1".to_owned(), last));
            assert_eq!(next(&mut rounds).await, ("edge-2".to_owned(), 1));
            evaluations.publish(judged("edge-1", last + 1)).await;
            assert_eq!(next(&mut rounds).await, ("edge-1".to_owned(), last + 1));
        });
    }

    #[test]
    fn an_observer_sees_a_round_before_anyone_can_ask_for_it() {
        run(async {
            let evaluations = Evaluations::new();
            let (seen, asked) = (Arc::new(AtomicU64::new(0)), evaluations.clone());
            let counted = seen.clone();
            evaluations.before_publication(|judged| assert!(judged.round.number > 1, "the first breaks it"));
            evaluations.before_publication(move |judged| {
                assert_ne!(number(asked.latest(&judged.host)), Some(judged.round.number));
                counted.store(judged.round.number, Ordering::Release);
            });
            for number in 1..=2 {
                evaluations.publish(judged("edge-1", number)).await;
                assert_eq!(
                    seen.load(Ordering::Acquire),
                    number,
                    "a panic in one does not keep it from another"
                );
                assert!(evaluations.latest(&host("edge-1")).is_some());
            }
        });
    }
}
