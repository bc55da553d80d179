//! Settings of the measurements of the local machine, with its exclusions.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::collector::Collector;
use super::declare::{Checked, section};
use crate::collect::Mode;
use crate::collect::host::HostOptions;

section! {
    /// The local machine. In the lists, `*` matches any text and `[0-9]` a digit.
    pub struct Host {
        /// Whether the local machine is measured.
        pub enabled: bool = true,
        /// The mount point of the kernel's `proc` file system; in a container, perhaps `/host/proc`.
        pub procfs: PathBuf = "/proc",
        /// The mount point of the kernel's `sys` file system.
        pub sysfs: PathBuf = "/sys",
        /// The mount point of the machine's root file system.
        pub rootfs: PathBuf = "/",
        /// Timeout for reading the usage of one file system.
        pub mount_timeout: Duration where "10ms" ..= "1h" = "2s",
        /// Mount points to exclude.
        pub exclude_mounts: Vec<String> = json!(HostOptions::default().exclude_mounts),
        /// File system types to exclude. The default excludes those that cannot run out of space.
        pub exclude_types: Vec<String> = json!(HostOptions::default().exclude_types),
        /// Disks to exclude. The default excludes partitions, whose activity is part of the whole disk's, and
        /// disks in memory.
        pub exclude_disks: Vec<String> = json!(HostOptions::default().exclude_disks),
        /// Network interfaces to exclude.
        pub exclude_interfaces: Vec<String> = json!([]),
    }
}

impl Checked for Host {}

impl Host {
    /// Converts to the options of the probes.
    pub fn options(&self, collector: &Collector, mode: Mode) -> HostOptions {
        let given = self.clone();
        HostOptions {
            procfs: given.procfs,
            sysfs: given.sysfs,
            rootfs: given.rootfs,
            mount_timeout: given.mount_timeout,
            exclude_mounts: given.exclude_mounts,
            exclude_types: given.exclude_types,
            exclude_disks: given.exclude_disks,
            exclude_interfaces: given.exclude_interfaces,
            textfile_dir: collector.textfile_dir.clone(),
            excluded_metrics: mode.excluded_metrics(),
        }
    }
}
