//! Watchpost's own paths: where everything is, what was measured, what the rules say of it, and who asks. How it is
//! itself is in `status`.

use std::collections::BTreeMap;

use actix_web::http::header::{CACHE_CONTROL, ContentType};
use actix_web::web::{Data, Json};
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use serde::Serialize;
use watchpost_policies::{Action, Identity};

use crate::api::door::Client;
use crate::api::error::ApiError;
use crate::api::latest::Latest;
use crate::api::links::absolute;
use crate::api::permit::{MetricsRead, Permit, ServiceRead, decide};
use crate::api::service::VERSION;

/// Where everything is.
#[derive(Serialize)]
pub struct Index {
    message: &'static str,
    version: &'static str,
    endpoints: BTreeMap<&'static str, String>,
}

/// Where everything is.
pub async fn index(_: Permit<ServiceRead>, request: HttpRequest) -> Json<Index> {
    let endpoints = [
        ("status", "/api/v1/status"),
        ("snapshot", "/api/v1/snapshot"),
        ("report", "/api/v1/report"),
        ("whoami", "/api/v1/whoami"),
        ("metrics", "/metrics"),
        ("health", "/health"),
        ("liveness", "/health/live"),
        ("readiness", "/health/ready"),
        ("detailed_health", "/health/detailed"),
        ("wm_resource_monitor", "/wm_resource_monitor"),
    ];
    Json(Index {
        message: "Watchpost watches this machine",
        version: VERSION,
        endpoints: endpoints.map(|(name, path)| (name, absolute(&request, path))).into(),
    })
}

/// What was measured.
pub async fn snapshot(_: Permit<MetricsRead>, latest: Data<Latest>) -> Result<HttpResponse, ApiError> {
    json(&*latest.needed()?.round.snapshot)
}

/// What the rules say of it.
pub async fn report(_: Permit<MetricsRead>, latest: Data<Latest>) -> Result<HttpResponse, ApiError> {
    json(&*latest.needed()?.report)
}

/// It changes every few seconds, so nobody should keep it.
fn json(value: &impl Serialize) -> Result<HttpResponse, ApiError> {
    let body = serde_json::to_vec(value).map_err(|error| ApiError::Internal(error.to_string()))?;
    Ok(json_bytes(body))
}

pub(super) fn json_bytes(body: Vec<u8>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(ContentType::json())
        .insert_header((CACHE_CONTROL, "no-store"))
        .body(body)
}

/// Who asks, and what they may.
#[derive(Serialize)]
pub struct WhoAmI {
    identity: Identity,
    address: String,
    roles: Vec<String>,
    may: Vec<Action>,
    decided_by: DecidedBy,
}

#[derive(Serialize)]
struct DecidedBy {
    rule: String,
    digest: String,
    generation: u64,
}

/// Who asks, and what they may.
pub async fn whoami(_: Permit<ServiceRead>, request: HttpRequest) -> Result<Json<WhoAmI>, ApiError> {
    let client = request.extensions().get::<Client>().cloned();
    let client = client.ok_or_else(|| ApiError::Internal("a request passed the gate without a client".to_owned()))?;
    let mut may = Vec::new();
    for action in Action::ALL {
        if decide(&request, &client.identity, *action)?.is_allowed() {
            may.push(*action);
        }
    }
    let decision = decide(&request, &client.identity, Action::ServiceRead)?;
    Ok(Json(WhoAmI {
        identity: client.identity,
        address: client.address.to_string(),
        roles: decision.roles.clone(),
        may,
        decided_by: DecidedBy {
            rule: decision.rule.clone(),
            digest: decision.digest.to_string(),
            generation: decision.generation,
        },
    }))
}
