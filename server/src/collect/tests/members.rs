//! Sources that are added and removed while the collector runs, and one that does not block.

use std::sync::Mutex;

use super::*;
use crate::collect::SourceError;
use crate::collect::source::{Measurement, Source};

fn names(round: &Round) -> Vec<&str> {
    round.sources.keys().map(|name| &**name).collect()
}

#[test]
fn an_added_source_is_measured_from_the_next_round_on() {
    collecting(vec![good("first")], async |collector, mut rounds| {
        let before = next(&mut rounds).await;
        assert_eq!(metrics(&before), ["first"]);
        collector.add_source(good("second")).await.expect("the name is free");
        let after = loop {
            let round = next(&mut rounds).await;
            assert_eq!(
                round.snapshot.gaps(),
                [],
                "a round that did not measure it has no gap for it"
            );
            if round.sources.len() == 2 {
                break round;
            }
        };
        assert_eq!(
            (metrics(&after), names(&after)),
            (vec!["first", "second"], vec!["first", "second"])
        );
        assert!(after.sources["second"].success);
    });
}

#[test]
fn a_removed_source_is_in_no_later_round() {
    collecting(vec![good("first"), good("second")], async |collector, mut rounds| {
        assert_eq!(metrics(&next(&mut rounds).await), ["first", "second"]);
        collector.remove_source("second").await.expect("it was there");
        // A round that was published earlier may not have been received.
        rounds.borrow_and_update();
        for _ in 0..3 {
            let round = next(&mut rounds).await;
            assert_eq!((metrics(&round), names(&round)), (vec!["first"], vec!["first"]));
            assert_eq!(round.snapshot.gaps(), []);
        }
        let unknown = SourceError::Unknown("second".to_owned());
        assert_eq!(collector.remove_source("second").await, Err(unknown));
    });
}

#[test]
fn a_hanging_source_can_be_removed_without_delay_and_frees_its_name() {
    let (started, starts) = tokio::sync::oneshot::channel();
    let started = Mutex::new(Some(started));
    let (release, gate) = mpsc::channel::<()>();
    let gate = Arc::new(Mutex::new(Some(gate)));
    let started = Arc::new(started);
    let hung = blocking(TIMEOUT * 20, move || {
        let (started, gate) = (started.clone(), gate.clone());
        Scripted {
            name: "session",
            measure: Box::new(move || {
                let started = started.lock().expect("no panic").take().expect("it is measured once");
                started.send(()).expect("the test listens");
                let gate = gate.lock().expect("no panic").take().expect("it is measured once");
                // Once the gate is dropped, it answers at once.
                let _ = gate.recv();
                Ok(one("late"))
            }),
        }
    });
    collecting(vec![good("first"), hung], async |collector, mut rounds| {
        starts.await.expect("it is measured");
        collector.remove_source("session").await.expect("it was there");
        let round = next(&mut rounds).await;
        assert!(round.duration < TIMEOUT, "the round did not wait: {:?}", round.duration);
        assert_eq!((metrics(&round), names(&round)), (vec!["first"], vec!["first"]));
        assert_eq!(round.snapshot.gaps(), []);
        // The thread still hangs, and its result belongs to no source.
        let again = source("session", || Box::new(|| Ok(one("session"))));
        collector.add_source(again).await.expect("the name is free");
        drop(release);
        let mut with_both = 0;
        while with_both < 3 {
            let round = next(&mut rounds).await;
            assert!(!metrics(&round).contains(&"late"), "round {}", round.number);
            with_both += usize::from(metrics(&round) == ["first", "session"]);
        }
    });
}

#[test]
fn a_duplicate_name_is_rejected_and_the_existing_source_continues() {
    collecting(vec![good("first")], async |collector, mut rounds| {
        let other = source("first", || Box::new(|| Ok(one("other"))));
        let exists = SourceError::Exists("first".to_owned());
        assert_eq!(collector.add_source(other).await, Err(exists));
        rounds.borrow_and_update();
        for _ in 0..2 {
            assert_eq!(metrics(&next(&mut rounds).await), ["first"]);
        }
    });
    actix_web::rt::System::new().block_on(async {
        let service_metrics = Arc::new(ServiceMetrics::new(&Build {
            version: "",
            commit: "",
            rustc: "",
        }));
        let tasks = Tasks::new(service_metrics.clone());
        let options = Options {
            host: crate::host_id::HostId::new("edge-1").expect("a legal name"),
            facts: Labels::none(),
            interval: TIMEOUT,
            timeout: TIMEOUT,
            service_metrics,
        };
        let twice = start(
            &tasks,
            options,
            vec![good("a"), good("a")],
            mailbox(None).1,
            watch::Sender::new(None),
        );
        assert_eq!(twice.err(), Some(SourceError::Exists("a".to_owned())));
    });
}

#[test]
fn a_request_fails_if_its_collector_is_never_started() {
    actix_web::rt::System::new().block_on(async {
        let (collector, mailbox) = mailbox(Some(Duration::ZERO));
        let (added, ()) = tokio::join!(collector.add_source(good("first")), async { drop(mailbox) });
        assert_eq!(added, Err(SourceError::Unanswered));
        assert_eq!(collector.refreshed().await.number, 0, "a scrape gets no readings");
    });
}

#[test]
fn a_collector_that_panics_keeps_its_sources() {
    collecting(vec![good("first")], async |collector, mut rounds| {
        let before = next(&mut rounds).await;
        let broken: MakeSource = Box::new(|| panic!("it cannot be made"));
        assert_eq!(collector.add_source(broken).await, Err(SourceError::Unanswered));
        rounds.borrow_and_update();
        let after = next(&mut rounds).await;
        assert!(after.number > before.number);
        assert_eq!((metrics(&after), after.sources["first"].failures), (vec!["first"], 0));
        collector.add_source(good("second")).await.expect("its mailbox is open");
    });
}

/// A source without a thread: the first measurement is cancelled, the second panics, later ones succeed.
struct Cancellable(Arc<AtomicU32>);

impl Source for Cancellable {
    fn name(&self) -> &str {
        "cancellable"
    }

    fn metrics(&self) -> Vec<MetricPattern> {
        patterns(&["cancellable"])
    }

    fn schedule(&self) -> Schedule {
        Schedule {
            interval: Duration::ZERO,
            timeout: TIMEOUT / 10,
        }
    }

    fn measure(&mut self, _: u64) -> Measurement<'_> {
        let measured = self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            match measured {
                0 => std::future::pending().await,
                1 => panic!("measured twice"),
                _ => Ok(one("cancellable")),
            }
        })
    }
}

#[test]
fn a_cancelled_source_is_measured_again_in_the_next_round() {
    let count = Arc::new(AtomicU32::new(0));
    let make: MakeSource = Box::new(move || Box::new(Cancellable(count.clone())));
    let seen = rounds(vec![good("first"), make], |round| round.sources["cancellable"].success);
    let last = &seen.last().expect("it answered").sources["cancellable"];
    assert_eq!(last.failures, 2, "once cancelled, once panicked");
    // A round may be followed by the next before it is received.
    for round in &seen[..seen.len() - 1] {
        let reason = round.sources["cancellable"].error.as_deref();
        let expected = [
            "no result within 100ms",
            "it panicked: measured twice; it was restarted",
        ];
        assert!(reason.is_some_and(|reason| expected.contains(&reason)), "{reason:?}");
    }
}
