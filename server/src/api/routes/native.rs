//! Watchpost's own paths: where everything is, what was measured, what the rules say of it, and who asks. How it is
//! itself is in `status`.

use std::collections::BTreeMap;

use actix_web::http::header::{CACHE_CONTROL, ContentType, VARY};
use actix_web::web::{Data, Json};
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use serde::Serialize;
use utoipa::ToSchema;
use watchpost_policies::{Action, Digest, Identity, Report, Snapshot};

use super::pages;
use crate::api::accept;
use crate::api::authn::Client;
use crate::api::document::contents;
use crate::api::error::ApiError;
use crate::api::latest::Latest;
use crate::api::links::absolute;
use crate::api::permit::{MetricsRead, Permit, ServiceRead, decide};
use crate::api::process::VERSION;

/// Where everything is.
#[derive(Serialize, ToSchema)]
pub struct Index {
    /// What this is.
    message: &'static str,
    /// The version that runs.
    version: &'static str,
    /// Absolute addresses, by name.
    #[schema(value_type = BTreeMap<String, String>)]
    endpoints: BTreeMap<&'static str, String>,
}

/// Where everything is
///
/// A page for browsers, and JSON for programs.
#[utoipa::path(
    get,
    path = "",
    operation_id = "index",
    responses((
        status = 200,
        description = "All paths that can simply be looked at, by name.",
        content((Index = "application/json"), (String = "text/html"))
    ))
)]
pub async fn index(_: Permit<ServiceRead>, request: HttpRequest) -> HttpResponse {
    if accept::prefers_html(&request) {
        return pages::index();
    }
    let endpoints = contents().iter().flat_map(|chapter| &chapter.endpoints);
    let endpoints = endpoints.filter(|endpoint| endpoint.is_page());
    let index = Index {
        message: "Watchpost watches this machine",
        version: VERSION,
        endpoints: endpoints
            .map(|endpoint| (endpoint.name.as_str(), absolute(&request, &endpoint.path)))
            .collect(),
    };
    HttpResponse::Ok()
        .insert_header((VARY, "accept, accept-encoding"))
        .json(index)
}

/// What was measured last
#[utoipa::path(
    get,
    path = "",
    operation_id = "snapshot",
    responses((status = 200, description = "The latest round.", body = Snapshot))
)]
pub async fn snapshot(_: Permit<MetricsRead>, latest: Data<Latest>) -> Result<HttpResponse, ApiError> {
    json(&*latest.needed()?.round.snapshot)
}

/// What the rules say of what was measured last
#[utoipa::path(
    get,
    path = "",
    operation_id = "report",
    responses((status = 200, description = "The report about the latest round.", body = Report))
)]
pub async fn report(_: Permit<MetricsRead>, latest: Data<Latest>) -> Result<HttpResponse, ApiError> {
    json(&*latest.needed()?.report)
}

/// It changes every few seconds, so nobody should keep it.
pub(super) fn json(value: &impl Serialize) -> Result<HttpResponse, ApiError> {
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
#[derive(Serialize, ToSchema)]
pub struct WhoAmI {
    /// Who, and by what that is known.
    identity: Identity,
    /// From where.
    address: String,
    /// The roles that the role rule gives.
    roles: Vec<String>,
    /// What may be done just now.
    may: Vec<Action>,
    /// Which rule says so.
    decided_by: DecidedBy,
}

#[derive(Serialize, ToSchema)]
struct DecidedBy {
    /// Its name.
    rule: String,
    /// Which version of it.
    #[schema(value_type = Digest)]
    digest: String,
    /// The generation that it belongs to.
    generation: u64,
}

/// Who you are here, and what you may do
#[utoipa::path(
    get,
    path = "",
    operation_id = "whoami",
    responses((status = 200, description = "As the role rule in force has it just now.", body = WhoAmI))
)]
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
