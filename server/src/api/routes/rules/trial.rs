//! Trials: evaluate a version on recorded history before it is activated.

use actix_web::http::header::LOCATION;
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use watchpost_policies::Digest;

use super::preferred_wait;
use crate::api::error::ApiError;
use crate::api::input::OptionalJson;
use crate::api::permit::{HistoryRead, Permit, RulesRead, RulesWrite};
use crate::api::process::Service;
use crate::api::query_time::span;
use crate::clock;
use crate::jobs::JobState;
use crate::rules::trial::Outcome;
use crate::rules::trials::{TrialJob, TrialOrder, Trials};

/// The data and settings of a trial.
#[derive(Default, Deserialize, ToSchema)]
#[schema(as = TrialRequest)]
#[serde(default, deny_unknown_fields)]
pub struct TrialBody {
    /// Start of the time range; default: an hour ago. RFC 3339, seconds since 1970, or an age such as `-1h`.
    #[schema(example = "-1h")]
    from: Option<String>,
    /// End of the time range; default: now.
    to: Option<String>,
    /// The machine, named as in a snapshot's `host`; default: this machine.
    host: Option<String>,
    /// The settings for the trial; default: the rule's current settings.
    #[schema(value_type = Option<Object>)]
    settings: Option<Map<String, Value>>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Trial)]
struct TrialResult<'o> {
    /// The id of the trial.
    trial: u64,
    /// `done` or `cancelled`.
    state: &'static str,
    #[serde(flatten)]
    outcome: &'o Outcome,
}

#[derive(Serialize, ToSchema)]
#[schema(as = PendingTrial)]
struct PendingTrial {
    /// The id of the trial.
    trial: u64,
    /// `running`.
    state: &'static str,
    /// The number of snapshots replayed so far.
    snapshots: u64,
    /// Time of the latest replayed snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
}

/// Run a trial of a version on recorded history
///
/// Returns the result if the trial finishes within moments. A trial changes no active rule.
#[utoipa::path(
    post,
    path = "",
    operation_id = "start_trial",
    params(("prefer" = Option<String>, Header, description = "How long to wait for the result: `wait=N` seconds (RFC 7240), at most 60; 2 by default.", example = "wait=10")),
    responses(
        (status = 200, description = "The result of the trial.", body = TrialResult<'static>),
        (
            status = 202,
            description = "The trial takes longer; poll the URL in `Location`.",
            body = PendingTrial,
            headers(("location" = String, description = "The URL of the trial."))
        ),
        (status = 409, description = "Conflicts with the current state; see `detail`."),
        (status = 422, description = "Validation failed; `check` and `advice` explain why.")
    )
)]
pub async fn begin(
    _: Permit<RulesWrite>,
    _: Permit<HistoryRead>,
    trials: Data<Trials>,
    service: Data<Service>,
    path: Path<(String, Digest)>,
    request: HttpRequest,
    OptionalJson(body): OptionalJson<TrialBody>,
) -> Result<HttpResponse, ApiError> {
    let (rule, digest) = path.into_inner();
    let (from_ms, to_ms) = span(body.from.as_deref(), body.to.as_deref(), clock::now_ms())?;
    let order = TrialOrder {
        rule,
        digest,
        settings: body.settings,
        host: body.host.unwrap_or_else(|| service.host().to_string()),
        from_ms,
        to_ms,
    };
    let mut job = trials.start(order).await?;
    job.ended_within(preferred_wait(&request)).await;
    response_to(&job)
}

/// Get the progress or the result of a trial
#[utoipa::path(
    get,
    path = "",
    operation_id = "trial",
    responses(
        (status = 200, description = "The result of the trial.", body = TrialResult<'static>),
        (status = 202, description = "The trial is running.", body = PendingTrial),
        (status = 409, description = "Conflicted with the current state; see `detail`."),
        (status = 422, description = "Validation failed; `check` and `advice` explain why.")
    )
)]
pub async fn outcome(_: Permit<RulesRead>, trials: Data<Trials>, id: Path<u64>) -> Result<HttpResponse, ApiError> {
    response_to(&find_trial(&trials, *id)?)
}

/// Cancel a trial
///
/// The results so far can still be read.
#[utoipa::path(
    delete,
    path = "",
    operation_id = "cancel_trial",
    responses((status = 204, description = "The trial is being cancelled."))
)]
pub async fn end(_: Permit<RulesWrite>, trials: Data<Trials>, id: Path<u64>) -> Result<HttpResponse, ApiError> {
    find_trial(&trials, *id)?.progress().cancel();
    Ok(HttpResponse::NoContent().finish())
}

fn find_trial(trials: &Trials, id: u64) -> Result<TrialJob, ApiError> {
    trials.find(id).ok_or_else(|| {
        ApiError::Missing(format!(
            "no trial {id} exists; finished trials are removed after a while"
        ))
    })
}

fn response_to(job: &TrialJob) -> Result<HttpResponse, ApiError> {
    match job.state() {
        JobState::Finished(Ok(outcome)) => Ok(HttpResponse::Ok().json(TrialResult {
            trial: job.id(),
            state: if outcome.cancelled { "cancelled" } else { "done" },
            outcome: &outcome,
        })),
        JobState::Finished(Err(error)) => Err((&*error).into()),
        JobState::Lost(reason) => Err(ApiError::Internal(reason)),
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
