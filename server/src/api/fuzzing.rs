//! What the fuzz targets in `tests/fuzz` call: the parsers of requests, which read bytes of any client. They are built for
//! the fuzzer only (`cfg(fuzzing)`), because the parsers themselves are private.

use std::net::IpAddr;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use actix_web::HttpRequest;
use actix_web::dev::Payload;
use actix_web::http::header::{CONTENT_ENCODING, HeaderMap, HeaderName, HeaderValue};
use actix_web::test::TestRequest;
use actix_web::web::{Bytes, BytesMut};
use futures_util::stream::{self, StreamExt as _};
use serde_json::Value;

use super::authn::{AuthConfig, forwarded_peer};
use super::error::ApiError;
use super::input::{DecodedBody, parse, parse_strictly, payload_error};
use super::routes::chunks::{Body, reports_of};
use super::routes::rules::change::{ChangeBody, ChangeOptions, Settings};
use super::routes::rules::generation::GenerationSignature;
use super::routes::rules::trial::TrialBody;
use crate::store::chunks::Change;
use crate::tls::identity::Peer;

/// The client of these values of `Client-Cert` and `Client-Cert-Chain`, not yet verified.
pub fn forwarded(certificate: &str, chain: &[&str]) -> Result<Peer, ApiError> {
    forwarded_peer(certificate, chain)
}

/// The client's address according to `X-Forwarded-For`, where these proxies are trusted.
pub fn forwarded_address(config: &AuthConfig, lists: &[&HeaderValue], peer: IpAddr) -> IpAddr {
    let name = HeaderName::from_static("x-forwarded-for");
    let mut headers = HeaderMap::new();
    for list in lists {
        headers.append(name.clone(), (*list).clone());
    }
    config.first_untrusted(&headers, peer)
}

/// The number of bodies of `json_body`.
pub const JSON_BODIES: u8 = 7;

/// Parses the JSON body of a request that changes something; `kind` says of which.
pub fn json_body(kind: u8, body: &[u8]) -> Result<(), ApiError> {
    match kind % JSON_BODIES {
        0 => parse::<Body>(body).and_then(|body| reports_of(body.0)).map(drop),
        1 => parse::<Change>(body).map(drop),
        2 => parse::<ChangeBody>(body).map(drop),
        3 => parse::<ChangeOptions>(body).map(drop),
        4 => parse::<TrialBody>(body).map(drop),
        5 => parse::<GenerationSignature>(body).map(drop),
        _ => parse::<Settings>(body).map(drop),
    }
}

/// Parses JSON in which no field is set twice.
pub fn strict_json(text: &[u8]) -> Result<Value, String> {
    parse_strictly(text)
}

/// The decoded body of a request with this `Content-Encoding`, which arrives in chunks of this size.
pub fn decoded(encoding: &'static str, body: &[u8], chunk: usize, max_bytes: u64) -> Result<Bytes, ApiError> {
    let request: HttpRequest = TestRequest::default()
        .insert_header((CONTENT_ENCODING, encoding))
        .to_http_request();
    let chunks: Vec<_> = (body.chunks(chunk))
        .map(|chunk| Ok(Bytes::copy_from_slice(chunk)))
        .collect();
    let payload = Payload::Stream {
        payload: stream::iter(chunks).boxed_local(),
    };
    let pieces = DecodedBody::of(&request, payload, max_bytes)?;
    let mut reading = pin!(async move {
        let mut pieces = pieces;
        let mut body = BytesMut::new();
        while let Some(piece) = pieces.next().await {
            body.extend_from_slice(&piece.map_err(|error| payload_error(&error))?);
        }
        Ok::<_, ApiError>(body.freeze())
    });
    // Everything has arrived already, so a pending body only lets others run.
    loop {
        if let Poll::Ready(result) = reading.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return result;
        }
    }
}
