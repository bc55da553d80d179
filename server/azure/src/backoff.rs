//! Backoff per endpoint: until when a throttled or overloaded endpoint must not be queried. It does not wait
//! itself.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;

/// The first backoff without a `Retry-After` header; each further one is twice as long.
const INITIAL_BACKOFF: Duration = Duration::from_secs(30);
const MAX_BACKOFF: Duration = Duration::from_secs(15 * 60);

/// A longer `Retry-After` is probably an error, so the endpoint is queried again after a day.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// The current backoffs, by endpoint.
#[derive(Debug, Default)]
pub(crate) struct Backoffs(HashMap<String, Backoff>);

#[derive(Debug)]
struct Backoff {
    until_ms: u64,
    /// The number of consecutive backoffs without a `Retry-After` header.
    consecutive: u32,
    reason: String,
}

impl Backoffs {
    /// The reason why this endpoint must not be queried yet, if it must not.
    pub(crate) fn reason(&self, endpoint: &str, now_ms: u64) -> Option<String> {
        let backoff = self.0.get(endpoint).filter(|backoff| now_ms < backoff.until_ms)?;
        Some(format!(
            "{}; next attempt after {}",
            backoff.reason,
            written(backoff.until_ms)
        ))
    }

    /// Starts or extends a backoff: as long as `retry_after`, or else longer each time. Returns the reason.
    pub(crate) fn start(
        &mut self,
        endpoint: &str,
        retry_after: Option<Duration>,
        reason: String,
        now_ms: u64,
    ) -> String {
        if let Some(reason) = self.reason(endpoint, now_ms).filter(|_| retry_after.is_none()) {
            // Of several concurrent requests, only the first failure extends the backoff.
            return reason;
        }
        let before = self.0.get(endpoint).map_or(0, |backoff| backoff.consecutive);
        let (length, consecutive) = match retry_after {
            Some(delay) => (delay.min(MAX_RETRY_AFTER), 0),
            None => (
                INITIAL_BACKOFF.saturating_mul(1 << before.min(10)).min(MAX_BACKOFF),
                before + 1,
            ),
        };
        let length_ms = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        // Of several concurrent requests, the longest backoff applies.
        let earlier = self.0.get(endpoint).map_or(0, |backoff| backoff.until_ms);
        let until_ms = now_ms.saturating_add(length_ms).max(earlier);
        let until = format!("{reason}; next attempt after {}", written(until_ms));
        self.0.insert(
            endpoint.to_owned(),
            Backoff {
                until_ms,
                consecutive,
                reason,
            },
        );
        until
    }

    /// Records a success.
    pub(crate) fn succeeded(&mut self, endpoint: &str, now_ms: u64) {
        // A response to an earlier request does not end a backoff that has just started.
        if self.0.get(endpoint).is_some_and(|backoff| backoff.until_ms <= now_ms) {
            self.0.remove(endpoint);
        }
    }
}

/// Parses a `Retry-After` header: seconds or an HTTP date.
pub(crate) fn parse_retry_after(header: &str, now_ms: u64) -> Option<Duration> {
    let header = header.trim();
    if let Ok(seconds) = header.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = rfc2822::parse(header).ok()?.timestamp().as_millisecond();
    let at = u64::try_from(at).ok()?;
    Some(Duration::from_millis(at.saturating_sub(now_ms)))
}

/// A time in RFC 3339, in whole seconds.
pub(crate) fn written(time_ms: u64) -> String {
    let seconds = i64::try_from(time_ms / 1000).unwrap_or(i64::MAX);
    let time = Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
    format!("{time:.0}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_763_688_687_472;

    fn ten_seconds() -> Option<Duration> {
        Some(Duration::from_secs(10))
    }

    #[test]
    fn retry_after_is_respected() {
        let mut backoffs = Backoffs::default();
        assert_eq!(backoffs.reason("arm", NOW), None);
        let reason = backoffs.start("arm", ten_seconds(), "it is busy".to_owned(), NOW);
        assert_eq!(reason, "it is busy; next attempt after 2025-11-21T01:31:37Z");
        assert_eq!(backoffs.reason("arm", NOW + 9_999), Some(reason));
        assert_eq!(backoffs.reason("arm", NOW + 10_000), None);
        assert_eq!(backoffs.reason("other", NOW), None);
    }

    #[test]
    fn without_retry_after_the_backoff_doubles_until_a_success() {
        let mut backoffs = Backoffs::default();
        let mut now = NOW;
        let mut next = |backoffs: &mut Backoffs, seconds: u64| {
            backoffs.start("arm", None, String::new(), now);
            assert!(backoffs.reason("arm", now + seconds * 1000 - 1).is_some(), "{seconds}");
            now += seconds * 1000;
            assert!(backoffs.reason("arm", now).is_none(), "{seconds}");
        };
        for seconds in [30, 60, 120, 240, 480, 900, 900] {
            next(&mut backoffs, seconds);
        }
        backoffs.succeeded("arm", NOW * 2);
        next(&mut backoffs, 30);
    }

    #[test]
    fn a_response_to_an_earlier_request_does_not_end_a_backoff() {
        let mut backoffs = Backoffs::default();
        backoffs.start("arm", ten_seconds(), String::new(), NOW);
        backoffs.succeeded("arm", NOW);
        backoffs.start("arm", Some(Duration::ZERO), String::new(), NOW);
        assert!(backoffs.reason("arm", NOW + 1).is_some());
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(parse_retry_after("10", NOW), ten_seconds());
        assert_eq!(
            parse_retry_after("Fri, 21 Nov 2025 01:31:37 GMT", NOW),
            Some(Duration::from_millis(9_528))
        );
        assert_eq!(
            parse_retry_after("Fri, 21 Nov 2024 01:31:37 GMT", NOW),
            None,
            "it was a Thursday"
        );
        assert_eq!(parse_retry_after("soon", NOW), None);
    }

    #[test]
    fn an_absurd_retry_after_is_capped_at_a_day() {
        let mut backoffs = Backoffs::default();
        backoffs.start("arm", Some(Duration::MAX), String::new(), NOW);
        assert!(backoffs.reason("arm", NOW + 86_400_000 - 1).is_some());
        assert!(backoffs.reason("arm", NOW + 86_400_000).is_none());
    }
}
