//! The clock of the machine: its time, its source, and how the kernel adjusts it (NTP).

use std::path::PathBuf;

use watchpost_policies::MetricPattern;

use super::{HostOptions, read, timex};
use crate::collect::probe::{Probe, Reading, patterns};

/// A metric and its file: the clocks that the kernel can use, and the one that it uses.
const SOURCES: [(&str, &str); 2] = [
    ("node_time_clocksource_available_info", "available_clocksource"),
    ("node_time_clocksource_current_info", "current_clocksource"),
];

pub(super) struct Time {
    clocksources: PathBuf,
}

impl Time {
    pub(super) fn new(options: &HostOptions) -> Self {
        Self {
            clocksources: options.sysfs.join("devices/system/clocksource"),
        }
    }
}

impl Probe for Time {
    fn name(&self) -> &'static str {
        "host.time"
    }

    fn metrics(&self) -> Vec<MetricPattern> {
        let sources = SOURCES.map(|(metric, _)| metric);
        let all: Vec<_> = sources
            .into_iter()
            .chain(["node_time_seconds", timex::METRICS])
            .collect();
        patterns(&all)
    }

    fn measure(&mut self, now_ms: u64) -> Result<Reading, String> {
        let mut reading = Reading::default();
        reading.add("node_time_seconds", &[], now_ms as f64 / 1000.0, "seconds", now_ms);
        for name in read::names(&self.clocksources)? {
            let Some(device) = name.strip_prefix("clocksource") else {
                continue;
            };
            for (metric, file) in SOURCES {
                let text = read::trimmed(&self.clocksources.join(&name).join(file)).unwrap_or_default();
                for source in text.split_ascii_whitespace() {
                    let labels = [("clocksource", source), ("device", device)];
                    reading.add(metric, &labels, 1.0, "", now_ms);
                }
            }
        }
        timex::add(now_ms, &mut reading);
        Ok(reading)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Machine, count, value};
    use super::*;

    #[test]
    fn the_time_is_that_of_the_measurement() {
        let machine = Machine::new();
        let directory = "sys/devices/system/clocksource/clocksource0";
        machine.write(&format!("{directory}/available_clocksource"), "tsc hpet\n");
        machine.write(&format!("{directory}/current_clocksource"), "tsc\n");
        let reading = Time::new(&machine.options()).measure(1500).expect("measured");
        assert_eq!(value(&reading, "node_time_seconds", &[]), Some(1.5));
        let current = value(&reading, "node_time_clocksource_current_info", &["tsc", "0"]);
        assert_eq!(current, Some(1.0));
        assert_eq!(count(&reading, "node_time_clocksource_available_info"), 2);
    }

    #[test]
    fn a_machine_without_a_list_of_clocks_still_has_a_time() {
        let reading = Time::new(&Machine::new().options()).measure(1).expect("measured");
        assert_eq!(count(&reading, "node_time_seconds"), 1);
        assert_eq!(count(&reading, "node_time_clocksource_current_info"), 0);
    }
}
