//! The table of tracked connections. It does not exist where connection tracking is not loaded, which is not an error.
//!
//! The number of entries and their maximum are those of Watchpost's own network, because the kernel shows no other
//! network's below `sys/net`.

use std::path::PathBuf;

use watchpost_policies::MetricPattern;

use super::net_files::NetFiles;
use super::{HostOptions, read};
use crate::collect::probe::{Probe, Reading, patterns};

/// A metric and its file.
const SIZES: [(&str, &str); 2] = [
    ("node_nf_conntrack_entries", "nf_conntrack_count"),
    ("node_nf_conntrack_entries_limit", "nf_conntrack_max"),
];

/// A metric and its column of the statistics, in which each CPU has a line.
const COUNTERS: [(&str, &str); 8] = [
    ("node_nf_conntrack_stat_drop", "drop"),
    ("node_nf_conntrack_stat_early_drop", "early_drop"),
    ("node_nf_conntrack_stat_found", "found"),
    ("node_nf_conntrack_stat_ignore", "ignore"),
    ("node_nf_conntrack_stat_insert", "insert"),
    ("node_nf_conntrack_stat_insert_failed", "insert_failed"),
    ("node_nf_conntrack_stat_invalid", "invalid"),
    ("node_nf_conntrack_stat_search_restart", "search_restart"),
];

pub(super) struct Conntrack {
    directory: PathBuf,
    files: NetFiles,
}

impl Conntrack {
    pub(super) fn new(options: &HostOptions) -> Self {
        Self {
            directory: options.procfs.join("sys/net/netfilter"),
            files: NetFiles::new(options),
        }
    }
}

impl Probe for Conntrack {
    fn name(&self) -> &'static str {
        "host.conntrack"
    }

    fn metrics(&self) -> Vec<MetricPattern> {
        let all: Vec<_> = SIZES.iter().chain(&COUNTERS).map(|(metric, _)| *metric).collect();
        patterns(&all)
    }

    fn measure(&mut self, now_ms: u64) -> Result<Reading, String> {
        let mut reading = Reading::default();
        for (metric, file) in SIZES {
            if let Some(entries) = read::number(&self.directory.join(file)) {
                reading.add(metric, &[], entries, "", now_ms);
            }
        }
        // An unprivileged process may not read this file on some kernels; `node_exporter` then reports nothing.
        let Some(statistics) = read::trimmed(&self.files.path("stat/nf_conntrack")) else {
            return Ok(reading);
        };
        for (metric, column) in COUNTERS {
            if let Some(count) = sum(&statistics, column) {
                reading.add(metric, &[], count, "", now_ms);
            }
        }
        Ok(reading)
    }
}

/// The sum of a column over all CPUs; the first line names the columns, and the numbers are hexadecimal.
fn sum(statistics: &str, column: &str) -> Option<f64> {
    let mut lines = statistics.lines();
    let at = lines.next()?.split_ascii_whitespace().position(|name| name == column)?;
    let of_cpu = |line: &str| u64::from_str_radix(line.split_ascii_whitespace().nth(at)?, 16).ok();
    Some(lines.filter_map(of_cpu).fold(0.0, |sum, count| sum + count as f64))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Machine, count, value};
    use super::*;

    #[test]
    fn counters_are_the_sums_of_all_cpus() {
        let machine = Machine::new()
            .with("proc/sys/net/netfilter/nf_conntrack_count", "17\n")
            .with("proc/sys/net/netfilter/nf_conntrack_max", "262144\n")
            .with(
                "proc/net/stat/nf_conntrack",
                "entries  clashres found drop search_restart\n00000011 0 00000001 0000000a 0\n00000011 0 00000002 00000001 0\n",
            );
        let reading = Conntrack::new(&machine.options()).measure(1).expect("measured");
        assert_eq!(value(&reading, "node_nf_conntrack_entries", &[]), Some(17.0));
        assert_eq!(value(&reading, "node_nf_conntrack_entries_limit", &[]), Some(262_144.0));
        assert_eq!(value(&reading, "node_nf_conntrack_stat_found", &[]), Some(3.0));
        assert_eq!(value(&reading, "node_nf_conntrack_stat_drop", &[]), Some(11.0));
        assert_eq!(
            count(&reading, "node_nf_conntrack_stat_insert"),
            0,
            "the kernel lacks it"
        );
        assert_eq!(reading.samples.len(), 5);
    }

    #[test]
    fn a_kernel_without_connection_tracking_reports_nothing() {
        let mut conntrack = Conntrack::new(&Machine::new().options());
        assert_eq!(conntrack.measure(1), Ok(Reading::default()));
    }
}
