//! Errors about path segments.

use actix_web::HttpRequest;
use actix_web::error::PathError;

use crate::api::error::ApiError;

/// The error about a path whose segments cannot be parsed. If a segment is an id, nothing else in the path can be wrong;
/// otherwise it is a digest.
pub fn path_error(_: &PathError, request: &HttpRequest) -> ApiError {
    let segments = request.match_info();
    ApiError::BadRequest(match (segments.get("id"), segments.get("digest")) {
        (Some(id), _) => format!("\"{id}\" is not an id; write the id from an earlier response, such as 1"),
        (None, Some(digest)) => {
            format!("\"{digest}\" is not a digest; write the 64 hexadecimal digits from an earlier response")
        }
        (None, None) => "a segment of the path cannot be decoded; encode it as UTF-8 with percent signs".to_owned(),
    })
}
