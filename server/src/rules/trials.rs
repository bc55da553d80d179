//! Runs trials as background jobs, because replaying recorded history may take longer than a client waits. Clients
//! query and cancel a trial by its id. `trial` does the replay.

use std::pin::pin;
use std::sync::Arc;

use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use watchpost_policies::{Digest, Kind};

use super::registry::{ChangeError, Registry, slot};
use super::trial::{Outcome, Progress, Trial};
use crate::jobs::{Job, JobStore};
use crate::tasks::{self, Tasks};

/// Trials that are remembered.
const CAPACITY: usize = 32;

/// Each trial occupies a thread, and requests need threads too.
const MAX_CONCURRENT_TRIALS: usize = 2;

/// A started trial.
pub type TrialJob = Job<TrialResult, Arc<Progress>>;

/// The result of a trial.
pub type TrialResult = Result<Arc<Outcome>, Arc<ChangeError>>;

/// A request for a trial.
#[derive(Clone, Debug)]
pub struct TrialOrder {
    /// The name of the rule.
    pub rule: String,
    /// The version of the rule.
    pub digest: Digest,
    /// Without settings, those uploaded with the version are used, else the current settings of the rule.
    pub settings: Option<Map<String, Value>>,
    /// The host of the recorded snapshots.
    pub host: String,
    /// Start of the range, in milliseconds since 1970 (UTC).
    pub from_ms: u64,
    /// End of the range, inclusive.
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
    /// No trials yet. Trials run as jobs of `tasks`.
    pub fn new(registry: Registry, tasks: Tasks) -> Self {
        Self {
            registry,
            jobs: JobStore::new("trial", CAPACITY, tasks.clone()),
            permits: Arc::new(Semaphore::new(MAX_CONCURRENT_TRIALS)),
            tasks,
        }
    }

    /// Starts a trial. At shutdown it ends with the results so far.
    pub async fn start(&self, order: TrialOrder) -> Result<TrialJob, ChangeError> {
        let trial = self.prepare(order).await?;
        let permit = self.permits.clone().try_acquire_owned();
        let permit =
            permit.map_err(|_| ChangeError::Busy("two trials are running already; wait for one or cancel it"))?;
        let progress = Arc::new(Progress::default());
        let (store, watched, cancelled) = (self.registry.store().clone(), progress.clone(), progress.clone());
        let mut stopped = self.tasks.stopped();
        let work = async move {
            let mut replay = pin!(tasks::block(move || trial.run(&store, &watched)));
            let result = tokio::select! {
                ran = &mut replay => ran,
                () = stopped.wait() => {
                    cancelled.cancel();
                    replay.await
                }
            };
            drop(permit);
            let result = result.map_err(ChangeError::Broken).and_then(|ran| Ok(ran?));
            result.map(Arc::new).map_err(Arc::new)
        };
        Ok(self.jobs.start(progress, work))
    }

    /// A started trial, unless it is forgotten.
    pub fn find(&self, id: u64) -> Option<TrialJob> {
        self.jobs.find(id)
    }

    async fn prepare(&self, order: TrialOrder) -> Result<Trial, ChangeError> {
        let registry = &self.registry;
        let (kind, digest, uploaded_settings) = registry.version_of(&order.rule, order.digest).await?;
        if kind == Kind::Role {
            let reason =
                "a role rule cannot be replayed over snapshots; run it in shadow mode to compare its decisions";
            return Err(ChangeError::Conflict(reason.to_owned()));
        }
        let active = registry.rules().current();
        let entry = slot(&active.generation.entries, kind, &order.rule);
        let module = match digest {
            Some(digest) => registry.module(&order.rule, digest).await?,
            None => registry.rules().builtin(kind).clone(),
        };
        let settings = match order.settings {
            Some(settings) => Value::Object(settings).to_string(),
            None => match uploaded_settings.or(entry.map(|entry| entry.settings)) {
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
