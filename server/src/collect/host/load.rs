//! Load averages, and counters of the scheduler since boot.

use std::path::PathBuf;

use watchpost_policies::MetricPattern;

use super::stat::Stat;
use super::{HostOptions, read, schedstat};
use crate::collect::probe::{Probe, Reading, patterns};

const AVERAGES: [&str; 3] = ["node_load1", "node_load5", "node_load15"];

/// A metric, its line of `/proc/stat`, and its unit.
const COUNTERS: [(&str, &str, &str); 6] = [
    ("node_boot_time_seconds", "btime", "seconds"),
    ("node_context_switches_total", "ctxt", ""),
    ("node_forks_total", "processes", ""),
    ("node_intr_total", "intr", ""),
    ("node_procs_blocked", "procs_blocked", ""),
    ("node_procs_running", "procs_running", ""),
];

pub(super) struct Load {
    averages: PathBuf,
    stat: PathBuf,
    schedstat: PathBuf,
}

impl Load {
    pub(super) fn new(options: &HostOptions) -> Self {
        Self {
            averages: options.procfs.join("loadavg"),
            stat: options.procfs.join("stat"),
            schedstat: options.procfs.join("schedstat"),
        }
    }

    fn averages(&self) -> Result<[f64; 3], String> {
        let text = read::text(&self.averages)?;
        parse(&text).ok_or_else(|| format!("{} does not contain three load averages", self.averages.display()))
    }
}

impl Probe for Load {
    fn name(&self) -> &'static str {
        "host.load"
    }

    fn metrics(&self) -> Vec<MetricPattern> {
        let counters = COUNTERS.map(|(metric, _, _)| metric);
        let others = ["load_per_core", schedstat::METRICS];
        let all: Vec<_> = AVERAGES.into_iter().chain(others).chain(counters).collect();
        patterns(&all)
    }

    fn measure(&mut self, now_ms: u64) -> Result<Reading, String> {
        let averages = self.averages()?;
        let mut reading = Reading::default();
        for (metric, average) in AVERAGES.into_iter().zip(averages) {
            reading.add(metric, &[], average, "", now_ms);
        }
        match read::optional(&self.schedstat) {
            Ok(text) => schedstat::add(text.as_deref().unwrap_or_default(), now_ms, &mut reading),
            Err(reason) => reading.miss(self.name(), &[schedstat::METRICS], reason),
        }
        let mut missing = Vec::new();
        let stat = match read::text(&self.stat) {
            Ok(text) => Stat::parse(&text),
            Err(reason) => {
                missing.push("load_per_core");
                missing.extend(COUNTERS.map(|(metric, _, _)| metric));
                reading.miss(self.name(), &missing, reason);
                return Ok(reading);
            }
        };
        match stat.cores.len() {
            0 => missing.push("load_per_core"),
            cores => reading.add("load_per_core", &[], averages[0] / cores as f64, "", now_ms),
        }
        for (metric, line, unit) in COUNTERS {
            match stat.counter(line) {
                Some(count) => reading.add(metric, &[], count as f64, unit, now_ms),
                None => missing.push(metric),
            }
        }
        if !missing.is_empty() {
            let reason = format!("{} does not contain it", self.stat.display());
            reading.miss(self.name(), &missing, reason);
        }
        Ok(reading)
    }
}

fn parse(text: &str) -> Option<[f64; 3]> {
    let mut words = text.split_ascii_whitespace();
    let mut next = || words.next()?.parse().ok().filter(|number: &f64| number.is_finite());
    Some([next()?, next()?, next()?])
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Machine, value};
    use super::*;

    #[test]
    fn load_is_reported_in_total_and_per_core() {
        let stat =
            "cpu0 1 0 0 1\ncpu1 1 0 0 1\nintr 9 1\nctxt 8\nbtime 7\nprocesses 6\nprocs_running 5\nprocs_blocked 4\n";
        let machine = Machine::new()
            .with("proc/loadavg", "3.00 0.50 0.25 1/99 1234\n")
            .with("proc/stat", stat);
        let reading = Load::new(&machine.options()).measure(1).expect("measured");
        assert_eq!(reading.gaps, []);
        assert_eq!(value(&reading, "load_per_core", &[]), Some(1.5));
        assert_eq!(value(&reading, "node_load15", &[]), Some(0.25));
        assert_eq!(value(&reading, "node_forks_total", &[]), Some(6.0));
        assert_eq!(value(&reading, "node_boot_time_seconds", &[]), Some(7.0));
    }

    #[test]
    fn missing_values_are_gaps() {
        let machine = Machine::new().with("proc/loadavg", "3.00 0.50 0.25\n");
        let mut load = Load::new(&machine.options());
        let without = load.measure(1).expect("measured");
        assert_eq!(value(&without, "node_load1", &[]), Some(3.0));
        assert_eq!(without.gaps[0].metrics.len(), 7);
        machine.write("proc/stat", "cpu0 1 0 0 1\n");
        let cut = load.measure(1).expect("measured");
        assert_eq!(cut.gaps[0].metrics.len(), 6);
    }

    #[test]
    fn invalid_averages_are_an_error() {
        for odd in ["", "1 2", "1 x 3", "NaN 1 1"] {
            assert_eq!(parse(odd), None, "{odd}");
            let machine = Machine::new().with("proc/loadavg", odd);
            let error = Load::new(&machine.options()).measure(1).expect_err("refused");
            assert!(error.contains("loadavg"), "{error}");
        }
    }
}
