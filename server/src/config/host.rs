//! The settings of what is measured of the machine itself, and what is left out.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::declare::{Checked, section};

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
        pub exclude_mounts: Vec<String> = [
            "/dev",
            "/dev/*",
            "/proc",
            "/proc/*",
            "/run/credentials/*",
            "/sys",
            "/sys/*",
            "/var/lib/docker/*",
            "/var/lib/containers/storage/*",
        ],
        /// Types of file systems that are left out; these have no room that could run out.
        pub exclude_types: Vec<String> = [
            "autofs",
            "binfmt_misc",
            "bpf",
            "cgroup",
            "cgroup2",
            "configfs",
            "debugfs",
            "devpts",
            "devtmpfs",
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
            "erofs",
            "sysfs",
            "tracefs",
        ],
        /// Disks that are left out: partitions, for what they do the whole disk counts too, and disks in memory.
        pub exclude_disks: Vec<String> = [
            "fd[0-9]*",
            "hd*[0-9]",
            "loop[0-9]*",
            "nvme*n*p[0-9]*",
            "ram[0-9]*",
            "sd*[0-9]",
            "vd*[0-9]",
            "xvd*[0-9]",
            "zram[0-9]*",
        ],
        /// Network interfaces that are left out.
        pub exclude_interfaces: Vec<String> = json!([]),
    }
}

impl Checked for Host {}
