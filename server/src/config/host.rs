//! The settings of what is measured of the machine itself, and what is left out.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::declare::{Checked, section};
use crate::collect::Mode;
use crate::collect::host::HostOptions;

section! {
    /// The machine itself. In the lists, `*` stands for any text and `[0-9]` for a digit.
    pub struct Host {
        /// Whether it is measured at all.
        pub enabled: bool = true,
        /// Where the kernel's `proc` file system is; in a container, perhaps `/host/proc`.
        pub procfs: PathBuf = "/proc",
        /// Where its `sys` file system is.
        pub sysfs: PathBuf = "/sys",
        /// Where the machine's own root is, seen from here.
        pub rootfs: PathBuf = "/",
        /// How long a file system may take to say how full it is.
        pub mount_timeout: Duration where "10ms" ..= "1h" = "2s",
        /// Mount points that are left out.
        pub exclude_mounts: Vec<String> = json!(HostOptions::default().exclude_mounts),
        /// Types of file systems that are left out; these have no room that could run out.
        pub exclude_types: Vec<String> = json!(HostOptions::default().exclude_types),
        /// Disks that are left out: partitions, for what they do the whole disk counts too, and disks in memory.
        pub exclude_disks: Vec<String> = json!(HostOptions::default().exclude_disks),
        /// Network interfaces that are left out.
        pub exclude_interfaces: Vec<String> = json!([]),
    }
}

impl Checked for Host {}

impl Host {
    /// As the probes take them.
    pub fn options(&self, mode: Mode) -> HostOptions {
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
            excluded_metrics: mode.excluded_metrics(),
        }
    }
}
