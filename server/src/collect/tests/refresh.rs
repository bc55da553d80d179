//! Measurements between rounds, which scrapes request.

use std::sync::Mutex;
use std::time::Instant;

use futures_util::future::join_all;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::*;
use crate::collect::handle::Message;
use crate::collect::refresh::Refreshed;

/// No second round in a test.
const SELDOM: Duration = Duration::from_secs(3600);

/// A source of one series, whose value is the number of its measurements.
fn counting(name: &'static str, before: impl Fn(u32) + Clone + Send + 'static) -> impl Fn() -> Blocking + Send {
    let schedule = Schedule {
        interval: Duration::ZERO,
        timeout: TIMEOUT,
    };
    move || {
        let before = before.clone();
        let mut measured = 0;
        let measure = move || {
            measured += 1;
            before(measured);
            let mut reading = Reading::default();
            reading.add(name, &[], f64::from(measured), "", 0);
            Ok(reading)
        };
        let probe = Scripted {
            name,
            measure: Box::new(measure),
        };
        Blocking::new(Box::new(probe), schedule)
    }
}

fn fast(name: &'static str) -> MakeSource {
    let make = counting(name, |_| ());
    Box::new(move || Box::new(make().refreshable()))
}

/// Measurements that end when the test releases them, from the second one on.
struct Gate {
    started: UnboundedReceiver<u32>,
    release: mpsc::Sender<()>,
}

fn gated(name: &'static str, is_refreshable: bool) -> (MakeSource, Gate) {
    let (starts, started): (UnboundedSender<u32>, _) = unbounded_channel();
    let (release, released) = mpsc::channel();
    let released = Arc::new(Mutex::new(released));
    let make = counting(name, move |measured| {
        if measured > 1 {
            starts.send(measured).expect("the test listens");
            // Once the gate is dropped, it answers at once.
            let _ = released.lock().expect("no panic").recv();
        }
    });
    let source: MakeSource = Box::new(move || {
        let source = make();
        Box::new(if is_refreshable { source.refreshable() } else { source })
    });
    (source, Gate { started, release })
}

/// The values of a refresh, in the order of the sources.
fn values(refreshed: &Refreshed) -> Vec<f64> {
    let samples = refreshed.readings.iter().flat_map(|reading| reading.samples.iter());
    samples.map(|sample| sample.value()).collect()
}

/// The number of refreshes with this outcome.
fn counted(service_metrics: &ServiceMetrics, outcome: &str) -> f64 {
    let families = service_metrics.gather();
    let family = families
        .iter()
        .find(|family| family.name() == "watchpost_scrape_measurements_total");
    let mut series = family.expect("it is declared").get_metric().iter();
    let of_outcome = series.find(|metric| metric.get_label().iter().any(|label| label.value() == outcome));
    of_outcome
        .expect("both outcomes exist from the start")
        .get_counter()
        .get_value()
}

#[test]
fn scrapes_that_wait_share_one_measurement() {
    let (source, mut gate) = gated("counted", true);
    collecting_every(
        SELDOM,
        Some(Duration::ZERO),
        vec![source],
        async |collector, mut rounds, metrics| {
            next(&mut rounds).await;
            let scrapes = join_all((0..5).map(|_| collector.refreshed()));
            let release = async {
                assert_eq!(gate.started.recv().await, Some(2));
                gate.release.send(()).expect("it waits");
            };
            let (scrapes, ()) = tokio::join!(scrapes, release);
            for scrape in &scrapes {
                assert_eq!((scrape.number, values(scrape)), (1, vec![2.0]));
            }
            assert!(gate.started.try_recv().is_err(), "it is measured once for all of them");
            assert_eq!((counted(&metrics, "success"), counted(&metrics, "failure")), (1.0, 0.0));
        },
    );
}

#[test]
fn readings_within_the_maximum_age_are_not_measured_again() {
    let max_age = SELDOM / 2;
    collecting_every(
        SELDOM,
        Some(max_age),
        vec![fast("counted")],
        async |collector, mut rounds, metrics| {
            next(&mut rounds).await;
            for _ in 0..3 {
                let refreshed = collector.refreshed().await;
                assert_eq!((refreshed.number, values(&refreshed)), (1, vec![2.0]));
                // The collector itself holds to it, whatever a handle has seen.
                let (reply, answer) = tokio::sync::oneshot::channel();
                collector
                    .messages
                    .send(Message::Refresh { max_age, reply })
                    .await
                    .expect("it runs");
                assert_eq!(answer.await.expect("an answer").number, 1);
            }
            assert_eq!(counted(&metrics, "success"), 1.0);
        },
    );
}

