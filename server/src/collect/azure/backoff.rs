//! Who asked us to wait, and until when. It does not wait itself; it says that somebody is not to be asked yet.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;

/// Without a word of how long, the first wait is as long as half a round of asking, and each further one twice as long.
const INITIAL_BACKOFF: Duration = Duration::from_secs(30);
const MAX_BACKOFF: Duration = Duration::from_secs(15 * 60);

/// Azure says seconds or minutes. A day is a mistake somewhere, and after a day we look again.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// All who asked us to wait.
#[derive(Debug, Default)]
pub(super) struct Waits(HashMap<String, Wait>);

#[derive(Debug)]
struct Wait {
    until_ms: u64,
    /// In a row and without a word of how long.
    unsaid: u32,
    why: String,
}

impl Waits {
    /// The sentence that says until when this one is not to be asked, if so.
    pub(super) fn refusal(&self, whom: &str, now_ms: u64) -> Option<String> {
        let wait = self.0.get(whom).filter(|wait| now_ms < wait.until_ms)?;
        Some(format!(
            "{}; not asked again before {}",
            wait.why,
            written(wait.until_ms)
        ))
    }

    /// This one wants us to wait: as long as it says, else longer each time. Gives the sentence.
    pub(super) fn begin(&mut self, whom: &str, wish: Option<Duration>, why: String, now_ms: u64) -> String {
        if let Some(told) = self.refusal(whom, now_ms).filter(|_| wish.is_none()) {
            // Several were asked at once, and the first to come back began the wait.
            return told;
        }
        let before = self.0.get(whom).map_or(0, |wait| wait.unsaid);
        let (length, unsaid) = match wish {
            Some(wish) => (wish.min(MAX_RETRY_AFTER), 0),
            None => (
                INITIAL_BACKOFF.saturating_mul(1 << before.min(10)).min(MAX_BACKOFF),
                before + 1,
            ),
        };
        let length_ms = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        // Of several that were asked at once, the longest wait counts.
        let earlier = self.0.get(whom).map_or(0, |wait| wait.until_ms);
        let until_ms = now_ms.saturating_add(length_ms).max(earlier);
        let told = format!("{why}; not asked again before {}", written(until_ms));
        self.0.insert(whom.to_owned(), Wait { until_ms, unsaid, why });
        told
    }

    /// This one has answered.
    pub(super) fn over(&mut self, whom: &str, now_ms: u64) {
        // An answer to a question that was under way does not end a wait that has just begun.
        if self.0.get(whom).is_some_and(|wait| wait.until_ms <= now_ms) {
            self.0.remove(whom);
        }
    }
}

/// What `Retry-After` says: seconds, or the time at which.
pub(super) fn wish(header: &str, now_ms: u64) -> Option<Duration> {
    let header = header.trim();
    if let Ok(seconds) = header.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = rfc2822::parse(header).ok()?.timestamp().as_millisecond();
    let at = u64::try_from(at).ok()?;
    Some(Duration::from_millis(at.saturating_sub(now_ms)))
}

/// An instant as Azure and people read it, in whole seconds.
pub(super) fn written(time_ms: u64) -> String {
    let seconds = i64::try_from(time_ms / 1000).unwrap_or(i64::MAX);
    let time = Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
    format!("{time:.0}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_763_688_687_472;

    fn whole() -> Option<Duration> {
        Some(Duration::from_secs(10))
    }

    #[test]
    fn whoever_says_how_long_is_asked_no_earlier() {
        let mut waits = Waits::default();
        assert_eq!(waits.refusal("arm", NOW), None);
        let told = waits.begin("arm", whole(), "it is busy".to_owned(), NOW);
        assert_eq!(told, "it is busy; not asked again before 2025-11-21T01:31:37Z");
        assert_eq!(waits.refusal("arm", NOW + 9_999), Some(told));
        assert_eq!(waits.refusal("arm", NOW + 10_000), None);
        assert_eq!(waits.refusal("other", NOW), None);
    }

    #[test]
    fn whoever_does_not_say_is_asked_more_and_more_rarely_until_it_answers() {
        let mut waits = Waits::default();
        let mut now = NOW;
        let mut next = |waits: &mut Waits, seconds: u64| {
            waits.begin("arm", None, String::new(), now);
            assert!(waits.refusal("arm", now + seconds * 1000 - 1).is_some(), "{seconds}");
            now += seconds * 1000;
            assert!(waits.refusal("arm", now).is_none(), "{seconds}");
        };
        for seconds in [30, 60, 120, 240, 480, 900, 900] {
            next(&mut waits, seconds);
        }
        waits.over("arm", NOW * 2);
        next(&mut waits, 30);
    }

    #[test]
    fn an_answer_that_was_under_way_does_not_end_a_wait() {
        let mut waits = Waits::default();
        waits.begin("arm", whole(), String::new(), NOW);
        waits.over("arm", NOW);
        waits.begin("arm", Some(Duration::ZERO), String::new(), NOW);
        assert!(waits.refusal("arm", NOW + 1).is_some());
    }

    #[test]
    fn a_wish_is_seconds_or_a_time() {
        assert_eq!(wish("10", NOW), whole());
        assert_eq!(
            wish("Fri, 21 Nov 2025 01:31:37 GMT", NOW),
            Some(Duration::from_millis(9_528))
        );
        assert_eq!(wish("Fri, 21 Nov 2024 01:31:37 GMT", NOW), None, "it was a Thursday");
        assert_eq!(wish("soon", NOW), None);
    }

    #[test]
    fn an_absurd_wish_is_heard_for_a_day() {
        let mut waits = Waits::default();
        waits.begin("arm", Some(Duration::MAX), String::new(), NOW);
        assert!(waits.refusal("arm", NOW + 86_400_000 - 1).is_some());
        assert!(waits.refusal("arm", NOW + 86_400_000).is_none());
    }
}
