//! Records of who was refused what, and of what the rules found: taken in here while a request waits, and written behind
//! its back by the task in `keep`. It decides nothing; `api::permit` and `judge` bring what is to be recorded.

mod changes;
mod maintenance;
mod options;
mod record;
mod writer;
mod written;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use watchpost_policies::{Report, RuleSet};

pub use self::changes::changes;
pub use self::options::{Masked, WhenFull};
pub use self::record::{Counts, DecisionRecordParts, Judgement, Record, RequestRecord, ShadowDifference};

pub(crate) use self::written::{DecisionRow, DifferenceRow, JudgementRow};

use self::writer::{MarkedRecord, RecordSink};
use self::written::Writer;
use crate::metrics::ServiceMetrics;
use crate::store::Store;
use crate::store::decisions::Verdict;
use crate::tasks::Tasks;
use crate::write_behind::{PushError, WriteBuffer};

/// How long a request waits for room. Nobody waits longer for a refusal without asking again.
const MAX_BLOCK_TIME: Duration = Duration::from_secs(1);

/// What is recorded, and how much of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whether anything is.
    pub enabled: bool,
    /// Whether what was allowed is.
    pub record_allowed: bool,
    /// Whether it is when a rule finds something else.
    pub record_judgements: bool,
    /// What is kept secret.
    pub mask: Vec<Masked>,
    /// For how long.
    pub retention: Duration,
    /// How many.
    pub max_records: u64,
    /// How many may wait to be written.
    pub queue_capacity: usize,
    /// What happens when that many do.
    pub when_full: WhenFull,
    /// Whether each is a line in the log.
    pub log: bool,
}

/// All that is recorded. Cheap to clone.
#[derive(Clone)]
pub struct Decisions(Arc<Inner>);

struct Inner {
    options: Options,
    writer: Arc<Writer>,
    buffer: WriteBuffer<RecordSink>,
    /// Since the log was told last.
    dropped: AtomicUsize,
    store: Store,
    service_metrics: Arc<ServiceMetrics>,
}

impl Decisions {
    /// Of this machine, in this store.
    pub fn new(store: Store, host: &str, options: Options, service_metrics: Arc<ServiceMetrics>) -> Self {
        let writer = Arc::new(Writer::new(host, &options.mask));
        let sink = RecordSink::new(writer.clone(), store.clone(), service_metrics.clone(), &options);
        Self(Arc::new(Inner {
            buffer: WriteBuffer::new(sink, writer::limits(options.queue_capacity)),
            writer,
            options,
            dropped: AtomicUsize::new(0),
            store,
            service_metrics,
        }))
    }

    /// Where they are.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// Sets the task to work that writes what is recorded, if anything is.
    pub fn start(&self, tasks: &Tasks) {
        if self.0.options.enabled {
            let decisions = self.clone();
            tasks.spawn("decisions", move || decisions.clone().keep());
        }
    }

    /// Whether a decision that ended like this is recorded. Whoever asks before makes no record in vain.
    pub fn wants(&self, verdict: Verdict) -> bool {
        self.0.options.enabled && (self.0.options.record_allowed || verdict != Verdict::Allow)
    }

    /// From now on this record waits to be written. Where it has to wait for room first, whoever brings it waits with
    /// it.
    pub fn take_in(&self, record: Record) -> Option<impl Future<Output = ()> + use<>> {
        if self.0.options.log {
            self.0.writer.log(&record);
        }
        match self.0.buffer.push(self.0.writer.marked(record)) {
            Ok(()) => None,
            // The next round does not wait for what was found in the last.
            Err(PushError::Full(marked))
                if self.0.options.when_full == WhenFull::Block && matches!(marked.record, Record::Decision(_)) =>
            {
                Some(self.clone().wait_for_room(marked))
            }
            Err(_) => {
                self.count_dropped(1);
                None
            }
        }
    }

    /// Records what a role rule in shadow would have decided.
    pub fn differed(&self, differed: ShadowDifference) {
        if !self.0.options.enabled {
            return;
        }
        // What counts finds room: at most half of it is for what only would have been.
        if self.0.buffer.free() * 2 < self.0.options.queue_capacity {
            return self.count_dropped(1);
        }
        // It never has to wait.
        let _ = self.take_in(Record::Difference(differed));
    }

    /// Records which rules find something else than in the last round.
    pub fn judged(&self, set: &RuleSet, last: Option<&Report>, report: &Report) {
        if self.0.options.enabled && self.0.options.record_judgements {
            for judgement in changes(set, last, report) {
                // It never has to wait.
                let _ = self.take_in(Record::Judgement(judgement));
            }
        }
    }

    async fn wait_for_room(self, record: MarkedRecord) {
        // Whoever asked may go away meanwhile; then it is dropped too.
        let mut missed = Missed(Some(&self));
        if self.0.buffer.push_within(record, MAX_BLOCK_TIME).await.is_ok() {
            missed.0 = None;
        }
    }

    /// Each is counted, and the log is told of the first; of the others once in a while.
    fn count_dropped(&self, count: usize) {
        self.0.service_metrics.decisions_dropped(count);
        if self.0.dropped.fetch_add(count, Ordering::Relaxed) == 0 {
            log::warn!(waiting = self.0.options.queue_capacity; "too many decisions wait to be written; others are dropped");
        }
    }
}

/// A record that is dropped unless somebody says otherwise.
struct Missed<'d>(Option<&'d Decisions>);

impl Drop for Missed<'_> {
    fn drop(&mut self) {
        if let Some(decisions) = self.0 {
            decisions.count_dropped(1);
        }
    }
}

#[cfg(test)]
mod tests;
