//! Records of authorization decisions and of changed judgements: accepted here while a request waits, and written in
//! the background by the task in `maintenance`. This module decides nothing; `api::permit` and `judge` pass in what to
//! record.

mod changes;
mod maintenance;
mod options;
mod record;
mod repeats;
mod writer;
mod written;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use watchpost_policies::{Action, Report, RuleSet};

pub use self::changes::changes;
pub use self::options::{Masked, WhenFull};
pub use self::record::{AuditedResponse, Counts, DecisionRecord, Judgement, Record, RequestRecord, ShadowDifference};

pub(crate) use self::written::{DecisionRow, DifferenceRow, JudgementRow};

use self::repeats::Repeats;
use self::writer::{KeyedRecord, RecordSink};
use self::written::Writer;
use crate::audit::{AuditError, AuditFile};
use crate::clock_drift::TrustedClock;
use crate::metrics::ServiceMetrics;
use crate::store::Store;
use crate::store::decisions::{Class, Verdict};
use crate::tasks::{self, Tasks};
use crate::write_behind::{DropReason, PushError, WriteBuffer};

/// How long a request waits for room in the buffer. Clients do not wait longer for a refusal without retrying.
const MAX_BLOCK_TIME: Duration = Duration::from_secs(1);

/// The options of recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whether anything is recorded.
    pub enabled: bool,
    /// Whether allowed requests are recorded.
    pub record_allowed: bool,
    /// Whether changed judgements are recorded.
    pub record_judgements: bool,
    /// The masked fields.
    pub mask: Vec<Masked>,
    /// How long records are kept.
    pub retention: Duration,
    /// The maximum number of records.
    pub max_records: u64,
    /// The maximum number of records that wait to be written.
    pub queue_capacity: usize,
    /// What happens when the buffer is full.
    pub when_full: WhenFull,
    /// The number of equal refusals in a minute that are recorded one by one.
    pub max_repeats: u32,
    /// Whether each record is also written to the log.
    pub log: bool,
}

/// The recorder. Cheap to clone.
#[derive(Clone)]
pub struct Decisions(Arc<Inner>);

struct Inner {
    options: Options,
    writer: Arc<Writer>,
    buffer: WriteBuffer<RecordSink>,
    /// The number of dropped records since the last warning in the log.
    dropped: AtomicUsize,
    store: Store,
    service_metrics: Arc<ServiceMetrics>,
    repeats: Repeats,
    audit: Option<AuditFile>,
    clock: TrustedClock,
}

impl Decisions {
    /// The recorder of this machine, writing to this store and, if there is one, to the audit file.
    pub(crate) fn new(
        store: Store,
        host: &str,
        options: Options,
        service_metrics: Arc<ServiceMetrics>,
        audit: Option<AuditFile>,
        clock: TrustedClock,
    ) -> Self {
        let writer = Arc::new(Writer::new(host, &options.mask));
        let sink = RecordSink::new(writer.clone(), store.clone(), service_metrics.clone(), &options);
        Self(Arc::new(Inner {
            buffer: WriteBuffer::new(sink, writer::limits(options.queue_capacity)),
            writer,
            repeats: Repeats::new(options.max_repeats),
            options,
            dropped: AtomicUsize::new(0),
            store,
            service_metrics,
            audit,
            clock,
        }))
    }

    /// The store that holds the records.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// Starts the task that writes records, if recording is enabled.
    pub fn start(&self, tasks: &Tasks) {
        if self.0.options.enabled {
            let decisions = self.clone();
            tasks.spawn("decisions", move || decisions.clone().run());
        }
    }

    /// Whether a decision with this verdict is recorded. Callers check it to avoid building a record that is not
    /// needed.
    pub fn records(&self, verdict: Verdict, action: Action) -> bool {
        let is_change = verdict == Verdict::BreakGlass || action == Action::RulesWrite;
        (is_change && self.0.audit.is_some())
            || (self.0.options.enabled && (is_change || self.0.options.record_allowed || verdict != Verdict::Allow))
    }

