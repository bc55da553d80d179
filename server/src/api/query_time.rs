//! Times in a query: RFC 3339, seconds since 1970, or an age.

use jiff::Timestamp;

use super::error::ApiError;
use crate::config;

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

/// Parses RFC 3339, seconds since 1970, or an age such as `-1h`.
pub fn parse_time(name: &str, text: Option<&str>, now_ms: u64) -> Result<Option<u64>, ApiError> {
    let Some(text) = text.map(str::trim) else {
        return Ok(None);
    };
    let read = || -> Option<u64> {
        if let Some(ago) = text.strip_prefix('-') {
            let ago = config::duration_of(ago)?;
            return Some(now_ms.saturating_sub(u64::try_from(ago.as_millis()).ok()?));
        }
        if let Ok(seconds) = text.parse::<f64>() {
            let legal = (0.0..=253_402_300_799.0).contains(&seconds);
            return legal.then_some((seconds * 1000.0).round() as u64);
        }
        // An unescaped plus sign in a query is decoded as a space.
        let time: Timestamp = text.replace(' ', "+").parse().ok()?;
        u64::try_from(time.as_millisecond()).ok()
    };
    let reason = || {
        format!(
            "{name} is \"{text}\"; write a time such as 2026-01-31T12:00:00Z, seconds since 1970, or an age such as -1h"
        )
    };
    read().map(Some).ok_or_else(|| ApiError::BadRequest(reason()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_formats() {
        let now_ms = 10_000_000_000;
        let read = |text: &str| parse_time("from", Some(text), now_ms).map_err(|error| error.to_string());
        assert_eq!(read("2026-01-31T12:00:00Z"), Ok(Some(1_769_860_800_000)));
        assert_eq!(read("2026-01-31T13:00:00 01:00"), Ok(Some(1_769_860_800_000)));
        assert_eq!(read("1769860800.5"), Ok(Some(1_769_860_800_500)));
        assert_eq!(read("-1h"), Ok(Some(now_ms - 3_600_000)));
        for text in ["", "yesterday", "-1", "NaN", "1e300", "2026-01-31T12:00:00"] {
            assert!(read(text).is_err_and(|reason| reason.contains("from is")), "{text}");
        }
    }
}
