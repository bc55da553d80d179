//! Settings of the audit file. What is recorded is decided in `decisions`.

use std::path::{Path, PathBuf};

use super::declare::{Checked, section};
use super::size::Size;
use crate::audit::Options;

/// The audit file in the data directory.
const FILE: &str = "audit.log";

section! {
    /// The audit file: break-glass access and changes of rules, in lines that are chained by hashes. A change that
    /// cannot be recorded is rejected.
    pub struct Audit {
        /// Whether the audit file is written.
        pub enabled: bool = true,
        /// The audit file. Without it, `audit.log` in the data directory.
        pub file: Option<PathBuf>,
        /// The size at which the audit file is rotated.
        pub max_size: Size where "1KiB" ..= "16GiB" = "10MiB",
        /// The number of rotated files that are kept, in addition to the current one.
        pub max_files: usize where 1 ..= 100_000 = 100,
    }
}

impl Checked for Audit {}

impl Audit {
    /// Converts to the options of the audit file, whether or not it is enabled.
    pub fn options(&self, data_dir: &Path) -> Options {
        Options {
            path: self.file.clone().unwrap_or_else(|| data_dir.join(FILE)),
            max_size: self.max_size.bytes(),
            max_files: self.max_files,
        }
    }
}
