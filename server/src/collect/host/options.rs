//! Options of the probes: where the machine's files are, and what is excluded.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the machine's files are, and what is excluded.
///
/// In a pattern, `*` matches any text, including none and `/`, and `[0-9]` one digit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostOptions {
    /// The mount point of the `proc` file system. Default: `/proc`.
    pub procfs: PathBuf,
    /// The mount point of the `sys` file system. Default: `/sys`.
    pub sysfs: PathBuf,
    /// The mount point of the machine's root file system. Default: `/`.
    pub rootfs: PathBuf,
    /// Timeout for reading the usage of one file system. Default: 2 s.
    pub mount_timeout: Duration,
    /// Patterns of excluded mount points. Default: those of `node_exporter`.
    pub exclude_mounts: Vec<String>,
    /// Patterns of excluded file system types. Default: those of `node_exporter`.
    pub exclude_types: Vec<String>,
    /// Patterns of excluded disks. Default: those of `node_exporter` (partitions, loop devices, RAM disks).
    pub exclude_disks: Vec<String>,
    /// Patterns of excluded network interfaces. Default: none.
    pub exclude_interfaces: Vec<String>,
    /// The directory of text files with metrics. Default: none.
    pub textfile_dir: Option<PathBuf>,
    /// Metrics that are not reported for the local machine, because they are measured on others. Default: none.
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
            textfile_dir: None,
            excluded_metrics: &[],
        }
    }
}

impl HostOptions {
    /// Whether the files are those of this process's own view, not of a host seen through mounts.
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
    // Read-only images, and so always full.
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
    fn the_defaults_exclude_what_node_exporter_excludes() {
        let options = HostOptions::default();
        let check = |patterns: &[String], out: &[&str], kept: &[&str]| {
            let patterns = Patterns::new(patterns);
            for text in out {
                assert!(patterns.cover(text), "{text} is excluded");
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
