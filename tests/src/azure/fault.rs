//! What goes wrong with an Azure when a test wants it. What is wrong for itself, such as a resource that is not there,
//! is not here.

use std::time::Duration;

use serde_json::{Value, json};

use super::wire::{Manner, Reply};

/// What goes wrong.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// 429 of Resource Manager, with `Retry-After` in seconds if there are any.
    Throttled(Option<u64>),
    /// 529 of the metrics behind it, likewise.
    Overloaded(Option<u64>),
    /// 503, likewise.
    Unavailable(Option<u64>),
    /// 500.
    ProbeError,
    /// 400 as the metrics say it, flat, with this message.
    Flat(String),
    /// The token of this request counts as ended: 401.
    Expired,
    /// Any status with any body, as it is.
    Status(u16, String),
    /// The body is compressed.
    Gzip,
    /// The body comes in chunks.
    Chunked,
    /// The second half of the body comes after this time.
    Slow(Duration),
    /// All of it comes after this time.
    Late(Duration),
    /// Half of the JSON, as if that were all.
    Truncated,
    /// Half of the body that was announced, and the end of the connection.
    Cut,
    /// The connection is reset without a word.
    Reset,
    /// A page by a proxy instead of an answer.
    Page,
    /// Blanks before the answer, so many bytes.
    Padded(usize),
}

impl Fault {
    /// What becomes of an answer.
    pub(super) fn spoil(self, mut reply: Reply) -> Reply {
        match self {
            Self::Throttled(seconds) => throttled(seconds),
            Self::Overloaded(seconds) => waiting(
                529,
                seconds,
                &json!({ "code": "TooManyRequests", "message": "Overloaded." }),
            ),
            Self::Unavailable(seconds) => waiting(
                503,
                seconds,
                &error("ServiceUnavailable", "The service is unavailable."),
            ),
            Self::ProbeError => Reply::json(500, &error("InternalServerError", "Something went wrong.")),
            Self::Flat(message) => Reply::json(400, &json!({ "code": "BadRequest", "message": message })),
            Self::Status(status, body) => Reply {
                status,
                headers: Vec::new(),
                body: body.into_bytes(),
                manner: Manner::Whole,
            },
            Self::Gzip => in_manner(reply, Manner::Gzip),
            Self::Chunked => in_manner(reply, Manner::Chunked),
            Self::Slow(length) => in_manner(reply, Manner::Slow(length)),
            Self::Late(length) => in_manner(reply, Manner::Late(length)),
            Self::Cut => in_manner(reply, Manner::Cut),
            Self::Truncated => {
                reply.body.truncate(reply.body.len() / 2);
                reply
            }
            Self::Page => Reply {
                status: 200,
                headers: vec![("content-type", "text/html".to_owned())],
                body: b"<html><title>Sign in to the network</title></html>".to_vec(),
                manner: Manner::Whole,
            },
            Self::Padded(bytes) => {
                reply.body.splice(0..0, std::iter::repeat_n(b' ', bytes));
                reply
            }
            // What was answered already is 401; what is reset is not answered.
            Self::Expired | Self::Reset => reply,
        }
    }
}

fn in_manner(reply: Reply, manner: Manner) -> Reply {
    Reply { manner, ..reply }
}

fn throttled(seconds: Option<u64>) -> Reply {
    let message = format!(
        "Number of 'read' requests for subscription 's' actor 'a' exceeded. Please try again after '{}' seconds.",
        seconds.unwrap_or(1)
    );
    waiting(429, seconds, &error("SubscriptionRequestsThrottled", &message))
}

fn waiting(status: u16, seconds: Option<u64>, body: &Value) -> Reply {
    let reply = Reply::json(status, body);
    match seconds {
        Some(seconds) => reply.with("retry-after", seconds),
        None => reply,
    }
}

/// The shape of Resource Manager.
pub(super) fn error(code: &str, message: &str) -> Value {
    json!({ "error": { "code": code, "message": message } })
}
