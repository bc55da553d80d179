//! Decompresses request bodies while they arrive, in small pieces and within limits of size, expansion and memory. The
//! body itself is parsed elsewhere.
//!
//! Two encodings are accepted, gzip and zstd: `curl`, the libraries of all languages and Watchpost's own clients can send
//! them. The others of the framework are not: a brotli stream may demand a window of a gigabyte, and clients disagree
//! about the format of `deflate`.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use actix_web::HttpRequest;
use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::http::header::{CONTENT_ENCODING, HeaderMap};
use actix_web::web::{Bytes, BytesMut, Data};
use flate2::write::GzDecoder;
use futures_util::stream::Stream;
use zstd::stream::raw::{DParameter, Decoder as ZstdDecoder, InBuffer, Operation, OutBuffer};

use crate::api::error::ApiError;
use crate::metrics::ServiceMetrics;
use crate::metrics::service_metrics::HttpLimit;

/// Decompressed bytes that are buffered at once.
const PIECE_BYTES: usize = 64 * 1024;

/// A body may expand without limit up to this size: the default limit of a JSON body is smaller.
const FREE_BYTES: u64 = 2 << 20;

/// How many times its size a larger body may expand. Components and repetitive JSON stay far below; bombs expand a
/// thousand times (gzip) or more (zstd).
const MAX_EXPANSION: u64 = 100;

/// The largest window of a zstd frame: 8 MiB, as RFC 9659 prescribes for HTTP. The decoder allocates it.
const MAX_WINDOW_LOG: u32 = 23;

/// A request body without its content encoding.
pub(in crate::api) struct DecodedBody {
    payload: Payload,
    encoding: Encoding,
    /// Received and not yet decoded.
    input: Bytes,
    received: u64,
    decoded: u64,
    max_bytes: u64,
    state: State,
    service_metrics: Option<Data<ServiceMetrics>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    /// A piece was just returned. The next poll lets other tasks run first, because readers may read until they have to
    /// wait, and would buffer everything.
    Yielding,
    /// The payload has ended; the decoder may still have output.
    Draining,
    Ended,
}

enum Encoding {
    Identity,
    Gzip(Box<GzDecoder<Vec<u8>>>),
    Zstd {
        decoder: Box<ZstdDecoder<'static>>,
        /// Whether the last frame is complete.
        is_complete: bool,
    },
}

/// Why a body cannot be decoded. It travels through the payload errors of the framework.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum Undecodable {
    #[error("the body expands too much")]
    Expands,
    #[error("the body is not valid {0}")]
    Invalid(&'static str),
}

impl From<Undecodable> for PayloadError {
    fn from(reason: Undecodable) -> Self {
        Self::Io(io::Error::other(reason))
    }
}

impl DecodedBody {
    /// Decodes the payload of a request. A body that is longer than `max_bytes` after decompression ends with
    /// `PayloadError::Overflow`.
    pub(in crate::api) fn of(request: &HttpRequest, payload: Payload, max_bytes: u64) -> Result<Self, ApiError> {
        Ok(Self {
            service_metrics: request.app_data().cloned(),
            ..Self::new(payload, request.headers(), max_bytes)?
        })
    }

    fn new(payload: Payload, headers: &HeaderMap, max_bytes: u64) -> Result<Self, ApiError> {
        Ok(Self {
            payload,
            encoding: Encoding::of(headers)?,
            input: Bytes::new(),
            received: 0,
            decoded: 0,
            max_bytes,
            state: State::Reading,
            service_metrics: None,
        })
    }

    /// Counts a decoded piece.
    fn counted(&mut self, piece: Bytes) -> Result<Bytes, PayloadError> {
        self.decoded += piece.len() as u64;
        if self.decoded > self.max_bytes {
            return Err(PayloadError::Overflow);
        }
        let consumed = self.received - self.input.len() as u64;
        if self.decoded > FREE_BYTES && self.decoded > consumed.saturating_mul(MAX_EXPANSION) {
            if let Some(service_metrics) = &self.service_metrics {
                service_metrics.limit_exceeded(HttpLimit::Expansion);
            }
            return Err(Undecodable::Expands.into());
        }
        Ok(piece)
    }

