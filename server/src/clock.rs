//! What time it is. The one place that asks; everything else is told.

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// The instant, to the precision of the machine.
#[expect(clippy::disallowed_methods, reason = "this is the one place that asks")]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// The instant as the clocks on the wall here show it.
pub fn here(instant: Timestamp) -> Zoned {
    instant.to_zoned(TimeZone::system())
}

/// Milliseconds since 1970 (UTC); a clock that stands before that is taken for 1970.
pub fn now_ms() -> u64 {
    u64::try_from(now().as_millisecond()).unwrap_or(0)
}

/// The same, signed, as columns of the database have it.
pub fn now_ms_signed() -> i64 {
    i64::try_from(now_ms()).unwrap_or(i64::MAX)
}

/// As machines and people read it: `2026-11-21T01:31:27.472Z`.
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
