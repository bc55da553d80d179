//! How full one file system is: the question, and what the answer comes to.

use std::io;
use std::path::Path;

use crate::collect::host::read;

/// Asks the kernel, which asks the file system; this may take for ever.
pub(super) fn usage(path: &Path) -> io::Result<Usage> {
    let told = rustix::fs::statvfs(path)?;
    Ok(Usage {
        block_bytes: told.f_frsize,
        blocks: told.f_blocks,
        free: told.f_bfree,
        available: told.f_bavail,
        files: told.f_files,
        files_free: told.f_ffree,
    })
}

/// How full a file system says that it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) block_bytes: u64,
    pub(super) blocks: u64,
    pub(super) free: u64,
    /// What of the free blocks anybody may take.
    pub(super) available: u64,
    pub(super) files: u64,
    pub(super) files_free: u64,
}

impl Usage {
    pub(super) fn bytes(&self, blocks: u64) -> f64 {
        blocks as f64 * self.block_bytes as f64
    }

    /// As `df` says it: what root alone may take counts neither as used nor as available.
    pub(super) fn percent(&self) -> Option<f64> {
        let used = self.blocks.saturating_sub(self.free) as f64;
        read::percent(used, used + self.available as f64)
    }

    pub(super) fn files_percent(&self) -> Option<f64> {
        read::percent(self.files.saturating_sub(self.files_free) as f64, self.files as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_reckoned_without_overflow() {
        let huge = Usage {
            block_bytes: u64::MAX,
            blocks: u64::MAX,
            free: 0,
            available: u64::MAX,
            files: u64::MAX,
            files_free: u64::MAX,
        };
        assert_eq!(huge.percent(), Some(50.0));
        assert_eq!(huge.files_percent(), Some(0.0));
        assert!(huge.bytes(huge.blocks).is_finite());
        let odd = Usage {
            blocks: 1,
            free: 5,
            files: 1,
            files_free: 9,
            ..Usage::default()
        };
        assert_eq!((odd.percent(), odd.files_percent()), (None, Some(0.0)));
    }
}
