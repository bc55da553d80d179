//! The access log: a line for each request, with fields of bounded length. Requests that the rate limit rejects are
//! counted, and reported in one line a second, so that a flood cannot rotate other lines away.

use std::net::IpAddr;
use std::time::Duration;

use actix_web::HttpMessage;
use actix_web::dev::ServiceResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::USER_AGENT;
use parking_lot::Mutex;

use super::authn::Client;
use super::request_id::RequestId;
use super::table::{RateClass, RouteAttributes};

/// The interval at which rejected requests are reported.
pub(super) const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Longer paths are cut; the longest of the API are below 300 characters.
const MAX_PATH_CHARS: usize = 1024;

/// Longer agents are cut; browsers send at most 200 characters.
const MAX_AGENT_CHARS: usize = 256;

/// The access log.
#[derive(Default)]
pub(super) struct AccessLog {
    rejected: Mutex<Rejected>,
}

/// The requests that the rate limit rejected since the last report.
#[derive(Default)]
struct Rejected {
    count: u64,
    last: Option<IpAddr>,
}

impl AccessLog {
    /// Logs a finished request, or counts it if the rate limit rejected it.
    pub(super) fn add<B>(&self, response: &ServiceResponse<B>, id: &RequestId, duration: Duration) {
        let request = response.request();
        let extensions = request.extensions();
        let client = extensions.get::<Client>();
        let peer = || request.peer_addr().map(|peer| peer.ip());
        let address = client.map(|client| client.address).or_else(peer);
        if response.status() == StatusCode::TOO_MANY_REQUESTS {
            let mut rejected = self.rejected.lock();
            rejected.count += 1;
            rejected.last = address;
            return;
        }
        // No limit holds for probes of the process, so they would rotate all other lines away.
        let route = extensions.get::<RouteAttributes>();
        let is_exempt = route.is_some_and(|route| route.rate == RateClass::Exempt);
        let level = if is_exempt && response.status().is_success() {
            log::Level::Debug
        } else {
            log::Level::Info
        };
        let identity = client.map(|client| client.identity.to_string()).unwrap_or_default();
        let address = address.map(|address| address.to_string()).unwrap_or_default();
        let agent = request.headers().get(USER_AGENT);
        let agent = agent.and_then(|agent| agent.to_str().ok()).unwrap_or_default();
        log::log!(
            target: "watchpost::access", level,
            request_id = id.as_str(), server_request_id = id.of_server(),
            method = request.method().as_str(), path = &*cut(request.path(), MAX_PATH_CHARS),
            status = response.status().as_u16(),
            duration_us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX),
            identity = identity.as_str(), address = address.as_str(), agent = &*cut(agent, MAX_AGENT_CHARS);
            "request"
        );
    }

    /// Reports the requests that were rejected since the last report.
    pub(super) fn report_rejected(&self) {
        let Rejected { count, last } = std::mem::take(&mut *self.rejected.lock());
        if count > 0 {
            let address = last.map(|address| address.to_string()).unwrap_or_default();
            log::info!(
                target: "watchpost::access",
                count, last_address = address.as_str();
                "requests exceeded the rate limit"
            );
        }
    }
}

/// The text, or its beginning with an ellipsis.
fn cut(text: &str, max_chars: usize) -> std::borrow::Cow<'_, str> {
    match text.char_indices().nth(max_chars) {
        None => text.into(),
        Some((end, _)) => format!("{}…", &text[..end]).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters_and_a_short_one_is_not() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abcd", 3), "abc…");
        assert_eq!(cut("ä€𝄞x", 3), "ä€𝄞…");
        assert_eq!(cut("", 3), "");
    }
}
