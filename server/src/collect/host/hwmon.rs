//! Sensors of hardware monitoring chips: temperatures, fans, voltages, currents and power, with their limits and
//! alarms. Names and units are those of `node_exporter`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::read;
use crate::collect::probe::Reading;

pub(super) const METRICS: &str = "node_hwmon_*";

const THOUSANDTHS: f64 = 1e-3;
const MILLIONTHS: f64 = 1e-6;

/// The kinds of sensors; a file of a chip belongs to a sensor if its name begins with one of them.
const KINDS: [&str; 13] = [
    "beep_enable",
    "cpu",
    "curr",
    "energy",
    "fan",
    "humidity",
    "in",
    "intrusion",
    "power",
    "pwm",
    "temp",
    "update_interval",
    "vrm",
];

/// Adds the sensors of the chips in this directory, `/sys/class/hwmon`. The temperatures are also `temperature`.
pub(super) fn add(directory: &Path, source: &str, now_ms: u64, reading: &mut Reading) -> Result<(), String> {
    let mut chips = BTreeMap::new();
    for name in read::names(directory)? {
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
        for (sensor, properties) in sensors(&chip)? {
            add_sensor(&chip, &label, &sensor, &properties, source, now_ms, reading);
        }
    }
    Ok(())
}

/// A sensor of a chip, such as `temp1`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Sensor {
    kind: &'static str,
    number: u32,
}

/// The properties of each sensor of a chip, and their files.
fn sensors(chip: &Path) -> Result<BTreeMap<Sensor, BTreeMap<String, String>>, String> {
    let mut sensors = BTreeMap::<Sensor, BTreeMap<String, String>>::new();
    for file in read::names(chip)? {
        if let Some((sensor, property)) = parse_name(&file) {
            let property = property.to_owned();
            sensors.entry(sensor).or_default().insert(property, file);
        }
    }
    Ok(sensors)
}

/// The sensor of the file `temp1_max`, and its property `max`.
fn parse_name(file: &str) -> Option<(Sensor, &str)> {
    let of_kind = |kind: &'static str| {
        let rest = file.strip_prefix(kind)?;
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = rest.split_at(digits);
        let number = if number.is_empty() { 0 } else { number.parse().ok()? };
        let property = match rest.strip_prefix('_') {
            Some(property) if !property.is_empty() => property,
            None if rest.is_empty() => "",
            _ => return None,
        };
        Some((Sensor { kind, number }, property))
    };
    KINDS.into_iter().find_map(of_kind)
}

fn add_sensor(
    chip: &Path,
    label: &str,
    sensor: &Sensor,
    properties: &BTreeMap<String, String>,
    source: &str,
    now_ms: u64,
    reading: &mut Reading,
) {
    let name = format!("{}{}", sensor.kind, sensor.number);
    let labels = [("chip", label), ("sensor", name.as_str())];
    for (property, file) in properties {
        if property == "label" {
            if let Some(text) = read::trimmed(&chip.join(file)) {
                let labels = [("chip", label), ("label", text.as_str()), ("sensor", &name)];
                reading.add("node_hwmon_sensor_label", &labels, 1.0, "", now_ms);
            }
            continue;
        }
        let Some((metric, factor, unit)) = exported(sensor.kind, property, properties.contains_key("")) else {
            continue;
        };
        let is_temperature = sensor.kind == "temp" && property == "input";
        let number = match read::optional(&chip.join(file)) {
            Ok(text) => text.and_then(|text| text.trim().parse::<i64>().ok()),
            Err(reason) => {
                // Some drivers fail to read what the chip lacks; only a missing temperature matters to rules.
                if is_temperature {
                    reading.miss(source, &[metric.as_str(), "temperature"], reason);
                }
                None
            }
        };
        let Some(value) = number.map(|number| number as f64 * factor) else {
            continue;
        };
        reading.add(&metric, &labels, value, unit, now_ms);
        if is_temperature {
            reading.add("temperature", &labels, value, unit, now_ms);
        }
    }
}

