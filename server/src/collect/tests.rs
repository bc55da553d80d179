//! The collector together with its sources, including probes that fail.

mod members;
mod refresh;
mod slow;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::sync::watch;
use watchpost_policies::{Labels, MetricPattern};

use super::blocking::Blocking;
use super::collector::{Options, Round};
use super::probe::{Probe, Reading, patterns};
use super::source::{MakeSource, Schedule};
use super::{CollectorHandle, mailbox, start};
use crate::metrics::{Build, ServiceMetrics};
use crate::tasks::Tasks;

/// Long enough for a panic that prints its backtrace.
const TIMEOUT: Duration = Duration::from_secs(1);

type Measure = Box<dyn FnMut() -> Result<Reading, String> + Send>;

struct Scripted {
    name: &'static str,
    measure: Measure,
}

impl Probe for Scripted {
    fn name(&self) -> &'static str {
        self.name
    }

    fn metrics(&self) -> Vec<MetricPattern> {
        patterns(&[self.name])
    }

    fn measure(&mut self, _: u64) -> Result<Reading, String> {
        (self.measure)()
    }
}

fn one(metric: &str) -> Reading {
    let mut reading = Reading::default();
    reading.add(metric, &[], 1.0, "", 0);
    reading
}

/// A source that runs the probe of `make` on a thread, in every round.
fn blocking<P: Probe>(timeout: Duration, make: impl Fn() -> P + Send + 'static) -> MakeSource {
    let schedule = Schedule {
        interval: Duration::ZERO,
        timeout,
    };
    Box::new(move || Box::new(Blocking::new(Box::new(make()), schedule)))
}

fn source(name: &'static str, make: impl Fn() -> Measure + Send + 'static) -> MakeSource {
    blocking(TIMEOUT, move || Scripted { name, measure: make() })
}

fn good(name: &'static str) -> MakeSource {
    source(name, move || Box::new(move || Ok(one(name))))
}

type Rounds = watch::Receiver<Option<Arc<Round>>>;

/// Runs a collector with these sources for the duration of `test`.
fn collecting<F: Future<Output = ()>>(sources: Vec<MakeSource>, test: impl FnOnce(CollectorHandle, Rounds) -> F) {
    let often = Duration::from_millis(20);
    collecting_every(often, Some(Duration::ZERO), sources, |collector, rounds, _| {
        test(collector, rounds)
    });
}

/// The same with this interval and this `max_age`, and with the service metrics.
fn collecting_every<F: Future<Output = ()>>(
    interval: Duration,
    max_age: Option<Duration>,
    sources: Vec<MakeSource>,
    test: impl FnOnce(CollectorHandle, Rounds, Arc<ServiceMetrics>) -> F,
) {
    actix_web::rt::System::new().block_on(async {
        let build = Build {
            version: "",
            commit: "",
            rustc: "",
        };
        let service_metrics = Arc::new(ServiceMetrics::new(&build));
        let tasks = Tasks::new(service_metrics.clone());
        let (published, measured) = watch::channel(None);
        let options = Options {
            host: crate::host_id::HostId::new("edge-1").expect("a legal name"),
            facts: Labels::none(),
            interval,
            timeout: TIMEOUT,
            service_metrics: service_metrics.clone(),
        };
        let (collector, mailbox) = mailbox(max_age);
        start(&tasks, options, sources, mailbox, published).expect("the names are unique");
        tokio::time::timeout(Duration::from_secs(30), test(collector, measured, service_metrics))
            .await
            .expect("it ends");
        tasks.stop();
    });
}

/// The next round that was not received yet.
async fn next(rounds: &mut Rounds) -> Round {
    rounds.changed().await.expect("the collector runs");
    (**rounds.borrow_and_update().as_ref().expect("it was published")).clone()
}

/// The rounds until `enough` returns true.
fn rounds(sources: Vec<MakeSource>, mut enough: impl FnMut(&Round) -> bool) -> Vec<Round> {
    let mut seen = Vec::new();
    collecting(sources, async |_, mut rounds| {
        loop {
            let round = next(&mut rounds).await;
            let last = enough(&round);
            seen.push(round);
            if last {
                return;
            }
        }
    });
    seen
}

fn metrics(round: &Round) -> Vec<&str> {
    round
        .snapshot
        .samples()
        .iter()
        .map(|sample| sample.metric().as_str())
        .collect()
}

#[test]
fn a_round_contains_the_samples_of_all_sources() {
    let seen = rounds(vec![good("b"), good("a")], |round| round.number >= 3);
    for round in &seen {
        assert_eq!(metrics(round), ["a", "b"]);
        assert!(
            round
                .sources
                .values()
                .all(|source| source.success && source.samples == 1)
        );
    }
}

