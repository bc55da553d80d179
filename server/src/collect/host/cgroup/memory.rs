//! The memory of cgroups: what each uses and may use, and whether that is all the memory there is for us. It knows
//! nothing of the machine's own.

use std::path::PathBuf;
use std::slice;

use super::tree::{CgroupPath, Version};
use super::{View, field, least};
use crate::collect::host::{HostOptions, read};

/// The memory of the container that this process lives in, if it lives in one that may use less than the machine.
pub(in crate::collect::host) struct Confinement {
    view: View,
    /// What container engines leave inside.
    marks: [PathBuf; 3],
}

impl Confinement {
    pub(in crate::collect::host) fn new(options: &HostOptions) -> Self {
        let marks = [".dockerenv", "run/.containerenv", "run/systemd/container"];
        Self {
            view: View::new(options),
            marks: marks.map(|mark| options.rootfs.join(mark)),
        }
    }

    /// What is used and what may be, in bytes.
    ///
    /// A limit at the highest cgroup that is seen holds for all that is seen: that is a container. One further
    /// down may be a service's own on a machine, and how much of its own limit Watchpost uses says nothing about
    /// the machine; so it counts only where an engine left its mark.
    pub(in crate::collect::host) fn memory(&self, machine: f64) -> Option<(f64, f64)> {
        let seen = self.view.look().ok().flatten()?;
        let levels = levels(&seen.place("memory")?);
        let highest = levels.last().map(slice::from_ref)?;
        let is_container = self.marks.iter().any(|mark| mark.exists());
        let counted = if is_container { &levels[..] } else { highest };
        let confined = counted.iter().filter_map(|level| Some((level.used?, level.limit?)));
        confined
            .filter(|(_, limit)| *limit > 0.0 && *limit < machine)
            .max_by(|(used, limit), (used_2, limit_2)| (used / limit).total_cmp(&(used_2 / limit_2)))
    }
}

/// One cgroup.
pub(super) struct Level {
    pub(super) used: Option<f64>,
    pub(super) limit: Option<f64>,
}

/// Version 1 says "unlimited" with the largest number that its pages can count.
const UNLIMITED: f64 = (1_u64 << 62) as f64;

/// What the kernel can take back at once is not in use, so what it read from inactive files is not counted: as
/// the kubelet reckons when it looks for someone to evict.
pub(super) fn levels(place: &CgroupPath) -> Vec<Level> {
    let (usage, limit, inactive) = match place.version {
        Version::One => ("memory.usage_in_bytes", "memory.limit_in_bytes", "total_inactive_file"),
        Version::Two => ("memory.current", "memory.max", "inactive_file"),
    };
    let level = |path: &PathBuf| {
        let stat = read::trimmed(&path.join("memory.stat")).unwrap_or_default();
        let used = read::number(&path.join(usage));
        // Version 1 tells of limits above, also of those that cannot be seen.
        let above = field(&stat, "hierarchical_memory_limit");
        let limits = [read::number(&path.join(limit)), above].into_iter().flatten();
        Level {
            used: used.map(|used| (used - field(&stat, inactive).unwrap_or_default()).max(0.0)),
            limit: least(limits.filter(|limit| *limit < UNLIMITED)),
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
    fn a_container_is_confined_and_a_service_on_a_machine_is_not() {
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
            "all of the machine"
        );
        let service = unified("/a")
            .with("cg/a/memory.current", "300\n")
            .with("cg/a/memory.max", "1000\n");
        assert_eq!(Confinement::new(&service.options()).memory(GIB), None);
        let marked = service.with(".dockerenv", "");
        assert_eq!(Confinement::new(&marked.options()).memory(GIB), Some((300.0, 1000.0)));
    }
}
