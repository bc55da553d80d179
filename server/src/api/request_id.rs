//! Request ids: in the response, in the log and in recorded decisions.

use actix_web::dev::ServiceRequest;
use actix_web::http::header::{HeaderName, HeaderValue};

/// The header of the request id, in requests and responses.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The response header of the server's own id, which no client can choose.
pub const SERVER_REQUEST_ID: HeaderName = HeaderName::from_static("x-watchpost-request-id");

/// The ids of a request: the client's, and the server's.
#[derive(Clone)]
pub struct RequestId {
    /// The client's id if it sent a valid one, or else the server's.
    shown: HeaderValue,
    of_server: HeaderValue,
}

impl RequestId {
    /// Generates an id, and accepts the client's beside it if that is short and has only safe characters.
    pub fn of(request: &ServiceRequest) -> Self {
        let sane = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let sent = request.headers().get(REQUEST_ID);
        let sent = sent.filter(|id| (1..=64).contains(&id.len()) && id.as_bytes().iter().all(sane));
        let of_server = HeaderValue::try_from(fresh_id()).unwrap_or(HeaderValue::from_static("unknown"));
        Self {
            shown: sent.unwrap_or(&of_server).clone(),
            of_server,
        }
    }

    /// The id for the client, as text.
    pub fn as_str(&self) -> &str {
        self.shown.to_str().unwrap_or_default()
    }

    /// The id for the client, as a header value.
    pub fn value(&self) -> HeaderValue {
        self.shown.clone()
    }

    /// The server's id, as text. It is unique even if clients send the same ids.
    pub fn of_server(&self) -> &str {
        self.of_server.to_str().unwrap_or_default()
    }

    /// The server's id, as a header value.
    pub fn value_of_server(&self) -> HeaderValue {
        self.of_server.clone()
    }
}

/// Sixteen characters that are unique to the request: a random start for each process, plus a count.
fn fresh_id() -> String {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    static SEED: LazyLock<u64> = LazyLock::new(|| {
        let mut bytes = [0; 8];
        // Without random bytes, ids are still unique within the process, and repeat only after a restart.
        let _ = openssl::rand::rand_bytes(&mut bytes);
        u64::from_le_bytes(bytes)
    });
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    // Multiplication by an odd number is a bijection, so no two counts yield the same id.
    let mixed = (*SEED).wrapping_add(count).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("{mixed:016x}")
}
