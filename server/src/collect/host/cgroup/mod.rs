//! Resource usage and limits of this process's own cgroup, in version 1 and 2. The effective limit is the lowest
//! one of the cgroup and its visible ancestors.

mod memory;
mod tree;

use std::path::{Path, PathBuf};

use watchpost_policies::MetricPattern;

use super::mountinfo::{self, Mount};
use super::{HostOptions, read};
use crate::collect::probe::{Probe, Reading, patterns};
pub(super) use memory::Confinement;
use tree::{CgroupPath, Version, place};

pub(super) struct Cgroup {
    view: View,
}

impl Cgroup {
    pub(super) fn new(options: &HostOptions) -> Self {
        Self {
            view: View::new(options),
        }
    }
}

impl Probe for Cgroup {
    fn name(&self) -> &'static str {
        "host.cgroup"
    }

    fn metrics(&self) -> Vec<MetricPattern> {
        patterns(&["watchpost_cgroup_*"])
    }

    /// A kernel without cgroups and values that a cgroup does not count are neither samples nor gaps.
    fn measure(&mut self, now_ms: u64) -> Result<Reading, String> {
        let Some(seen) = self.view.read()? else {
            return Ok(Reading::default());
        };
        let memory = seen
            .place("memory")
            .map(|place| memory::levels(&place))
            .unwrap_or_default();
        let own = memory.iter().find_map(|level| level.used);
        let limit = minimum(memory.iter().filter_map(|level| level.limit));
        let cpu = Cpu::read(&seen);
        let pids = seen.place("pids");
        let processes = pids
            .as_ref()
            .and_then(|place| first(place, |level| read::number(&level.join("pids.current"))));
        let max_processes = pids.and_then(|place| lowest(&place, |level| read::number(&level.join("pids.max"))));
        let kills = seen.place("memory").and_then(|place| oom_kills(&place));
        let mut reading = Reading::default();
        for (metric, value, unit) in [
            ("watchpost_cgroup_memory_bytes", own, "bytes"),
            ("watchpost_cgroup_memory_limit_bytes", limit, "bytes"),
            ("watchpost_cgroup_cpu_seconds_total", cpu.used_seconds, "seconds"),
            ("watchpost_cgroup_cpu_limit_cores", cpu.limit_cores, ""),
            (
                "watchpost_cgroup_throttled_seconds_total",
                cpu.throttled_seconds,
                "seconds",
            ),
            ("watchpost_cgroup_pids", processes, ""),
            ("watchpost_cgroup_pids_limit", max_processes, ""),
            ("watchpost_cgroup_oom_kills_total", kills, ""),
        ] {
            if let Some(value) = value {
                reading.add(metric, &[], value, unit, now_ms);
            }
        }
        Ok(reading)
    }
}

/// The files that describe the process's cgroups.
struct View {
    cgroups: PathBuf,
    mounts: PathBuf,
}

/// The content of these files.
struct CgroupFiles {
    cgroups: String,
    mounts: Vec<Mount>,
}

impl View {
    fn new(options: &HostOptions) -> Self {
        let own = options.procfs.join("self");
        Self {
            cgroups: own.join("cgroup"),
            mounts: own.join("mountinfo"),
        }
    }

    fn read(&self) -> Result<Option<CgroupFiles>, String> {
        let Some(cgroups) = read::optional(&self.cgroups)? else {
            return Ok(None);
        };
        let mounts = mountinfo::parse(&read::bytes(&self.mounts)?);
        Ok(Some(CgroupFiles { cgroups, mounts }))
    }
}

impl CgroupFiles {
    fn place(&self, controller: &str) -> Option<CgroupPath> {
        place(&self.cgroups, &self.mounts, controller)
    }
}

fn oom_kills(place: &CgroupPath) -> Option<f64> {
    let file = match place.version {
        Version::One => "memory.oom_control",
        Version::Two => "memory.events",
    };
    first(place, |level| field(&read::trimmed(&level.join(file))?, "oom_kill"))
}

