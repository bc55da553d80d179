//! Example problem documents: one for each status, produced by the code that produces the real ones. `answers` lists
//! which endpoints can return them.

use serde_json::{Value, json};

use crate::api::error::{ApiError, Rejected};
use crate::api::table::BodyClass;

/// The request id of the examples.
const ID: &str = "d2e4caea66d6e3f7";

/// An example of this status for this family of endpoints.
pub(super) fn example(status: &str, family: &str) -> Option<Value> {
    let (error, path) = refusal(status, family)?;
    let problem = error.problem(path, Some(ID));
    Some(serde_json::to_value(problem).expect("a problem has only string keys"))
}

fn refusal(status: &str, family: &str) -> Option<(ApiError, Option<&'static str>)> {
    let error = match (status, family) {
        ("400", _) => ApiError::BadRequest(
            "from is \"yesterday\"; write a time such as 2026-01-31T12:00:00Z, seconds since 1970, or an age such as -1h"
                .to_owned(),
        ),
        ("401", _) => ApiError::Unauthenticated(
            "anonymous clients may not do metrics.read; present a client certificate or a token".to_owned(),
        ),
        ("403", _) => ApiError::Forbidden(
            "CN=ann,OU=reader,O=Example has the role reader, which does not allow rules.write".to_owned(),
        ),
        ("404", _) => {
            let path = "/api/v1/chunks/7";
            return Some((ApiError::NotFound(path.to_owned()), Some(path)));
        }
        ("408", _) => ApiError::BodyTooSlow,
        ("409", "Chunks") => {
            ApiError::Conflict("the chunk is completed, which is final; it cannot become processing".to_owned())
        }
        ("409", _) => ApiError::Conflict(
            "the rule weekend is in use; activate another version or DELETE /api/v1/rules/weekend/active first"
                .to_owned(),
        ),
        ("412", _) => ApiError::Precondition(
            "generation 2 is active, not the expected one; read it and retry".to_owned(),
        ),
        ("413", "Rules") => ApiError::ComponentTooLarge { limit: 32 << 20 },
        ("413", _) => ApiError::BodyTooLarge,
        ("415", "Rules") => BodyClass::Component.wrong_form(),
        ("415", _) => BodyClass::Json.wrong_form(),
        ("422", "History") => ApiError::TooMuch(
            "the response would have about 6048000 points, more than the limit of 2000000; request a shorter time range \
             or a longer step, or raise history.max_points"
                .to_owned(),
        ),
        ("422", _) => ApiError::Rejected(Box::new(Rejected {
            check: "accepts the given settings".to_owned(),
            reason: "invalid settings: /percent_a_day: a disk fills by more than 0 percent a day".to_owned(),
            advice: "correct the settings where they are wrong; GET the rule for their schema".to_owned(),
            more: json!({
                "refusal": "problems",
                "problems": [{ "path": "/percent_a_day", "message": "a disk fills by more than 0 percent a day" }],
            }),
        })),
        ("429", _) => ApiError::TooMany { after_seconds: 1 },
        ("431", _) => ApiError::HeadersTooLarge {
            bytes: 20_112,
            limit: 16_384,
        },
        ("500", _) => ApiError::Internal(String::new()),
        ("503", _) => ApiError::Unavailable {
            reason: "the database is unreachable".to_owned(),
            after_seconds: 5,
        },
        _ => return None,
    };
    Some((error, None))
}
