//! Sizes, written with a unit: `16KiB`, `10MiB`, `1GiB`. A number without a unit is bytes.

use serde_json::Value;

use super::errors::ConfigErrors;
use super::origin::SettingLocation;
use super::scalar::{number, refused};
use super::setting::Setting;

/// In descending order, so that a size is shown in the largest unit that divides it.
const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u64);

impl Size {
    pub fn bytes(self) -> u64 {
        self.0
    }

    /// The number of bytes, capped to the range of `usize`.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl Setting for Size {
    fn kind() -> String {
        "size".to_owned()
    }

    fn read(value: &Value, location: &SettingLocation, errors: &mut ConfigErrors) -> Option<Self> {
        let read = match value {
            Value::String(text) => parsed(text),
            value => value.as_u64().map(Self),
        };
        let expected = "a number of bytes, or an integer with a unit, such as \"16KiB\", \"10MiB\" or \"1GiB\"";
        read.or_else(|| refused(value, location, errors, expected))
    }

    fn written(&self) -> Value {
        let fits = |(_, unit): &&(&str, u64)| self.0 > 0 && self.0.is_multiple_of(*unit);
        match UNITS.iter().find(fits) {
            Some((name, unit)) => Value::from(format!("{}{name}", self.0 / unit)),
            None => Value::from(self.0),
        }
    }

    fn of_text(text: &str) -> Result<Value, String> {
        Ok(number(text))
    }
}

/// A number of bytes as it is written in a file.
pub(super) fn size(bytes: usize) -> Value {
    Size(bytes as u64).written()
}

fn parsed(text: &str) -> Option<Size> {
    let text = text.trim();
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim_start() {
        "" | "B" => 1,
        unit => UNITS.iter().find(|(name, _)| *name == unit)?.1,
    };
    number.parse::<u64>().ok()?.checked_mul(factor).map(Size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_bytes_or_has_a_binary_unit() {
        for (text, bytes) in [
            ("0", 0),
            ("500", 500),
            ("500B", 500),
            ("16KiB", 16 << 10),
            ("10 MiB", 10 << 20),
            ("4GiB", 4 << 30),
        ] {
            assert_eq!(parsed(text), Some(Size(bytes)), "{text}");
        }
        for text in [
            "",
            "KiB",
            "1.5MiB",
            "-1",
            "10MB",
            "10mib",
            "99999999999999999999",
            "99999999999GiB",
        ] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }

    #[test]
    fn a_size_is_shown_as_it_is_written() {
        assert_eq!(Size(10 << 20).written(), Value::from("10MiB"));
        assert_eq!(Size(500).written(), Value::from(500));
        assert_eq!(Size(0).written(), Value::from(0));
    }
}
