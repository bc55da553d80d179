//! Request ids: in the response, in the log and in recorded decisions.

use actix_web::dev::ServiceRequest;
use actix_web::http::header::{HeaderName, HeaderValue};

/// The header of the request id, in requests and responses.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id of a request, sent by the client or generated.
#[derive(Clone)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// Accepts the client's id if it is short and has only safe characters; generates one otherwise.
    pub fn of(request: &ServiceRequest) -> Self {
        let sane = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let sent = request.headers().get(REQUEST_ID);
        if let Some(sent) = sent.filter(|id| (1..=64).contains(&id.len()) && id.as_bytes().iter().all(sane)) {
            return Self(sent.clone());
        }
        Self(HeaderValue::try_from(fresh_id()).unwrap_or(HeaderValue::from_static("unknown")))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    /// The id as a header value.
    pub fn value(&self) -> HeaderValue {
        self.0.clone()
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
