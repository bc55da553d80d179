//! Fuzz target: a JSON body is accepted or refused, by an error that is short and says nothing of this program. The first
//! byte selects the request and the encoding of the body.
#![no_main]

use actix_web::ResponseError as _;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use watchpost::api::fuzzing::{JSON_BODIES, decoded, json_body, strict_json};

const ENCODINGS: [&str; 3] = ["identity", "gzip", "zstd"];

const MAX_BYTES: u64 = 1 << 20;

/// The words of serde and Rust.
const FOREIGN: [&str; 6] = [
    "invalid type",
    "missing field",
    "unknown variant",
    "duplicate field",
    "data did not match",
    "expected struct",
];

fuzz_target!(|bytes: &[u8]| {
    let Some((&selector, sent)) = bytes.split_first() else {
        return;
    };
    let (kind, encoding) = (
        selector % JSON_BODIES,
        usize::from(selector / JSON_BODIES) % ENCODINGS.len(),
    );
    let chunk = 1 + sent.len() / 3;
    let body = match decoded(ENCODINGS[encoding], sent, chunk, MAX_BYTES) {
        Ok(body) => body,
        Err(error) => {
            assert!(matches!(error.status_code().as_u16(), 400 | 413), "{error:?}");
            return;
        }
    };
    assert!(body.len() as u64 <= MAX_BYTES);
    if encoding == 0 {
        assert_eq!(body, sent);
    }

    // What is accepted means the same for every parser, and what is refused is invalid or ambiguous.
    let strict = strict_json(&body);
    match (&strict, serde_json::from_slice::<Value>(&body)) {
        (Ok(strict), Ok(usual)) => assert_eq!(*strict, usual),
        (Ok(strict), Err(error)) => panic!("{strict} is not JSON: {error}"),
        (Err(reason), Ok(_)) => assert!(reason.ends_with("is set twice; set it once"), "{reason}"),
        (Err(_), Err(_)) => {}
    }

    match json_body(kind, &body) {
        Ok(()) => assert!(strict.is_ok()),
        Err(error) => {
            assert_eq!(error.status_code().as_u16(), 400, "{error:?}");
            let text = error.to_string();
            assert!(!text.is_empty() && text.len() < 8000, "{} bytes: {text}", text.len());
            // Names and values of the body may be repeated, in quotes or as a part of a place.
            let repeats = FOREIGN
                .iter()
                .any(|words| String::from_utf8_lossy(&body).contains(words));
            let has_foreign = FOREIGN.iter().any(|words| text.contains(words));
            assert!(repeats || !has_foreign, "{text}");
        }
    }
});