#[test]
fn readings_beyond_the_maximum_age_are_measured_again() {
    let max_age = Duration::from_millis(50);
    collecting_every(
        SELDOM,
        Some(max_age),
        vec![fast("counted")],
        async |collector, mut rounds, metrics| {
            next(&mut rounds).await;
            let begin = Instant::now();
            assert_eq!(values(&*collector.refreshed().await), [2.0]);
            let second = loop {
                let refreshed = collector.refreshed().await;
                if refreshed.number > 1 {
                    break refreshed;
                }
                tokio::task::yield_now().await;
            };
            assert!(begin.elapsed() >= max_age);
            assert_eq!((second.number, values(&second)), (2, vec![3.0]));
            assert_eq!(counted(&metrics, "success"), 2.0);
        },
    );
}

#[test]
fn scrapes_measure_nothing_without_a_maximum_age() {
    collecting_every(
        SELDOM,
        None,
        vec![fast("counted")],
        async |collector, mut rounds, metrics| {
            next(&mut rounds).await;
            assert_eq!(values(&*collector.refreshed().await), [0.0; 0]);
            assert_eq!(counted(&metrics, "success"), 0.0);
        },
    );
}

#[test]
fn a_source_that_hangs_costs_a_scrape_the_timeout_once_and_keeps_its_last_reading() {
    let (source, mut gate) = gated("hung", true);
    let sources = vec![fast("fast"), source];
    collecting_every(
        SELDOM,
        Some(Duration::ZERO),
        sources,
        async |collector, mut rounds, metrics| {
            next(&mut rounds).await;
            let begin = Instant::now();
            let refreshed = collector.refreshed().await;
            assert!(begin.elapsed() >= TIMEOUT, "{:?}", begin.elapsed());
            assert_eq!(values(&refreshed), [2.0], "the other source");
            assert_eq!(gate.started.try_recv(), Ok(2));
            assert_eq!((counted(&metrics, "success"), counted(&metrics, "failure")), (0.0, 1.0));
            let begin = Instant::now();
            assert_eq!(values(&*collector.refreshed().await), [3.0]);
            assert!(begin.elapsed() < TIMEOUT, "it waits no second time");
            assert!(gate.started.try_recv().is_err(), "it is not measured twice at once");
            assert_eq!(counted(&metrics, "failure"), 1.0);
            drop(gate.release);
        },
    );
}

#[test]
fn a_source_that_is_released_is_refreshed_after_its_next_round() {
    let (source, mut gate) = gated("hung", true);
    collecting(vec![source], async |collector, mut rounds| {
        next(&mut rounds).await;
        // A round or a scrape hangs first, and then the other.
        let refreshed = collector.refreshed().await;
        assert_eq!(values(&refreshed), [0.0; 0]);
        assert_eq!(gate.started.recv().await, Some(2));
        drop(gate.release);
        loop {
            let refreshed = collector.refreshed().await;
            if !values(&refreshed).is_empty() {
                break;
            }
            next(&mut rounds).await;
        }
        let recovered = next(&mut rounds).await;
        assert!(recovered.sources["hung"].success);
    });
}

#[test]
fn sources_that_are_not_refreshable_or_failed_in_the_last_round_are_measured_in_rounds_only() {
    let slow = counting("rounds_only", |measured| {
        assert_eq!(measured, 1, "measured for a scrape")
    });
    let failing = counting("failing", |measured| {
        assert!(measured > 1, "the first measurement fails")
    });
    let sources: Vec<MakeSource> = vec![
        Box::new(move || Box::new(slow())),
        Box::new(move || Box::new(failing().refreshable())),
        fast("fast"),
    ];
    collecting_every(
        SELDOM,
        Some(Duration::ZERO),
        sources,
        async |collector, mut rounds, metrics| {
            let round = next(&mut rounds).await;
            assert!(!round.sources["failing"].success);
            assert_eq!(values(&*collector.refreshed().await), [2.0]);
            assert_eq!(counted(&metrics, "success"), 1.0);
        },
    );
}

#[test]
fn a_scrape_does_not_wait_for_a_round_and_ends_when_its_source_is_removed() {
    let (in_round, mut round_gate) = gated("rounds_only", false);
    let (removed, mut removed_gate) = gated("removed", true);
    collecting(vec![in_round, fast("fast")], async |collector, mut rounds| {
        next(&mut rounds).await;
        round_gate.started.recv().await.expect("the second round measures it");
        let begin = Instant::now();
        assert_eq!(collector.refreshed().await.readings.len(), 1, "while the round waits");
        collector.add_source(removed).await.expect("the name is free");
        assert!(begin.elapsed() < TIMEOUT);
        drop(round_gate.release);
        // Its first measurement is not gated; then a round or a scrape hangs in it.
        removed_gate.started.recv().await.expect("it is measured");
        let scrape = collector.refreshed();
        let remove = async { collector.remove_source("removed").await.expect("it is there") };
        let (refreshed, ()) = tokio::join!(scrape, remove);
        assert_eq!(refreshed.readings.len(), 1);
        drop(removed_gate.release);
    });
}
