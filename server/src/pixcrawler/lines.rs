//! The resource monitor's log lines, byte for byte as Python wrote them, for scripts that parse them. They are separate
//! from Watchpost's log.

use jiff::Zoned;
use watchpost_policies::Severity;

use super::{Standing, status_text};

/// The name of the monitor's logger.
const LOGGER: &str = "PixCrawler.resource_monitoring";

/// The Python type of a number.
#[derive(Clone, Copy)]
pub(super) enum Number {
    /// A `float`.
    Float,
    /// An `int`.
    Integer,
}

/// The log line for a value at a warning or alert level; `None` for other values.
pub(super) fn line(name: &str, standing: Standing, number: Number, time: &Zoned) -> Option<String> {
    // The first text is Python's log level, the second the monitor's event.
    let (level, event) = match standing.severity {
        Severity::Alert => ("ERROR", "ALERT"),
        Severity::Warning => ("WARNING", "WARNING"),
        Severity::Ok | Severity::Unknown => return None,
    };
    let value = match (standing.value, number) {
        (None, _) => "None".to_owned(),
        (Some(value), Number::Float) => float(value),
        (Some(value), Number::Integer) => (value as i64).to_string(),
    };
    Some(format!(
        "{},{:03} - {LOGGER} - {level} - RESOURCE {event} [{}] - {name}: {value} (Status: {})\n",
        time.strftime("%Y-%m-%d %H:%M:%S"),
        time.millisecond(),
        time.strftime("%Y-%m-%dT%H:%M:%S%.6f"),
        status_text(standing.severity),
    ))
}

/// Formats a float like Python's `repr`: the shortest digits that identify it, always with a point or an exponent.
fn float(value: f64) -> String {
    // One digit, optionally more after a point, and the exponent.
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    // Zero has the exponent 0 too.
    if (-4..16).contains(&exponent) {
        return format!("{value:?}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_float_is_written_as_python_writes_it() {
        for (value, written) in [
            (95.5, "95.5"),
            (80.0, "80.0"),
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (0.1 + 0.2, "0.30000000000000004"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (-1.25e20, "-1.25e+20"),
            (1e100, "1e+100"),
        ] {
            assert_eq!(float(value), written);
        }
    }
}
