//! JSON bodies: a required one, and an optional one whose absence stands for the defaults. The gate limits the size of a
//! body as it is sent; this module limits it as it is after decompression.

use std::ops::Deref;

use actix_web::dev::Payload;
use actix_web::web::{Bytes, BytesMut, Data};
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use futures_util::future::LocalBoxFuture;
use futures_util::stream::StreamExt;
use serde::de::DeserializeOwned;
use serde_json::Value;
use utoipa::ToSchema;

use super::decode::{DecodedBody, payload_error};
use super::schema::SchemaSet;
use super::strict;
use crate::api::error::ApiError;
use crate::api::gate::Gate;
use crate::api::table::BodyClass;
use crate::tasks;

/// A longer body is parsed on a blocking thread: a worker parses this much in less than a millisecond, and a mebibyte of
/// small values in tens of them.
const MAX_INLINE_BYTES: usize = 64 * 1024;

/// serde's and Rust's own descriptions begin like this; they name types of this program, so clients never see them.
const FOREIGN_WORDS: [&str; 9] = [
    "invalid type",
    "invalid value",
    "invalid length",
    "invalid digit",
    "missing field",
    "unknown field",
    "unknown variant",
    "duplicate field",
    "data did not match",
];

/// A JSON body.
#[derive(Debug)]
pub struct JsonBody<T>(pub T);

impl<T> JsonBody<T> {
    /// The deserialized body.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for JsonBody<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// A JSON body, or the defaults if the body is empty.
pub struct OptionalJson<T>(pub T);

impl<T: DeserializeOwned + ToSchema + Send + 'static> FromRequest for JsonBody<T> {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move {
            check_content_type(&request)?;
            let body = read(&request, payload).await?;
            parsed(body).await.map(Self)
        })
    }
}

impl<T: Default + DeserializeOwned + ToSchema + Send + 'static> FromRequest for OptionalJson<T> {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let body = read(&request, payload).await?;
            if body.is_empty() {
                return Ok(Self(T::default()));
            }
            check_content_type(&request)?;
            parsed(body).await.map(Self)
        })
    }
}

/// The error about a value that cannot be deserialized as `T`. `place` is its JSON Pointer in the body.
pub fn invalid<T: ToSchema>(value: &Value, place: &str, error: &serde_json::Error) -> ApiError {
    let differences = SchemaSet::of::<T>().differences(value, place);
    if !differences.is_empty() {
        return ApiError::BadRequest(differences.join("; "));
    }
    // A type with its own format describes it itself.
    let own = error.to_string();
    let is_foreign = FOREIGN_WORDS.iter().any(|words| own.contains(words));
    ApiError::BadRequest(match is_foreign {
        true => format!("the body does not match the schema {} of /openapi.json", T::name()),
        false => own,
    })
}

async fn parsed<T: DeserializeOwned + ToSchema + Send + 'static>(body: Bytes) -> Result<T, ApiError> {
    if body.len() <= MAX_INLINE_BYTES {
        return parse(&body);
    }
    let parsed = tasks::block(move || parse(&body)).await;
    parsed.unwrap_or_else(|panic| Err(ApiError::Internal(panic)))
}

pub(in crate::api) fn parse<T: DeserializeOwned + ToSchema>(body: &[u8]) -> Result<T, ApiError> {
    let value = strict::parse(body).map_err(ApiError::BadRequest)?;
    T::deserialize(&value).map_err(|error| invalid::<T>(&value, "", &error))
}

fn check_content_type(request: &HttpRequest) -> Result<(), ApiError> {
    let mime = request.mime_type().ok().flatten();
    let is_json =
        mime.is_some_and(|mime| mime.subtype() == "json" || mime.suffix().is_some_and(|suffix| suffix == "json"));
    match is_json {
        true => Ok(()),
        false => Err(BodyClass::Json.wrong_form()),
    }
}

/// The whole body, decompressed.
async fn read(request: &HttpRequest, payload: Payload) -> Result<Bytes, ApiError> {
    let limit = request.app_data::<Data<Gate>>().map_or(0, |gate| gate.max_json_body());
    let mut pieces = DecodedBody::of(request, payload, limit as u64)?;
    let mut body = BytesMut::new();
    while let Some(piece) = pieces.next().await {
        body.extend_from_slice(&piece.map_err(|error| payload_error(&error))?);
    }
    Ok(body.freeze())
}
