//! Puts in force here what others put in force elsewhere: all who share a database judge by the same rules.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use super::{Behind, ChangeError, Registry};
use crate::store::rules::{Entry, Heard};
use crate::tasks;

/// How often is listened for a new generation, where the database tells.
const LISTEN: Duration = Duration::from_millis(100);

/// How often is asked for it, whatever was told or not.
const LOOK: Duration = Duration::from_millis(500);

/// A generation that could not be loaded is tried again after this long, and so is a database that is away.
const AGAIN: Duration = Duration::from_secs(10);

impl Registry {
    /// Follows the database, for ever.
    pub async fn follow(self) {
        let mut listener = self.0.store.listener();
        let mut ticks = tokio::time::interval(if listener.is_some() { LISTEN } else { LOOK });
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looked = Instant::now();
        let mut not_before = looked;
        loop {
            ticks.tick().await;
            let now = Instant::now();
            let told = match (now >= not_before).then(|| listener.take()).flatten() {
                None => Heard::default(),
                Some(mut listening) => {
                    let asked = tasks::block(move || (listening.heard(), listening)).await;
                    let heard = asked.map(|(heard, same)| {
                        listener = Some(same);
                        heard
                    });
                    match heard {
                        Ok(Ok(told)) => told,
                        _ => {
                            not_before = now + AGAIN;
                            listener = listener.or_else(|| self.0.store.listener());
                            Heard::default()
                        }
                    }
                }
            };
            if told.version {
                self.0.brought.notify_one();
            }
            let patience = if self.behind().is_some() { AGAIN } else { LOOK };
            if !told.generation && now.duration_since(looked) < patience {
                continue;
            }
            looked = now;
            if let Err(error) = self.catch_up().await {
                // A database that is away is told by those who need it.
                log::debug!("the latest generation of rules is not known: {error}");
            }
        }
    }

    /// Puts the latest generation in force, if it is not.
    pub async fn catch_up(&self) -> Result<(), ChangeError> {
        let number = self.0.store.ask(|store| store.latest_generation_number()).await?;
        if number.is_none_or(|number| self.is_in_force(number)) {
            return Ok(());
        }
        let _turn = self.0.changing.lock().await;
        let Some(latest) = self.0.store.ask(|store| store.latest_generation()).await? else {
            return Ok(());
        };
        if self.is_in_force(latest.number) {
            return Ok(());
        }
        let generation = latest.number;
        if latest.entries.iter().any(|entry| self.takes_long(entry)) {
            self.note_under_way(generation);
        }
        match self.build(latest).await {
            Ok(next) => {
                self.put(next);
                self.look_aside().await;
                self.tell_unvouched().await;
                Ok(())
            }
            Err((_, ChangeError::Store(error))) => Err(error.into()),
            Err((entry, error)) => {
                let rule = entry
                    .map(|entry| format!("the rule {}: ", entry.rule))
                    .unwrap_or_default();
                let why = format!("{rule}{}", crate::error_chain::error_chain(&error));
                self.note_behind(Some(Behind { generation, why }));
                Ok(())
            }
        }
    }

    /// Whether it has to be compiled first.
    fn takes_long(&self, entry: &Entry) -> bool {
        let known = [Some(self.0.rules.current()), self.previous()];
        let is_loaded = |digest| known.iter().flatten().any(|loaded| loaded.module_of(digest).is_some());
        entry
            .digest
            .is_some_and(|digest| !is_loaded(digest) && !self.0.compiler.is_kept(digest))
    }

    fn is_in_force(&self, number: i64) -> bool {
        self.0.rules.current().generation.number == number && self.behind().is_none()
    }
}
