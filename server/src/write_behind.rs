//! A write-behind buffer: producers push items without waiting, items wait in memory up to a bound, and one task writes
//! them in batches and retries. It does not know what an item is, where it goes or how losses are reported; that is the
//! sink's part.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, TryAcquireError};

/// The number of attempts during shutdown: a sink that hangs is given up this often, so that one connection does not
/// use up all the remaining time.
const SHUTDOWN_ATTEMPTS: u32 = 3;

/// The destination of a buffer's items.
pub(crate) trait Sink {
    /// What is written.
    type Item;

    /// Why a batch was not written.
    type Error: fmt::Display;

    /// Writes the whole batch or nothing of it, and returns within `timeout`. A batch whose result was lost is written
    /// again, so writing it twice has to be as good as writing it once.
    fn write(
        &self,
        batch: Arc<[Self::Item]>,
        timeout: Duration,
    ) -> impl Future<Output = Result<(), WriteError<Self::Error>>>;

    /// Reports what happened to items, for metrics and the log.
    fn on_event(&self, event: Event<'_, Self::Item, Self::Error>);
}

/// Why a batch was not written, by what to do about it.
#[derive(Debug)]
pub(crate) enum WriteError<E> {
    /// The sink cannot take any batch at the moment; this one is retried until it can.
    Unavailable(E),
    /// The sink does not take this batch; it is dropped after [`Options::max_rejections`] attempts.
    Rejected(E),
}

/// Something that happened to items of a buffer.
#[derive(Debug)]
pub(crate) enum Event<'e, T, E> {
    /// These items were written.
    Written(&'e [T]),
    /// Writing began to fail. Further failures in a row are not reported.
    Failing(&'e E),
    /// Writing succeeds again.
    Recovered {
        /// The number of items that are not written yet.
        pending: usize,
    },
    /// Items are lost.
    Dropped {
        reason: DropReason,
        /// The number of lost items.
        count: usize,
    },
}

/// Why items were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DropReason {
    /// Newer items took their place while the buffer was full.
    Full,
    /// The sink rejected their batch too often.
    Rejected,
    /// The sink did not take them before the end of the shutdown.
    Shutdown,
}

impl DropReason {
    /// All reasons.
    pub(crate) const ALL: [Self; 3] = [Self::Full, Self::Rejected, Self::Shutdown];

    /// The name of the reason in metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Rejected => "rejected",
            Self::Shutdown => "shutdown",
        }
    }
}

impl<T> PushError<T> {
    /// Why the item is lost if its producer gives it up.
    pub(crate) const fn drop_reason(&self) -> DropReason {
        match self {
            Self::Full(_) => DropReason::Full,
            Self::Closed(_) => DropReason::Shutdown,
        }
    }
}

/// What happens to a pushed item while the buffer is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OverflowPolicy {
    /// It takes the place of the oldest waiting item, which is lost.
    DropOldest,
    /// It is given back to the producer.
    Refuse,
}

/// The limits of a buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// The number of items that may wait, at least one. The batch that is being written does not count.
    pub(crate) capacity: usize,
    /// What happens beyond that.
    pub(crate) overflow: OverflowPolicy,
    /// The number of items in one batch, at most.
    pub(crate) batch_size: usize,
    /// How long one attempt to write a batch may take.
    pub(crate) write_timeout: Duration,
    /// The pause after a failed attempt.
    pub(crate) retry_delay: Duration,
    /// A batch that was rejected this often is dropped, so that it does not block the items behind it.
    pub(crate) max_rejections: u32,
}

/// A pushed item that was not accepted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PushError<T> {
    /// The buffer is full.
    Full(T),
    /// The buffer is shutting down.
    Closed(T),
}

/// Items on their way to a sink.
pub(crate) struct WriteBuffer<S: Sink> {
    sink: S,
    options: Options,
    state: Mutex<State<S::Item>>,
    /// A permit for each item that may still be pushed. It is closed when the shutdown begins.
    room: Semaphore,
    pushed: Notify,
    failing: AtomicBool,
    /// Held while batches are written: a batch has one writer at a time.
    writer: tokio::sync::Mutex<()>,
}

struct State<T> {
    waiting: VecDeque<T>,
    /// What is being written, until it is written or dropped. It outlives the task that writes.
    batch: Arc<[T]>,
    rejections: u32,
    /// Whether the shutdown has ended, so that pushed items would be lost without being counted.
    finished: bool,
}

