//! Measurements between two rounds, for scrapes: counters are only as good as the time at which they are read. The
//! collector runs one refresh at a time; all scrapes that wait for it share its result. It measures fast sources only,
//! and changes nothing that a round measures.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};
use watchpost_policies::Sample;

use super::probe::Reading;
use crate::metrics::{Outcome, ServiceMetrics};

/// A scraper waits for its response, and the scrape timeout of Prometheus is at most its scrape interval, so a source
/// that is not much faster is measured in rounds only.
pub(super) const MAX_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a refresh waits for its sources, given the timeout of a round.
pub(super) fn timeout(of_round: Duration) -> Duration {
    of_round.min(MAX_TIMEOUT)
}

/// The last reading of each fast source that was measured between rounds. A round may be newer.
#[derive(Debug, Default)]
pub struct Refreshed {
    /// The number of refreshes so far.
    pub number: u64,
    started: Option<Instant>,
    pub readings: Vec<NewerReading>,
}

/// The reading of one source between two rounds.
#[derive(Clone, Debug)]
pub struct NewerReading {
    /// When the measurement ended, in milliseconds since 1970 (UTC).
    pub time_ms: u64,
    pub samples: Arc<Vec<Sample>>,
}

impl NewerReading {
    /// Without the metrics that describe something in their labels: if a label changed since the round, a page would
    /// show the old description and the new one.
    pub(super) fn new(reading: Reading, time_ms: u64) -> Self {
        let mut samples = reading.samples;
        samples.retain(|sample| !sample.metric().as_str().ends_with("_info"));
        Self {
            time_ms,
            samples: Arc::new(samples),
        }
    }
}

impl Refreshed {
    /// Whether it started less than `max_age` ago.
    pub(super) fn is_recent(&self, max_age: Duration) -> bool {
        self.started.is_some_and(|started| started.elapsed() < max_age)
    }
}

/// The refresh in progress, if there is one, and the scrapes that wait for it.
pub(super) struct Refresh {
    number: u64,
    /// When the last refresh started.
    started: Option<Instant>,
    timeout: Duration,
    /// The numbers of the sources that it waits for.
    pending: BTreeSet<u64>,
    /// Whether a source reported that its own timeout has passed.
    has_timed_out: bool,
    waiting: Vec<oneshot::Sender<Arc<Refreshed>>>,
    published: watch::Sender<Arc<Refreshed>>,
    service_metrics: Arc<ServiceMetrics>,
}

impl Refresh {
    pub(super) fn new(
        timeout: Duration,
        published: watch::Sender<Arc<Refreshed>>,
        service_metrics: Arc<ServiceMetrics>,
    ) -> Self {
        Self {
            number: 0,
            started: None,
            timeout,
            pending: BTreeSet::new(),
            has_timed_out: false,
            waiting: Vec::new(),
            published,
            service_metrics,
        }
    }

    /// Whether a scrape that arrives now starts a refresh, rather than sharing the one in progress or using the last.
    pub(super) fn is_due(&self, max_age: Duration) -> bool {
        !self.is_in_progress() && !self.published.borrow().is_recent(max_age)
    }

    /// Starts a refresh of these sources, and returns its number.
    pub(super) fn start(&mut self, sources: BTreeSet<u64>) -> u64 {
        self.number += 1;
        self.started = Some(Instant::now());
        self.pending = sources;
        self.has_timed_out = false;
        self.number
    }

    /// Adds a scrape that waits for the refresh in progress; without one, it gets the last result.
    pub(super) fn join(&mut self, scrape: oneshot::Sender<Arc<Refreshed>>) {
        if self.is_in_progress() {
            self.waiting.push(scrape);
        } else {
            reply(scrape, &self.published.borrow());
        }
    }

    /// Stops waiting for a source, because it answered the refresh of this number, perhaps that its own timeout has
    /// passed.
    pub(super) fn answered(&mut self, number: u64, source: u64, timed_out: bool) {
        if number == self.number && self.pending.remove(&source) {
            self.has_timed_out |= timed_out;
        }
    }

    /// Stops waiting for a source that was removed.
    pub(super) fn removed(&mut self, source: u64) {
        self.pending.remove(&source);
    }

    /// When the refresh in progress stops waiting for its sources.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.started
            .filter(|_| self.is_in_progress())
            .map(|at| at + self.timeout)
    }

    /// Whether every source of the last refresh answered.
    pub(super) fn is_complete(&self) -> bool {
        self.pending.is_empty()
    }

    /// Ends the refresh, whether or not all sources answered, and replies to all scrapes that wait for it.
    pub(super) fn end(&mut self, readings: Vec<NewerReading>) {
        let outcome = if self.has_timed_out || !self.is_complete() {
            Outcome::Failure
        } else {
            Outcome::Success
        };
        self.service_metrics.scrape_measured(outcome);
        self.pending.clear();
        let refreshed = Arc::new(Refreshed {
            number: self.number,
            started: self.started,
            readings,
        });
        self.published.send_replace(refreshed.clone());
        for scrape in self.waiting.drain(..) {
            reply(scrape, &refreshed);
        }
    }

    fn is_in_progress(&self) -> bool {
        self.published.borrow().number != self.number
    }
}

/// The scrape may have stopped waiting.
fn reply(scrape: oneshot::Sender<Arc<Refreshed>>, refreshed: &Arc<Refreshed>) {
    drop(scrape.send(refreshed.clone()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_in_labels_is_only_that_of_the_round() {
        let mut reading = Reading::default();
        reading.add("node_network_info", &[("operstate", "down")], 1.0, "", 7);
        reading.add("node_network_up", &[], 0.0, "", 7);
        let newer = NewerReading::new(reading, 7);
        let metrics: Vec<_> = newer.samples.iter().map(|sample| sample.metric().as_str()).collect();
        assert_eq!((metrics, newer.time_ms), (vec!["node_network_up"], 7));
    }
}
