//! The metronome: moves the engine's epoch on once a millisecond while a rule runs, and sleeps while none
//! does. It reads no clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How precise a deadline is. Kubewarden's tick of a second lets a rule run twice as long as it may.
pub(super) const TICK: Duration = Duration::from_millis(1);

/// After so many ticks without a call the thread sleeps: an idle machine is not woken a thousand times a
/// second, and a busy one does not pay for waking the thread at each call.
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
    /// The thread holds the engine weakly, and ends with it.
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
        // The thread says that it sleeps before it looks for running calls a last time, and we look the other
        // way round: one of the two sees the other.
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
            // The thread cannot panic, and there would be nobody to tell.
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
