//! Follows the changes that other processes make in the shared database: activates their generations through the
//! registry, and notifies the precompiler of uploads. The number of a generation does not identify it: a database server
//! that lost its last changes gives their numbers to others. So the stored generation is compared with the active one.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior};

use super::registry::{Blocked, ChangeError, PendingGeneration, Registry};
use crate::error_chain::error_chain;
use crate::store::rules::{Generation, Notifications};
use crate::tasks::{self, Tasks};

/// How often notifications of the database are read, if it supports them.
const LISTEN_INTERVAL: Duration = Duration::from_millis(100);

/// How often the latest generation is polled, with or without a notification.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// How long the rules of a generation may be compiled before this server counts as behind: rules in Python take about ten
/// seconds each.
const COMPILE_GRACE: Duration = Duration::from_secs(60);

/// Delay before another attempt to load a generation or to connect to the database.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// The replication task and its state. Cheap to clone.
#[derive(Clone)]
pub struct Replication(Arc<Inner>);

struct Inner {
    registry: Registry,
    uploaded_elsewhere: Arc<Notify>,
    noted: Mutex<Option<Noted>>,
}

/// A generation that is not loaded, as long as the same one stays active instead.
struct Noted {
    blocked: Blocked,
    /// Since when its rules are compiled, if that is the reason.
    compiling_since: Option<Instant>,
}

impl Replication {
    /// `pending` is the generation that could not be loaded completely on startup.
    pub fn new(registry: Registry, pending: Option<PendingGeneration>) -> Self {
        let instead = registry.rules().current();
        let this = Self(Arc::new(Inner {
            registry,
            uploaded_elsewhere: Arc::default(),
            noted: Mutex::default(),
        }));
        if let Some(pending) = pending {
            this.note_blocked(Blocked { pending, instead });
        }
        this
    }

    /// The latest generation, if it is not loaded here, or not yet.
    pub fn pending(&self) -> Option<PendingGeneration> {
        let noted = self.0.noted.lock();
        let is_current = noted.as_ref().filter(|noted| self.is_current(noted));
        is_current.map(|noted| noted.blocked.pending.clone())
    }

    /// Whether the latest generation cannot be loaded here, or its rules are being compiled for too long. What is active
    /// meanwhile may allow what the latest generation forbids.
    pub fn is_behind(&self) -> bool {
        let noted = self.0.noted.lock();
        noted
            .as_ref()
            .filter(|noted| self.is_current(noted))
            .is_some_and(|noted| {
                noted
                    .compiling_since
                    .is_none_or(|since| since.elapsed() > COMPILE_GRACE)
            })
    }

    /// Notified when another process may have uploaded a rule.
    pub fn uploaded_elsewhere(&self) -> Arc<Notify> {
        self.0.uploaded_elsewhere.clone()
    }

    /// Starts the task that follows the database.
    pub fn start(&self, tasks: &Tasks) {
        let replication = self.clone();
        tasks.spawn("rules", move || replication.clone().run());
    }

    /// Follows the database, forever.
    async fn run(self) {
        let mut listener = self.0.registry.store().listener();
        let mut ticks = tokio::time::interval(if listener.is_some() {
            LISTEN_INTERVAL
        } else {
            POLL_INTERVAL
        });
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut polled = Instant::now();
        let mut not_before = polled;
        let mut failing = false;
        loop {
            ticks.tick().await;
            self.settle();
            let now = Instant::now();
            let received = match (now >= not_before).then(|| listener.take()).flatten() {
                None => Notifications::default(),
                Some(mut listening) => {
                    let polled_listener = tasks::block(move || (listening.poll(), listening)).await;
                    let result = polled_listener.map(|(result, same)| {
                        listener = Some(same);
                        result
                    });
                    match result.and_then(|polled| polled.map_err(|error| error_chain(&error))) {
                        Ok(received) => {
                            failing = false;
                            received
                        }
                        Err(reason) => {
                            // It is repeated at each attempt while the database does not respond, so only the first is
                            // logged.
                            if !failing {
                                log::warn!(reason = reason.as_str(); "could not receive the database's notifications about rules; changes are found by polling");
                            }
                            failing = true;
                            not_before = now + RETRY_INTERVAL;
                            listener = listener.or_else(|| self.0.registry.store().listener());
                            Notifications::default()
                        }
                    }
                }
            };
            if received.version {
                self.0.uploaded_elsewhere.notify_one();
            }
            let interval = if self.pending().is_some() {
                RETRY_INTERVAL
            } else {
                POLL_INTERVAL
            };
            if !received.generation && now.duration_since(polled) < interval {
                continue;
            }
            polled = now;
            if let Err(error) = self.catch_up().await {
                // Requests that need the database log that it is unreachable.
                log::debug!(reason:% = error; "could not read the latest generation of rules");
            }
        }
    }

    /// Activates the latest generation, if it is not active.
    async fn catch_up(&self) -> Result<(), ChangeError> {
        let store = self.0.registry.store();
        let latest = store.ask(|store| store.latest_generation()).await?;
        if latest.is_none_or(|latest| self.is_active(&latest)) {
            return Ok(());
        }
        let is_active = |latest: &Generation| self.is_active(latest);
        let compiles = |number| self.note_compiling(number);
        if let Some(blocked) = self.0.registry.adopt_latest(is_active, compiles).await? {
            self.note_blocked(blocked);
        }
        self.settle();
        Ok(())
    }

