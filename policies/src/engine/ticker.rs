//! Increments the engine's epoch every millisecond while a rule runs, and sleeps otherwise. It reads no clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// The precision of deadlines. With Kubewarden's tick of a second, a rule could run twice as long as allowed.
pub(super) const TICK: Duration = Duration::from_millis(1);

/// The thread sleeps after this many ticks without a call: an idle machine is not woken a thousand times a second, and
/// a busy one does not wake the thread for each call.
const IDLE_TICKS: u32 = 1000;

pub(super) struct Ticker {
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    running: AtomicUsize,
    asleep: AtomicBool,
    stop: AtomicBool,
}

impl Ticker {
    /// Starts the thread, which holds the engine weakly and ends with it.
    pub(super) fn start(engine: wasmtime::EngineWeak) -> std::io::Result<Self> {
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let thread = thread::Builder::new()
            .name("rules-ticker".to_owned())
            .spawn(move || tick(&engine, &shared))?;
        Ok(Self {
            state,
            thread: Some(thread),
        })
    }

    pub(super) fn begin(&self) {
        self.state.running.fetch_add(1, Ordering::SeqCst);
        // The thread sets `asleep` before it checks `running` a last time, and this side does the reverse, so one of
        // them sees the other's change.
        if self.state.asleep.load(Ordering::SeqCst) {
            self.wake();
        }
    }

    pub(super) fn end(&self) {
        self.state.running.fetch_sub(1, Ordering::SeqCst);
    }

    fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::SeqCst);
        self.wake();
        if let Some(thread) = self.thread.take() {
            // The thread cannot panic, and there is no caller to return an error to.
            let _ = thread.join();
        }
    }
}

fn tick(engine: &wasmtime::EngineWeak, state: &State) {
    let mut idle = 0;
    while !state.stop.load(Ordering::SeqCst) {
        let Some(engine) = engine.upgrade() else { return };
        engine.increment_epoch();
        drop(engine);
        if state.running.load(Ordering::SeqCst) > 0 {
            idle = 0;
        } else {
            idle += 1;
        }
        if idle < IDLE_TICKS {
            thread::park_timeout(TICK);
            continue;
        }
        state.asleep.store(true, Ordering::SeqCst);
        if state.running.load(Ordering::SeqCst) == 0 && !state.stop.load(Ordering::SeqCst) {
            thread::park();
        }
        state.asleep.store(false, Ordering::SeqCst);
        idle = 0;
    }
}
