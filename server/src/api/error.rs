//! API errors: each error, the framework's included, becomes a problem document (RFC 9457) with the id of the request.
//! Details that clients must not see go to the log.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::store::StoreError;

/// An error of an API request.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ApiError {
    /// The client must authenticate, or its credentials are invalid.
    #[error("{0}")]
    Unauthenticated(String),
    /// The role rule denies the action.
    #[error("{0}")]
    Forbidden(String),
    /// No route has this path.
    #[error("no such path: {0}")]
    NotFound(String),
    /// The resource does not exist; the text says which.
    #[error("{0}")]
    Missing(String),
    /// `If-Match` names an older generation: another client has changed the rules since.
    #[error("{0}")]
    Precondition(String),
    /// A well-formed request that fails validation.
    #[error("{}", .0.reason)]
    Rejected(Box<Rejected>),
    /// The path exists, but not with this method.
    #[error("{method} is not allowed; use {allow}")]
    Method {
        /// The method of the request.
        method: String,
        /// The methods of the path.
        allow: String,
    },
    /// A malformed request.
    #[error("{0}")]
    BadRequest(String),
    /// The request conflicts with the current state.
    #[error("{0}")]
    Conflict(String),
    /// The response would exceed the limits of one response.
    #[error("{0}")]
    TooMuch(String),
    /// The body is longer than `http.max_body`.
    #[error("the body is too long; send less, or raise http.max_body")]
    BodyTooLarge,
    /// The body decompresses to many times its size.
    #[error("the body decompresses to more than {ratio} times its size; send it uncompressed")]
    BodyExpands {
        /// The largest accepted ratio of the decompressed to the compressed size.
        ratio: u64,
    },
    /// The component is larger than `rules.limits.component_bytes`.
    #[error(
        "the component has more than {limit} bytes; remove what it does not need, or raise rules.limits.component_bytes"
    )]
    ComponentTooLarge {
        /// Maximum size in bytes.
        limit: usize,
    },
    /// The headers are longer than `http.max_headers`.
    #[error("the headers have {bytes} bytes, more than the limit of {limit}")]
    HeadersTooLarge {
        /// Size of the headers in bytes.
        bytes: usize,
        /// Maximum size in bytes.
        limit: usize,
    },
    /// The content type of the body is not accepted.
    #[error("{0}")]
    WrongForm(&'static str),
    /// The body did not arrive within `http.body_timeout`.
    #[error("the body did not arrive in time; send it faster, or raise http.body_timeout")]
    BodyTooSlow,
    /// `Accept` excludes every available content type.
    #[error("the available content types are {offered}, and the request accepts none of them")]
    NotAcceptable {
        /// The available content types.
        offered: &'static str,
    },
    /// The client exceeds its rate limit.
    #[error("too many requests; retry in {after_seconds} s")]
    TooMany {
        /// When to retry, in seconds.
        after_seconds: u64,
    },
    /// Temporarily unavailable.
    #[error("{reason}")]
    Unavailable {
        /// The reason.
        reason: String,
        /// When to retry, in seconds.
        after_seconds: u64,
    },
    /// Any other error of the framework.
    #[error("{reason}")]
    Framework {
        /// The HTTP status.
        status: StatusCode,
        /// The framework's message.
        reason: String,
    },
    /// Internal error; the text is for the log only.
    #[error("internal error; the log has the details under this request's id")]
    Internal(String),
}

/// The result of a failed validation.
#[derive(Clone, Debug)]
pub struct Rejected {
    /// The check that failed.
    pub check: String,
    /// Why it failed.
    pub reason: String,
    /// How to correct it.
    pub advice: String,
    /// The same in fields, for programs.
    pub more: Value,
}

/// An error as a problem document (RFC 9457).
#[derive(Serialize, ToSchema)]
pub struct Problem<'p> {
    /// Always `about:blank`: `detail` describes the problem.
    r#type: &'static str,
    /// The reason phrase of the status.
    title: &'p str,
    /// The HTTP status.
    status: u16,
    /// What is wrong, and how to correct it.
    detail: String,
    /// The path of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<&'p str>,
    /// The id of the request, which the log has too.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'p str>,
    /// The check that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    check: Option<&'p str>,
    /// How to correct it.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<&'p str>,
    /// The reason in fields, so that programs need not parse `detail`; the fields depend on the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'p Value>,
}

