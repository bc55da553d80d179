//! The statfs call of one file system, and the usage computed from its result.

use std::io;
use std::path::Path;

use crate::collect::host::read;

/// Calls statfs, which may block forever.
pub(super) fn usage(path: &Path) -> io::Result<Usage> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(Usage {
        block_bytes: stat.f_frsize,
        blocks: stat.f_blocks,
        free: stat.f_bfree,
        available: stat.f_bavail,
        files: stat.f_files,
        files_free: stat.f_ffree,
    })
}

/// The usage that a file system reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) block_bytes: u64,
    pub(super) blocks: u64,
    pub(super) free: u64,
    /// The free blocks that unprivileged users may use.
    pub(super) available: u64,
    pub(super) files: u64,
    pub(super) files_free: u64,
}

impl Usage {
    pub(super) fn bytes(&self, blocks: u64) -> f64 {
        blocks as f64 * self.block_bytes as f64
    }

    /// As `df` computes it: blocks reserved for root count neither as used nor as available.
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
    fn usage_is_computed_without_overflow() {
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
