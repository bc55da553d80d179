//! Counters of received packets by CPU: those that were dropped because a queue was full, and how often the time for
//! their processing ran out.

use watchpost_policies::MetricPattern;

use super::net_files::NetFiles;
use super::{HostOptions, read};
use crate::collect::probe::{Probe, Reading, patterns};

/// A metric and its column of `/proc/net/softnet_stat`. Old kernels lack the last columns.
const VALUES: [(&str, usize); 7] = [
    ("node_softnet_processed_total", 0),
    ("node_softnet_dropped_total", 1),
    ("node_softnet_times_squeezed_total", 2),
    ("node_softnet_cpu_collision_total", 8),
    ("node_softnet_received_rps_total", 9),
    ("node_softnet_flow_limit_count_total", 10),
    ("node_softnet_backlog_len", 11),
];

/// The number of the CPU, which kernels before 5.14 lack: there, the number of the line is that of the CPU.
const CPU_COLUMN: usize = 12;

pub(super) struct Softnet(NetFiles);

impl Softnet {
    pub(super) fn new(options: &HostOptions) -> Self {
        Self(NetFiles::new(options))
    }
}

impl Probe for Softnet {
    fn name(&self) -> &'static str {
        "host.softnet"
    }

    fn metrics(&self) -> Vec<MetricPattern> {
        patterns(&VALUES.map(|(metric, _)| metric))
    }

    fn measure(&mut self, now_ms: u64) -> Result<Reading, String> {
        let mut reading = Reading::default();
        let text = read::optional(&self.0.path("softnet_stat"))?;
        for (number, line) in text.as_deref().unwrap_or_default().lines().enumerate() {
            let columns = line.split_ascii_whitespace();
            let columns: Option<Vec<_>> = columns.map(|word| u32::from_str_radix(word, 16).ok()).collect();
            let Some(columns) = columns else { continue };
            let cpu = match columns.get(CPU_COLUMN) {
                Some(cpu) => cpu.to_string(),
                None => number.to_string(),
            };
            for (metric, column) in VALUES {
                if let Some(count) = columns.get(column) {
                    reading.add(metric, &[("cpu", &cpu)], f64::from(*count), "", now_ms);
                }
            }
        }
        Ok(reading)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Machine, count, value};
    use super::*;

    fn measured(softnet_stat: &str) -> Reading {
        let machine = Machine::new().with("proc/net/softnet_stat", softnet_stat);
        Softnet::new(&machine.options()).measure(1).expect("measured")
    }

    #[test]
    fn packets_are_counted_by_cpu() {
        let reading = measured(
            "002030b7 00000001 00000002 0 0 0 0 0 00000003 00000004 00000005 00000006 00000000 0 0\n\
             0000000a 00000000 00000000 0 0 0 0 0 00000000 00000000 00000000 00000000 00000007 0 0\n",
        );
        for (metric, expected) in [
            ("node_softnet_processed_total", 2_109_623.0),
            ("node_softnet_dropped_total", 1.0),
            ("node_softnet_times_squeezed_total", 2.0),
            ("node_softnet_cpu_collision_total", 3.0),
            ("node_softnet_received_rps_total", 4.0),
            ("node_softnet_flow_limit_count_total", 5.0),
            ("node_softnet_backlog_len", 6.0),
        ] {
            assert_eq!(value(&reading, metric, &["0"]), Some(expected), "{metric}");
        }
        assert_eq!(value(&reading, "node_softnet_processed_total", &["7"]), Some(10.0));
    }

    #[test]
    fn on_old_kernels_the_line_is_the_number_of_the_cpu() {
        let reading = measured("1 0 0 0 0 0 0 0 0\n2 0 0 0 0 0 0 0 0\nx 0 0\n");
        assert_eq!(value(&reading, "node_softnet_processed_total", &["1"]), Some(2.0));
        assert_eq!(count(&reading, "node_softnet_received_rps_total"), 0);
        assert_eq!(count(&reading, "node_softnet_processed_total"), 2);
        assert_eq!(
            Softnet::new(&Machine::new().options()).measure(1),
            Ok(Reading::default())
        );
    }
}
