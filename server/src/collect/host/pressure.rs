//! Pressure stall information (PSI): the time that work waited for processors, memory and disks, on kernels that
//! count it.

use std::path::PathBuf;

use watchpost_policies::MetricPattern;

use super::{HostOptions, read};
use crate::collect::probe::{Probe, Reading, patterns};

/// A metric, its file and its line. `some` is the time in which some tasks waited, `full` that in which all did.
const COUNTERS: [(&str, &str, &str); 6] = [
    ("node_pressure_cpu_waiting_seconds_total", "cpu", "some"),
    ("node_pressure_io_waiting_seconds_total", "io", "some"),
    ("node_pressure_io_stalled_seconds_total", "io", "full"),
    ("node_pressure_irq_stalled_seconds_total", "irq", "full"),
    ("node_pressure_memory_waiting_seconds_total", "memory", "some"),
    ("node_pressure_memory_stalled_seconds_total", "memory", "full"),
];

pub(super) struct Pressure {
    directory: PathBuf,
}

impl Pressure {
    pub(super) fn new(options: &HostOptions) -> Self {
        Self {
            directory: options.procfs.join("pressure"),
        }
    }
}

impl Probe for Pressure {
    fn name(&self) -> &'static str {
        "host.pressure"
    }

    fn metrics(&self) -> Vec<MetricPattern> {
        patterns(&["node_pressure_*"])
    }

    fn measure(&mut self, now_ms: u64) -> Result<Reading, String> {
        let mut reading = Reading::default();
        for (metric, file, line) in COUNTERS {
            match read::optional(&self.directory.join(file)) {
                Ok(text) => {
                    if let Some(seconds) = parse(text.as_deref().unwrap_or_default(), line) {
                        reading.add(metric, &[], seconds, "seconds", now_ms);
                    }
                }
                Err(reason) => reading.miss(self.name(), &[metric], reason),
            }
        }
        Ok(reading)
    }
}

/// Parses `some avg10=0.00 avg60=0.00 avg300=0.00 total=123`, in microseconds.
fn parse(text: &str, name: &str) -> Option<f64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    let total = line
        .split_ascii_whitespace()
        .find_map(|word| word.strip_prefix("total="))?;
    total.parse::<u64>().ok().map(|micros| micros as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Machine, value};
    use super::*;

    #[test]
    fn pressure_is_reported_in_seconds() {
        let lines = "some avg10=0.06 avg60=0.45 avg300=1.65 total=1500000\nfull avg10=0.00 total=250000\n";
        let machine = Machine::new()
            .with("proc/pressure/cpu", lines)
            .with("proc/pressure/io", lines);
        let reading = Pressure::new(&machine.options()).measure(1).expect("measured");
        assert_eq!(
            value(&reading, "node_pressure_cpu_waiting_seconds_total", &[]),
            Some(1.5)
        );
        assert_eq!(
            value(&reading, "node_pressure_io_waiting_seconds_total", &[]),
            Some(1.5)
        );
        assert_eq!(
            value(&reading, "node_pressure_io_stalled_seconds_total", &[]),
            Some(0.25)
        );
        assert_eq!((reading.samples.len(), reading.gaps.len()), (3, 0));
    }

    #[test]
    fn a_kernel_without_psi_is_not_an_error() {
        let reading = Pressure::new(&Machine::new().options()).measure(1);
        assert_eq!(reading, Ok(Reading::default()));
        for odd in [
            "",
            "some",
            "some avg10=1",
            "some total=",
            "some total=-1",
            "somewhat total=1",
        ] {
            assert_eq!(parse(odd, "some"), None, "{odd}");
        }
    }
}
