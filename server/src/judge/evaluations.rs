//! Publishes evaluated rounds: the latest of each host on request, and every one of them, in order, to subscribers. It
//! renders nothing and does not know its subscribers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{broadcast, watch};

use super::Judged;
use crate::host_id::HostId;
use crate::tasks;

/// Buffered rounds per subscriber. A subscriber that falls further behind skips the oldest; with one machine and a
/// round every ten seconds, that is after ten minutes.
const CAPACITY: usize = 64;

/// The evaluated rounds of all hosts. Cheap to clone; all clones see a new round immediately.
#[derive(Clone)]
pub struct Evaluations(Arc<Inner>);

struct Inner {
    latest: Mutex<Latest>,
    events: broadcast::Sender<Arc<Judged>>,
    observers: Mutex<Vec<Observer>>,
}

/// The latest round of each host; `None` for a host that is watched before its first round.
type Latest = BTreeMap<HostId, watch::Sender<Option<Arc<Judged>>>>;

type Observer = Arc<dyn Fn(&Arc<Judged>) + Send + Sync>;

/// The rounds of all hosts, one after the other; dropping it ends the subscription.
pub struct Subscription {
    name: &'static str,
    evaluations: Evaluations,
    /// The latest rounds from before the first event.
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

    /// Calls `observer` with every round before that round is published, on a thread that may block: for data that must
    /// exist when the round is visible. A panic in it is logged, and the round is still published.
    pub fn before_publication(&self, observer: impl Fn(&Arc<Judged>) + Send + Sync + 'static) {
        let mut observers = self.0.observers.lock();
        observers.push(Arc::new(observer));
    }

    /// Makes a round the latest of its host. Rounds of one host are published one after the other; the caller waits for
    /// one before it publishes the next.
    pub async fn publish(&self, judged: Judged) {
        let judged = Arc::new(judged);
        let observers = self.0.observers.lock().clone();
        for observer in observers {
            let observed = judged.clone();
            if let Err(panic) = tasks::block(move || observer(&observed)).await {
                log::error!(reason = panic.as_str(); "an observer of evaluated rounds panicked");
            }
        }
        let mut latest = self.0.latest.lock();
        of_host(&mut latest, &judged.host).send_replace(Some(judged.clone()));
        // Sending fails only without subscribers, which is no error.
        let _ = self.0.events.send(judged);
    }

    /// The latest round of a host, if there was one.
    pub fn latest(&self, host: &HostId) -> Option<Arc<Judged>> {
        self.0
            .latest
            .lock()
            .get(host)
            .and_then(|latest| latest.borrow().clone())
    }

    /// The latest round of one host, now and whenever it changes. Rounds may be skipped.
    pub fn watch(&self, host: &HostId) -> watch::Receiver<Option<Arc<Judged>>> {
        of_host(&mut self.0.latest.lock(), host).subscribe()
    }

    /// Every round of every host from now on, after the latest earlier round of each, so a restarted subscriber misses
    /// no current state. `name` identifies the subscriber in the log.
    pub fn subscribe(&self, name: &'static str) -> Subscription {
        let (replayed, events) = self.replay();
        Subscription {
            name,
            evaluations: self.clone(),
            replayed,
            events,
        }
    }

    /// Both happen under the lock that publishing takes, so no round is missed or duplicated.
    fn replay(&self) -> (VecDeque<Arc<Judged>>, broadcast::Receiver<Arc<Judged>>) {
        let latest = self.0.latest.lock();
        let replayed = latest.values().filter_map(|latest| latest.borrow().clone());
        (replayed.collect(), self.0.events.subscribe())
    }
}

impl Default for Evaluations {
    fn default() -> Self {
        Self::new()
    }
}

impl Subscription {
    /// The next round of any host. The future is cancel safe: no round is lost.
    pub async fn next(&mut self) -> Arc<Judged> {
        loop {
            if let Some(judged) = self.replayed.pop_front() {
                return judged;
            }
            match self.events.recv().await {
                Ok(judged) => return judged,
                Err(broadcast::error::RecvError::Lagged(skipped)) => {
                    log::warn!(subscriber = self.name, skipped; "a subscriber of evaluated rounds is too slow; it continues with the latest round of each host");
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

    /// The next round of a subscriber, by host and number.
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
            let mut received = Vec::new();
            for _ in 0..5 {
                received.push(next(&mut rounds).await);
            }
            let expected = [
                ("edge-1", 2),
                ("edge-2", 1),
                ("edge-1", 3),
                ("edge-2", 2),
                ("edge-1", 4),
            ];
            assert_eq!(received, expected.map(|(host, number)| (host.to_owned(), number)));
        });
    }

    #[test]
    fn a_slow_subscriber_continues_with_the_latest_round_of_each_host() {
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
    fn an_observer_sees_a_round_before_it_is_published() {
        run(async {
            let evaluations = Evaluations::new();
            let (seen, evaluations_of_observer) = (Arc::new(AtomicU64::new(0)), evaluations.clone());
            let counted = seen.clone();
            evaluations.before_publication(|judged| assert!(judged.round.number > 1, "the first round makes it panic"));
            evaluations.before_publication(move |judged| {
                assert_ne!(
                    number(evaluations_of_observer.latest(&judged.host)),
                    Some(judged.round.number)
                );
                counted.store(judged.round.number, Ordering::Release);
            });
            for number in 1..=2 {
                evaluations.publish(judged("edge-1", number)).await;
                assert_eq!(
                    seen.load(Ordering::Acquire),
                    number,
                    "a panic in one observer does not affect another"
                );
                assert!(evaluations.latest(&host("edge-1")).is_some());
            }
        });
    }
}
