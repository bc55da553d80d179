//! Uploads as jobs: compiling a component may take longer than a client waits, so the upload runs by itself and is asked
//! for by its number. What an upload has to pass is the registry's to know.

use std::sync::Arc;

use watchpost_policies::Snapshot;

use super::registry::{Actor, ChangeError, Registry, UploadRequest, Uploaded};
use crate::jobs::{Job, JobStore};
use crate::tasks::Tasks;

/// Uploads that can be asked for. Those that run are bounded by the compiler.
const CAPACITY: usize = 64;

/// An upload that was started.
pub type UploadJob = Job<UploadResult>;

/// What came of an upload.
pub type UploadResult = Result<Arc<Uploaded>, Arc<ChangeError>>;

/// The uploads of this process. Cheap to clone.
#[derive(Clone)]
pub struct Uploads {
    registry: Registry,
    jobs: JobStore<UploadResult>,
}

impl Uploads {
    /// No uploads yet. They will be run as jobs of these tasks.
    pub fn new(registry: Registry, tasks: Tasks) -> Self {
        Self {
            registry,
            jobs: JobStore::new("upload", CAPACITY, tasks),
        }
    }

    /// Starts an upload.
    pub fn start(&self, brought: UploadRequest, actor: Actor, latest: Option<Arc<Snapshot>>) -> UploadJob {
        let registry = self.registry.clone();
        self.jobs.start((), async move {
            let uploaded = registry.upload(brought, &actor.by, latest).await;
            uploaded.map(Arc::new).map_err(Arc::new)
        })
    }

    /// An upload that was started, unless it is forgotten.
    pub fn find(&self, id: u64) -> Option<UploadJob> {
        self.jobs.find(id)
    }
}
