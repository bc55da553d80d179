//! The monitor's lines, letter by letter as Python wrote them, for scripts that read them. The log is another thing.

use jiff::Zoned;
use watchpost_policies::Severity;

use super::{Standing, word};

/// The logger that the monitor wrote by.
const LOGGER: &str = "PixCrawler.resource_monitoring";

/// How Python has a number.
#[derive(Clone, Copy)]
pub(super) enum Number {
    /// A `float`.
    Float,
    /// An `int`.
    Whole,
}

/// A line about something that is at a level; nothing is said of what is not.
pub(super) fn line(name: &str, standing: Standing, number: Number, time: &Zoned) -> Option<String> {
    // The first is Python's word for how serious the line is, the second the monitor's for what happened.
    let (level, event) = match standing.severity {
        Severity::Alert => ("ERROR", "ALERT"),
        Severity::Warning => ("WARNING", "WARNING"),
        Severity::Ok | Severity::Unknown => return None,
    };
    let value = match (standing.value, number) {
        (None, _) => "None".to_owned(),
        (Some(value), Number::Float) => float(value),
        (Some(value), Number::Whole) => (value as i64).to_string(),
    };
    Some(format!(
        "{},{:03} - {LOGGER} - {level} - RESOURCE {event} [{}] - {name}: {value} (Status: {})\n",
        time.strftime("%Y-%m-%d %H:%M:%S"),
        time.millisecond(),
        time.strftime("%Y-%m-%dT%H:%M:%S%.6f"),
        word(standing.severity),
    ))
}

/// As `repr` writes a float: as few digits as tell it from every other, and always with a point or an exponent.
fn float(value: f64) -> String {
    // One digit, perhaps more behind a point, and the exponent.
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