impl ApiError {
    /// The problem document of this error, for a request's path and id.
    pub fn problem<'p>(&'p self, path: Option<&'p str>, id: Option<&'p str>) -> Problem<'p> {
        let status = self.status_code();
        let rejected = match self {
            Self::Rejected(rejected) => Some(&**rejected),
            _ => None,
        };
        Problem {
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: self.to_string(),
            instance: path,
            request_id: id,
            check: rejected.map(|rejected| rejected.check.as_str()),
            advice: rejected.map(|rejected| rejected.advice.as_str()),
            cause: rejected.map(|rejected| &rejected.more).filter(|more| !more.is_null()),
        }
    }

    /// The response to a request with this path and id.
    pub fn answer(&self, path: Option<&str>, id: Option<&str>) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        response.insert_header((header::CONTENT_TYPE, "application/problem+json"));
        response.insert_header((header::CACHE_CONTROL, "no-store"));
        let body = serde_json::to_vec(&self.problem(path, id))
            .expect("a problem has string keys, so it can be written as JSON");
        let mut response = response.body(body);
        self.add_headers(&mut response);
        response
    }

    /// The headers of an error's response, whatever the type of its body.
    pub(super) fn add_headers(&self, response: &mut HttpResponse) {
        let headers = response.headers_mut();
        match self {
            Self::Unauthenticated(_) => {
                let challenge = HeaderValue::from_static("Bearer realm=\"watchpost\"");
                headers.insert(header::WWW_AUTHENTICATE, challenge);
            }
            Self::Method { allow, .. } => {
                if let Ok(allow) = HeaderValue::from_str(allow) {
                    headers.insert(header::ALLOW, allow);
                }
            }
            Self::TooMany { after_seconds } | Self::Unavailable { after_seconds, .. } => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(*after_seconds));
            }
            _ => {}
        }
    }
}

/// Logs the database error in detail: it may name machines and tables that clients should not know.
impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        (&error).into()
    }
}

impl From<&StoreError> for ApiError {
    fn from(error: &StoreError) -> Self {
        let reason = match error {
            StoreError::Refused(_) => {
                log::warn!(reason:% = error; "a database query failed");
                let reason = "the database rejects the data, because it violates a constraint; the log says which";
                return Self::BadRequest(reason.to_owned());
            }
            StoreError::Unreadable(_) | StoreError::Unencodable(_) => return Self::Internal(error.to_string()),
            StoreError::Failed(reason) => return Self::Internal(reason.clone()),
            StoreError::Unreachable(_) => "the database is unreachable",
            StoreError::Missing(_) => {
                "the database lacks a table or column, or the permission to read it; the log names what is missing"
            }
            StoreError::Busy => "the database is busy",
            StoreError::Full => "the database has no space left",
            StoreError::Damaged(_) => "the database is damaged",
        };
        log::warn!(reason:% = error; "a database query failed");
        Self::Unavailable {
            reason: reason.to_owned(),
            after_seconds: 5,
        }
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotFound(_) | Self::Missing(_) => StatusCode::NOT_FOUND,
            Self::Precondition(_) => StatusCode::PRECONDITION_FAILED,
            Self::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::TooMuch(_) | Self::Rejected(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::BodyTooLarge | Self::BodyExpands { .. } | Self::ComponentTooLarge { .. } => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            Self::HeadersTooLarge { .. } => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::WrongForm(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BodyTooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::NotAcceptable { .. } => StatusCode::NOT_ACCEPTABLE,
            Self::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Framework { status, .. } => *status,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn error_response(&self) -> HttpResponse {
        self.answer(None, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_details_of_a_database_error_are_hidden_from_clients() {
        let internal_details = || "relation \"job_chunks\" of db.internal".to_owned();
        let check = |error: StoreError, status: u16, says: &str| {
            let api_error = ApiError::from(error);
            assert_eq!(api_error.status_code().as_u16(), status);
            let message = api_error.to_string();
            assert!(message.contains(says) && !message.contains("job_chunks"), "{message}");
        };
        check(StoreError::Refused(internal_details()), 400, "violates a constraint");
        check(StoreError::Missing(internal_details()), 503, "lacks a table or column");
        check(StoreError::Unreachable(internal_details()), 503, "is unreachable");
        check(StoreError::Damaged(internal_details()), 503, "damaged");
        check(StoreError::Busy, 503, "busy");
        check(StoreError::Full, 503, "no space left");
        check(StoreError::Failed(internal_details()), 500, "internal error");
    }
}
