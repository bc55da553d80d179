//! Memory and swap. In a container with a lower limit than the machine's memory, usage is that of the container.

use std::path::{Path, PathBuf};

use watchpost_policies::MetricPattern;

use super::cgroup::Confinement;
use super::{HostOptions, read};
use crate::collect::probe::{Probe, Reading, patterns};

pub(super) struct Memory {
    meminfo: PathBuf,
    vmstat: PathBuf,
    confinement: Option<Confinement>,
}

impl Memory {
    pub(super) fn new(options: &HostOptions) -> Self {
        Self {
            meminfo: options.procfs.join("meminfo"),
            vmstat: options.procfs.join("vmstat"),
            // For a host that is seen through mounts, the limit of this container is irrelevant.
            confinement: options.is_own_view().then(|| Confinement::new(options)),
        }
    }

    fn percent(&self, lines: &[Line<'_>]) -> Result<f64, String> {
        let total = total(lines).unwrap_or_default();
        let confined = self
            .confinement
            .as_ref()
            .and_then(|confinement| confinement.memory(total));
        let (used, whole) = match (confined, available(lines)) {
            (Some((used, limit)), _) => (used, limit),
            (None, Some(available)) => (total - available, total),
            (None, None) => (0.0, 0.0),
        };
        read::percent(used, whole).ok_or_else(|| missing(&self.meminfo, "the total memory"))
    }
}

impl Probe for Memory {
    fn name(&self) -> &'static str {
        "host.memory"
    }

    fn metrics(&self) -> Vec<MetricPattern> {
        patterns(&["memory", "swap", "node_memory_*", "node_vmstat_*"])
    }

    fn measure(&mut self, now_ms: u64) -> Result<Reading, String> {
        let text = read::text(&self.meminfo)?;
        let lines = parse(&text);
        let mut reading = Reading::default();
        match self.percent(&lines) {
            Ok(percent) => reading.add("memory", &[], percent, "percent", now_ms),
            Err(reason) => reading.miss(self.name(), &["memory"], reason),
        }
        let swap = (named(&lines, "SwapTotal"), named(&lines, "SwapFree"));
        if let (Some(total), Some(free)) = swap
            && let Some(percent) = read::percent(total - free, total)
        {
            reading.add("swap", &[], percent, "percent", now_ms);
        }
        for line in &lines {
            reading.add(&line.metric(), &[], line.value, line.unit(), now_ms);
        }
        match read::optional(&self.vmstat) {
            Ok(text) => {
                for (name, count) in events(text.as_deref().unwrap_or_default()) {
                    reading.add(&format!("node_vmstat_{name}"), &[], count, "", now_ms);
                }
            }
            Err(reason) => reading.miss(self.name(), &["node_vmstat_*"], reason),
        }
        Ok(reading)
    }
}

/// One line of `/proc/meminfo`.
struct Line<'t> {
    name: &'t str,
    /// In bytes if `is_bytes` is set.
    value: f64,
    is_bytes: bool,
}

impl Line<'_> {
    fn metric(&self) -> String {
        let name = self.name.replace('(', "_").replace(')', "");
        let suffix = if self.is_bytes { "_bytes" } else { "" };
        format!("node_memory_{name}{suffix}")
    }

    fn unit(&self) -> &'static str {
        if self.is_bytes { "bytes" } else { "" }
    }
}

/// Lines in another format are skipped.
fn parse(text: &str) -> Vec<Line<'_>> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Line<'_>> {
    let (name, rest) = line.split_once(':')?;
    let mut words = rest.split_ascii_whitespace();
    let number: u64 = words.next()?.parse().ok()?;
    let is_bytes = words.next() == Some("kB");
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_()".contains(&byte);
    let is_legal = !name.is_empty() && name.len() < 100 && name.bytes().all(legal);
    let value = number as f64 * if is_bytes { 1024.0 } else { 1.0 };
    is_legal.then_some(Line { name, value, is_bytes })
}

