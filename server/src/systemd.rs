//! Tells systemd how we are: that we begin, are ready, read the configuration again, end, and live. What it asks
//! for, `config` has read; where it asks for nothing, nothing is told. It does not know how we are; it is told.

mod socket;
mod watchdog;

use std::ffi::OsString;
use std::fmt::Write;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sd_notify::NotifyState;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use self::socket::Socket;
use self::watchdog::Watchdog;

/// How long a step of the start may take before systemd takes us for lost: what takes long is a large database that is
/// brought up to date, or many rules in Python that are compiled anew.
pub const EXTEND_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// How often we look at ourselves where no watchdog wants to know; it is only for the words that are shown.
const STATUS_INTERVAL: Duration = Duration::from_secs(10);

/// A watchdog that wants to hear more often than this is told as often as this.
const MIN_INTERVAL: Duration = Duration::from_millis(10);

/// What systemd asks of this process by its environment. Without systemd, nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NotifyOptions {
    /// The address of the notification socket (`NOTIFY_SOCKET`): a path, or an abstract name behind `@`.
    pub socket: Option<OsString>,
    /// How long systemd waits for a watchdog message before it restarts the service (`WATCHDOG_USEC`).
    pub watchdog: Option<Duration>,
}

/// A service, seen from systemd. Cheap to clone.
#[derive(Clone)]
pub struct Systemd(Arc<Inner>);

struct Inner {
    socket: Option<Socket>,
    watchdog: Option<Duration>,
    told: Mutex<SentState>,
    /// A message that does not arrive is complained of once.
    complained: AtomicBool,
}

/// What it knows of us.
#[derive(Default)]
struct SentState {
    ready: bool,
    words: String,
    /// The last reload changed nothing.
    refused: bool,
}

impl Systemd {
    /// One that asks for this.
    pub fn new(asked: &NotifyOptions) -> Self {
        Self(Arc::new(Inner {
            socket: asked.socket.as_deref().and_then(|address| {
                let socket = Socket::new(address);
                socket.inspect_err(complain).ok()
            }),
            watchdog: asked.watchdog,
            told: Mutex::default(),
            complained: AtomicBool::new(false),
        }))
    }

    /// Whether there is one that listens.
    pub fn listens(&self) -> bool {
        self.0.socket.is_some()
    }

    /// The start goes on with something that may take this long.
    pub fn begins(&self, what: &str, within: Duration) {
        let words = format!("starts: {what}");
        self.tell(&[
            NotifyState::ExtendTimeoutUsec(usec(within)),
            NotifyState::Status(&words),
        ]);
    }

    /// It does not start, or does not go on.
    pub fn fails(&self, why: &str) {
        self.tell(&[NotifyState::Status(&one_line(why))]);
    }

    /// The configuration is read again. One that is not ready yet has not begun with the old one.
    pub fn reloads(&self) {
        if !self.0.told.lock().ready {
            return;
        }
        // Where systemd itself sent the signal, it waits for an answer that is younger than that.
        let moment = NotifyState::monotonic_usec_now().ok();
        let messages: Vec<_> = [NotifyState::Reloading].into_iter().chain(moment).collect();
        self.tell(&messages);
    }

    /// The configuration was read, and is in force or refused.
    pub fn reloaded(&self, active: bool) {
        let mut told = self.0.told.lock();
        told.refused = !active;
        if told.ready {
            self.tell(&[NotifyState::Ready, NotifyState::Status(&told.shown())]);
        }
    }

    /// It ends, and may take this long.
    pub fn stops(&self, within: Duration) {
        self.tell(&[
            NotifyState::Stopping,
            NotifyState::ExtendTimeoutUsec(usec(within)),
            NotifyState::Status("stops: what was asked before is answered first"),
        ]);
    }

    /// Tells of each round: of the first that we are ready, of others what is new. As long as they come, and for
    /// `patience` after the last, the watchdog hears that we live.
    pub async fn follow<R>(
        self,
        mut rounds: watch::Receiver<R>,
        words: impl Fn(&R) -> Option<String>,
        patience: Duration,
    ) {
        let mut pulse = Watchdog::new(Instant::now(), patience);
        let every = self
            .0
            .watchdog
            .map_or(STATUS_INTERVAL, |watchdog| watchdog / 2)
            .max(MIN_INTERVAL);
        let mut looks = interval(every);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                changed = rounds.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let words = words(&rounds.borrow_and_update());
                    if let Some(words) = words {
                        pulse.heartbeat(Instant::now());
                        self.round(&words);
                    }
                }
                _ = looks.tick() => self.look(&mut pulse, Instant::now()),
            }
        }
    }

    fn round(&self, words: &str) {
        let mut told = self.0.told.lock();
        let words = one_line(words);
        if told.ready && told.words == words {
            return;
        }
        told.words = words;
        let shown = told.shown();
        let news: &[_] = match told.ready {
            true => &[NotifyState::Status(&shown)],
            false => &[NotifyState::Ready, NotifyState::Status(&shown)],
        };
        // One that was not heard is told again with the next round.
        match self.tell(news) {
            true => told.ready = true,
            false => told.words.clear(),
        }
    }

    fn look(&self, pulse: &mut Watchdog, now: Instant) {
        if pulse.is_alive(now) {
            if self.0.watchdog.is_some() {
                self.tell(&[NotifyState::Watchdog]);
            }
        } else if pulse.stops() {
            let seconds = pulse.age(now).as_secs();
            self.fails(&format!("nothing was measured and judged for {seconds} s"));
            self.0.told.lock().words.clear();
            log::error!(seconds; "nothing was measured and judged for too long; systemd is not told any more that all is well");
        }
    }

    /// Whether it was heard, as far as we know; where nobody listens, it was.
    fn tell(&self, messages: &[NotifyState<'_>]) -> bool {
        let Some(socket) = &self.0.socket else { return true };
        let mut text = String::new();
        for message in messages {
            writeln!(text, "{message}").expect("a String takes all that is written");
        }
        let sent = socket.send(text.as_bytes());
        if let Err(error) = &sent
            && !self.0.complained.swap(true, Ordering::Relaxed)
        {
            complain(error);
        }
        sent.is_ok()
    }
}

impl SentState {
    fn shown(&self) -> String {
        let beside = match self.refused {
            true => "; the configuration was not read again, the log tells what is wrong with it",
            false => "",
        };
        format!("{}{beside}", self.words)
    }
}

fn complain(error: &io::Error) {
    log::warn!(reason:% = error; "systemd cannot be told how we are, at the address in NOTIFY_SOCKET");
}

/// A message ends with its line.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect()
}

/// As many as fit, which is an hour and eleven minutes.
fn usec(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
