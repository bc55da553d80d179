//! Memory usage and limits of cgroups, and whether they apply to Watchpost's whole view of the machine (a
//! container).

use std::path::PathBuf;
use std::slice;

use super::tree::{CgroupPath, Version};
use super::{View, field, minimum};
use crate::collect::host::{HostOptions, read};

/// The memory limit of the container that this process runs in, if it is lower than the machine's memory.
pub(in crate::collect::host) struct Confinement {
    view: View,
    /// Files that container engines create inside a container.
    markers: [PathBuf; 3],
}

impl Confinement {
    pub(in crate::collect::host) fn new(options: &HostOptions) -> Self {
        let markers = [".dockerenv", "run/.containerenv", "run/systemd/container"];
        Self {
            view: View::new(options),
            markers: markers.map(|mark| options.rootfs.join(mark)),
        }
    }

    /// The used and the available memory, in bytes.
    ///
    /// A limit on the highest visible cgroup applies to everything that is visible: a container. A limit on a
    /// lower cgroup may be that of a service on a machine, whose usage says nothing about the machine; it is
    /// used only if a container engine left its marker file.
    pub(in crate::collect::host) fn memory(&self, machine: f64) -> Option<(f64, f64)> {
        let seen = self.view.read().ok().flatten()?;
        let levels = levels(&seen.place("memory")?);
        let highest = levels.last().map(slice::from_ref)?;
        let is_container = self.markers.iter().any(|mark| mark.exists());
        let counted = if is_container { &levels[..] } else { highest };
        let confined = counted.iter().filter_map(|level| Some((level.used?, level.limit?)));
        confined
            .filter(|(_, limit)| *limit > 0.0 && *limit < machine)
            .max_by(|(used, limit), (used_2, limit_2)| (used / limit).total_cmp(&(used_2 / limit_2)))
    }
}

pub(super) struct Level {
    pub(super) used: Option<f64>,
    pub(super) limit: Option<f64>,
}

/// Version 1 reports "unlimited" as the largest number of pages.
const UNLIMITED: f64 = (1_u64 << 62) as f64;

/// Inactive file cache, which the kernel can reclaim at once, is not counted as used; the kubelet computes its
/// working set the same way.
pub(super) fn levels(place: &CgroupPath) -> Vec<Level> {
    let (usage, limit, inactive) = match place.version {
        Version::One => ("memory.usage_in_bytes", "memory.limit_in_bytes", "total_inactive_file"),
        Version::Two => ("memory.current", "memory.max", "inactive_file"),
    };
    let level = |path: &PathBuf| {
        let stat = read::trimmed(&path.join("memory.stat")).unwrap_or_default();
        let used = read::number(&path.join(usage));
        // Version 1 also reports the limits of parent cgroups, even invisible ones.
        let above = field(&stat, "hierarchical_memory_limit");
        let limits = [read::number(&path.join(limit)), above].into_iter().flatten();
        Level {
            used: used.map(|used| (used - field(&stat, inactive).unwrap_or_default()).max(0.0)),
            limit: minimum(limits.filter(|limit| *limit < UNLIMITED)),
        }
    };
    place.levels.iter().map(level).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::unified;
    use super::*;

    const GIB: f64 = 1_073_741_824.0;

    #[test]
    fn a_container_has_a_limit_and_a_service_on_a_machine_does_not() {
        let container = unified("/")
            .with("cg/memory.current", "300\n")
            .with("cg/memory.max", "1000\n");
        assert_eq!(
            Confinement::new(&container.options()).memory(GIB),
            Some((300.0, 1000.0))
        );
        assert_eq!(
            Confinement::new(&container.options()).memory(1000.0),
            None,
            "not lower than the machine's memory"
        );
        let service = unified("/a")
            .with("cg/a/memory.current", "300\n")
            .with("cg/a/memory.max", "1000\n");
        assert_eq!(Confinement::new(&service.options()).memory(GIB), None);
        let marked = service.with(".dockerenv", "");
        assert_eq!(Confinement::new(&marked.options()).memory(GIB), Some((300.0, 1000.0)));
    }
}