    /// Ends with this error.
    fn fail(&mut self, error: PayloadError) -> Poll<Option<Result<Bytes, PayloadError>>> {
        self.state = State::Ended;
        Poll::Ready(Some(Err(error)))
    }
}

impl Stream for DecodedBody {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.state == State::Yielding {
            this.state = State::Reading;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        while this.state != State::Ended {
            if this.input.is_empty() && this.state == State::Reading {
                match ready!(Pin::new(&mut this.payload).poll_next(context)) {
                    Some(Ok(bytes)) => {
                        this.received += bytes.len() as u64;
                        this.input = bytes;
                    }
                    Some(Err(error)) => return this.fail(error),
                    None => this.state = State::Draining,
                }
            }
            let is_end = this.state == State::Draining;
            let piece = match this.encoding.decode(&mut this.input, is_end) {
                Ok(piece) => piece,
                Err(reason) => return this.fail(reason.into()),
            };
            if piece.is_empty() {
                if is_end {
                    this.state = State::Ended;
                }
                continue;
            }
            return match this.counted(piece) {
                Ok(piece) => {
                    if !is_end && !this.input.is_empty() {
                        this.state = State::Yielding;
                    }
                    Poll::Ready(Some(Ok(piece)))
                }
                Err(error) => this.fail(error),
            };
        }
        Poll::Ready(None)
    }
}

impl Encoding {
    fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        let mut encodings = headers.get_all(CONTENT_ENCODING);
        let (Some(encoding), None) = (encodings.next(), encodings.next()) else {
            return match headers.contains_key(CONTENT_ENCODING) {
                true => Err(unsupported()),
                false => Ok(Self::Identity),
            };
        };
        match encoding.as_bytes().trim_ascii().to_ascii_lowercase().as_slice() {
            b"identity" | b"" => Ok(Self::Identity),
            b"gzip" | b"x-gzip" => Ok(Self::Gzip(Box::new(GzDecoder::new(Vec::new())))),
            b"zstd" => {
                let broken = |error: io::Error| ApiError::Internal(format!("cannot create a zstd decoder: {error}"));
                let mut decoder = ZstdDecoder::new().map_err(broken)?;
                decoder
                    .set_parameter(DParameter::WindowLogMax(MAX_WINDOW_LOG))
                    .map_err(broken)?;
                Ok(Self::Zstd {
                    decoder: Box::new(decoder),
                    is_complete: false,
                })
            }
            _ => Err(unsupported()),
        }
    }

    /// Decodes a part of the input into one piece. An empty piece means that more input is needed or, at the end, that
    /// nothing is left.
    fn decode(&mut self, input: &mut Bytes, is_end: bool) -> Result<Bytes, Undecodable> {
        match self {
            Self::Identity => Ok(std::mem::take(input)),
            Self::Gzip(decoder) => {
                let invalid = |_: io::Error| Undecodable::Invalid("gzip");
                while !input.is_empty() && decoder.get_ref().len() < PIECE_BYTES {
                    let consumed = decoder.write(input).map_err(invalid)?;
                    if consumed == 0 {
                        return Err(Undecodable::Invalid("gzip"));
                    }
                    let _ = input.split_to(consumed);
                }
                if is_end {
                    decoder.try_finish().map_err(invalid)?;
                }
                Ok(std::mem::take(decoder.get_mut()).into())
            }
            Self::Zstd { decoder, is_complete } => {
                let mut piece = BytesMut::zeroed(PIECE_BYTES);
                let mut written = 0;
                loop {
                    let mut from = InBuffer::around(input);
                    let mut to = OutBuffer::around_pos(&mut piece[..], written);
                    let left = decoder
                        .run(&mut from, &mut to)
                        .map_err(|_| Undecodable::Invalid("zstd"))?;
                    let (consumed, filled) = (from.pos(), to.pos());
                    let progressed = consumed > 0 || filled > written;
                    if progressed {
                        *is_complete = left == 0;
                    }
                    let _ = input.split_to(consumed);
                    written = filled;
                    if written == PIECE_BYTES || !progressed {
                        break;
                    }
                }
                if is_end && written == 0 && !*is_complete {
                    return Err(Undecodable::Invalid("zstd"));
                }
                piece.truncate(written);
                Ok(piece.freeze())
            }
        }
    }
}

