//! Finds the files of `/proc/net` that belong to the machine's network.

use std::path::PathBuf;

use super::HostOptions;

/// `/proc/net` is that of the reading process, which may be in a container; the host's is that of process 1.
#[derive(Clone, Debug)]
pub(super) struct NetFiles {
    procfs: PathBuf,
    is_own_view: bool,
}

impl NetFiles {
    pub(super) fn new(options: &HostOptions) -> Self {
        Self {
            procfs: options.procfs.clone(),
            is_own_view: options.is_own_view(),
        }
    }

    /// The path of a file: `dev`, `stat/nf_conntrack`.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        let first = self.procfs.join("1/net");
        let directory = if self.is_own_view || !first.exists() {
            self.procfs.join("net")
        } else {
            first
        };
        directory.join(name)
    }
}
