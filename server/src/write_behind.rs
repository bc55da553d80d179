//! A write-behind buffer: producers push items without waiting, items wait in memory up to a bound, and one task writes
//! them in batches and retries. It does not know what an item is, where it goes or how losses are reported; that is the
//! sink's part.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

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
        let mut state = self.state();
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
                let mut state = self.state();
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
            let mut state = self.state();
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
                self.state().discard_batch();
                self.sink.on_event(Event::Written(&batch));
                Ok(())
            }
            Err(WriteError::Unavailable(error)) => Err(error),
            Err(WriteError::Rejected(error)) => {
                let is_given_up = {
                    let mut state = self.state();
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
        let mut state = self.state();
        if state.batch.is_empty() {
            let count = state.waiting.len().min(self.options.batch_size);
            state.batch = state.waiting.drain(..count).collect();
            self.room.add_permits(count);
        }
        state.batch.clone()
    }

    /// The number of items that are not written yet.
    fn pending(&self) -> usize {
        self.state().pending()
    }

    fn report_dropped(&self, reason: DropReason, count: usize) {
        self.sink.on_event(Event::Dropped { reason, count });
    }

    fn state(&self) -> MutexGuard<'_, State<S::Item>> {
        // No step leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
mod tests {
    use std::future::pending;
    use std::time::Instant;

    use super::*;

    const CAPACITY: usize = 10;
    const BATCH_SIZE: usize = 4;
    const MAX_REJECTIONS: u32 = 3;

    fn options(overflow: OverflowPolicy) -> Options {
        Options {
            capacity: CAPACITY,
            overflow,
            batch_size: BATCH_SIZE,
            write_timeout: Duration::from_secs(60),
            retry_delay: Duration::from_millis(1),
            max_rejections: MAX_REJECTIONS,
        }
    }

    /// What a sink does with the next batch.
    #[derive(Clone, Copy)]
    enum Behaviour {
        Fail,
        Reject,
        /// The sink does not respond, and ignores the timeout.
        Hang,
    }

    /// Writes into memory, except for the attempts that were scripted otherwise.
    #[derive(Default)]
    struct Memory {
        script: Mutex<VecDeque<Behaviour>>,
        written: Mutex<Vec<Vec<u32>>>,
        timeouts: Mutex<Vec<Duration>>,
        events: Mutex<Vec<String>>,
        progress: Notify,
    }

    impl Sink for Memory {
        type Item = u32;
        type Error = &'static str;

        async fn write(&self, batch: Arc<[u32]>, timeout: Duration) -> Result<(), WriteError<&'static str>> {
            self.timeouts.lock().expect("sound").push(timeout);
            let behaviour = self.script.lock().expect("sound").pop_front();
            match behaviour {
                None => {
                    self.written.lock().expect("sound").push(batch.to_vec());
                    Ok(())
                }
                Some(Behaviour::Fail) => Err(WriteError::Unavailable("away")),
                Some(Behaviour::Reject) => Err(WriteError::Rejected("no such column")),
                Some(Behaviour::Hang) => {
                    self.progress.notify_one();
                    pending().await
                }
            }
        }

        fn on_event(&self, event: Event<'_, u32, &'static str>) {
            let text = match event {
                Event::Written(items) => format!("written {}", items.len()),
                Event::Failing(error) => format!("failing: {error}"),
                Event::Recovered { pending } => format!("recovered, {pending} pending"),
                Event::Dropped { reason, count } => format!("dropped {count}: {reason:?}"),
            };
            self.events.lock().expect("sound").push(text);
            self.progress.notify_one();
        }
    }

    fn buffer(overflow: OverflowPolicy, script: impl IntoIterator<Item = Behaviour>) -> WriteBuffer<Memory> {
        let sink = Memory {
            script: Mutex::new(script.into_iter().collect()),
            ..Memory::default()
        };
        WriteBuffer::new(sink, options(overflow))
    }

    fn push_all(buffer: &WriteBuffer<Memory>, items: impl IntoIterator<Item = u32>) {
        for item in items {
            buffer.push(item).expect("it is accepted");
        }
    }

    fn written(buffer: &WriteBuffer<Memory>) -> Vec<Vec<u32>> {
        buffer.sink.written.lock().expect("sound").clone()
    }

    fn events(buffer: &WriteBuffer<Memory>) -> Vec<String> {
        buffer.sink.events.lock().expect("sound").clone()
    }

    /// Runs the buffer until an event has this text.
    async fn run_until(buffer: &WriteBuffer<Memory>, event: &str) {
        let seen = async {
            while !events(buffer).iter().any(|text| text == event) {
                buffer.sink.progress.notified().await;
            }
        };
        let both = async {
            tokio::select! {
                () = buffer.run() => {}
                () = seen => {}
            }
        };
        let soon = tokio::time::timeout(Duration::from_secs(10), both);
        assert!(soon.await.is_ok(), "{event} in {:?}", events(buffer));
    }

    fn block_on(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.expect("a runtime").block_on(test);
    }

    #[test]
    fn items_are_written_in_their_order_and_in_bounded_batches() {
        block_on(async {
            let buffer = buffer(OverflowPolicy::Refuse, []);
            push_all(&buffer, 0..10);
            run_until(&buffer, "written 2").await;
            assert_eq!(written(&buffer), [vec![0, 1, 2, 3], vec![4, 5, 6, 7], vec![8, 9]]);
            assert_eq!(buffer.free(), CAPACITY);
        });
    }

    #[test]
    fn a_full_buffer_gives_back_what_is_pushed() {
        let buffer = buffer(OverflowPolicy::Refuse, []);
        push_all(&buffer, 0..10);
        assert_eq!(buffer.free(), 0);
        assert_eq!(buffer.push(10), Err(PushError::Full(10)));
        assert_eq!(
            events(&buffer),
            Vec::<String>::new(),
            "the producer decides whether it is lost"
        );
    }

    #[test]
    fn a_full_buffer_that_drops_the_oldest_keeps_the_newest_and_reports_each() {
        block_on(async {
            let buffer = buffer(OverflowPolicy::DropOldest, []);
            push_all(&buffer, 0..12);
            assert_eq!(events(&buffer), ["dropped 1: Full", "dropped 1: Full"]);
            assert_eq!(buffer.shut_down(Duration::from_secs(10)).await, 0);
            assert_eq!(written(&buffer).concat(), (2..12).collect::<Vec<_>>());
        });
    }

    #[test]
    fn the_batch_that_is_being_written_is_not_dropped_for_newer_items() {
        block_on(async {
            let buffer = buffer(OverflowPolicy::DropOldest, [Behaviour::Hang]);
            push_all(&buffer, 0..10);
            tokio::select! {
                () = buffer.run() => {}
                () = buffer.sink.progress.notified() => {}
            }
            assert_eq!(buffer.free(), BATCH_SIZE);
            push_all(&buffer, 10..16);
            assert_eq!(events(&buffer), ["dropped 1: Full", "dropped 1: Full"]);
            run_until(&buffer, "written 2").await;
            let expected: Vec<u32> = (0..4).chain(6..16).collect();
            assert_eq!(written(&buffer).concat(), expected);
        });
    }

    #[test]
    fn a_producer_that_waits_gets_room_when_a_batch_leaves_or_its_item_back_in_time() {
        block_on(async {
            let buffer = buffer(OverflowPolicy::Refuse, []);
            push_all(&buffer, 0..10);
            let limit = Duration::from_millis(20);
            let began = Instant::now();
            assert_eq!(buffer.push_within(10, limit).await, Err(PushError::Full(10)));
            assert!(began.elapsed() >= limit);
            tokio::select! {
                pushed = buffer.push_within(10, Duration::from_secs(10)) => assert_eq!(pushed, Ok(())),
                () = buffer.run() => {}
            }
            assert_eq!(buffer.shut_down(Duration::from_secs(10)).await, 0);
            assert_eq!(written(&buffer).concat(), (0..11).collect::<Vec<_>>());
        });
    }

    #[test]
    fn a_sink_that_is_away_for_a_while_gets_everything_and_its_failure_is_reported_once() {
        block_on(async {
            // More often than a batch may be rejected.
            let buffer = buffer(OverflowPolicy::Refuse, [Behaviour::Fail; 20]);
            push_all(&buffer, 0..6);
            assert!(!buffer.is_failing());
            run_until(&buffer, "failing: away").await;
            assert!(buffer.is_failing());
            run_until(&buffer, "recovered, 2 pending").await;
            assert!(!buffer.is_failing());
            run_until(&buffer, "written 2").await;
            assert_eq!(
                events(&buffer),
                ["failing: away", "written 4", "recovered, 2 pending", "written 2"]
            );
            assert_eq!(buffer.sink.timeouts.lock().expect("sound")[0], Duration::from_secs(60));
        });
    }

    #[test]
    fn a_batch_that_is_rejected_too_often_makes_way_for_the_next() {
        let check = |rejections: usize, lost: bool| {
            block_on(async {
                let buffer = buffer(OverflowPolicy::Refuse, vec![Behaviour::Reject; rejections]);
                push_all(&buffer, 0..6);
                run_until(&buffer, "written 2").await;
                let first = if lost { 4 } else { 0 };
                assert_eq!(
                    written(&buffer).concat(),
                    (first..6).collect::<Vec<_>>(),
                    "{rejections}"
                );
                assert_eq!(events(&buffer).contains(&"dropped 4: Rejected".to_owned()), lost);
            });
        };
        check(MAX_REJECTIONS as usize - 1, false);
        check(MAX_REJECTIONS as usize, true);
    }

    #[test]
    fn a_shutdown_writes_what_is_pending_and_accepts_nothing_more() {
        block_on(async {
            let buffer = buffer(OverflowPolicy::Refuse, [Behaviour::Fail]);
            push_all(&buffer, 0..10);
            let within = Duration::from_secs(3);
            assert_eq!(buffer.shut_down(within).await, 0, "one failure costs nothing");
            assert_eq!(written(&buffer).concat(), (0..10).collect::<Vec<_>>());
            assert_eq!(
                buffer.sink.timeouts.lock().expect("sound")[0],
                within / SHUTDOWN_ATTEMPTS
            );
            assert_eq!(buffer.push(10), Err(PushError::Closed(10)));
            assert_eq!(buffer.push_within(11, within).await, Err(PushError::Closed(11)));
        });
    }

    #[test]
    fn a_sink_that_hangs_at_shutdown_is_left_at_the_deadline_and_the_rest_is_counted() {
        block_on(async {
            let buffer = buffer(OverflowPolicy::Refuse, [Behaviour::Hang]);
            push_all(&buffer, 0..7);
            let (began, within) = (Instant::now(), Duration::from_millis(50));
            assert_eq!(buffer.shut_down(within).await, 7);
            assert!(began.elapsed() >= within && began.elapsed() < Duration::from_secs(10));
            assert_eq!(events(&buffer), ["dropped 7: Shutdown"]);
            assert_eq!(buffer.shut_down(within).await, 0, "what is lost is counted once");
        });
    }

    #[test]
    fn a_writer_that_holds_on_to_its_batch_at_shutdown_does_not_outlast_the_deadline() {
        block_on(async {
            let buffer = buffer(OverflowPolicy::Refuse, [Behaviour::Hang]);
            push_all(&buffer, 0..7);
            let shut_down = async {
                buffer.sink.progress.notified().await;
                buffer.shut_down(Duration::from_millis(50)).await
            };
            tokio::select! {
                () = buffer.run() => {}
                lost = shut_down => assert_eq!(lost, 7, "the batch in its hands is counted too"),
            }
        });
    }
}