fn unsupported() -> ApiError {
    ApiError::WrongForm(
        "the encoding that content-encoding names is not accepted; compress the body with gzip or zstd, or send it \
         uncompressed",
    )
}

/// The response about a body that could not be received or decoded.
pub(in crate::api) fn payload_error(error: &PayloadError) -> ApiError {
    let reason = match error {
        PayloadError::Overflow => return ApiError::BodyTooLarge,
        PayloadError::Io(error) if error.kind() == io::ErrorKind::TimedOut => return ApiError::BodyTooSlow,
        PayloadError::Io(error) => error.get_ref().and_then(|source| source.downcast_ref::<Undecodable>()),
        _ => None,
    };
    match reason {
        Some(Undecodable::Expands) => ApiError::BodyExpands { ratio: MAX_EXPANSION },
        Some(Undecodable::Invalid(encoding)) => ApiError::BadRequest(format!(
            "the body cannot be decompressed as {encoding:?}, which content-encoding names; compress it completely, or \
             send it uncompressed"
        )),
        None => {
            log::debug!(reason:% = error; "could not read a body");
            ApiError::BadRequest("the body was not sent completely; send it again".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_http::BoxedPayloadStream;
    use actix_web::http::header::HeaderValue;
    use futures_util::StreamExt;
    use futures_util::stream;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder
            .write_all(bytes)
            .and_then(|()| encoder.finish())
            .expect("memory")
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::encode_all(bytes, 3).expect("memory")
    }

    fn body(
        encoding: Option<&'static str>,
        bytes: &[u8],
        chunk: usize,
        max_bytes: u64,
    ) -> Result<DecodedBody, ApiError> {
        let mut headers = HeaderMap::new();
        if let Some(encoding) = encoding {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        let chunks: Vec<_> = bytes
            .chunks(chunk)
            .map(|chunk| Ok(Bytes::copy_from_slice(chunk)))
            .collect();
        let payload: BoxedPayloadStream = Box::pin(stream::iter(chunks));
        DecodedBody::new(Payload::Stream { payload }, &headers, max_bytes)
    }

    /// The decoded body, or the status of the error, and the largest piece.
    async fn read(mut body: DecodedBody) -> (Result<Vec<u8>, u16>, usize) {
        use actix_web::ResponseError;
        let (mut all, mut largest) = (Vec::new(), 0);
        while let Some(piece) = body.next().await {
            match piece {
                Ok(piece) => {
                    largest = largest.max(piece.len());
                    all.extend_from_slice(&piece);
                }
                Err(error) => return (Err(payload_error(&error).status_code().as_u16()), largest),
            }
        }
        (Ok(all), largest)
    }

    #[tokio::test]
    async fn a_body_is_decoded_whatever_the_size_of_its_chunks() {
        let text: Vec<u8> = (0..240_000_u32).flat_map(|at| (at % 251).to_le_bytes()).collect();
        for chunk in [1, 7, 1000, usize::MAX] {
            for (encoding, bytes) in [("gzip", gzip(&text)), ("zstd", zstd(&text)), ("identity", text.clone())] {
                let (decoded, largest) = read(body(Some(encoding), &bytes, chunk, 1 << 30).expect(encoding)).await;
                assert!(decoded.as_ref() == Ok(&text), "{encoding}, {chunk}");
                assert!(
                    encoding == "identity" || largest <= 2 * PIECE_BYTES,
                    "{encoding}: {largest}"
                );
            }
        }
        let (decoded, _) = read(body(None, &text, 1000, 1 << 30).expect("no encoding")).await;
        assert_eq!(decoded, Ok(text));
    }

    #[tokio::test]
    async fn a_body_is_rejected_when_its_decoded_size_exceeds_the_limit() {
        let text = vec![b' '; 1 << 20];
        for (encoding, bytes) in [("gzip", gzip(&text)), ("zstd", zstd(&text)), ("identity", text.clone())] {
            let (obeyed, _) = read(body(Some(encoding), &bytes, 4096, 1 << 20).expect(encoding)).await;
            assert_eq!(obeyed.map(|all| all.len()), Ok(1 << 20), "{encoding}");
            let (exceeded, _) = read(body(Some(encoding), &bytes, 4096, (1 << 20) - 1).expect(encoding)).await;
            assert_eq!(exceeded, Err(413), "{encoding}");
        }
    }

    #[tokio::test]
    async fn a_large_body_must_not_expand_a_hundredfold() {
        let bomb = vec![0; 64 << 20];
        for (encoding, bytes) in [("gzip", gzip(&bomb)), ("zstd", zstd(&bomb))] {
            let (decoded, _) = read(body(Some(encoding), &bytes, usize::MAX, 1 << 30).expect(encoding)).await;
            assert_eq!(decoded, Err(413), "{encoding}");
        }
        // Zeros after noise: a ratio of about 16.
        let noise: Vec<u8> = (0..512 * 1024_u64)
            .map(|at| (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8)
            .collect();
        let plausible = [noise.as_slice(), &vec![0; 7 << 20]].concat();
        let mut key = [0; 1 << 19];
        openssl::rand::rand_bytes(&mut key).expect("random bytes");
        let plausible = [key.as_slice(), &plausible].concat();
        for (encoding, bytes) in [("gzip", gzip(&plausible)), ("zstd", zstd(&plausible))] {
            let (decoded, _) = read(body(Some(encoding), &bytes, 4096, 1 << 30).expect(encoding)).await;
            assert!(decoded.as_ref() == Ok(&plausible), "{encoding}");
        }
    }

    #[tokio::test]
    async fn truncated_invalid_and_trailing_data_is_rejected() {
        let text = b"{\"a\": 1}".repeat(1000);
        for (encoding, bytes) in [("gzip", gzip(&text)), ("zstd", zstd(&text))] {
            for wrong in [
                &bytes[..bytes.len() - 1],
                &bytes[..10],
                &[][..],
                b"no encoding",
                &[&bytes[..], b"trailing data"].concat(),
            ] {
                let (decoded, _) = read(body(Some(encoding), wrong, 16, 1 << 20).expect(encoding)).await;
                assert_eq!(decoded, Err(400), "{encoding}: {} bytes", wrong.len());
            }
        }
    }

    #[tokio::test]
    async fn a_zstd_frame_with_a_window_of_more_than_eight_mebibytes_is_rejected() {
        let with_window = |log: u32| {
            let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("an encoder");
            encoder
                .set_parameter(zstd::zstd_safe::CParameter::WindowLog(log))
                .expect("a parameter");
            encoder
                .write_all(b"text")
                .and_then(|()| encoder.finish())
                .expect("memory")
        };
        for (log, expected) in [(MAX_WINDOW_LOG, Ok(b"text".to_vec())), (MAX_WINDOW_LOG + 1, Err(400))] {
            let (decoded, _) = read(body(Some("zstd"), &with_window(log), 4096, 1 << 20).expect("zstd")).await;
            assert_eq!(decoded, expected, "{log}");
        }
    }

    #[test]
    fn other_encodings_and_several_are_not_accepted() {
        use actix_web::ResponseError;
        for encoding in ["br", "deflate", "compress", "gzip, zstd", "gzip,gzip"] {
            let rejected = body(Some(encoding), b"", 1, 1).err().expect(encoding);
            assert_eq!(rejected.status_code().as_u16(), 415, "{encoding}");
        }
    }
}
