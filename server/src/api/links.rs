//! Absolute addresses, as the client of this request has to write them.

use actix_web::{HttpMessage, HttpRequest};

use super::door::Client;

/// The address of one of our paths.
pub fn absolute(request: &HttpRequest, path: &str) -> String {
    let extensions = request.extensions();
    let origin = extensions.get::<Client>().map_or("", |client| &client.origin);
    format!("{origin}{path}")
}
