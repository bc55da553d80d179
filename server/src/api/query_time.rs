//! Times in a query: RFC 3339, a day, `now`, an age, or seconds since 1970.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::error::ApiError;

/// The length of the default time range.
const USUAL_SPAN_MS: u64 = 60 * 60 * 1000;

/// The time range of a query; default: the last hour.
pub fn span(from: Option<&str>, to: Option<&str>, now_ms: u64) -> Result<(u64, u64), ApiError> {
    let to_ms = parse_time("to", to, now_ms)?.unwrap_or(now_ms);
    let from_ms = parse_time("from", from, now_ms)?.unwrap_or(to_ms.saturating_sub(USUAL_SPAN_MS));
    if from_ms > to_ms {
        return Err(ApiError::BadRequest("`from` must be before `to`".to_owned()));
    }
    Ok((from_ms, to_ms))
}

/// The units of an age, in seconds. A year has 365 days.
const UNITS: [(&str, u64); 6] = [
    ("y", 31_536_000),
    ("w", 604_800),
    ("d", 86_400),
    ("h", 3600),
    ("m", 60),
    ("s", 1),
];

/// Parses a time.
pub fn parse_time(name: &str, text: Option<&str>, now_ms: u64) -> Result<Option<u64>, ApiError> {
    let Some(text) = text.map(str::trim) else {
        return Ok(None);
    };
    let reason = || {
        format!(
            "{name} is \"{text}\"; write a time such as 2026-01-31T12:00:00Z, a day such as 2026-01-31, now, an age such as \
             -1h30m or -2w, or seconds since 1970"
        )
    };
    let time = read(text, now_ms).map(Some);
    time.ok_or_else(|| ApiError::BadRequest(reason()))
}

fn read(text: &str, now_ms: u64) -> Option<u64> {
    if text == "now" {
        return Some(now_ms);
    }
    if let Some(age) = text.strip_prefix('-') {
        return Some(now_ms.saturating_sub(age_seconds(age)?.checked_mul(1000)?));
    }
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if let Some(seconds) = text.parse::<f64>().ok().filter(|_| is_number) {
        let legal = (0.0..=253_402_300_799.0).contains(&seconds);
        return legal.then_some((seconds * 1000.0).round() as u64);
    }
    if let Some(day) = text.parse::<Date>().ok().filter(|_| text.len() == "2026-01-31".len()) {
        let start = day.to_zoned(TimeZone::UTC).ok()?.timestamp();
        return u64::try_from(start.as_millisecond()).ok();
    }
    // An unescaped plus sign in a query is decoded as a space.
    let time: Timestamp = text.replace(' ', "+").parse().ok()?;
    u64::try_from(time.as_millisecond()).ok()
}

/// Parses an age of descending units, such as `1h30m`.
fn age_seconds(text: &str) -> Option<u64> {
    let (mut rest, mut units, mut seconds) = (text, UNITS.iter(), 0_u64);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let (unit, length) = units.by_ref().find(|(unit, _)| after.starts_with(unit))?;
        seconds = number.parse::<u64>().ok()?.checked_mul(*length)?.checked_add(seconds)?;
        rest = &after[unit.len()..];
    }
    (!text.is_empty()).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_time_a_day_now_an_age_or_seconds() {
        let now_ms = 100_000_000_000;
        let read = |text: &str| parse_time("from", Some(text), now_ms).map_err(|error| error.to_string());
        assert_eq!(read("2026-01-31T12:00:00Z"), Ok(Some(1_769_860_800_000)));
        assert_eq!(read("2026-01-31T13:00:00 01:00"), Ok(Some(1_769_860_800_000)));
        assert_eq!(read("2026-01-31"), Ok(Some(1_769_817_600_000)));
        assert_eq!(read("1769860800.5"), Ok(Some(1_769_860_800_500)));
        assert_eq!(read("now"), Ok(Some(now_ms)));
        for (text, seconds) in [
            ("-1h", 3600),
            ("-1h30m", 5400),
            ("-1d12h", 129_600),
            ("-2w", 1_209_600),
            ("-1y", 31_536_000),
            ("-0s", 0),
        ] {
            assert_eq!(read(text), Ok(Some(now_ms - seconds * 1000)), "{text}");
        }
        for text in [
            "",
            "yesterday",
            "-",
            "-1",
            "-h",
            "-30m1h",
            "-1h1h",
            "-1.5h",
            "NaN",
            "1e9",
            "1e300",
            "2026-01-31T12:00:00",
            "2026-02-31",
            "-99999999999999999999y",
        ] {
            assert!(read(text).is_err_and(|reason| reason.contains("from is")), "{text}");
        }
    }

    #[test]
    fn a_range_ends_after_it_begins() {
        assert_eq!(
            span(Some("-2h"), Some("-1h"), 10_000_000).expect("legal"),
            (2_800_000, 6_400_000)
        );
        let reversed = span(Some("-1h"), Some("-2h"), 10_000_000).expect_err("reversed");
        assert_eq!(reversed.to_string(), "`from` must be before `to`");
    }
}