    fn is_active(&self, latest: &Generation) -> bool {
        self.0.registry.rules().current().generation == *latest && self.pending().is_none()
    }

    /// Records that a generation is being compiled, which may take long.
    fn note_compiling(&self, generation: i64) {
        // An earlier reason is more specific.
        if self.pending().is_none() {
            let reason = "one of its rules is being compiled".to_owned();
            let blocked = Blocked {
                pending: PendingGeneration { generation, reason },
                instead: self.0.registry.rules().current(),
            };
            *self.0.noted.lock() = Some(Noted {
                blocked,
                compiling_since: Some(Instant::now()),
            });
        }
    }

    fn note_blocked(&self, blocked: Blocked) {
        let PendingGeneration { generation, reason } = &blocked.pending;
        if self.pending().as_ref() != Some(&blocked.pending) {
            log::error!(
                generation = *generation, reason = reason.as_str();
                "could not load a generation of rules; the previous one stays active"
            );
        }
        *self.0.noted.lock() = Some(Noted {
            blocked,
            compiling_since: None,
        });
    }

    /// Clears the pending generation once another one was activated.
    fn settle(&self) {
        let mut noted = self.0.noted.lock();
        if noted.as_ref().is_some_and(|noted| !self.is_current(noted)) {
            *noted = None;
            log::info!("the latest generation of rules is loaded here too");
        }
    }

    fn is_current(&self, noted: &Noted) -> bool {
        Arc::ptr_eq(&noted.blocked.instead, &self.0.registry.rules().current())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::registry::{Options, of_store, store_in};

    /// Activates another generation by changing the configured settings.
    async fn change(registry: &Registry, role: &str) {
        let mut options = Options::clone(&registry.options());
        options.configured.role = role.to_owned();
        registry.configure(options).await.expect("the settings are valid");
    }

    #[test]
    fn a_generation_is_pending_until_another_one_is_active() {
        actix_web::rt::System::new().block_on(async {
            let folder = tempfile::tempdir().expect("a folder");
            let registry = of_store(&store_in(folder.path()));
            assert_eq!(registry.start().await.expect("it starts"), None);
            let blocked = PendingGeneration {
                generation: 7,
                reason: "one of its rules is broken".to_owned(),
            };
            let replication = Replication::new(registry.clone(), Some(blocked.clone()));
            replication.note_compiling(7);
            assert_eq!(
                replication.pending(),
                Some(blocked),
                "the first reason is more specific"
            );
            assert!(replication.is_behind() && !replication.is_active(&registry.rules().current().generation));
            change(&registry, r#"{"identities": []}"#).await;
            assert_eq!(replication.pending(), None);
            assert!(!replication.is_behind() && replication.is_active(&registry.rules().current().generation));
            replication.settle();
            assert!(replication.0.noted.lock().is_none(), "it is cleared");
        });
    }

    #[test]
    fn another_generation_with_the_same_number_is_activated_here() {
        actix_web::rt::System::new().block_on(async {
            let folder = tempfile::tempdir().expect("a folder");
            let store = store_in(folder.path());
            let here = of_store(&store);
            here.start().await.expect("it starts");
            change(&here, r#"{"identities": []}"#).await;
            // A database server that lost its last change, and another server that made a change under the same numbers.
            let database = folder.path().join("watchpost.db");
            let mut connection =
                <diesel::SqliteConnection as diesel::Connection>::establish(&database.display().to_string())
                    .expect("it opens");
            let lost = "UPDATE rule_generations SET created_ms = created_ms + 1 WHERE generation = 2;
                        UPDATE rule_settings SET settings = '{\"roles\": {\"user\": []}}'
                        WHERE settings = '{\"identities\": []}'";
            diesel::connection::SimpleConnection::batch_execute(&mut connection, lost).expect("changed");
            let replication = Replication::new(here.clone(), None);
            replication.catch_up().await.expect("the database answers");
            let active = here.rules().current();
            assert_eq!((active.generation.number, replication.pending()), (2, None));
            assert_eq!(active.set.role().settings(), r#"{"roles": {"user": []}}"#);
        });
    }

    #[test]
    fn a_generation_of_another_process_is_activated_here() {
        actix_web::rt::System::new().block_on(async {
            let folder = tempfile::tempdir().expect("a folder");
            let store = store_in(folder.path());
            let (here, elsewhere) = (of_store(&store), of_store(&store));
            here.start().await.expect("it starts");
            elsewhere.start().await.expect("it starts");
            change(&elsewhere, r#"{"identities": []}"#).await;
            let expected = elsewhere.rules().current().generation.clone();
            assert_ne!(here.rules().current().generation, expected);
            let replication = Replication::new(here.clone(), None);
            replication.catch_up().await.expect("the database answers");
            assert_eq!(here.rules().current().generation, expected);
            assert_eq!(replication.pending(), None);
        });
    }
}