    /// Records a decision. If the request has to wait, for room or for the audit file, the returned future resolves when
    /// it may continue. Break-glass access and permitted changes of rules are in the audit file then, or it is an error.
    pub fn record_decision(
        &self,
        record: DecisionRecord,
    ) -> Option<impl Future<Output = Result<(), AuditError>> + use<>> {
        let record = self.0.repeats.admit(record, Instant::now())?;
        let is_privileged = record.class() == Class::Privileged;
        let is_refused_change = record.request.action == Action::RulesWrite && record.class() != Class::Anonymous;
        let audit = self.0.audit.clone().filter(|_| is_privileged || is_refused_change);
        let mut event = audit.map(|audit| (audit, self.0.writer.audit_event(&record)));
        if let Some((audit, event)) = event.take_if(|_| !is_privileged) {
            // A refusal waits for nothing: it precedes the errors of a body, and stays one without its record.
            tasks::spawn_detached("audit of a refusal", async move {
                if let Err(error) = audit.record(event).await {
                    log::error!("{error}");
                }
            });
        }
        let room = match self.0.options.enabled {
            true => self.enqueue(Record::Decision(record)),
            false => None,
        };
        if event.is_none() && room.is_none() {
            return None;
        }
        Some(async move {
            if let Some(room) = room {
                room.await;
            }
            match event {
                Some((audit, event)) => audit.record(event).await,
                None => Ok(()),
            }
        })
    }

    /// Adds the response to a privileged request to the audit file.
    pub async fn record_response(&self, response: AuditedResponse<'_>) {
        if let Some(audit) = self.0.audit.clone() {
            let event = self.0.writer.response_event(&response);
            // The decision is recorded already, and the change is made.
            if let Err(error) = audit.record(event).await {
                log::error!("{error}");
            }
        }
    }

    /// Queues a record to be written. If the record has to wait for room first, the returned future resolves when it is
    /// queued or dropped.
    pub fn enqueue(&self, record: Record) -> Option<impl Future<Output = ()> + use<>> {
        if self.0.options.log {
            self.0.writer.log(&record);
        }
        match self.0.buffer.push(self.0.writer.keyed(record)) {
            Ok(()) => None,
            // Only decisions wait: the next round must not wait for the judgements of the last.
            Err(PushError::Full(keyed))
                if self.0.options.when_full == WhenFull::Block && matches!(keyed.record, Record::Decision(_)) =>
            {
                Some(self.clone().wait_for_room(keyed))
            }
            Err(error) => {
                self.count_dropped(error.drop_reason());
                None
            }
        }
    }

    /// Records the decision of a role rule in shadow mode that differs from the actual one.
    pub fn record_difference(&self, difference: ShadowDifference) {
        if !self.0.options.enabled {
            return;
        }
        // Differences may use at most half of the buffer, so that there is room for decisions.
        if self.0.buffer.free() * 2 < self.0.options.queue_capacity {
            return self.count_dropped(DropReason::Full);
        }
        // Differences never wait for room.
        let _ = self.enqueue(Record::Difference(difference));
    }

    /// Records the rules whose findings differ from the last round.
    pub fn record_judgements(&self, set: &RuleSet, last: Option<&Report>, report: &Report) {
        if self.0.options.enabled && self.0.options.record_judgements {
            for judgement in changes(set, last, report) {
                // Judgements never wait for room.
                let _ = self.enqueue(Record::Judgement(judgement));
            }
        }
    }

    async fn wait_for_room(self, record: KeyedRecord) {
        // If the client disconnects meanwhile, this future is cancelled and the record counts as dropped.
        let mut guard = DropGuard {
            decisions: &self,
            reason: Some(DropReason::Full),
        };
        let pushed = self.0.buffer.push_within(record, MAX_BLOCK_TIME).await;
        guard.reason = pushed.err().map(|error| error.drop_reason());
    }

    /// Counts a dropped record. If the queue is full, the first one is logged immediately, the others periodically;
    /// records after the shutdown are only counted.
    fn count_dropped(&self, reason: DropReason) {
        self.0.service_metrics.decisions_dropped(1, reason);
        if reason == DropReason::Full && self.0.dropped.fetch_add(1, Ordering::Relaxed) == 0 {
            log::warn!(waiting = self.0.options.queue_capacity; "the queue of decisions is full; further decisions are dropped");
        }
    }
}

/// Counts a record as dropped for a reason, unless the reason is removed.
struct DropGuard<'d> {
    decisions: &'d Decisions,
    reason: Option<DropReason>,
}

impl Drop for DropGuard<'_> {
    fn drop(&mut self) {
        if let Some(reason) = self.reason {
            self.decisions.count_dropped(reason);
        }
    }
}

#[cfg(test)]
mod tests;
