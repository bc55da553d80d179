//! Who was refused what and why, and what the rules found, as it was recorded: for those who look after who may what.

use actix_web::web::{Data, Json, Query};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use watchpost_policies::Action;

use super::told;
use crate::api::error::ApiError;
use crate::api::pagination::PageLimit;
use crate::api::permit::{DecisionsRead, Permit};
use crate::api::query_time::moment;
use crate::clock;
use crate::decisions::Decisions;
use crate::store::decisions::{Kind, Record, Verdict, Wanted};

/// Which records to show.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Only those with a greater `id`: `next` of the page before.
    #[param(example = 0)]
    after: Option<i64>,
    /// At most so many.
    #[param(minimum = 1, maximum = 1000, default = 100, example = 20)]
    limit: Option<i64>,
    /// Only those of this kind, such as `decision`.
    #[param(inline)]
    kind: Option<Kind>,
    /// Only those about this identity, as the records write it: `CN=ann,OU=reader,O=Example`, or `anonymous`.
    identity: Option<String>,
    /// Only those about this action, such as `rules.write`.
    #[param(inline)]
    action: Option<Action>,
    /// Only those with this outcome, such as `deny`; decisions, if no kind is told.
    #[param(inline)]
    verdict: Option<Verdict>,
    /// Only what this rule said, such as `role`.
    rule: Option<String>,
    /// Not before. RFC 3339, seconds since 1970, or how long ago.
    #[param(example = "-1h")]
    from: Option<String>,
    /// Not after, in the same forms; now, if nothing is told.
    to: Option<String>,
}

/// A page of records.
#[derive(Serialize, ToSchema)]
#[schema(as = DecisionPage)]
pub struct Page {
    /// The records.
    #[schema(value_type = Vec<told::RecordShown<'static>>)]
    decisions: Vec<Record>,
    /// What `after` has to be for the next page; nothing on the last.
    next: Option<i64>,
}

/// What was decided and found, a page at a time, the oldest first
#[utoipa::path(
    get,
    path = "",
    operation_id = "decisions",
    responses((status = 200, description = "The records that were asked for.", body = Page))
)]
pub async fn list(
    _: Permit<DecisionsRead>,
    decisions: Data<Decisions>,
    asked: Query<Asked>,
) -> Result<Json<Page>, ApiError> {
    let limit = PageLimit::parse(asked.limit)?;
    let wanted = Wanted {
        most: limit.to_read(),
        ..asked.wanted()?
    };
    let mut found = decisions.store().ask(move |store| store.decisions(&wanted)).await?;
    let next = limit.cut(&mut found, |record| record.id);
    Ok(Json(Page { decisions: found, next }))
}

impl Asked {
    fn wanted(&self) -> Result<Wanted, ApiError> {
        let now_ms = clock::now_ms();
        let time = |name, text: &Option<String>| -> Result<Option<i64>, ApiError> {
            let time_ms = moment(name, text.as_deref(), now_ms)?;
            Ok(time_ms.map(|time_ms| i64::try_from(time_ms).unwrap_or(i64::MAX)))
        };
        let (from_ms, to_ms) = (time("from", &self.from)?, time("to", &self.to)?);
        if from_ms.zip(to_ms).is_some_and(|(from, to)| from > to) {
            return Err(ApiError::BadRequest("from is after to; exchange them".to_owned()));
        }
        Ok(Wanted {
            after: self.after.unwrap_or(0),
            most: 0,
            // A difference has a verdict too, but nobody was refused by it.
            kind: self.kind.or(self.verdict.map(|_| Kind::Decision)),
            identity: self.identity.clone(),
            action: self.action.map(Action::as_str),
            verdict: self.verdict,
            rule: self.rule.clone(),
            from_ms,
            to_ms,
        })
    }
}
