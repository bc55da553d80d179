//! Trials as jobs: replaying recorded history may take longer than a client waits, so a trial runs by itself, and is
//! asked for and ended by its number. What a trial finds out is the business of `trial`.

use std::pin::pin;
use std::sync::Arc;

use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use watchpost_policies::{Digest, Kind};

use super::registry::{ChangeError, Registry, slot};
use super::trial::{Outcome, Progress, Trial};
use crate::jobs::{Job, JobStore};
use crate::tasks::{self, Tasks};

/// Trials that can be asked for.
const CAPACITY: usize = 32;

/// Each trial has a thread, and requests shall have some too.
const MAX_CONCURRENT_TRIALS: usize = 2;

/// A trial that was started.
pub type TrialJob = Job<TrialResult, Arc<Progress>>;

/// What came of a trial.
pub type TrialResult = Result<Arc<Outcome>, Arc<ChangeError>>;

/// What somebody wants to try.
#[derive(Clone, Debug)]
pub struct TrialOrder {
    /// The name of the rule.
    pub rule: String,
    /// The version of it.
    pub digest: Digest,
    /// Under which settings; those that the rule has or the version came with, if none are told.
    pub settings: Option<Map<String, Value>>,
    /// The machine that was measured.
    pub host: String,
    /// From when, in milliseconds since 1970 (UTC).
    pub from_ms: u64,
    /// Until when; this moment is part of it.
    pub to_ms: u64,
}

/// The trials of this process. Cheap to clone.
#[derive(Clone)]
pub struct Trials {
    registry: Registry,
    tasks: Tasks,
    jobs: JobStore<TrialResult, Arc<Progress>>,
    permits: Arc<Semaphore>,
}

impl Trials {
    /// No trials yet. They will be run as jobs of these tasks.
    pub fn new(registry: Registry, tasks: Tasks) -> Self {
        Self {
            registry,
            jobs: JobStore::new("trial", CAPACITY, tasks.clone()),
            permits: Arc::new(Semaphore::new(MAX_CONCURRENT_TRIALS)),
            tasks,
        }
    }

    /// Starts to replay. At shutdown the trial ends with what it found so far.
    pub async fn start(&self, order: TrialOrder) -> Result<TrialJob, ChangeError> {
        let trial = self.prepare(order).await?;
        let permit = self.permits.clone().try_acquire_owned();
        let permit =
            permit.map_err(|_| ChangeError::Busy("two trials are under way already; wait for one or end it"))?;
        let progress = Arc::new(Progress::default());
        let (store, watched, ended) = (self.registry.store().clone(), progress.clone(), progress.clone());
        let mut stopped = self.tasks.stopped();
        let work = async move {
            let mut replay = pin!(tasks::block(move || trial.run(&store, &watched)));
            let ran = tokio::select! {
                ran = &mut replay => ran,
                () = stopped.wait() => {
                    ended.end();
                    replay.await
                }
            };
            drop(permit);
            let ran = ran.map_err(ChangeError::Broken).and_then(|ran| Ok(ran?));
            ran.map(Arc::new).map_err(Arc::new)
        };
        Ok(self.jobs.start(progress, work))
    }

    /// A trial that was started, unless it is forgotten.
    pub fn find(&self, id: u64) -> Option<TrialJob> {
        self.jobs.find(id)
    }

    async fn prepare(&self, order: TrialOrder) -> Result<Trial, ChangeError> {
        let registry = &self.registry;
        let (kind, digest, brought_with) = registry.version_of(&order.rule, order.digest).await?;
        if kind == Kind::Role {
            let why = "what was measured says nothing to a role rule; put it in shadow, and see what it would have \
                       decided otherwise";
            return Err(ChangeError::Conflict(why.to_owned()));
        }
        let active = registry.rules().current();
        let entry = slot(&active.generation.entries, kind, &order.rule);
        let module = match digest {
            Some(digest) => registry.module(&order.rule, digest).await?,
            None => registry.rules().builtin(kind).clone(),
        };
        let settings = match order.settings {
            Some(settings) => Value::Object(settings).to_string(),
            None => match brought_with.or(entry.map(|entry| entry.settings)) {
                Some(id) => registry.settings_text(&order.rule, id).await?,
                None => registry.configured(&order.rule),
            },
        };
        Ok(Trial {
            candidate: registry.with_settings(&module, settings).await?,
            active: entry.and_then(|entry| active.rule_of(entry)).cloned(),
            host: order.host,
            from_ms: order.from_ms,
            to_ms: order.to_ms,
        })
    }
}
