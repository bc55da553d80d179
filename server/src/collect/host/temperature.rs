//! Temperatures and other values of the kernel's sensors: monitoring chips, thermal zones and the devices that cool
//! them. Most virtual machines have none, which is not an error.
//!
//! sysinfo reads these sensors too, but of two with the same label, such as two disks of one model, it keeps
//! only one.

use std::path::PathBuf;

use watchpost_policies::MetricPattern;

use super::{HostOptions, hwmon, read};
use crate::collect::probe::{Probe, Reading, patterns};

/// A metric and its file, for a device that cools: a fan, or a CPU that can be throttled.
const COOLING: [(&str, &str); 2] = [
    ("node_cooling_device_cur_state", "cur_state"),
    ("node_cooling_device_max_state", "max_state"),
];

pub(super) struct Temperature {
    class: PathBuf,
}

impl Temperature {
    pub(super) fn new(options: &HostOptions) -> Self {
        Self {
            class: options.sysfs.join("class"),
        }
    }

    /// Adds the thermal zones. Small boards have no other sensors; their zones are then reported as
    /// `temperature` too.
    fn zones(&self, now_ms: u64, reading: &mut Reading) -> Result<(), String> {
        let directory = self.class.join("thermal");
        let is_only_source = reading
            .samples
            .iter()
            .all(|sample| sample.metric().as_str() != "temperature");
        for name in read::names(&directory)? {
            let path = directory.join(&name);
            let kind = read::trimmed(&path.join("type")).unwrap_or_default();
            if let Some(device) = name.strip_prefix("cooling_device") {
                for (metric, file) in COOLING {
                    if let Some(state) = read::number(&path.join(file)) {
                        reading.add(metric, &[("name", device), ("type", &kind)], state, "", now_ms);
                    }
                }
            }
            let Some(zone) = name.strip_prefix("thermal_zone") else {
                continue;
            };
            // A disabled zone cannot be read.
            let Some(celsius) = read::trimmed(&path.join("temp")).as_deref().and_then(parse) else {
                continue;
            };
            let labels = [("type", kind.as_str()), ("zone", zone)];
            reading.add("node_thermal_zone_temp", &labels, celsius, "celsius", now_ms);
            if is_only_source {
                let labels = [("chip", kind.as_str()), ("sensor", &name)];
                reading.add("temperature", &labels, celsius, "celsius", now_ms);
            }
        }
        Ok(())
    }
}

impl Probe for Temperature {
    fn name(&self) -> &'static str {
        "host.temperature"
    }

    fn metrics(&self) -> Vec<MetricPattern> {
        patterns(&[
            "temperature",
            hwmon::METRICS,
            "node_thermal_zone_temp",
            "node_cooling_device_*",
        ])
    }

    fn measure(&mut self, now_ms: u64) -> Result<Reading, String> {
        let mut reading = Reading::default();
        hwmon::add(&self.class.join("hwmon"), self.name(), now_ms, &mut reading)?;
        self.zones(now_ms, &mut reading)?;
        Ok(reading)
    }
}