impl<S: Sink> WriteBuffer<S> {
    /// An empty buffer in front of a sink.
    pub(crate) fn new(sink: S, options: Options) -> Self {
        Self {
            sink,
            room: Semaphore::new(options.capacity),
            options,
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                batch: Arc::new([]),
                rejections: 0,
                finished: false,
            }),
            pushed: Notify::new(),
            failing: AtomicBool::new(false),
            writer: tokio::sync::Mutex::default(),
        }
    }

    pub(crate) fn sink(&self) -> &S {
        &self.sink
    }

    /// The number of items that still find room.
    pub(crate) fn free(&self) -> usize {
        self.room.available_permits()
    }

    /// Whether the last attempt of [`run`](Self::run) to write failed.
    pub(crate) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// Accepts an item, or gives it back.
    pub(crate) fn push(&self, item: S::Item) -> Result<(), PushError<S::Item>> {
        // Permits change together with the items that they stand for.
        let mut state = self.state.lock();
        match self.room.try_acquire() {
            Ok(permit) => {
                permit.forget();
                state.waiting.push_back(item);
            }
            Err(TryAcquireError::Closed) => return Err(PushError::Closed(item)),
            Err(TryAcquireError::NoPermits) if self.options.overflow == OverflowPolicy::Refuse => {
                return Err(PushError::Full(item));
            }
            Err(TryAcquireError::NoPermits) => {
                state.waiting.push_back(item);
                let oldest = state.waiting.pop_front();
                drop(state);
                drop(oldest);
                self.report_dropped(DropReason::Full, 1);
                return Ok(());
            }
        }
        drop(state);
        self.pushed.notify_one();
        Ok(())
    }

    /// Accepts an item as soon as there is room, or gives it back after `timeout`. Producers are served in the order in
    /// which they came.
    pub(crate) async fn push_within(&self, item: S::Item, timeout: Duration) -> Result<(), PushError<S::Item>> {
        match tokio::time::timeout(timeout, self.room.acquire()).await {
            Err(_) => Err(PushError::Full(item)),
            Ok(Err(_)) => Err(PushError::Closed(item)),
            Ok(Ok(permit)) => {
                let mut state = self.state.lock();
                if state.finished {
                    return Err(PushError::Closed(item));
                }
                permit.forget();
                state.waiting.push_back(item);
                drop(state);
                self.pushed.notify_one();
                Ok(())
            }
        }
    }

    /// Writes what is pushed, for ever. If it is cancelled, the batch that it was writing is written again by the next
    /// call or by [`shut_down`](Self::shut_down).
    pub(crate) async fn run(&self) {
        let _writer = self.writer.lock().await;
        loop {
            if self.pending() == 0 {
                self.pushed.notified().await;
                continue;
            }
            match self.write_batch(self.options.write_timeout).await {
                Ok(()) => {
                    if self.failing.swap(false, Ordering::Relaxed) {
                        let pending = self.pending();
                        self.sink.on_event(Event::Recovered { pending });
                    }
                }
                Err(error) => {
                    if !self.failing.swap(true, Ordering::Relaxed) {
                        self.sink.on_event(Event::Failing(&error));
                    }
                    tokio::time::sleep(self.options.retry_delay).await;
                }
            }
        }
    }

    /// Accepts no more items, and writes what is pending within the given time. Returns the number of items that are
    /// lost because the sink did not accept them in time.
    pub(crate) async fn shut_down(&self, within: Duration) -> usize {
        self.room.close();
        let flush = async {
            let _writer = self.writer.lock().await;
            let timeout = within / SHUTDOWN_ATTEMPTS;
            while self.pending() > 0 {
                if self.write_batch(timeout).await.is_err() {
                    tokio::time::sleep(timeout / 10).await;
                }
            }
        };
        // Whatever was not written is counted below.
        let _ = tokio::time::timeout(within, flush).await;
        let lost = {
            let mut state = self.state.lock();
            state.finished = true;
            let lost = state.pending();
            state.waiting.clear();
            state.discard_batch();
            lost
        };
        if lost > 0 {
            self.report_dropped(DropReason::Shutdown, lost);
        }
        lost
    }

    /// Writes the batch that failed before, or the next one.
    async fn write_batch(&self, timeout: Duration) -> Result<(), S::Error> {
        let batch = self.next_batch();
        match self.sink.write(batch.clone(), timeout).await {
            Ok(()) => {
                self.state.lock().discard_batch();
                self.sink.on_event(Event::Written(&batch));
                Ok(())
            }
            Err(WriteError::Unavailable(error)) => Err(error),
            Err(WriteError::Rejected(error)) => {
                let is_given_up = {
                    let mut state = self.state.lock();
                    state.rejections += 1;
                    let is_given_up = state.rejections >= self.options.max_rejections;
                    if is_given_up {
                        state.discard_batch();
                    }
                    is_given_up
                };
                if is_given_up {
                    self.report_dropped(DropReason::Rejected, batch.len());
                }
                Err(error)
            }
        }
    }

    fn next_batch(&self) -> Arc<[S::Item]> {
        let mut state = self.state.lock();
        if state.batch.is_empty() {
            let count = state.waiting.len().min(self.options.batch_size);
            state.batch = state.waiting.drain(..count).collect();
            self.room.add_permits(count);
        }
        state.batch.clone()
    }

    /// The number of items that are not written yet.
    fn pending(&self) -> usize {
        self.state.lock().pending()
    }

    fn report_dropped(&self, reason: DropReason, count: usize) {
        self.sink.on_event(Event::Dropped { reason, count });
    }
}

impl<T> State<T> {
    fn pending(&self) -> usize {
        self.waiting.len() + self.batch.len()
    }

    fn discard_batch(&mut self) {
        self.batch = Arc::new([]);
        self.rejections = 0;
    }
}

#[cfg(test)]
mod tests;
