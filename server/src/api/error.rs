//! What a client is told when it does not get what it asked for: a problem document (RFC 9457) with the id of the
//! request. Every refusal is one of these, those of the framework included; the log has the rest of the story.

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::store::StoreError;

/// Why a client does not get what it asked for.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ApiError {
    /// Nobody said who they are, and it matters.
    #[error("{0}")]
    Unauthenticated(String),
    /// Somebody who may not.
    #[error("{0}")]
    Forbidden(String),
    /// Nothing is there.
    #[error("there is nothing at {0}")]
    NotFound(String),
    /// What the path names is not there, and more can be said of it than that.
    #[error("{0}")]
    Missing(String),
    /// Somebody else was first.
    #[error("{0}")]
    Precondition(String),
    /// It was understood and looked at, and will not do.
    #[error("{}", .0.why)]
    Rejected(Box<Rejected>),
    /// Something is there, but not for this method.
    #[error("{method} is not understood here; use {allow}")]
    Method {
        /// What was asked.
        method: String,
        /// What is understood.
        allow: String,
    },
    /// The client speaks wrongly.
    #[error("{0}")]
    BadRequest(String),
    /// It does not go with how things stand.
    #[error("{0}")]
    Conflict(String),
    /// More than one answer may hold.
    #[error("{0}")]
    TooMuch(String),
    /// The body is longer than we take.
    #[error("the body is longer than is taken here; send less, or raise http.max_body")]
    BodyTooLarge,
    /// The component is larger than we take.
    #[error(
        "the component has more than {limit} bytes; leave out what it does not need, or raise rules.limits.component_bytes"
    )]
    ComponentTooLarge {
        /// What we take.
        limit: usize,
    },
    /// The headers are longer than we take.
    #[error("the headers have {bytes} bytes together; at most {limit} are taken")]
    HeadersTooLarge {
        /// What was sent.
        bytes: usize,
        /// What we take.
        limit: usize,
    },
    /// The body is sent as something that is not taken here.
    #[error("{0}")]
    WrongForm(&'static str),
    /// The body takes longer than we wait.
    #[error("the body did not arrive in time; send it faster, or raise http.body_timeout")]
    BodyTooSlow,
    /// No form that the client wants.
    #[error("this can be sent as {offered}, and the request accepts none of them")]
    NotAcceptable {
        /// What we have.
        offered: &'static str,
    },
    /// Too many requests.
    #[error("too many requests; come again in {after_seconds} s")]
    TooMany {
        /// When to come again.
        after_seconds: u64,
    },
    /// Not now.
    #[error("{why}")]
    Unavailable {
        /// Why, and what for.
        why: String,
        /// When to come again.
        after_seconds: u64,
    },
    /// The framework refused, for a reason that we do not tell apart.
    #[error("{reason}")]
    Framework {
        /// With this status.
        status: StatusCode,
        /// In these words.
        reason: String,
    },
    /// We are broken.
    #[error("something went wrong here; the log has it under this request's id")]
    Internal(String),
}

/// What will not do, and what can be done about it.
#[derive(Clone, Debug)]
pub struct Rejected {
    /// What is not true of it.
    pub check: String,
    /// How that was seen.
    pub why: String,
    /// What to do.
    pub advice: String,
    /// The same for programs.
    pub more: Value,
}

/// What went wrong and what to do about it, as RFC 9457 has it.
#[derive(Serialize, ToSchema)]
pub struct Problem<'p> {
    /// There is nothing to look up: `detail` says it all.
    r#type: &'static str,
    /// The words of the status.
    title: &'p str,
    /// The status.
    status: u16,
    /// What is wrong, and what to do.
    detail: String,
    /// The path that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<&'p str>,
    /// The request, as the log has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'p str>,
    /// What is not true of something that was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    check: Option<&'p str>,
    /// What can be done about that.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<&'p str>,
    /// The same reason in fields, so that programs need not read `detail`; which there are depends on the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'p Value>,
}

impl ApiError {
    /// The document that tells it, by the path and id of the request.
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

    /// The answer to a request, by its path and id.
    pub fn answer(&self, path: Option<&str>, id: Option<&str>) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        response.insert_header((header::CONTENT_TYPE, "application/problem+json"));
        response.insert_header((header::CACHE_CONTROL, "no-store"));
        match self {
            Self::Unauthenticated(_) => {
                response.insert_header((header::WWW_AUTHENTICATE, "Bearer realm=\"watchpost\""));
            }
            Self::Method { allow, .. } => {
                response.insert_header((header::ALLOW, allow.as_str()));
            }
            Self::TooMany { after_seconds } | Self::Unavailable { after_seconds, .. } => {
                response.insert_header((header::RETRY_AFTER, *after_seconds));
            }
            _ => {}
        }
        let body = serde_json::to_vec(&self.problem(path, id)).unwrap_or_default();
        response.body(body)
    }
}

/// What went wrong in detail is for the log: it may name machines and tables that clients should not know.
impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        (&error).into()
    }
}

impl From<&StoreError> for ApiError {
    fn from(error: &StoreError) -> Self {
        let why = match error {
            StoreError::Refused(_) => {
                log::warn!(reason:% = error; "a request could not be answered");
                let why = "the database refuses what was sent, for it breaks a rule of its table; the log says which";
                return Self::BadRequest(why.to_owned());
            }
            StoreError::Unreadable(_) | StoreError::Unencodable(_) => return Self::Internal(error.to_string()),
            StoreError::Failed(why) => return Self::Internal(why.clone()),
            StoreError::Unreachable(_) => "the database cannot be reached just now",
            StoreError::Missing(_) => {
                "the database lacks a table or column, or the right to read it; the log names what is missing"
            }
            StoreError::Busy => "the database is busy",
            StoreError::Full => "the database has no room left",
            StoreError::Damaged(_) => "the database is damaged",
        };
        log::warn!(reason:% = error; "a request could not be answered");
        Self::Unavailable {
            why: why.to_owned(),
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
            Self::BodyTooLarge | Self::ComponentTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
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
    fn the_words_of_a_database_are_not_told_to_clients() {
        let words = || "relation \"job_chunks\" of db.internal".to_owned();
        let check = |error: StoreError, status: u16, says: &str| {
            let told = ApiError::from(error);
            assert_eq!(told.status_code().as_u16(), status);
            let sentence = told.to_string();
            assert!(
                sentence.contains(says) && !sentence.contains("job_chunks"),
                "{sentence}"
            );
        };
        check(StoreError::Refused(words()), 400, "breaks a rule of its table");
        check(StoreError::Missing(words()), 503, "lacks a table or column");
        check(StoreError::Unreachable(words()), 503, "cannot be reached just now");
        check(StoreError::Damaged(words()), 503, "damaged");
        check(StoreError::Busy, 503, "busy");
        check(StoreError::Full, 503, "no room left");
        check(StoreError::Failed(words()), 500, "something went wrong");
    }
}
