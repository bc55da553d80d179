//! The number of processes and threads, and of processes by state.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use watchpost_policies::MetricPattern;

use super::{HostOptions, read};
use crate::collect::probe::{Probe, Reading, patterns};

/// Reading the state of a process takes about ten microseconds, so this many take a tenth of a second.
const MAX_PROCESSES: usize = 10_000;

/// States that are reported even if no process is in them, so that their series fall to zero.
const STATES: [char; 5] = ['D', 'R', 'S', 'T', 'Z'];

pub(super) struct Processes {
    procfs: PathBuf,
    max_inspected: usize,
}

impl Processes {
    pub(super) fn new(options: &HostOptions) -> Self {
        Self {
            procfs: options.procfs.clone(),
            max_inspected: MAX_PROCESSES,
        }
    }

    fn census(&self, processes: &[String]) -> (u64, BTreeMap<char, u64>) {
        let mut states: BTreeMap<char, u64> = STATES.into_iter().map(|state| (state, 0)).collect();
        let mut threads: u64 = 0;
        for process in processes {
            // The process may have ended since it was listed.
            let Ok(stat) = fs::read(self.procfs.join(process).join("stat")) else {
                continue;
            };
            if let Some((state, its_threads)) = parse(&String::from_utf8_lossy(&stat)) {
                *states.entry(state).or_default() += 1;
                threads = threads.saturating_add(its_threads);
            }
        }
        (threads, states)
    }
}

impl Probe for Processes {
    fn name(&self) -> &'static str {
        "host.processes"
    }

    fn metrics(&self) -> Vec<MetricPattern> {
        patterns(&[
            "node_processes_max_processes",
            "node_processes_max_threads",
            "node_processes_pids",
            "node_processes_state",
            "node_processes_threads",
        ])
    }

    fn measure(&mut self, now_ms: u64) -> Result<Reading, String> {
        let is_number = |name: &String| name.bytes().all(|byte| byte.is_ascii_digit());
        let mut processes = read::names(&self.procfs)?;
        processes.retain(is_number);
        if processes.is_empty() {
            return Err(format!(
                "no processes in {}; check that it is a mounted procfs",
                self.procfs.display()
            ));
        }
        let mut reading = Reading::default();
        reading.add("node_processes_pids", &[], processes.len() as f64, "", now_ms);
        if processes.len() <= self.max_inspected {
            let (threads, states) = self.census(&processes);
            reading.add("node_processes_threads", &[], threads as f64, "", now_ms);
            for (state, count) in states {
                let state = state.to_string();
                reading.add("node_processes_state", &[("state", &state)], count as f64, "", now_ms);
            }
        } else {
            let reason = format!(
                "{} processes are too many to inspect; the maximum is {}",
                processes.len(),
                self.max_inspected
            );
            reading.miss(self.name(), &["node_processes_threads", "node_processes_state"], reason);
        }
        let limits = [
            ("node_processes_max_processes", "pid_max"),
            ("node_processes_max_threads", "threads-max"),
        ];
        for (metric, file) in limits {
            if let Some(limit) = read::number(&self.procfs.join("sys/kernel").join(file)) {
                reading.add(metric, &[], limit, "", now_ms);
            }
        }
        Ok(reading)
    }
}

/// `17 (a name (with) anything) S 1 …`: the state is the third field, the number of threads the twentieth.
fn parse(stat: &str) -> Option<(char, u64)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut words = rest.split_ascii_whitespace();
    let state = words.next()?.chars().next()?;
    let threads = words.nth(16)?.parse().ok()?;
    Some((state, threads))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Machine, value};
    use super::*;

    fn stat(name: &str, state: char, threads: u64) -> String {
        format!("7 ({name}) {state} 1 7 7 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 {threads} 0 99 1000 20\n")
    }

    #[test]
    fn processes_are_counted_by_state() {
        let machine = Machine::new()
            .with("proc/1/stat", stat("init", 'S', 1))
            .with("proc/7/stat", stat("evil) R 9 (", 'D', 5))
            .with("proc/8/stat", b"8 (\xff) S cut")
            .with("proc/9/status", "ended")
            .with("proc/meminfo", "")
            .with("proc/sys/kernel/pid_max", "32768\n");
        let reading = Processes::new(&machine.options()).measure(1).expect("measured");
        assert_eq!(value(&reading, "node_processes_pids", &[]), Some(4.0));
        assert_eq!(value(&reading, "node_processes_threads", &[]), Some(6.0));
        assert_eq!(value(&reading, "node_processes_state", &["D"]), Some(1.0));
        assert_eq!(value(&reading, "node_processes_state", &["S"]), Some(1.0));
        assert_eq!(value(&reading, "node_processes_state", &["Z"]), Some(0.0));
        assert_eq!(value(&reading, "node_processes_max_processes", &[]), Some(32768.0));
        assert_eq!(reading.gaps, []);
    }

    #[test]
    fn processes_above_the_maximum_are_still_counted() {
        let machine = Machine::new();
        for process in 1..=3 {
            machine.write(&format!("proc/{process}/stat"), stat("some", 'S', 1));
        }
        let mut processes = Processes::new(&machine.options());
        assert_eq!(processes.measure(1).expect("measured").gaps, []);
        processes.max_inspected = 2;
        let reading = processes.measure(1).expect("measured");
        assert_eq!(value(&reading, "node_processes_pids", &[]), Some(3.0));
        assert_eq!(value(&reading, "node_processes_threads", &[]), None);
        assert_eq!(reading.gaps[0].metrics.len(), 2);
    }

    #[test]
    fn a_directory_without_processes_is_not_a_procfs() {
        let error = Processes::new(&Machine::new().options())
            .measure(1)
            .expect_err("refused");
        assert!(error.contains("procfs"), "{error}");
    }
}