/// Converts thousandths of a degree.
fn parse(text: &str) -> Option<f64> {
    text.trim()
        .parse::<i64>()
        .ok()
        .map(|thousandths| thousandths as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::super::fixture::{Machine, count, value};
    use super::*;

    #[test]
    fn chips_are_labelled_by_device_and_sensors_by_number() {
        let machine = Machine::new()
            .with("sys/devices/platform/coretemp.0/uevent", "")
            .with("sys/class/hwmon/hwmon3/name", "coretemp\n")
            .with("sys/class/hwmon/hwmon3/temp1_input", "45500\n")
            .with("sys/class/hwmon/hwmon3/temp1_label", "Package id 0\n")
            .with("sys/class/hwmon/hwmon3/temp1_max", "90000\n")
            .with("sys/class/hwmon/hwmon3/temp2_input", "n/a\n")
            .with("sys/class/hwmon/hwmon3/fan1_input", "900\n");
        let device = machine.path().join("sys/devices/platform/coretemp.0");
        symlink(device, machine.path().join("sys/class/hwmon/hwmon3/device")).expect("linked");
        let reading = Temperature::new(&machine.options()).measure(1).expect("measured");
        let labels = ["platform_coretemp_0", "temp1"];
        assert_eq!(value(&reading, "node_hwmon_temp_celsius", &labels), Some(45.5));
        assert_eq!(value(&reading, "temperature", &labels), Some(45.5));
        assert_eq!(
            value(&reading, "node_hwmon_chip_names", &["platform_coretemp_0", "coretemp"]),
            Some(1.0)
        );
        let labels = ["platform_coretemp_0", "Package id 0", "temp1"];
        assert_eq!(value(&reading, "node_hwmon_sensor_label", &labels), Some(1.0));
        assert_eq!(
            value(
                &reading,
                "node_hwmon_temp_max_celsius",
                &["platform_coretemp_0", "temp1"]
            ),
            Some(90.0)
        );
        assert_eq!(
            value(&reading, "node_hwmon_fan_rpm", &["platform_coretemp_0", "fan1"]),
            Some(900.0)
        );
        assert_eq!(reading.samples.len(), 6);
    }

    #[test]
    fn zones_are_temperatures_if_no_chip_has_a_sensor() {
        let zoned = Machine::new()
            .with("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n")
            .with("sys/class/thermal/thermal_zone0/temp", "-5000\n")
            .with("sys/class/thermal/cooling_device0/type", "fan\n")
            .with("sys/class/thermal/cooling_device0/cur_state", "2\n")
            .with("sys/class/thermal/cooling_device0/max_state", "10\n");
        let reading = Temperature::new(&zoned.options()).measure(1).expect("measured");
        assert_eq!(
            value(&reading, "node_thermal_zone_temp", &["cpu-thermal", "0"]),
            Some(-5.0)
        );
        assert_eq!(
            value(&reading, "temperature", &["cpu-thermal", "thermal_zone0"]),
            Some(-5.0)
        );
        assert_eq!(
            value(&reading, "node_cooling_device_cur_state", &["0", "fan"]),
            Some(2.0)
        );
        assert_eq!(
            value(&reading, "node_cooling_device_max_state", &["0", "fan"]),
            Some(10.0)
        );
        let both = zoned.with("sys/class/hwmon/hwmon0/temp1_input", "1000");
        let reading = Temperature::new(&both.options()).measure(1).expect("measured");
        assert_eq!(value(&reading, "temperature", &["hwmon0", "temp1"]), Some(1.0));
        assert_eq!(count(&reading, "temperature"), 1);
    }

    #[test]
    fn chips_of_the_same_name_have_unique_labels() {
        let machine = Machine::new()
            .with("sys/class/hwmon/hwmon0/name", "nvme\n")
            .with("sys/class/hwmon/hwmon0/temp1_input", "1000\n")
            .with("sys/class/hwmon/hwmon1/name", "nvme\n")
            .with("sys/class/hwmon/hwmon1/temp1_input", "2000\n");
        let reading = Temperature::new(&machine.options()).measure(1).expect("measured");
        assert_eq!(value(&reading, "temperature", &["nvme", "temp1"]), Some(1.0));
        assert_eq!(value(&reading, "temperature", &["nvme_hwmon1", "temp1"]), Some(2.0));
    }

    #[test]
    fn a_machine_without_sensors_is_not_an_error() {
        let reading = Temperature::new(&Machine::new().options()).measure(1);
        assert_eq!(reading, Ok(Reading::default()));
    }

    #[test]
    fn a_sensor_that_cannot_be_read_is_a_gap() {
        let machine = Machine::new().with("sys/class/hwmon/hwmon0/temp1_input/x", "");
        let reading = Temperature::new(&machine.options()).measure(1).expect("measured");
        assert!(reading.gaps[0].reason.contains("temp1_input"), "{:?}", reading.gaps);
    }
}
