//! Runs uploads as background jobs, because compiling a component may take longer than a client waits. Clients query an
//! upload by its id. The registry checks and stores it.

use std::sync::Arc;

use watchpost_policies::Snapshot;

use super::registry::{Actor, ChangeError, Registry, UploadRequest, Uploaded};
use crate::jobs::{Job, JobStore};
use crate::tasks::Tasks;

/// Uploads that are remembered. The compile queue limits the running ones.
const CAPACITY: usize = 64;

/// A started upload.
pub type UploadJob = Job<UploadResult>;

/// The result of an upload.
pub type UploadResult = Result<Arc<Uploaded>, Arc<ChangeError>>;

/// The uploads of this process. Cheap to clone.
#[derive(Clone)]
pub struct Uploads {
    registry: Registry,
    jobs: JobStore<UploadResult>,
}

impl Uploads {
    /// No uploads yet. Uploads run as jobs of `tasks`.
    pub fn new(registry: Registry, tasks: Tasks) -> Self {
        Self {
            registry,
            jobs: JobStore::new("upload", CAPACITY, tasks),
        }
    }

    /// Starts an upload.
    pub fn start(&self, upload: UploadRequest, actor: Actor, latest: Option<Arc<Snapshot>>) -> UploadJob {
        let registry = self.registry.clone();
        self.jobs.start((), async move {
            let uploaded = registry.upload(upload, &actor.by, latest).await;
            uploaded.map(Arc::new).map_err(Arc::new)
        })
    }

    /// A started upload, unless it is forgotten.
    pub fn find(&self, id: u64) -> Option<UploadJob> {
        self.jobs.find(id)
    }
}
