//! Tries a version on what was measured before it is put in force.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::header::LOCATION;
use actix_web::web::{Data, Path};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use watchpost_policies::Digest;

use crate::api::body::IfAny;
use crate::api::error::ApiError;
use crate::api::faces::history::span;
use crate::api::permit::{HistoryRead, Permit, RulesRead, RulesWrite};
use crate::api::service::Service;
use crate::clock;
use crate::rules::registry::{Begun, Registry, TrialOrder};
use crate::rules::trial::Outcome;

/// An hour of rounds is replayed before; what takes longer is asked after.
const MOMENT: Duration = Duration::from_secs(2);

/// What to try it on.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Wanted {
    from: Option<String>,
    to: Option<String>,
    host: Option<String>,
    settings: Option<Map<String, Value>>,
}

#[derive(Serialize)]
struct Told<'o> {
    trial: u64,
    state: &'static str,
    #[serde(flatten)]
    outcome: &'o Outcome,
}

#[derive(Serialize)]
struct UnderWay {
    trial: u64,
    state: &'static str,
    snapshots: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
}

/// Begins a trial, and answers what came of it if that takes no longer than a moment.
pub async fn begin(
    _: Permit<RulesWrite>,
    _: Permit<HistoryRead>,
    registry: Data<Registry>,
    service: Data<Service>,
    path: Path<(String, Digest)>,
    IfAny(wanted): IfAny<Wanted>,
) -> Result<HttpResponse, ApiError> {
    let (rule, digest) = path.into_inner();
    let (from_ms, to_ms) = span(wanted.from.as_deref(), wanted.to.as_deref(), clock::now_ms())?;
    let order = TrialOrder {
        rule,
        digest,
        settings: wanted.settings,
        host: wanted.host.unwrap_or_else(|| service.host().to_owned()),
        from_ms,
        to_ms,
    };
    let mut begun = registry.begin_trial(order).await?;
    // Whoever does not want to wait longer asks after it.
    let _ = tokio::time::timeout(MOMENT, begun.outcome.wait_for(Option::is_some)).await;
    told(&begun)
}

/// How far a trial is, or what came of it.
pub async fn outcome(_: Permit<RulesRead>, registry: Data<Registry>, id: Path<u64>) -> Result<HttpResponse, ApiError> {
    told(&known(&registry, *id)?)
}

/// Ends a trial. What it found so far can be read.
pub async fn end(_: Permit<RulesWrite>, registry: Data<Registry>, id: Path<u64>) -> Result<HttpResponse, ApiError> {
    known(&registry, *id)?.progress.end();
    Ok(HttpResponse::NoContent().finish())
}

fn known(registry: &Registry, id: u64) -> Result<Begun, ApiError> {
    registry
        .trial(id)
        .ok_or_else(|| ApiError::Missing(format!("no trial {id} is known; old ones are forgotten")))
}

fn told(begun: &Begun) -> Result<HttpResponse, ApiError> {
    let came = begun.outcome.borrow().clone();
    match came {
        Some(Ok(outcome)) => Ok(HttpResponse::Ok().json(Told {
            trial: begun.id,
            state: if outcome.cancelled { "cancelled" } else { "done" },
            outcome: &outcome,
        })),
        Some(Err(error)) => Err((&*error).into()),
        None => {
            let (snapshots, at_ms) = begun.progress.so_far();
            Ok(HttpResponse::Accepted()
                .insert_header((LOCATION, format!("/api/v1/trials/{}", begun.id)))
                .json(UnderWay {
                    trial: begun.id,
                    state: "running",
                    snapshots,
                    at: (snapshots > 0).then(|| clock::written(at_ms)),
                }))
        }
    }
}
