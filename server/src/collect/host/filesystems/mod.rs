//! Usage of file systems. One that hangs, such as a share whose server is down, is a gap and does not delay the
//! others; `statfs_pool` runs the calls, and this module converts their results.

#[cfg(test)]
mod fuse_fixture;
mod statfs_pool;
mod usage;

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use watchpost_policies::{Labels, MetricPattern};

use super::mountinfo::{self, Mount};
use super::pattern::Patterns;
use super::{HostOptions, read};
use crate::collect::probe::{Probe, Reading, patterns};
use statfs_pool::{MountKey, MountRequest, StatfsOutcome, StatfsPool};
use usage::usage;

const METRICS: [&str; 3] = ["disk", "inodes", "node_filesystem_*"];

pub(super) struct Filesystems {
    procfs: PathBuf,
    rootfs: PathBuf,
    excluded_mounts: Patterns,
    excluded_types: Patterns,
    pool: StatfsPool,
}

impl Filesystems {
    pub(super) fn new(options: &HostOptions) -> Self {
        Self::with_pool(
            options,
            StatfsPool::new("file-systems", options.mount_timeout, Arc::new(usage)),
        )
    }

    fn with_pool(options: &HostOptions, pool: StatfsPool) -> Self {
        Self {
            procfs: options.procfs.clone(),
            rootfs: options.rootfs.clone(),
            excluded_mounts: Patterns::new(&options.exclude_mounts),
            excluded_types: Patterns::new(&options.exclude_types),
            pool,
        }
    }

    /// The mounts of process 1, because a service may see fewer than the host has.
    fn mounts(&self) -> Result<Vec<Mount>, String> {
        let mut mounts = match read::bytes(&self.procfs.join("1/mountinfo")) {
            Ok(text) => mountinfo::parse(&text),
            Err(_) => {
                let mut own = mountinfo::parse(&read::bytes(&self.procfs.join("self/mountinfo"))?);
                own.iter_mut().for_each(|mount| self.as_the_host_sees(mount));
                own
            }
        };
        mounts.retain(|mount| {
            let is_excluded = self.excluded_mounts.cover(&mount.mount_point.to_string_lossy());
            !is_excluded && !self.excluded_types.cover(&mount.fstype)
        });
        Ok(last_of_each_point(mounts))
    }

    /// In a container, the host's `/home` is mounted at `/host/home`, where `/host` is the host's root.
    fn as_the_host_sees(&self, mount: &mut Mount) {
        if let Ok(within) = mount.mount_point.strip_prefix(&self.rootfs) {
            mount.mount_point = Path::new("/").join(within);
        }
    }

    fn path(&self, mount: &Mount) -> PathBuf {
        let within = mount.mount_point.as_os_str().as_bytes();
        let within = within.strip_prefix(b"/").unwrap_or(within);
        self.rootfs.join(OsStr::from_bytes(within))
    }
}

impl Probe for Filesystems {
    fn name(&self) -> &'static str {
        "host.filesystems"
    }

    fn metrics(&self) -> Vec<MetricPattern> {
        patterns(&METRICS)
    }

    fn measure(&mut self, now_ms: u64) -> Result<Reading, String> {
        let mounts = self.mounts()?;
        let requests: Vec<_> = mounts
            .iter()
            .map(|mount| MountRequest {
                key: MountKey::of(mount),
                path: self.path(mount),
                is_local: !is_remote(&mount.fstype),
            })
            .collect();
        let outcomes = self.pool.query(&requests, now_ms);
        let mut reading = Reading::default();
        for (mount, outcome) in mounts.iter().zip(outcomes) {
            add_usage(mount, &outcome, now_ms, &mut reading);
        }
        Ok(reading)
    }
}

/// Of several mounts at one point, only the last is visible.
fn last_of_each_point(mut mounts: Vec<Mount>) -> Vec<Mount> {
    let mut seen = HashSet::new();
    mounts.reverse();
    mounts.retain(|mount| seen.insert(mount.mount_point.clone()));
    mounts.reverse();
    mounts
}

/// Types whose calls depend on a server or a user-space program.
fn is_remote(fstype: &str) -> bool {
    let whole = [
        "9p",
        "acfs",
        "afs",
        "ceph",
        "cifs",
        "coda",
        "davfs",
        "gfs2",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "ocfs2",
        "pvfs2",
        "smb3",
        "smbfs",
        "virtiofs",
    ];
    fstype.starts_with("nfs") || fstype.starts_with("fuse") || fstype.starts_with("beegfs") || whole.contains(&fstype)
}

fn add_usage(mount: &Mount, outcome: &StatfsOutcome, now_ms: u64, reading: &mut Reading) {
    let point = mount.mount_point.to_string_lossy();
    let labels = [
        ("device", mount.device.as_str()),
        ("fstype", &mount.fstype),
        ("mountpoint", &point),
    ];
    let mut miss = |reason: String| reading.miss("host.filesystems", &METRICS, reason);
    if let Err(error) = Labels::new(labels) {
        return miss(format!("the file system at {point} has no legal labels: {error}"));
    }
    match outcome {
        StatfsOutcome::Measured(_) => {}
        StatfsOutcome::Failed(error) => miss(format!("the file system at {point} ({}) failed: {error}", mount.fstype)),
        StatfsOutcome::Hanging { since_ms } => miss(format!(
            "the file system at {point} ({} from {}) has not answered since {}; check its server, or unmount it with \
             umount -l",
            mount.fstype,
            mount.device,
            instant(*since_ms)
        )),
        StatfsOutcome::NotQueried { reason } => miss(format!("the file system at {point} was not queried: {reason}")),
    }
    let mut add = |metric: &str, value: f64, unit: &str| reading.add(metric, &labels, value, unit, now_ms);
    let as_number = |is: bool| if is { 1.0 } else { 0.0 };
    add("node_filesystem_readonly", as_number(mount.is_read_only), "");
    add(
        "node_filesystem_device_error",
        as_number(!matches!(outcome, StatfsOutcome::Measured(_))),
        "",
    );
    let StatfsOutcome::Measured(usage) = outcome else {
        return;
    };
    add("node_filesystem_size_bytes", usage.bytes(usage.blocks), "bytes");
    add("node_filesystem_free_bytes", usage.bytes(usage.free), "bytes");
    add("node_filesystem_avail_bytes", usage.bytes(usage.available), "bytes");
    add("node_filesystem_files", usage.files as f64, "");
    add("node_filesystem_files_free", usage.files_free as f64, "");
    if let Some(percent) = usage.percent() {
        add("disk", percent, "percent");
    }
    if let Some(percent) = usage.files_percent() {
        add("inodes", percent, "percent");
    }
}

fn instant(ms: u64) -> String {
    let instant = i64::try_from(ms)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok());
    instant.map_or_else(|| format!("{ms} ms after 1970"), |instant| instant.to_string())
}

#[cfg(test)]
mod tests;