#[test]
fn a_source_that_panics_is_a_gap_and_is_restarted() {
    let made = Arc::new(AtomicU32::new(0));
    let count = made.clone();
    let fragile = source("fragile", move || {
        count.fetch_add(1, Ordering::Relaxed);
        let mut measured = 0;
        Box::new(move || {
            measured += 1;
            assert!(measured < 2, "measured too often");
            Ok(one("fragile"))
        })
    });
    let mut broke = false;
    let seen = rounds(vec![good("good"), fragile], |round| {
        broke |= !round.sources["fragile"].success;
        broke && round.sources["fragile"].success
    });
    assert!(seen.iter().all(|round| metrics(round).contains(&"good")));
    for round in seen.iter().filter(|round| !round.sources["fragile"].success) {
        let gap = &round.snapshot.gaps()[0];
        assert_eq!(
            (gap.source.as_str(), gap.metrics.as_slice()),
            ("fragile", patterns(&["fragile"]).as_slice())
        );
        assert!(gap.reason.contains("measured too often"), "{}", gap.reason);
    }
    // Once at the start, and once after the panic.
    assert!(made.load(Ordering::Relaxed) > 1, "it was recreated");
}

#[test]
fn a_hanging_source_is_measured_once_and_delays_one_round() {
    let (started, starts) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let released = Arc::new(std::sync::Mutex::new(released));
    let hung = source("hung", move || {
        let (started, released) = (started.clone(), released.clone());
        Box::new(move || {
            started.send(()).expect("the test listens");
            // Once the gate is dropped, it answers at once.
            let _ = released.lock().expect("no panic").recv();
            Ok(one("hung"))
        })
    });
    let mut release = Some(release);
    let mut rounds_while_hung = 0;
    let seen = rounds(vec![good("good"), hung], move |round| {
        if round.sources["hung"].success {
            return true;
        }
        rounds_while_hung += 1;
        if rounds_while_hung == 5 {
            assert_eq!(starts.try_iter().count(), 1, "measured again while it was busy");
            drop(release.take());
        }
        false
    });
    let hung = &seen[..seen.len() - 1];
    assert!(hung.len() >= 5);
    for round in hung {
        assert!(metrics(round).contains(&"good"));
        assert!(
            round.snapshot.gaps()[0].reason.contains("no result within"),
            "{:?}",
            round.snapshot.gaps()
        );
    }
    // Only the first round waits for it. A slow receiver may have missed the first.
    for round in hung {
        assert_eq!(
            round.duration >= TIMEOUT,
            round.number == 1,
            "round {}: {:?}",
            round.number,
            round.duration
        );
    }
    assert!(metrics(seen.last().expect("the last")).contains(&"hung"));
}

#[test]
fn the_result_of_a_rarely_measured_source_is_reused() {
    let make = || {
        let mut measured = 0;
        let measure = move || {
            measured += 1;
            let mut reading = Reading::default();
            reading.add("seldom", &[], f64::from(measured), "", 0);
            Ok(reading)
        };
        Box::new(Scripted {
            name: "seldom",
            measure: Box::new(measure),
        })
    };
    let schedule = Schedule {
        interval: Duration::from_millis(300),
        timeout: TIMEOUT,
    };
    let seldom: MakeSource = Box::new(move || Box::new(Blocking::new(make(), schedule)));
    let value = |round: &Round| {
        round
            .snapshot
            .samples()
            .iter()
            .find(|sample| sample.metric().as_str() == "seldom")
            .map(|sample| sample.value())
    };
    let seen = rounds(vec![good("often"), seldom], |round| value(round) > Some(1.0));
    let kept = seen
        .iter()
        .filter(|round| round.number > 1 && value(round) == Some(1.0));
    let ages: Vec<_> = kept.filter_map(|round| round.sources["seldom"].age_seconds).collect();
    assert!(ages.len() > 1 && ages.iter().any(|age| *age > 0.0), "{ages:?}");
    assert!(seen.iter().all(|round| round.sources["seldom"].success));
}

#[test]
fn an_error_is_a_gap_with_its_reason() {
    let failing = source("failing", || Box::new(|| Err("the file is missing".to_owned())));
    let seen = rounds(vec![failing], |round| round.number >= 2);
    let last = seen.last().expect("two rounds");
    assert_eq!(last.snapshot.gaps()[0].reason, "the file is missing");
    assert_eq!(
        (last.sources["failing"].failures, last.sources["failing"].success),
        (last.number, false)
    );
}
