//! What of the machine is measured, and where it is seen. The configuration is read elsewhere.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the machine is seen, and what of it is left out.
///
/// In a pattern `*` stands for any text, also for none and for `/`, and `[0-9]` for one digit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostOptions {
    /// Where the kernel tells of processes and counters. By default `/proc`.
    pub procfs: PathBuf,
    /// Where the kernel tells of devices. By default `/sys`.
    pub sysfs: PathBuf,
    /// Where the root of the machine's file systems is seen. By default `/`.
    pub rootfs: PathBuf,
    /// How long a file system may take to say how full it is. By default 2 s.
    pub mount_timeout: Duration,
    /// Mount points that are left out, as patterns. By default what `node_exporter` leaves out.
    pub exclude_mounts: Vec<String>,
    /// Types of file systems that are left out, as patterns. By default what `node_exporter` leaves out.
    pub exclude_types: Vec<String>,
    /// Disks that are left out, as patterns. By default what `node_exporter` leaves out: partitions, loops, RAM.
    pub exclude_disks: Vec<String>,
    /// Network interfaces that are left out, as patterns. By default none.
    pub exclude_interfaces: Vec<String>,
    /// Metrics that somebody else measures, of other machines; they are not told of this one. By default none.
    pub excluded_metrics: &'static [&'static str],
}

impl Default for HostOptions {
    fn default() -> Self {
        Self {
            procfs: PathBuf::from("/proc"),
            sysfs: PathBuf::from("/sys"),
            rootfs: PathBuf::from("/"),
            mount_timeout: Duration::from_secs(2),
            exclude_mounts: owned(EXCLUDED_MOUNTS),
            exclude_types: owned(EXCLUDED_TYPES),
            exclude_disks: owned(EXCLUDED_DISKS),
            exclude_interfaces: Vec::new(),
            excluded_metrics: &[],
        }
    }
}

impl HostOptions {
    /// Whether the machine is the one that this process itself sees, not a host behind mounts.
    pub(super) fn is_own_view(&self) -> bool {
        self.procfs == Path::new("/proc")
    }
}

const EXCLUDED_MOUNTS: &[&str] = &[
    "/dev",
    "/dev/*",
    "/proc",
    "/proc/*",
    "/run/credentials/*",
    "/sys",
    "/sys/*",
    "/var/lib/containers/storage/*",
    "/var/lib/docker/*",
];

const EXCLUDED_TYPES: &[&str] = &[
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    // Made once and for all, and so always full.
    "erofs",
    "fusectl",
    "hugetlbfs",
    "iso9660",
    "mqueue",
    "nsfs",
    "overlay",
    "proc",
    "procfs",
    "pstore",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "squashfs",
    "sysfs",
    "tracefs",
];

const EXCLUDED_DISKS: &[&str] = &[
    "fd[0-9]*",
    "hd*[0-9]",
    "loop[0-9]*",
    "nvme*n*p[0-9]*",
    "ram[0-9]*",
    "sd*[0-9]",
    "vd*[0-9]",
    "xvd*[0-9]",
    "zram[0-9]*",
];

fn owned(patterns: &[&str]) -> Vec<String> {
    patterns.iter().map(|pattern| (*pattern).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::pattern::Patterns;
    use super::*;

    #[test]
    fn what_node_exporter_leaves_out_is_left_out() {
        let options = HostOptions::default();
        let check = |patterns: &[String], out: &[&str], kept: &[&str]| {
            let patterns = Patterns::new(patterns);
            for text in out {
                assert!(patterns.cover(text), "{text} is left out");
            }
            for text in kept {
                assert!(!patterns.cover(text), "{text} is kept");
            }
        };
        check(
            &options.exclude_mounts,
            &[
                "/dev",
                "/dev/shm",
                "/proc",
                "/sys/fs/cgroup",
                "/run/credentials/a.service",
            ],
            &["/", "/device", "/var/lib/docker", "/run", "/home", "/mnt/proc"],
        );
        check(
            &options.exclude_types,
            &["cgroup2", "overlay"],
            &["ext4", "tmpfs", "nfs4", "fuse"],
        );
        check(
            &options.exclude_disks,
            &["sda1", "vdb12", "nvme0n1p3", "loop0", "zram0", "ram15", "xvda1", "fd0"],
            &["sda", "vda", "nvme0n1", "dm-0", "md0", "mmcblk0", "mmcblk0p1"],
        );
        check(&options.exclude_interfaces, &[], &["lo", "eth0"]);
    }
}
