//! Times in JSON: RFC 3339 in UTC with milliseconds, such as `2026-11-21T01:31:27.472Z`. In memory, a time is a number of
//! milliseconds since 1970. The functions fit `#[serde(with = "…")]`.

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::Serializer;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// The last millisecond of the year 9999; years have four digits.
const MAX_MS: i64 = 253_402_300_799_999;
/// The first millisecond of the year 0.
const MIN_MS: i64 = -62_167_219_200_000;

/// The time as text. A time that the format cannot express becomes the nearest one.
pub fn written(ms: i64) -> String {
    let ms = ms.clamp(MIN_MS, MAX_MS);
    let (day, rest) = (ms.div_euclid(DAY_MS), ms.rem_euclid(DAY_MS));
    let (year, month, day) = date_of(day);
    let (hour, minute, second, ms) = (rest / 3_600_000, rest / 60_000 % 60, rest / 1000 % 60, rest % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// Reads a time with any offset; digits beyond milliseconds are cut off.
pub fn parse(text: &str) -> Option<i64> {
    let (date, rest) = text.split_at_checked(10)?;
    let (year, month, day) = (
        digits(date.get(..4)?)?,
        digits(date.get(5..7)?)?,
        digits(date.get(8..)?)?,
    );
    let separators = [date.as_bytes()[4], date.as_bytes()[7]];
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (time, rest) = rest.split_at_checked(8)?;
    let (hour, minute, second) = (
        digits(time.get(..2)?)?,
        digits(time.get(3..5)?)?,
        digits(time.get(6..)?)?,
    );
    let colons = [time.as_bytes()[2], time.as_bytes()[5]];
    let (ms, offset) = match rest.strip_prefix('.') {
        None => (0, rest),
        Some(rest) => {
            let end = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (fraction, offset) = rest.split_at(end);
            let fraction = fraction.get(..end.min(3)).filter(|fraction| !fraction.is_empty())?;
            (digits(fraction)? * 10_i64.pow(3 - fraction.len() as u32), offset)
        }
    };
    let is_legal = separators == *b"--"
        && colons == *b"::"
        && (1..=12).contains(&month)
        && (1..=days_in(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 61;
    let ms = day_of(year, month, day) * DAY_MS + hour * 3_600_000 + minute * 60_000 + second * 1000 + ms;
    is_legal.then_some(ms - offset_ms(offset)?)
}

fn offset_ms(text: &str) -> Option<i64> {
    if matches!(text, "Z" | "z") {
        return Some(0);
    }
    let sign = match text.bytes().next()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = text[1..].split_once(':')?;
    let (hours, minutes) = (
        Some(hours).filter(|hours| hours.len() == 2)?,
        Some(minutes).filter(|minutes| minutes.len() == 2)?,
    );
    let (hours, minutes) = (digits(hours)?, digits(minutes)?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes) * 60_000)
}

fn digits(text: &str) -> Option<i64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

/// The date of a day since 1970, in the Gregorian calendar. A year begins in March here, so that a leap day is its last.
fn date_of(day: i64) -> (i64, i64, i64) {
    let day = day + 719_468;
    let (era, day_of_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let date = day_of_year - (153 * month + 2) / 5 + 1;
    let is_next_year = month >= 10;
    let month = if is_next_year { month - 9 } else { month + 3 };
    (year_of_era + era * 400 + i64::from(is_next_year), month, date)
}

/// The day since 1970 of a date.
fn day_of(year: i64, month: i64, date: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + date - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn days_in(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Serializes milliseconds since 1970.
pub fn serialize<T: Copy + TryInto<i64>, S: Serializer>(ms: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&written((*ms).try_into().unwrap_or(i64::MAX)))
}

/// Deserializes milliseconds since 1970.
pub fn deserialize<'de, T: TryFrom<i64>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    let text = String::deserialize(deserializer)?;
    let ms = parse(&text).and_then(|ms| T::try_from(ms).ok());
    ms.ok_or_else(|| D::Error::custom("the time is invalid; write one such as 2026-01-31T12:00:00.000Z"))
}

/// The same for a time that may be missing.
pub mod option {
    use super::{Deserialize, Deserializer, Serializer};

    /// Serializes milliseconds since 1970, or null.
    pub fn serialize<T: Copy + TryInto<i64>, S: Serializer>(ms: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
        match ms {
            Some(ms) => super::serialize(ms, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// Deserializes milliseconds since 1970, or null.
    pub fn deserialize<'de, T: TryFrom<i64>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
        struct Time<T>(T);

        impl<'de, T: TryFrom<i64>> Deserialize<'de> for Time<T> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                super::deserialize(deserializer).map(Self)
            }
        }

        Ok(Option::<Time<T>>::deserialize(deserializer)?.map(|Time(ms)| ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_and_read_back() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_763_688_687_472, "2025-11-21T01:31:27.472Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (4_107_542_399_000, "2100-02-28T23:59:59.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (MAX_MS, "9999-12-31T23:59:59.999Z"),
            (MIN_MS, "0000-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(written(ms), text);
            assert_eq!(parse(text), Some(ms), "{text}");
        }
        assert_eq!(written(i64::MAX), written(MAX_MS));
        // Each day of four centuries.
        for day in (MIN_MS / DAY_MS)..(MIN_MS / DAY_MS + 146_097) {
            let (year, month, date) = date_of(day);
            assert_eq!(day_of(year, month, date), day);
            assert!((1..=days_in(year, month)).contains(&date), "{year}-{month}-{date}");
        }
    }

    #[test]
    fn other_forms_of_the_format_are_read() {
        let noon = parse("2026-01-31T12:00:00.000Z");
        assert_eq!(noon, Some(1_769_860_800_000));
        for text in [
            "2026-01-31T12:00:00Z",
            "2026-01-31 13:30:00+01:30",
            "2026-01-31t07:00:00.0-05:00",
        ] {
            assert_eq!(parse(text), noon, "{text}");
        }
        assert_eq!(parse("2026-01-31T12:00:00.1239Z"), noon.map(|ms| ms + 123));
        assert_eq!(parse("2026-01-31T12:00:00.5Z"), noon.map(|ms| ms + 500));
    }

    #[test]
    fn what_is_no_time_is_rejected() {
        for text in [
            "",
            "1769860800000",
            "2026-01-31",
            "2026-01-31T12:00:00",
            "2026-01-31T12:00:00.Z",
            "2026-01-31T12:00Z",
            "2026-02-29T12:00:00Z",
            "2026-13-01T12:00:00Z",
            "2026-01-00T12:00:00Z",
            "2026/01/31T12:00:00Z",
            "2026-01-31T24:00:00Z",
            "2026-01-31T12-00-00Z",
            "2026-01-31T12:60:00Z",
            "2026-01-31T12:00:00+1:00",
            "2026-01-31T12:00:00+24:00",
            "2026-01-31T12:00:00Zulu",
            "+026-01-31T12:00:00Z",
            "2026-01-3éT12:00:00Z",
            "é026-01-31T12:00:00Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_time_is_a_string_in_json() {
        #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        struct Times {
            #[serde(with = "super")]
            time: u64,
            #[serde(with = "super::option", default)]
            last: Option<i64>,
        }
        let check = |last: Option<i64>, json: &str| {
            let times = Times { time: 1, last };
            assert_eq!(serde_json::to_string(&times).expect("data"), json);
            assert_eq!(serde_json::from_str::<Times>(json).expect("data"), times);
        };
        check(None, r#"{"time":"1970-01-01T00:00:00.001Z","last":null}"#);
        check(
            Some(2),
            r#"{"time":"1970-01-01T00:00:00.001Z","last":"1970-01-01T00:00:00.002Z"}"#,
        );
        for wrong in [
            r#"{"time":1}"#,
            r#"{"time":"1969-12-31T23:59:59.999Z"}"#,
            r#"{"time":"soon"}"#,
        ] {
            assert!(serde_json::from_str::<Times>(wrong).is_err(), "{wrong}");
        }
    }
}
