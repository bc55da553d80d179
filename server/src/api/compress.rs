//! Which form of a body a client wants, and the body in that form. What is compressed already, or not worth it, is
//! left as it is.

use actix_http::encoding::Encoder;
use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::ServiceResponse;
use actix_web::http::header::{
    AcceptEncoding, CONTENT_ENCODING, CONTENT_TYPE, ContentEncoding, Encoding, Header, HeaderValue, Preference,
    Quality, VARY,
};

/// In the order in which they are preferred when the client does not care.
const OFFERED: [ContentEncoding; 4] = [
    ContentEncoding::Zstd,
    ContentEncoding::Brotli,
    ContentEncoding::Gzip,
    ContentEncoding::Deflate,
];

/// The body in the form that the client wants, if it has at least `from` bytes.
pub fn compress<B: MessageBody + 'static>(response: ServiceResponse<B>, from: u64) -> ServiceResponse<Encoder<B>> {
    let chosen = chosen(&response, from);
    response.map_body(|head, body| {
        let worth = matches!(body.size(), BodySize::Sized(_) | BodySize::Stream);
        // Where it is compressed, the encoder says so itself.
        let told = chosen != ContentEncoding::Identity || head.headers().contains_key(VARY);
        if worth && !told {
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
    let Ok(accepted) = AcceptEncoding::parse(response.request()) else {
        return ContentEncoding::Identity;
    };
    let weight = |encoding: ContentEncoding| {
        let of = |wanted: &Preference<Encoding>| {
            accepted
                .iter()
                .find(|item| item.item == *wanted)
                .map(|item| item.quality)
        };
        let exactly = of(&Preference::Specific(Encoding::Known(encoding)));
        exactly
            .or_else(|| of(&Preference::Any))
            .filter(|quality| *quality > Quality::ZERO)
    };
    let wanted = OFFERED
        .iter()
        .filter_map(|encoding| Some((weight(*encoding)?, *encoding)));
    // Of several that the client wants equally the first; `max_by` would take the last.
    let best = wanted.reduce(|best, next| if next.0 > best.0 { next } else { best });
    best.map_or(ContentEncoding::Identity, |(_, encoding)| encoding)
}

/// Pictures and archives do not get smaller. Pages of metrics are rendered in the forms that Prometheus asks for
/// already, and by nothing else: they are too large to be compressed anew for each request.
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
