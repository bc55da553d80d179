//! An optional JSON body: an empty body stands for the defaults, any other is validated like a required body. Error
//! messages for invalid JSON are in `mod.rs`.

use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::web::{Bytes, Json};
use actix_web::{Error, FromRequest, HttpRequest};
use futures_util::future::{LocalBoxFuture, ready};
use futures_util::stream::{Stream, StreamExt, once};
use serde::de::DeserializeOwned;

/// JSON, or the defaults if the body is empty.
pub struct OptionalJson<T>(pub T);

impl<T: Default + DeserializeOwned + 'static> FromRequest for OptionalJson<T> {
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self, Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, mut body) = (request.clone(), payload.take());
        Box::pin(async move {
            // Only the first byte shows whether there is a body: a chunked one has no content length.
            let first = loop {
                match body.next().await {
                    None => return Ok(Self(T::default())),
                    Some(Ok(bytes)) if bytes.is_empty() => {}
                    Some(first) => break first,
                }
            };
            let whole: Pin<Box<dyn Stream<Item = Result<Bytes, PayloadError>>>> =
                Box::pin(once(ready(first)).chain(body));
            let json = Json::<T>::from_request(&request, &mut Payload::from(whole)).await?;
            Ok(Self(json.into_inner()))
        })
    }
}
