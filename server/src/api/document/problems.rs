//! What goes wrong, by example: one refusal for each status, told by what tells the real ones. Which endpoint may answer
//! which of them is in `answers`.

use serde_json::{Value, json};

use crate::api::error::{ApiError, Rejected};
use crate::api::table::BodyClass;

/// The id of the request that was refused.
const ID: &str = "d2e4caea66d6e3f7";

/// What somebody is told with this status by this family of endpoints.
pub(super) fn example(status: &str, family: &str) -> Option<Value> {
    let (error, path) = refusal(status, family)?;
    let problem = error.problem(path, Some(ID));
    Some(serde_json::to_value(problem).expect("a problem has only texts for names"))
}

fn refusal(status: &str, family: &str) -> Option<(ApiError, Option<&'static str>)> {
    let error = match (status, family) {
        ("400", _) => ApiError::BadRequest(
            "from is \"yesterday\"; write a time such as 2026-01-31T12:00:00Z, seconds since 1970, or how long ago, such as -1h"
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
            "the rule weekend takes part; put another version in force or DELETE /api/v1/rules/weekend/active first"
                .to_owned(),
        ),
        ("412", _) => ApiError::Precondition(
            "generation 2 is active, not the expected one; read it and retry".to_owned(),
        ),
        ("413", "Rules") => ApiError::ComponentTooLarge { limit: 32 << 20 },
        ("413", _) => ApiError::BodyTooLarge,
        ("415", "Rules") => BodyClass::Component.wrong_form(),
        ("415", _) => BodyClass::Json.wrong_form(),
        ("422", "Past") => ApiError::TooMuch(
            "that is about 6048000 points, and one answer has at most 2000000; ask for a shorter time or a longer step, or \
             raise history.max_points"
                .to_owned(),
        ),
        ("422", _) => ApiError::Rejected(Box::new(Rejected {
            check: "accepts the given settings".to_owned(),
            why: "invalid settings: /percent_a_day: a disk fills by more than 0 percent a day".to_owned(),
            advice: "correct the settings where they are wrong; GET the rule for their schema".to_owned(),
            more: json!({
                "refusal": "problems",
                "problems": [{ "at": "/percent_a_day", "what": "a disk fills by more than 0 percent a day" }],
            }),
        })),
        ("429", _) => ApiError::TooMany { after_seconds: 1 },
        ("431", _) => ApiError::HeadersTooLarge {
            bytes: 20_112,
            limit: 16_384,
        },
        ("500", _) => ApiError::Internal(String::new()),
        ("503", _) => ApiError::Unavailable {
            why: "the database cannot be reached just now".to_owned(),
            after_seconds: 5,
        },
        _ => return None,
    };
    Some((error, None))
}
