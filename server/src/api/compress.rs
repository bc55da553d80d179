//! Compresses response bodies in the encoding that the client prefers. Bodies that are compressed already or too small
//! stay as they are.

use actix_http::encoding::Encoder;
use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::ServiceResponse;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_TYPE, ContentEncoding, HeaderValue, VARY};

use super::accept;

/// Compresses the body in the client's preferred encoding if it has at least `from` bytes.
pub fn compress<B: MessageBody + 'static>(response: ServiceResponse<B>, from: u64) -> ServiceResponse<Encoder<B>> {
    let chosen = chosen(&response, from);
    response.map_body(|head, body| {
        let worth = matches!(body.size(), BodySize::Sized(_) | BodySize::Stream);
        // The encoder adds `Vary` where it compresses.
        let varies = chosen != ContentEncoding::Identity || head.headers().contains_key(VARY);
        if worth && !varies {
            head.headers_mut()
                .insert(VARY, HeaderValue::from_static("accept-encoding"));
        }
        Encoder::response(chosen, head, body)
    })
}

fn chosen<B: MessageBody>(response: &ServiceResponse<B>, from: u64) -> ContentEncoding {
    let small = matches!(response.response().body().size(), BodySize::Sized(size) if size < from);
    let done = response.headers().contains_key(CONTENT_ENCODING);
    if small || done || !is_text(response.headers().get(CONTENT_TYPE)) {
        return ContentEncoding::Identity;
    }
    accept::content_encoding(response.request())
}

/// Images and archives do not shrink. Pages of metrics are stored in the encodings that Prometheus requests, and are
/// too large to compress for each request.
fn is_text(content_type: Option<&HeaderValue>) -> bool {
    let Some(content_type) = content_type.and_then(|value| value.to_str().ok()) else {
        return false;
    };
    if content_type.contains("version=0.0.4") {
        return false;
    }
    [
        "text/",
        "application/json",
        "application/problem+json",
        "application/javascript",
        "image/svg",
    ]
    .iter()
    .any(|prefix| content_type.starts_with(prefix))
}