/// The metric of a property, the factor to its unit, and the unit. A sensor's value is its property `input`, or a file
/// without a property.
fn exported(kind: &str, property: &str, has_value_file: bool) -> Option<(String, f64, &'static str)> {
    match (kind, property) {
        ("beep_enable", "") => return Some(("node_hwmon_beep_enabled".to_owned(), 1.0, "")),
        ("vrm", "") => return Some(("node_hwmon_voltage_regulator_version".to_owned(), 1.0, "")),
        ("update_interval", "") => {
            return Some(("node_hwmon_update_interval_seconds".to_owned(), THOUSANDTHS, "seconds"));
        }
        ("beep_enable" | "vrm" | "update_interval", _) => return None,
        _ => {}
    }
    let ending = match property {
        "" => String::new(),
        "input" if !has_value_file => String::new(),
        _ => format!("_{}", clean(property)?),
    };
    let (unit_ending, factor, unit) = match (kind, property) {
        (_, "fault" | "alarm") => ("", 1.0, ""),
        (_, "beep") => ("_enabled", 1.0, ""),
        ("in" | "cpu", _) => ("_volts", THOUSANDTHS, "volts"),
        ("temp", "type") => ("", 1.0, ""),
        ("temp", _) => ("_celsius", THOUSANDTHS, "celsius"),
        ("curr", _) => ("_amps", THOUSANDTHS, "amperes"),
        ("energy", _) => ("_joule_total", MILLIONTHS, "joules"),
        ("power", "accuracy") => ("", MILLIONTHS, ""),
        ("power", "average_interval" | "average_interval_min" | "average_interval_max") => {
            ("_seconds", THOUSANDTHS, "seconds")
        }
        ("power", _) => ("_watt", MILLIONTHS, "watts"),
        ("humidity", _) => ("", MILLIONTHS, ""),
        ("fan", "input" | "min" | "max" | "target") => ("_rpm", 1.0, ""),
        _ => ("", 1.0, ""),
    };
    Some((format!("node_hwmon_{kind}{ending}{unit_ending}"), factor, unit))
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
    use super::super::fixture::{Machine, value};
    use super::*;

    #[test]
    fn every_kind_of_sensor_has_the_names_and_units_of_node_exporter() {
        let machine = Machine::new();
        for (file, text) in [
            ("name", "nct6775"),
            ("temp1_input", "45500"),
            ("temp1_crit", "100000"),
            ("temp1_crit_hyst", "90000"),
            ("temp1_crit_alarm", "0"),
            ("temp1_max", "80000"),
            ("temp1_alarm", "1"),
            ("temp1_type", "4"),
            ("fan2_input", "900"),
            ("fan2_min", "100"),
            ("fan2_beep", "1"),
            ("in0_input", "1250"),
            ("curr1_input", "2500"),
            ("power1_input", "15000000"),
            ("power1_average_interval", "1000"),
            ("energy1_input", "3000000"),
            ("humidity1_input", "450000"),
            ("pwm1", "128"),
            ("pwm1_enable", "2"),
            ("intrusion0_alarm", "0"),
            ("update_interval", "1000"),
            ("beep_enable", "1"),
            ("vrm", "82"),
            ("power", "/a name without a number"),
            ("uevent", "temp1_input=1"),
            ("temperature1_input", "5"),
        ] {
            machine.write(&format!("hwmon/hwmon0/{file}"), text);
        }
        let mut reading = Reading::default();
        add(&machine.path().join("hwmon"), "host.temperature", 1, &mut reading).expect("read");
        for (metric, sensor, expected) in [
            ("node_hwmon_temp_celsius", "temp1", 45.5),
            ("temperature", "temp1", 45.5),
            ("node_hwmon_temp_crit_celsius", "temp1", 100.0),
            ("node_hwmon_temp_crit_hyst_celsius", "temp1", 90.0),
            ("node_hwmon_temp_crit_alarm_celsius", "temp1", 0.0),
            ("node_hwmon_temp_max_celsius", "temp1", 80.0),
            ("node_hwmon_temp_alarm", "temp1", 1.0),
            ("node_hwmon_temp_type", "temp1", 4.0),
            ("node_hwmon_fan_rpm", "fan2", 900.0),
            ("node_hwmon_fan_min_rpm", "fan2", 100.0),
            ("node_hwmon_fan_beep_enabled", "fan2", 1.0),
            ("node_hwmon_in_volts", "in0", 1.25),
            ("node_hwmon_curr_amps", "curr1", 2.5),
            ("node_hwmon_power_watt", "power1", 15.0),
            ("node_hwmon_power_average_interval_seconds", "power1", 1.0),
            ("node_hwmon_energy_joule_total", "energy1", 3.0),
            ("node_hwmon_humidity", "humidity1", 0.45),
            ("node_hwmon_pwm", "pwm1", 128.0),
            ("node_hwmon_pwm_enable", "pwm1", 2.0),
            ("node_hwmon_intrusion_alarm", "intrusion0", 0.0),
            ("node_hwmon_update_interval_seconds", "update_interval0", 1.0),
            ("node_hwmon_beep_enabled", "beep_enable0", 1.0),
            ("node_hwmon_voltage_regulator_version", "vrm0", 82.0),
        ] {
            let found = value(&reading, metric, &["nct6775", sensor]).expect(metric);
            assert!((found - expected).abs() < 1e-9, "{metric} is {found}");
        }
        assert_eq!(reading.samples.len(), 24, "those, and the name of the chip");
        assert_eq!(reading.gaps, []);
    }

    #[test]
    fn names_of_other_files_are_not_sensors() {
        for name in [
            "name",
            "device",
            "temp1input",
            "temp_",
            "temperature",
            "intrusions",
            "fan99999999999",
        ] {
            assert_eq!(parse_name(name), None, "{name}");
        }
    }
}
