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
    /// A `float`, which the monitor had rounded to one decimal.
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
        (Some(value), Number::Float) => format!("{value:.1}"),
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