#[derive(Default)]
struct Cpu {
    used_seconds: Option<f64>,
    throttled_seconds: Option<f64>,
    limit_cores: Option<f64>,
}

impl Cpu {
    fn read(seen: &CgroupFiles) -> Self {
        let Some(place) = seen.place("cpu") else {
            return Self::default();
        };
        let stat = |name: &str| first(&place, |level| field(&read::trimmed(&level.join("cpu.stat"))?, name));
        match place.version {
            Version::Two => Self {
                used_seconds: stat("usage_usec").map(|micros| micros / 1e6),
                throttled_seconds: stat("throttled_usec").map(|micros| micros / 1e6),
                limit_cores: lowest(&place, |level| quota(&read::trimmed(&level.join("cpu.max"))?)),
            },
            Version::One => {
                let accounts = seen.place("cpuacct");
                let used = accounts.and_then(|place| first(&place, |level| read::number(&level.join("cpuacct.usage"))));
                let quota = |level: &Path| {
                    let time = read::trimmed(&level.join("cpu.cfs_quota_us"))?;
                    quota(&format!("{time} {}", read::trimmed(&level.join("cpu.cfs_period_us"))?))
                };
                Self {
                    used_seconds: used.map(|nanos| nanos / 1e9),
                    throttled_seconds: stat("throttled_time").map(|nanos| nanos / 1e9),
                    limit_cores: lowest(&place, quota),
                }
            }
        }
    }
}

/// Parses `50000 100000`: the quota and the period. `max` and negative values mean no limit.
fn quota(text: &str) -> Option<f64> {
    let mut words = text.split_ascii_whitespace();
    let time: f64 = words.next()?.parse().ok()?;
    let period: f64 = words.next()?.parse().ok()?;
    (time > 0.0 && period > 0.0).then(|| time / period)
}

/// The number after a name: `oom_kill 3`.
fn field(text: &str, name: &str) -> Option<f64> {
    let of_line = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse::<u64>().ok();
    text.lines().find_map(of_line).map(|number| number as f64)
}

/// The value of the lowest cgroup that has one: the process's own, because the root cgroup has none.
fn first(place: &CgroupPath, of_level: impl Fn(&Path) -> Option<f64>) -> Option<f64> {
    place.levels.iter().find_map(|level| of_level(level))
}

fn lowest(place: &CgroupPath, of_level: impl Fn(&Path) -> Option<f64>) -> Option<f64> {
    minimum(place.levels.iter().filter_map(|level| of_level(level)))
}

