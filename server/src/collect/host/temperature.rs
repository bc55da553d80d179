//! Temperatures of the kernel's sensors. Most virtual machines have none, which is not an error.
//!
//! sysinfo reads these sensors too, but of two with the same label, such as two disks of one model, it keeps
//! only one.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use watchpost_policies::MetricPattern;

use super::{HostOptions, read};
use crate::collect::probe::{Probe, Reading, patterns};

pub(super) struct Temperature {
    class: PathBuf,
}

impl Temperature {
    pub(super) fn new(options: &HostOptions) -> Self {
        Self {
            class: options.sysfs.join("class"),
        }
    }

    /// Adds the sensors of hardware monitoring chips.
    fn chips(&self, now_ms: u64, reading: &mut Reading) -> Result<(), String> {
        let directory = self.class.join("hwmon");
        let mut chips = BTreeMap::new();
        for name in read::names(&directory)? {
            let chip = directory.join(&name);
            let label = chip_label(&chip);
            // Two chips may belong to one device.
            let is_taken = chips.contains_key(&label);
            chips.insert(if is_taken { format!("{label}_{name}") } else { label }, chip);
        }
        for (label, chip) in chips {
            if let Some(name) = read::trimmed(&chip.join("name")) {
                let labels = [("chip", label.as_str()), ("chip_name", &name)];
                reading.add("node_hwmon_chip_names", &labels, 1.0, "", now_ms);
            }
            self.sensors(&label, &chip, now_ms, reading)?;
        }
        Ok(())
    }

    fn sensors(&self, label: &str, chip: &Path, now_ms: u64, reading: &mut Reading) -> Result<(), String> {
        for file in read::names(chip)? {
            let Some(sensor) = file.strip_suffix("_input").filter(|sensor| is_sensor(sensor)) else {
                continue;
            };
            let labels = [("chip", label), ("sensor", sensor)];
            match read::optional(&chip.join(&file)) {
                Ok(text) => {
                    let Some(celsius) = text.as_deref().and_then(parse) else {
                        continue;
                    };
                    reading.add("node_hwmon_temp_celsius", &labels, celsius, "celsius", now_ms);
                    reading.add("temperature", &labels, celsius, "celsius", now_ms);
                }
                Err(reason) => reading.miss(self.name(), &["node_hwmon_temp_celsius", "temperature"], reason),
            }
            if let Some(name) = read::trimmed(&chip.join(format!("{sensor}_label"))) {
                let labels = [("chip", label), ("label", name.as_str()), ("sensor", sensor)];
                reading.add("node_hwmon_sensor_label", &labels, 1.0, "", now_ms);
            }
        }
        Ok(())
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
            let Some(zone) = name.strip_prefix("thermal_zone") else {
                continue;
            };
            let path = directory.join(&name);
            let kind = read::trimmed(&path.join("type")).unwrap_or_default();
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
        patterns(&["temperature", "node_hwmon_*", "node_thermal_zone_temp"])
    }

    fn measure(&mut self, now_ms: u64) -> Result<Reading, String> {
        let mut reading = Reading::default();
        self.chips(now_ms, &mut reading)?;
        self.zones(now_ms, &mut reading)?;
        Ok(reading)
    }
}

/// `temp1`.
fn is_sensor(name: &str) -> bool {
    name.strip_prefix("temp")
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Converts thousandths of a degree.
fn parse(text: &str) -> Option<f64> {
    text.trim()
        .parse::<i64>()
        .ok()
        .map(|thousandths| thousandths as f64 / 1000.0)
}

/// The label of a chip as in `node_exporter`: the device, which is stable across reboots; else its name, else
/// its number.
fn chip_label(chip: &Path) -> String {
    let device = fs::canonicalize(chip.join("device")).ok().and_then(|device| {
        let part = |path: Option<&Path>| clean(&path?.file_name()?.to_string_lossy());
        let own = part(Some(&device))?;
        Some(match part(device.parent()) {
            Some(bus) => format!("{bus}_{own}"),
            None => own,
        })
    });
    let by_name = || read::trimmed(&chip.join("name")).and_then(|name| clean(&name));
    let by_number = || clean(&chip.file_name()?.to_string_lossy());
    device.or_else(by_name).or_else(by_number).unwrap_or_default()
}

fn clean(name: &str) -> Option<String> {
    let legal = |letter: char| {
        if letter.is_ascii_alphanumeric() || letter == ':' {
            letter
        } else {
            '_'
        }
    };
    let clean: String = name.trim().to_lowercase().chars().map(legal).collect();
    let clean = clean.trim_matches('_');
    (!clean.is_empty()).then(|| clean.to_owned())
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
        assert_eq!(reading.samples.len(), 4);
    }

    #[test]
    fn zones_are_temperatures_if_no_chip_has_a_sensor() {
        let zoned = Machine::new()
            .with("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n")
            .with("sys/class/thermal/thermal_zone0/temp", "-5000\n")
            .with("sys/class/thermal/cooling_device0/type", "fan\n");
        let reading = Temperature::new(&zoned.options()).measure(1).expect("measured");
        assert_eq!(
            value(&reading, "node_thermal_zone_temp", &["cpu-thermal", "0"]),
            Some(-5.0)
        );
        assert_eq!(
            value(&reading, "temperature", &["cpu-thermal", "thermal_zone0"]),
            Some(-5.0)
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
