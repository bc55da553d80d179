//! Trials that are under way, and what came of those that are done. One that takes longer than anybody waits goes on,
//! and can be asked after and ended.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};

use serde_json::{Map, Value};
use tokio::sync::watch;
use watchpost_policies::{Digest, Kind};

use super::{ChangeError, Registry, slot};
use crate::rules::trial::{Outcome, Progress, Trial};
use crate::tasks;

/// Trials that can be asked after.
const REMEMBERED: usize = 32;

/// Trials at once; each has a thread, and what serves shall have some too.
const AT_ONCE: usize = 2;

/// What somebody wants to try.
#[derive(Clone, Debug)]
pub struct TrialOrder {
    /// Which rule.
    pub rule: String,
    /// Which version.
    pub digest: Digest,
    /// Under which settings; those that the rule has or the version came with, if none are told.
    pub settings: Option<Map<String, Value>>,
    /// On what was measured where.
    pub host: String,
    /// From when, in milliseconds since 1970 (UTC).
    pub from_ms: u64,
    /// Until when.
    pub to_ms: u64,
}

/// A trial that was begun.
#[derive(Clone)]
pub struct Begun {
    /// By what it is asked after.
    pub id: u64,
    /// How far it is.
    pub progress: Arc<Progress>,
    /// What came of it.
    pub outcome: watch::Receiver<Option<Result<Arc<Outcome>, Arc<ChangeError>>>>,
}

/// The latest last.
#[derive(Default)]
pub(super) struct Trials(VecDeque<Begun>, u64);

impl Registry {
    /// Begins to replay.
    pub async fn begin_trial(&self, order: TrialOrder) -> Result<Begun, ChangeError> {
        let (kind, digest, brought_with) = self.version_of(&order.rule, order.digest).await?;
        if kind == Kind::Role {
            let why = "what was measured says nothing to a role rule; put it in shadow, and see what it would have \
                       decided otherwise";
            return Err(ChangeError::Conflict(why.to_owned()));
        }
        let in_force = self.0.rules.current();
        let entry = slot(&in_force.generation.entries, kind, &order.rule);
        let module = match digest {
            Some(digest) => self.module(&order.rule, digest).await?,
            None => self.0.rules.builtin(kind).clone(),
        };
        let settings = match order.settings {
            Some(settings) => Value::Object(settings).to_string(),
            None => match brought_with.or(entry.map(|entry| entry.settings)) {
                Some(id) => self.settings_text(&order.rule, id).await?,
                None => self.configured(&order.rule),
            },
        };
        let trial = Trial {
            candidate: self.with_settings(&module, settings).await?,
            in_force: entry.and_then(|entry| in_force.rule_of(entry)).cloned(),
            host: order.host,
            from_ms: order.from_ms,
            to_ms: order.to_ms,
        };
        let turn = self.0.trying.clone().try_acquire_owned();
        let turn = turn.map_err(|_| ChangeError::Busy("two trials are under way already; wait for one or end it"))?;
        let (done, outcome) = watch::channel(None);
        let progress = Arc::new(Progress::default());
        let (store, watched) = (self.0.store.clone(), progress.clone());
        tasks::go_on(async move {
            let ran = tasks::block(move || trial.run(&store, &watched)).await;
            let ran = ran.map_err(ChangeError::Broken).and_then(|ran| Ok(ran?));
            done.send_replace(Some(ran.map(Arc::new).map_err(Arc::new)));
            drop(turn);
        });
        let mut trials = self.0.trials.lock().unwrap_or_else(PoisonError::into_inner);
        trials.1 += 1;
        let begun = Begun {
            id: trials.1,
            progress,
            outcome,
        };
        trials.0.push_back(begun.clone());
        if trials.0.len() > REMEMBERED {
            trials.0.pop_front();
        }
        Ok(begun)
    }

    /// A trial that was begun.
    pub fn trial(&self, id: u64) -> Option<Begun> {
        let trials = self.0.trials.lock().unwrap_or_else(PoisonError::into_inner);
        trials.0.iter().find(|begun| begun.id == id).cloned()
    }
}

/// As many as may be under way.
pub(super) fn turns() -> Arc<tokio::sync::Semaphore> {
    Arc::new(tokio::sync::Semaphore::new(AT_ONCE))
}
