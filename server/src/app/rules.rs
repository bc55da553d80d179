//! Builds the registry of rules and the components that request changes from it: each has its own state, and the
//! registry knows none of them.

use std::sync::Arc;

use actix_web::web::{Data, ServiceConfig};

use super::Parts;
use crate::config::Config;
use crate::metrics::ServiceMetrics;
use crate::rules::Rules;
use crate::rules::compiler::Compiler;
use crate::rules::folder::FolderSync;
use crate::rules::quarantine::{Quarantine, QuarantineList};
use crate::rules::registry::{AcceptedFile, ChangeError, Options, Registry};
use crate::rules::replication::Replication;
use crate::rules::shadow_queue::ShadowQueue;
use crate::rules::trials::Trials;
use crate::rules::uploads::Uploads;
use crate::store::Store;
use crate::tasks::Tasks;

/// The registry and the components that change the active rules.
#[derive(Clone)]
pub(crate) struct RuleParts {
    pub(super) registry: Registry,
    pub(super) quarantine: Quarantine,
    pub(super) replication: Replication,
    uploads: Uploads,
    trials: Trials,
    shadow_queue: ShadowQueue,
    folder_sync: FolderSync,
}

impl RuleParts {
    /// Activates the rules that the database names.
    pub(super) async fn begin(
        rules: Rules,
        store: Store,
        compiler: Compiler,
        options: Options,
        accepted_file: AcceptedFile,
        tasks: &Tasks,
        service_metrics: &Arc<ServiceMetrics>,
    ) -> Result<Self, ChangeError> {
        let list = QuarantineList::new(store.clone());
        let refreshed = list.clone();
        let after_change = Box::new(move || Box::pin(refreshed.clone().refresh()) as _);
        let registry = Registry::new(
            rules,
            store,
            compiler,
            options,
            accepted_file,
            after_change,
            service_metrics.clone(),
        );
        let pending = registry.start().await?;
        Ok(Self {
            quarantine: Quarantine::new(registry.clone(), list, service_metrics.clone()),
            replication: Replication::new(registry.clone(), pending),
            uploads: Uploads::new(registry.clone(), tasks.clone()),
            trials: Trials::new(registry.clone(), tasks.clone()),
            shadow_queue: ShadowQueue::new(registry.clone(), service_metrics.clone()),
            folder_sync: FolderSync::new(registry.clone(), service_metrics.clone()),
            registry,
        })
    }

    /// Starts the tasks of all components.
    pub(super) fn start(&self, config: &Config, parts: &Parts) {
        let tasks = &parts.tasks;
        self.quarantine
            .start(tasks, parts.evaluations.watch(parts.service.host()));
        self.replication.start(tasks);
        self.registry
            .start_precompiler(tasks, self.replication.uploaded_elsewhere());
        self.shadow_queue.start(tasks, &parts.decisions);
        if let Some(folder) = &config.rules.dir {
            let latest = parts.latest.clone();
            self.folder_sync.start(tasks, folder.clone(), move || latest.moment());
        }
    }

    /// Registers the components for the handlers, as `Data`.
    pub(super) fn provide(&self, handlers: &mut ServiceConfig) {
        handlers
            .app_data(Data::new(self.registry.clone()))
            .app_data(Data::new(self.quarantine.clone()))
            .app_data(Data::new(self.replication.clone()))
            .app_data(Data::new(self.uploads.clone()))
            .app_data(Data::new(self.trials.clone()))
            .app_data(Data::new(self.shadow_queue.clone()))
            .app_data(Data::new(self.folder_sync.clone()));
    }
}
