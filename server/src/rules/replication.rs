//! Notices what other processes did in the database that they share with this one: generations are put in force here
//! too, and uploads are told to those who precompile. What is in force changes by the registry.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior};

use super::registry::{Blocked, ChangeError, PendingGeneration, Registry};
use crate::store::rules::Notifications;
use crate::tasks;

/// How often notifications of the database are read, where it sends some.
const LISTEN_INTERVAL: Duration = Duration::from_millis(100);

/// How often the database is asked for the latest generation, with or without a notification.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// A generation that could not be loaded is tried again after this long, and so is a database that is away.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// What other processes did. Cheap to clone.
#[derive(Clone)]
pub struct Replication(Arc<Inner>);

struct Inner {
    registry: Registry,
    uploaded_elsewhere: Arc<Notify>,
    /// A generation that is not loaded, as long as the same one is in force instead.
    noted: Mutex<Option<Blocked>>,
}

impl Replication {
    /// `pending` is the generation that could not be loaded when Watchpost began.
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

    /// The generation that should be in force and is not loaded here, or not yet.
    pub fn pending(&self) -> Option<PendingGeneration> {
        let noted = self.lock();
        let holds = noted.as_ref().filter(|noted| self.holds(noted));
        holds.map(|noted| noted.pending.clone())
    }

    /// Notified when another process may have uploaded a rule.
    pub fn uploaded_elsewhere(&self) -> Arc<Notify> {
        self.0.uploaded_elsewhere.clone()
    }

    /// Follows the database, for ever.
    pub async fn run(self) {
        let mut listener = self.0.registry.store().listener();
        let mut ticks = tokio::time::interval(if listener.is_some() {
            LISTEN_INTERVAL
        } else {
            POLL_INTERVAL
        });
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut polled = Instant::now();
        let mut not_before = polled;
        loop {
            ticks.tick().await;
            self.settle();
            let now = Instant::now();
            let told = match (now >= not_before).then(|| listener.take()).flatten() {
                None => Notifications::default(),
                Some(mut listening) => {
                    let asked = tasks::block(move || (listening.poll(), listening)).await;
                    let heard = asked.map(|(heard, same)| {
                        listener = Some(same);
                        heard
                    });
                    match heard {
                        Ok(Ok(told)) => told,
                        _ => {
                            not_before = now + RETRY_INTERVAL;
                            listener = listener.or_else(|| self.0.registry.store().listener());
                            Notifications::default()
                        }
                    }
                }
            };
            if told.version {
                self.0.uploaded_elsewhere.notify_one();
            }
            let interval = if self.pending().is_some() {
                RETRY_INTERVAL
            } else {
                POLL_INTERVAL
            };
            if !told.generation && now.duration_since(polled) < interval {
                continue;
            }
            polled = now;
            if let Err(error) = self.catch_up().await {
                // A database that is away is told by those who need it.
                log::debug!("the latest generation of rules is not known: {error}");
            }
        }
    }

    /// Puts the latest generation in force, if it is not.
    async fn catch_up(&self) -> Result<(), ChangeError> {
        let store = self.0.registry.store();
        let number = store.ask(|store| store.latest_generation_number()).await?;
        if number.is_none_or(|number| self.is_in_force(number)) {
            return Ok(());
        }
        let is_in_force = |number| self.is_in_force(number);
        let compiles = |number| self.note_compiling(number);
        if let Some(blocked) = self.0.registry.adopt_latest(is_in_force, compiles).await? {
            self.note_blocked(blocked);
        }
        self.settle();
        Ok(())
    }

    fn is_in_force(&self, number: i64) -> bool {
        self.0.registry.rules().current().generation.number == number && self.pending().is_none()
    }

    /// Notes that a generation is on its way while it takes long to be loaded.
    fn note_compiling(&self, generation: i64) {
        // Why it could not be loaded before is more than that.
        if self.pending().is_none() {
            let why = "a rule of it is being compiled here".to_owned();
            *self.lock() = Some(Blocked {
                pending: PendingGeneration { generation, why },
                instead: self.0.registry.rules().current(),
            });
        }
    }

    fn note_blocked(&self, blocked: Blocked) {
        let PendingGeneration { generation, why } = &blocked.pending;
        if self.pending().as_ref() != Some(&blocked.pending) {
            log::error!(
                generation = *generation, reason = why.as_str();
                "a generation of rules cannot be loaded here; the last good one stays in force"
            );
        }
        *self.lock() = Some(blocked);
    }

    /// Forgets a generation that was pending until another one was put in force.
    fn settle(&self) {
        let mut noted = self.lock();
        if noted.as_ref().is_some_and(|noted| !self.holds(noted)) {
            *noted = None;
            log::info!("the generation of rules that all others have is loaded here too");
        }
    }

    fn holds(&self, noted: &Blocked) -> bool {
        Arc::ptr_eq(&noted.instead, &self.0.registry.rules().current())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Blocked>> {
        // It is replaced as a whole, so it is whole even after a panic.
        self.0.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::registry::{Options, of_store, store_in};

    /// Puts another generation in force, by other settings of the configuration.
    async fn change(registry: &Registry, role: &str) {
        let mut options = Options::clone(&registry.options());
        options.configured.role = role.to_owned();
        registry.configure(options).await.expect("they are settings");
    }

    #[test]
    fn a_generation_is_pending_until_another_one_is_in_force() {
        actix_web::rt::System::new().block_on(async {
            let folder = tempfile::tempdir().expect("a folder");
            let registry = of_store(&store_in(folder.path()));
            assert_eq!(registry.begin().await.expect("it begins"), None);
            let blocked = PendingGeneration {
                generation: 7,
                why: "a rule of it is broken".to_owned(),
            };
            let replication = Replication::new(registry.clone(), Some(blocked.clone()));
            replication.note_compiling(7);
            assert_eq!(
                replication.pending(),
                Some(blocked),
                "why it is blocked is more than that"
            );
            assert!(!replication.is_in_force(registry.rules().current().generation.number));
            change(&registry, r#"{"identities": []}"#).await;
            assert_eq!(replication.pending(), None);
            assert!(replication.is_in_force(registry.rules().current().generation.number));
            replication.settle();
            assert!(replication.lock().is_none(), "it is forgotten");
        });
    }

    #[test]
    fn what_another_process_puts_in_force_is_put_in_force_here() {
        actix_web::rt::System::new().block_on(async {
            let folder = tempfile::tempdir().expect("a folder");
            let store = store_in(folder.path());
            let (here, elsewhere) = (of_store(&store), of_store(&store));
            here.begin().await.expect("it begins");
            elsewhere.begin().await.expect("it begins");
            change(&elsewhere, r#"{"identities": []}"#).await;
            let wanted = elsewhere.rules().current().generation.clone();
            assert_ne!(here.rules().current().generation, wanted);
            let replication = Replication::new(here.clone(), None);
            replication.catch_up().await.expect("the database answers");
            assert_eq!(here.rules().current().generation, wanted);
            assert_eq!(replication.pending(), None);
        });
    }
}
