//! The exported name of a metric. It renames metrics and does not look at samples.

/// A metric's exported name, and the divisor of its values.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Exported {
    pub(super) name: String,
    pub(super) divisor: f64,
}

impl Exported {
    /// The metric under its own name.
    pub(super) fn unchanged(metric: &str) -> Self {
        Self {
            name: metric.to_owned(),
            divisor: 1.0,
        }
    }
}

/// The maximum length of a unit in a name. A longer text is not a unit, and a remote agent must not create unbounded
/// names.
const MAX_UNIT_CHARS: usize = 32;

/// The exported name. Names that start with `node_` or `watchpost_` are kept. All others get the prefix `watchpost_`
/// and end in their unit, as Prometheus recommends.
pub(super) fn exported(metric: &str, unit: &str) -> Exported {
    if metric.starts_with("node_") || metric.starts_with("watchpost_") {
        return Exported::unchanged(metric);
    }
    let percent = matches!(unit, "percent" | "%");
    let unit = if percent { "ratio".to_owned() } else { word(unit) };
    // Prometheus reserves colons for recording rules.
    let metric = metric.replace(':', "_");
    let (stem, ending) = match (metric.strip_suffix("_total"), metric.strip_suffix("_info")) {
        (Some(stem), _) => (stem, "_total"),
        (None, Some(stem)) => (stem, "_info"),
        (None, None) => (metric.as_str(), ""),
    };
    let stem = match stem.strip_suffix("_percent") {
        Some(rest) if percent => rest,
        _ => stem,
    };
    let mut name = format!("watchpost_{stem}");
    let has_it = name.strip_suffix(&unit).is_some_and(|before| before.ends_with('_'));
    if !unit.is_empty() && !has_it && ending != "_info" {
        name.push('_');
        name.push_str(&unit);
    }
    name.push_str(ending);
    let divisor = if percent && ending != "_info" { 100.0 } else { 1.0 };
    Exported { name, divisor }
}

/// A unit as part of a name: `km/h` becomes `km_h`.
fn word(unit: &str) -> String {
    let mut word = String::new();
    for letter in unit.chars().take(MAX_UNIT_CHARS) {
        if letter.is_ascii_alphanumeric() {
            word.push(letter.to_ascii_lowercase());
        } else if !word.is_empty() && !word.ends_with('_') {
            word.push('_');
        }
    }
    word.truncate(word.trim_end_matches('_').len());
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_end_in_their_unit_once() {
        for (metric, unit, expected) in [
            ("cpu", "percent", "watchpost_cpu_ratio"),
            ("cpu", "%", "watchpost_cpu_ratio"),
            ("cpu_percent", "percent", "watchpost_cpu_ratio"),
            ("cpu_ratio", "percent", "watchpost_cpu_ratio"),
            ("busy_percent_total", "percent", "watchpost_busy_ratio_total"),
            ("ratio", "percent", "watchpost_ratio"),
            ("memory_used", "bytes", "watchpost_memory_used_bytes"),
            ("memory_bytes", "bytes", "watchpost_memory_bytes"),
            ("kilobytes", "bytes", "watchpost_kilobytes_bytes"),
            ("read_total", "bytes", "watchpost_read_bytes_total"),
            ("read_bytes_total", "bytes", "watchpost_read_bytes_total"),
            ("age", "seconds", "watchpost_age_seconds"),
            ("cabinet", "celsius", "watchpost_cabinet_celsius"),
            ("active_chunks", "", "watchpost_active_chunks"),
            ("load_per_core", "", "watchpost_load_per_core"),
            ("wind", "km/h", "watchpost_wind_km_h"),
            ("wind", " -°C- ", "watchpost_wind_c"),
            ("wind", "°", "watchpost_wind"),
            ("lab:wind", "Volts", "watchpost_lab_wind_volts"),
            ("firmware_info", "version", "watchpost_firmware_info"),
            ("node_memory_MemFree_bytes", "bytes", "node_memory_MemFree_bytes"),
            ("node_odd", "percent", "node_odd"),
            ("watchpost_own", "seconds", "watchpost_own"),
        ] {
            assert_eq!(exported(metric, unit).name, expected, "{metric} in {unit:?}");
        }
    }

    #[test]
    fn only_percents_that_become_ratios_are_divided() {
        assert_eq!(exported("cpu", "percent").divisor, 100.0);
        assert_eq!(exported("cpu", "bytes").divisor, 1.0);
        assert_eq!(exported("node_odd", "percent").divisor, 1.0);
    }

    #[test]
    fn a_very_long_unit_is_shortened() {
        assert!(exported("x", &"y".repeat(10_000)).name.len() < 100);
    }
}