fn named(lines: &[Line<'_>], name: &str) -> Option<f64> {
    lines.iter().find(|line| line.name == name).map(|line| line.value)
}

fn total(lines: &[Line<'_>]) -> Option<f64> {
    named(lines, "MemTotal")
}

/// Kernels before 3.14 do not report the available memory, so it is estimated as what is usable without
/// swapping.
fn available(lines: &[Line<'_>]) -> Option<f64> {
    let or_nothing = |name| named(lines, name).unwrap_or_default();
    named(lines, "MemAvailable").or_else(|| {
        let free = named(lines, "MemFree")? + or_nothing("Buffers") + or_nothing("Cached");
        Some(free + or_nothing("SReclaimable") - or_nothing("Shmem"))
    })
}

fn missing(file: &Path, what: &str) -> String {
    format!("{} does not contain {what}", file.display())
}

/// The lines of `/proc/vmstat` that `node_exporter` exports: paging, swapping, page faults and OOM kills.
fn events(text: &str) -> impl Iterator<Item = (&str, f64)> {
    text.lines().filter_map(|line| {
        let (name, count) = line.split_once(' ')?;
        let exported = [
            "oom_kill",
            "pgpgin",
            "pgpgout",
            "pswpin",
            "pswpout",
            "pgfault",
            "pgmajfault",
        ];
        let count: u64 = count.trim().parse().ok()?;
        exported.contains(&name).then_some((name, count as f64))
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Machine, count, value};
    use super::*;

    fn measured(meminfo: &str) -> Reading {
        let machine = Machine::new().with("proc/meminfo", meminfo);
        Memory::new(&machine.options()).measure(1).expect("measured")
    }

    #[test]
    fn memory_is_reported_as_by_node_exporter() {
        let machine = Machine::new()
            .with(
                "proc/meminfo",
                "MemTotal:       1000 kB\nMemFree:  100 kB\nMemAvailable:    250 kB\nActive(anon):  3 kB\n\
                 SwapTotal: 200 kB\nSwapFree: 150 kB\nHugePages_Total:       4\n",
            )
            .with("proc/vmstat", "nr_free_pages 5\noom_kill 2\npgmajfault 7\npgpgin x\n");
        let reading = Memory::new(&machine.options()).measure(1).expect("measured");
        assert_eq!(reading.gaps, []);
        assert_eq!(value(&reading, "memory", &[]), Some(75.0));
        assert_eq!(value(&reading, "swap", &[]), Some(25.0));
        assert_eq!(value(&reading, "node_memory_MemTotal_bytes", &[]), Some(1_024_000.0));
        assert_eq!(value(&reading, "node_memory_Active_anon_bytes", &[]), Some(3072.0));
        assert_eq!(value(&reading, "node_memory_HugePages_Total", &[]), Some(4.0));
        assert_eq!(value(&reading, "node_vmstat_oom_kill", &[]), Some(2.0));
        assert_eq!(value(&reading, "node_vmstat_pgmajfault", &[]), Some(7.0));
        assert_eq!(count(&reading, "node_vmstat_nr_free_pages"), 0);
    }

    #[test]
    fn in_a_container_its_own_memory_is_used() {
        let machine = Machine::new();
        let mount = format!("1 0 0:1 / {}/cg rw - cgroup2 c rw\n", machine.path().display());
        let machine = machine
            .with("proc/meminfo", "MemTotal: 1000 kB\nMemAvailable: 500 kB\n")
            .with("proc/self/mountinfo", mount)
            .with("proc/self/cgroup", "0::/\n")
            .with("cg/memory.current", "90000\n")
            .with("cg/memory.max", "100000\n");
        let mut memory = Memory::new(&machine.options());
        let host = memory.measure(1).expect("measured");
        assert_eq!(value(&host, "memory", &[]), Some(50.0), "a host seen from a container");
        memory.confinement = Some(Confinement::new(&machine.options()));
        let container = memory.measure(1).expect("measured");
        assert_eq!(value(&container, "memory", &[]), Some(90.0));
        assert_eq!(value(&container, "node_memory_MemTotal_bytes", &[]), Some(1_024_000.0));
    }

    #[test]
    fn a_machine_without_swap_has_no_percent_of_it() {
        let reading = measured("MemTotal: 4 kB\nMemAvailable: 3 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n");
        assert_eq!(value(&reading, "memory", &[]), Some(25.0));
        assert_eq!(count(&reading, "swap"), 0);
        assert_eq!(reading.gaps, []);
    }

    #[test]
    fn available_memory_is_estimated_on_old_kernels() {
        let old = "MemTotal: 100 kB\nMemFree: 10 kB\nBuffers: 5 kB\nCached: 30 kB\nSReclaimable: 10 kB\nShmem: 5 kB\n";
        assert_eq!(value(&measured(old), "memory", &[]), Some(50.0));
    }

    #[test]
    fn a_truncated_file_gives_partial_values_and_a_gap() {
        for cut in [
            "",
            "MemTot",
            "MemTotal: 100 kB\nMemF",
            "MemAvailable: 5 kB\n",
            "MemTotal: -1 kB\n: 4 kB\na b: 4\nü: 1",
        ] {
            let reading = measured(cut);
            assert_eq!(count(&reading, "memory"), 0, "{cut}");
            assert_eq!(reading.gaps.len(), 1, "{cut} {:?}", reading.gaps);
            assert!(reading.gaps[0].reason.contains("meminfo"));
        }
        assert_eq!(
            value(
                &measured("MemTotal: 18446744073709551615 kB\nMemAvailable: 99999999999999999999 kB\nMemFree: 0 kB\n"),
                "memory",
                &[]
            ),
            Some(100.0)
        );
    }
}
