//! The id of a request: in its answer, in the log and in what is recorded of it.

use actix_web::dev::ServiceRequest;
use actix_web::http::header::{HeaderName, HeaderValue};

/// The header that has it, in requests and in answers.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id of a request, as the client sent it or as we made it.
#[derive(Clone)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// One that the client sent is kept if nobody could hide anything in it.
    pub fn of(request: &ServiceRequest) -> Self {
        let sane = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let sent = request.headers().get(REQUEST_ID);
        if let Some(sent) = sent.filter(|id| (1..=64).contains(&id.len()) && id.as_bytes().iter().all(sane)) {
            return Self(sent.clone());
        }
        Self(HeaderValue::try_from(fresh_id()).unwrap_or(HeaderValue::from_static("unknown")))
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    /// The same for the answer.
    pub fn value(&self) -> HeaderValue {
        self.0.clone()
    }
}

/// Sixteen letters that no other request has: where this process began, and a count.
fn fresh_id() -> String {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    static SEED: LazyLock<u64> = LazyLock::new(|| {
        let mut bytes = [0; 8];
        // Without it ids still differ from each other, and only repeat after a restart.
        let _ = openssl::rand::rand_bytes(&mut bytes);
        u64::from_le_bytes(bytes)
    });
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    // Multiplying by an odd number loses nothing, so no two counts give one id.
    let mixed = (*SEED).wrapping_add(count).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("{mixed:016x}")
}
