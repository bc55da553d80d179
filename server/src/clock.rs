//! The system clock. This is the only module that reads it; everything else gets the time passed in.

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// The current time, in the machine's precision.
#[expect(clippy::disallowed_methods, reason = "this is the only module that reads the clock")]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// The time in the machine's time zone.
pub fn here(instant: Timestamp) -> Zoned {
    instant.to_zoned(TimeZone::system())
}

/// Milliseconds since 1970 (UTC); 0 if the clock is set to an earlier time.
pub fn now_ms() -> u64 {
    u64::try_from(now().as_millisecond()).unwrap_or(0)
}

/// The same, signed, for columns of the database.
pub fn now_ms_signed() -> i64 {
    i64::try_from(now_ms()).unwrap_or(i64::MAX)
}

/// The time in RFC 3339 format: `2026-11-21T01:31:27.472Z`.
pub fn written(time_ms: u64) -> String {
    let time = i64::try_from(time_ms)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok());
    format!("{:.3}", time.unwrap_or(Timestamp::UNIX_EPOCH))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_time_is_written_with_its_offset_and_milliseconds() {
        assert_eq!(super::written(1_763_688_687_472), "2025-11-21T01:31:27.472Z");
        assert_eq!(super::written(u64::MAX), "1970-01-01T00:00:00.000Z");
    }
}
