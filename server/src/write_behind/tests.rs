//! Tests of the buffer with a sink in memory.

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
        self.timeouts.lock().push(timeout);
        let behaviour = self.script.lock().pop_front();
        match behaviour {
            None => {
                self.written.lock().push(batch.to_vec());
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
        self.events.lock().push(text);
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
    buffer.sink.written.lock().clone()
}

fn events(buffer: &WriteBuffer<Memory>) -> Vec<String> {
    buffer.sink.events.lock().clone()
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
        assert_eq!(buffer.sink.timeouts.lock()[0], Duration::from_secs(60));
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
        assert_eq!(buffer.sink.timeouts.lock()[0], within / SHUTDOWN_ATTEMPTS);
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
