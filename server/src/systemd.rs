//! Notifies systemd of the service state: starting, ready, reloading, stopping, and the watchdog. `config` reads what
//! systemd requests by its environment; without it nothing is sent. Callers pass in the state.

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

/// The time that systemd allows for a step of the startup. Migrating a large database or compiling many rules in Python
/// takes that long.
pub const EXTEND_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// The interval of status updates if systemd has no watchdog.
const STATUS_INTERVAL: Duration = Duration::from_secs(10);

/// The minimum interval of watchdog messages, whatever the watchdog timeout is.
const MIN_INTERVAL: Duration = Duration::from_millis(10);

/// What systemd requests of this process by its environment. The default, without systemd, requests nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NotifyOptions {
    /// The address of the notification socket (`NOTIFY_SOCKET`): a path, or an abstract name behind `@`.
    pub socket: Option<OsString>,
    /// How long systemd waits for a watchdog message before it restarts the service (`WATCHDOG_USEC`).
    pub watchdog: Option<Duration>,
}

/// The connection to systemd. Cheap to clone.
#[derive(Clone)]
pub struct Systemd(Arc<Inner>);

struct Inner {
    socket: Option<Socket>,
    watchdog: Option<Duration>,
    sent: Mutex<SentState>,
    /// Whether a failure to send was logged; it is logged once.
    failure_logged: AtomicBool,
}

/// The state that was sent to systemd.
#[derive(Default)]
struct SentState {
    ready: bool,
    status: String,
    /// Whether the last reload was rejected.
    reload_rejected: bool,
}

impl Systemd {
    /// A connection with these options.
    pub fn new(options: &NotifyOptions) -> Self {
        Self(Arc::new(Inner {
            socket: options.socket.as_deref().and_then(|address| {
                let socket = Socket::new(address);
                socket.inspect_err(log_failure).ok()
            }),
            watchdog: options.watchdog,
            sent: Mutex::default(),
            failure_logged: AtomicBool::new(false),
        }))
    }

    /// Whether there is a notification socket.
    pub fn listens(&self) -> bool {
        self.0.socket.is_some()
    }

    /// The startup begins a step that may take this long.
    pub fn begins(&self, step: &str, within: Duration) {
        let status = format!("starts: {step}");
        self.send(&[
            NotifyState::ExtendTimeoutUsec(usec(within)),
            NotifyState::Status(&status),
        ]);
    }

    /// The startup failed, or the service cannot continue.
    pub fn fails(&self, reason: &str) {
        self.send(&[NotifyState::Status(&one_line(reason))]);
    }

    /// The configuration is being reloaded. Before the service is ready, nothing is sent.
    pub fn reloads(&self) {
        if !self.0.sent.lock().ready {
            return;
        }
        // A reload that systemd requested must be answered with a timestamp that is later than the request.
        let timestamp = NotifyState::monotonic_usec_now().ok();
        let messages: Vec<_> = [NotifyState::Reloading].into_iter().chain(timestamp).collect();
        self.send(&messages);
    }

    /// The reload ended; `active` says whether the new configuration is used.
    pub fn reloaded(&self, active: bool) {
        let mut sent = self.0.sent.lock();
        sent.reload_rejected = !active;
        if sent.ready {
            self.send(&[NotifyState::Ready, NotifyState::Status(&sent.status_text())]);
        }
    }

    /// The service is stopping, and may take this long.
    pub fn stops(&self, within: Duration) {
        self.send(&[
            NotifyState::Stopping,
            NotifyState::ExtendTimeoutUsec(usec(within)),
            NotifyState::Status("stops: finishing requests in flight"),
        ]);
    }

    /// Follows the rounds: the first one makes the service ready, later ones update the status. As long as rounds come,
    /// and for `timeout` after the last, the watchdog is fed.
    pub async fn follow<R>(
        self,
        mut rounds: watch::Receiver<R>,
        status: impl Fn(&R) -> Option<String>,
        timeout: Duration,
    ) {
        let mut watchdog = Watchdog::new(Instant::now(), timeout);
        let period = self
            .0
            .watchdog
            .map_or(STATUS_INTERVAL, |timeout| timeout / 2)
            .max(MIN_INTERVAL);
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                changed = rounds.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let status = status(&rounds.borrow_and_update());
                    if let Some(status) = status {
                        watchdog.heartbeat(Instant::now());
                        self.round(&status);
                    }
                }
                _ = ticks.tick() => self.check(&mut watchdog, Instant::now()),
            }
        }
    }

    fn round(&self, status: &str) {
        let mut sent = self.0.sent.lock();
        let status = one_line(status);
        if sent.ready && sent.status == status {
            return;
        }
        sent.status = status;
        let text = sent.status_text();
        let messages: &[_] = match sent.ready {
            true => &[NotifyState::Status(&text)],
            false => &[NotifyState::Ready, NotifyState::Status(&text)],
        };
        // A failed message is sent again with the next round.
        match self.send(messages) {
            true => sent.ready = true,
            false => sent.status.clear(),
        }
    }

    fn check(&self, watchdog: &mut Watchdog, now: Instant) {
        if watchdog.is_alive(now) {
            if self.0.watchdog.is_some() {
                self.send(&[NotifyState::Watchdog]);
            }
        } else if watchdog.stops() {
            let seconds = watchdog.age(now).as_secs();
            self.fails(&format!("no round was evaluated for {seconds} s"));
            self.0.sent.lock().status.clear();
            log::error!(seconds; "no round was evaluated for too long; the systemd watchdog is not fed any more");
        }
    }

    /// Sends messages and returns whether that succeeded; without a socket it always succeeds.
    fn send(&self, messages: &[NotifyState<'_>]) -> bool {
        let Some(socket) = &self.0.socket else { return true };
        let mut text = String::new();
        for message in messages {
            writeln!(text, "{message}").expect("a String takes all that is written");
        }
        let result = socket.send(text.as_bytes());
        if let Err(error) = &result
            && !self.0.failure_logged.swap(true, Ordering::Relaxed)
        {
            log_failure(error);
        }
        result.is_ok()
    }
}

impl SentState {
    fn status_text(&self) -> String {
        let suffix = match self.reload_rejected {
            true => "; the configuration was not reloaded, see the log",
            false => "",
        };
        format!("{}{suffix}", self.status)
    }
}

fn log_failure(error: &io::Error) {
    log::warn!(reason:% = error; "could not notify systemd at the address in NOTIFY_SOCKET");
}

/// Replaces control characters, because a line break ends a message.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect()
}

/// The maximum that fits is one hour and eleven minutes.
fn usec(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
