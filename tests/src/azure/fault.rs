//! Faults that a test injects. Errors that follow from the configuration, such as a missing resource, are not here.

use std::time::Duration;

use serde_json::{Value, json};

use super::wire::{Manner, Reply};

/// An injected fault.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// Status 429 of Resource Manager, with an optional `Retry-After` in seconds.
    Throttled(Option<u64>),
    /// Status 529 of the metrics backend, with an optional `Retry-After`.
    Overloaded(Option<u64>),
    /// Status 503, with an optional `Retry-After`.
    Unavailable(Option<u64>),
    /// Status 500.
    ProbeError,
    /// Status 400 in the flat format of the metrics backend, with this message.
    Flat(String),
    /// Status 401, as for an expired token.
    Expired,
    /// This status with this body.
    Status(u16, String),
    /// The body is compressed.
    Gzip,
    /// The body comes in chunks.
    Chunked,
    /// The second half of the body is delayed by this time.
    Slow(Duration),
    /// The whole response is delayed by this time.
    Late(Duration),
    /// A complete response with half of the JSON.
    Truncated,
    /// Half of the announced body, then the connection closes.
    Cut,
    /// The connection is reset without a response.
    Reset,
    /// An HTML page of a proxy instead of a response.
    Page,
    /// This number of spaces before the response.
    Padded(usize),
}

impl Fault {
    /// Applies the fault to a response.
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
            // These faults are handled elsewhere: 401 before the response is made, and a reset instead of it.
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

/// An error in the format of Resource Manager.
pub(super) fn error(code: &str, message: &str) -> Value {
    json!({ "error": { "code": code, "message": message } })
}