fn minimum(numbers: impl Iterator<Item = f64>) -> Option<f64> {
    numbers.min_by(f64::total_cmp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::host::fixture::{Machine, value};

    /// A machine whose cgroups of version 2 are below `cg`.
    pub(super) fn unified(own: &str) -> Machine {
        let machine = Machine::new();
        let mount = format!("30 23 0:26 / {}/cg rw - cgroup2 cgroup2 rw\n", machine.path().display());
        machine
            .with("proc/self/mountinfo", mount)
            .with("proc/self/cgroup", format!("0::{own}\n"))
    }

    fn measured(machine: &Machine) -> Reading {
        Cgroup::new(&machine.options()).measure(1).expect("measured")
    }

    #[test]
    fn the_lowest_limit_of_the_ancestors_applies() {
        let machine = unified("/a/b")
            .with("cg/a/b/memory.current", "5000\n")
            .with("cg/a/b/memory.stat", "anon 1\ninactive_file 1000\nactive_file 9\n")
            .with("cg/a/b/memory.max", "max\n")
            .with("cg/a/b/memory.events", "oom 9\noom_kill 3\noom_group_kill 1\n")
            .with("cg/a/b/cpu.max", "200000 100000\n")
            .with("cg/a/b/cpu.stat", "usage_usec 2500000\nthrottled_usec 500000\n")
            .with("cg/a/b/pids.current", "7\n")
            .with("cg/a/b/pids.max", "max\n")
            .with("cg/a/memory.max", "8000\n")
            .with("cg/a/cpu.max", "50000 100000\n")
            .with("cg/a/pids.max", "40\n");
        let reading = measured(&machine);
        let check = |metric: &str, expected: f64| {
            assert_eq!(
                value(&reading, &format!("watchpost_cgroup_{metric}"), &[]),
                Some(expected),
                "{metric}"
            );
        };
        check("memory_bytes", 4000.0);
        check("memory_limit_bytes", 8000.0);
        check("cpu_seconds_total", 2.5);
        check("throttled_seconds_total", 0.5);
        check("cpu_limit_cores", 0.5);
        check("pids", 7.0);
        check("pids_limit", 40.0);
        check("oom_kills_total", 3.0);
    }

    #[test]
    fn unlimited_and_uncounted_values_are_absent() {
        let machine = unified("/")
            .with("cg/cpu.stat", "usage_usec 1000000\n")
            .with("cg/cpu.max", "max 100000\n");
        let reading = measured(&machine);
        assert_eq!(reading.samples.len(), 1, "{:?}", reading.samples);
        assert_eq!(value(&reading, "watchpost_cgroup_cpu_seconds_total", &[]), Some(1.0));
        assert_eq!(reading.gaps, []);
    }

    #[test]
    fn a_kernel_without_cgroups_is_not_broken() {
        assert_eq!(measured(&Machine::new()), Reading::default());
        let mountless = Machine::new().with("proc/self/cgroup", "0::/\n");
        let error = Cgroup::new(&mountless.options()).measure(1).expect_err("refused");
        assert!(error.contains("mountinfo"), "{error}");
    }

    #[test]
    fn version_one_is_read_too() {
        let machine = Machine::new();
        let path = machine.path().display();
        let mounts = format!(
            "1 0 0:1 /docker/x {path}/m rw - cgroup cgroup rw,memory\n\
             2 0 0:2 /docker/x {path}/c rw - cgroup cgroup rw,cpu,cpuacct\n"
        );
        let machine = machine
            .with("proc/self/mountinfo", mounts)
            .with("proc/self/cgroup", "2:cpu,cpuacct:/docker/x\n1:memory:/docker/x\n")
            .with("m/memory.usage_in_bytes", "300\n")
            .with("m/memory.limit_in_bytes", "9223372036854771712\n")
            .with(
                "m/memory.stat",
                "hierarchical_memory_limit 1000\ninactive_file 1\ntotal_inactive_file 100\n",
            )
            .with("m/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
            .with("c/cpuacct.usage", "3000000000\n")
            .with("c/cpu.cfs_quota_us", "-1\n")
            .with("c/cpu.cfs_period_us", "100000\n")
            .with("c/cpu.stat", "nr_throttled 4\nthrottled_time 1000000000\n");
        let reading = measured(&machine);
        let of = |metric: &str| value(&reading, &format!("watchpost_cgroup_{metric}"), &[]);
        assert_eq!(of("memory_bytes"), Some(200.0));
        assert_eq!(
            of("memory_limit_bytes"),
            Some(1000.0),
            "a limit above that cannot be seen"
        );
        assert_eq!(of("cpu_seconds_total"), Some(3.0));
        assert_eq!(of("cpu_limit_cores"), None);
        assert_eq!(of("throttled_seconds_total"), Some(1.0));
        assert_eq!(of("oom_kills_total"), Some(2.0));
        assert_eq!(Confinement::new(&machine.options()).memory(1e9), Some((200.0, 1000.0)));
    }

    #[test]
    fn invalid_numbers_are_ignored() {
        for odd in ["", "max 100000", "100000", "x y", "-1 100000", "1 0", "0 100000"] {
            assert_eq!(quota(odd), None, "{odd}");
        }
        assert_eq!(field("oom_kill_x 1\noom_kill -1\n", "oom_kill"), None);
    }
}
