//! Locates the directories of this process's own cgroup.
//!
//! A process is in one cgroup of each hierarchy: the one of version 2, and those of version 1, each with some
//! controllers. `/proc/self/cgroup` names the cgroup; `/proc/self/mountinfo` says where the hierarchy is
//! mounted. A container sees only its own part, and its cgroup is then the root of the mount.

use std::path::{Component, Path, PathBuf};

use crate::collect::host::mountinfo::Mount;

/// The two versions of cgroup files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    One,
    Two,
}

/// The process's cgroup for one controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CgroupPath {
    pub(super) version: Version,
    /// The directory of the cgroup, then those of its ancestors, up to the highest visible one.
    pub(super) levels: Vec<PathBuf>,
}

/// The cgroup for a controller (`memory`); `None` if no such hierarchy is mounted.
pub(super) fn place(cgroups: &str, mounts: &[Mount], controller: &str) -> Option<CgroupPath> {
    let (version, path) = of_controller(cgroups, controller)?;
    let is_it = |mount: &&Mount| match version {
        Version::Two => mount.fstype == "cgroup2",
        Version::One => mount.fstype == "cgroup" && names(&mount.super_options, controller),
    };
    let of_hierarchy = || mounts.iter().filter(is_it);
    let below = |mount: &&Mount| beneath(path, &mount.root).is_some();
    let mount = of_hierarchy().find(below).or_else(|| of_hierarchy().next())?;
    // A path outside the mount is relative to another root; only the mount itself is then visible.
    let within = beneath(path, &mount.root).unwrap_or_default();
    // Rebuilt from components, because joining an empty path appends a slash.
    let own: PathBuf = mount.mount_point.join(within).components().collect();
    let levels = own
        .ancestors()
        .take_while(|level| level.starts_with(&mount.mount_point));
    Some(CgroupPath {
        version,
        levels: levels.map(Path::to_owned).collect(),
    })
}

/// Version 1 takes precedence, because a controller is in only one version.
fn of_controller<'c>(cgroups: &'c str, controller: &str) -> Option<(Version, &'c str)> {
    let lines = || {
        cgroups.lines().filter_map(|line| {
            let (id, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            Some((id, controllers, path))
        })
    };
    let one = lines().find(|(_, controllers, _)| names(controllers, controller));
    let two = || lines().find(|(id, controllers, _)| *id == "0" && controllers.is_empty());
    one.map(|(_, _, path)| (Version::One, path))
        .or_else(|| two().map(|(_, _, path)| (Version::Two, path)))
}

fn names(list: &str, controller: &str) -> bool {
    list.split(',').any(|word| word == controller)
}

/// The path relative to the root, without a leading slash; `None` if it is not below the root.
fn beneath(path: &str, root: &str) -> Option<String> {
    let (path, root) = (Path::new(path), Path::new(root));
    let rest = path.strip_prefix(root).ok()?;
    let is_plain = rest.components().all(|part| matches!(part, Component::Normal(_)));
    is_plain.then(|| rest.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::host::mountinfo;

    fn levels(cgroups: &str, mounts: &str, controller: &str) -> Option<(Version, Vec<String>)> {
        let place = place(cgroups, &mountinfo::parse(mounts.as_bytes()), controller)?;
        let levels = place.levels.iter().map(|level| level.display().to_string());
        Some((place.version, levels.collect()))
    }

    const UNIFIED: &str = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
    const MEMORY: &str = "31 23 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";

    #[test]
    fn a_service_is_found_with_its_ancestors() {
        let found = levels("0::/system.slice/a.service\n", UNIFIED, "memory").expect("found");
        assert_eq!(found.0, Version::Two);
        let expected = [
            "/sys/fs/cgroup/system.slice/a.service",
            "/sys/fs/cgroup/system.slice",
            "/sys/fs/cgroup",
        ];
        assert_eq!(found.1, expected);
    }

    #[test]
    fn the_cgroup_of_a_container_is_the_root_of_the_mount() {
        let check = |cgroups: &str, mounts: &str, expected: &str| {
            let found = levels(cgroups, mounts, "memory").expect("found");
            assert_eq!(found.1, [expected], "{cgroups} {mounts}");
        };
        check("0::/\n", UNIFIED, "/sys/fs/cgroup");
        let docker = MEMORY.replace("0:27 /", "0:27 /docker/abc");
        check("4:memory:/docker/abc\n", &docker, "/sys/fs/cgroup/memory");
        check("4:memory:/elsewhere\n", &docker, "/sys/fs/cgroup/memory");
        check("4:memory:/docker/abcdef\n", &docker, "/sys/fs/cgroup/memory");
        check("0::/../other\n", UNIFIED, "/sys/fs/cgroup");
    }

    #[test]
    fn a_hybrid_has_each_controller_in_one_version() {
        let cgroups = "12:cpu,cpuacct:/a\n4:memory:/a\n1:name=systemd:/a\n0::/b\n";
        let mounts = format!("{UNIFIED}{MEMORY}32 23 0:28 / /cg/cpu rw - cgroup cgroup rw,cpu,cpuacct\n");
        assert_eq!(levels(cgroups, &mounts, "memory").expect("found").0, Version::One);
        assert_eq!(
            levels(cgroups, &mounts, "cpuacct").expect("found").1,
            ["/cg/cpu/a", "/cg/cpu"]
        );
        let pids = levels(cgroups, &mounts, "pids").expect("found");
        assert_eq!(
            pids,
            (
                Version::Two,
                vec!["/sys/fs/cgroup/b".to_owned(), "/sys/fs/cgroup".to_owned()]
            )
        );
    }

    #[test]
    fn no_cgroups_are_no_place() {
        assert_eq!(levels("", UNIFIED, "memory"), None);
        assert_eq!(levels("0::/\n", "", "memory"), None);
        assert_eq!(levels("nonsense\n4\n0:\n", UNIFIED, "memory"), None);
    }
}
