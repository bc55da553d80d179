//! Durations, written with a unit: `500ms`, `10s`, `5m`, `1h`, `30d`. A number without a unit is rejected,
//! because its meaning would be ambiguous.

use std::time::Duration;

use serde_json::Value;

use super::errors::{ConfigErrors, quoted};
use super::origin::SettingLocation;
use super::setting::Setting;

/// In descending order, so that a duration is shown in the largest unit that divides it.
const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

impl Setting for Duration {
    fn kind() -> String {
        "duration".to_owned()
    }

    fn read(value: &Value, location: &SettingLocation, errors: &mut ConfigErrors) -> Option<Self> {
        let bare = match value {
            Value::Number(number) => Some(number.to_string()),
            Value::String(text) => Some(text.trim().to_owned()).filter(|text| text.parse::<f64>().is_ok()),
            _ => None,
        };
        let read = value.as_str().and_then(duration_of);
        if read.is_none() {
            errors.push(match bare {
                Some(bare) if !location.secret => location.error(format!(
                    "{} has no unit; write \"{bare}s\" for seconds, or use ms, m, h or d",
                    quoted(value)
                )),
                _ => location.wrong(
                    value,
                    "an integer with a unit, such as \"500ms\", \"10s\", \"5m\", \"1h\" or \"30d\"",
                ),
            });
        }
        read
    }

    fn written(&self) -> Value {
        Value::from(shown(*self))
    }
}

/// Parses a duration; `None` if the text is not one.
pub fn duration_of(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.find(|letter: char| !letter.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let (_, millis) = UNITS.iter().find(|(name, _)| *name == unit.trim_start())?;
    let number: u64 = number.parse().ok()?;
    number.checked_mul(*millis).map(Duration::from_millis)
}

/// In the largest unit that divides the duration. Configured durations are never finer than `ms`.
fn shown(duration: Duration) -> String {
    let millis = duration.as_millis();
    let fits = |(_, unit): &&(&str, u64)| millis > 0 && millis.is_multiple_of(u128::from(*unit));
    match UNITS.iter().find(fits) {
        Some((name, unit)) => format!("{}{name}", millis / u128::from(*unit)),
        None => "0s".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_an_integer_and_a_unit() {
        for (text, millis) in [
            ("500ms", 500),
            ("10s", 10_000),
            ("5 m", 300_000),
            (" 1h", 3_600_000),
            ("30d", 2_592_000_000),
        ] {
            assert_eq!(duration_of(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in [
            "",
            "10",
            "s",
            "1.5s",
            "-1s",
            "10 seconds",
            "1h30m",
            "99999999999999999999s",
            "999999999999999999d",
            "٣s",
        ] {
            assert_eq!(duration_of(text), None, "{text}");
        }
    }

    #[test]
    fn a_duration_is_shown_as_it_is_written() {
        for text in ["0s", "1ms", "1500ms", "90s", "5m", "36h", "30d"] {
            assert_eq!(shown(duration_of(text).expect("a duration")), text);
        }
    }
}
