//! Tries a version on what was measured before it is put in force.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::header::LOCATION;
use actix_web::web::{Data, Path};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use watchpost_policies::Digest;

use crate::api::body::OptionalJson;
use crate::api::error::ApiError;
use crate::api::permit::{HistoryRead, Permit, RulesRead, RulesWrite};
use crate::api::process::Service;
use crate::api::query_time::span;
use crate::clock;
use crate::jobs::JobState;
use crate::rules::trial::Outcome;
use crate::rules::trials::{TrialJob, TrialOrder, Trials};

/// An hour of rounds is replayed before; what takes longer is asked after.
const INLINE_WAIT: Duration = Duration::from_secs(2);

/// What to try it on.
#[derive(Default, Deserialize, ToSchema)]
#[schema(as = TrialRequest)]
#[serde(default, deny_unknown_fields)]
pub struct TrialBody {
    /// From when; an hour ago, if nothing is told. RFC 3339, seconds since 1970, or how long ago.
    #[schema(example = "-1h")]
    from: Option<String>,
    /// Until when; now, if nothing is told.
    to: Option<String>,
    /// Of which machine; this one, if nothing is told.
    host: Option<String>,
    /// With these settings; with those in force, if nothing is told.
    #[schema(value_type = Option<Object>)]
    settings: Option<Map<String, Value>>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Trial)]
struct TrialResult<'o> {
    /// Its number.
    trial: u64,
    /// `done` or `cancelled`.
    state: &'static str,
    #[serde(flatten)]
    outcome: &'o Outcome,
}

#[derive(Serialize, ToSchema)]
#[schema(as = TrialUnderWay)]
struct PendingTrial {
    /// Its number.
    trial: u64,
    /// `running`.
    state: &'static str,
    /// How many snapshots were replayed so far.
    snapshots: u64,
    /// When the last of them was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
}

/// Tries a version on what was measured before
///
/// Answers what came of it, if that takes no longer than a moment. Nothing of it is in force.
#[utoipa::path(
    post,
    path = "",
    operation_id = "begin_trial",
    responses(
        (status = 200, description = "What came of it.", body = TrialResult<'static>),
        (
            status = 202,
            description = "It takes longer; ask after it.",
            body = PendingTrial,
            headers(("location" = String, description = "Where to ask."))
        ),
        (status = 409, description = "It does not go with how things stand; `detail` says why."),
        (status = 422, description = "It was looked at, and will not do; `check` and `advice` say why and what to do.")
    )
)]
pub async fn begin(
    _: Permit<RulesWrite>,
    _: Permit<HistoryRead>,
    trials: Data<Trials>,
    service: Data<Service>,
    path: Path<(String, Digest)>,
    OptionalJson(wanted): OptionalJson<TrialBody>,
) -> Result<HttpResponse, ApiError> {
    let (rule, digest) = path.into_inner();
    let (from_ms, to_ms) = span(wanted.from.as_deref(), wanted.to.as_deref(), clock::now_ms())?;
    let order = TrialOrder {
        rule,
        digest,
        settings: wanted.settings,
        host: wanted.host.unwrap_or_else(|| service.host().to_string()),
        from_ms,
        to_ms,
    };
    let mut job = trials.start(order).await?;
    job.ended_within(INLINE_WAIT).await;
    told(&job)
}

/// How far a trial is, or what came of it
#[utoipa::path(
    get,
    path = "",
    operation_id = "trial",
    responses(
        (status = 200, description = "What came of it.", body = TrialResult<'static>),
        (status = 202, description = "It is under way.", body = PendingTrial),
        (status = 409, description = "It could not be done as things stood; `detail` says why."),
        (status = 422, description = "The rule will not do; `check` and `advice` say why and what to do.")
    )
)]
pub async fn outcome(_: Permit<RulesRead>, trials: Data<Trials>, id: Path<u64>) -> Result<HttpResponse, ApiError> {
    told(&known(&trials, *id)?)
}

/// Ends a trial
///
/// What it found so far can be read.
#[utoipa::path(
    delete,
    path = "",
    operation_id = "end_trial",
    responses((status = 204, description = "It ends."))
)]
pub async fn end(_: Permit<RulesWrite>, trials: Data<Trials>, id: Path<u64>) -> Result<HttpResponse, ApiError> {
    known(&trials, *id)?.progress().cancel();
    Ok(HttpResponse::NoContent().finish())
}

fn known(trials: &Trials, id: u64) -> Result<TrialJob, ApiError> {
    trials
        .find(id)
        .ok_or_else(|| ApiError::Missing(format!("no trial {id} is known; old ones are forgotten")))
}

fn told(job: &TrialJob) -> Result<HttpResponse, ApiError> {
    match job.state() {
        JobState::Finished(Ok(outcome)) => Ok(HttpResponse::Ok().json(TrialResult {
            trial: job.id(),
            state: if outcome.cancelled { "cancelled" } else { "done" },
            outcome: &outcome,
        })),
        JobState::Finished(Err(error)) => Err((&*error).into()),
        JobState::Lost(why) => Err(ApiError::Internal(why)),
        JobState::Pending => {
            let (snapshots, at_ms) = job.progress().position();
            Ok(HttpResponse::Accepted()
                .insert_header((LOCATION, format!("/api/v1/trials/{}", job.id())))
                .json(PendingTrial {
                    trial: job.id(),
                    state: "running",
                    snapshots,
                    at: (snapshots > 0).then(|| clock::written(at_ms)),
                }))
        }
    }
}
