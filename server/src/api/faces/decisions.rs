//! Who was refused what and why, and what the rules found, as it was recorded: for those who look after who may what.

use actix_web::web::{Data, Json, Query};
use serde::{Deserialize, Serialize};
use watchpost_policies::Action;

use super::history::moment;
use crate::api::error::ApiError;
use crate::api::permit::{DecisionsRead, Permit};
use crate::clock;
use crate::decisions::Decisions;
use crate::store::decisions::{Kind, Record, Verdict, Wanted};

/// A page of records.
const USUAL_PAGE: i64 = 100;
const LARGEST_PAGE: i64 = 1000;

/// Which records to show.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    after: Option<i64>,
    limit: Option<i64>,
    kind: Option<Kind>,
    identity: Option<String>,
    action: Option<Action>,
    verdict: Option<Verdict>,
    rule: Option<String>,
    from: Option<String>,
    to: Option<String>,
}

/// A page of records.
#[derive(Serialize)]
pub struct Page {
    decisions: Vec<Record>,
    /// What `after` has to be for the next page; nothing on the last.
    next: Option<i64>,
}

/// The records that are asked for, a page at a time, the oldest first.
pub async fn list(
    _: Permit<DecisionsRead>,
    decisions: Data<Decisions>,
    asked: Query<Asked>,
) -> Result<Json<Page>, ApiError> {
    let limit = asked.limit.unwrap_or(USUAL_PAGE);
    if !(1..=LARGEST_PAGE).contains(&limit) {
        let why = format!("limit is {limit}; write one from 1 to {LARGEST_PAGE}");
        return Err(ApiError::BadRequest(why));
    }
    let wanted = Wanted {
        // One more tells whether there is a next page.
        most: limit + 1,
        ..asked.wanted()?
    };
    let mut found = decisions.store().ask(move |store| store.decisions(&wanted)).await?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|record| record.id);
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
            kind: self.kind,
            identity: self.identity.clone(),
            action: self.action.map(Action::as_str),
            verdict: self.verdict,
            rule: self.rule.clone(),
            from_ms,
            to_ms,
        })
    }
}
