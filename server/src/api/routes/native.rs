//! Watchpost's own paths: the index, the latest snapshot, the rules' report about it, and the client's identity and
//! permissions. The state of the server itself is in `status`.

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
use crate::api::process::{Service, VERSION};
use crate::clock;

/// The index of all endpoints.
#[derive(Serialize, ToSchema)]
pub struct Index {
    /// The name of the service.
    message: &'static str,
    /// The version of the server.
    version: &'static str,
    /// Absolute URLs by name.
    #[schema(value_type = BTreeMap<String, String>)]
    endpoints: BTreeMap<&'static str, String>,
}

/// List all endpoints
///
/// Programs get JSON. Browsers get a page: the state of the machine, or how to log in for clients that may not read it.
#[utoipa::path(
    get,
    path = "",
    operation_id = "index",
    responses((
        status = 200,
        description = "The paths that can be read with GET and no parameters, by name.",
        content((Index = "application/json"), (String = "text/html"))
    ))
)]
pub async fn index(
    _: Permit<ServiceRead>,
    request: HttpRequest,
    latest: Data<Latest>,
    service: Data<Service>,
) -> Result<HttpResponse, ApiError> {
    if accept::prefers_html(&request) {
        let client = client(&request)?;
        let may_read = decide(&request, &client.identity, Action::MetricsRead)?.is_allowed();
        return Ok(match may_read {
            true => pages::machine(&latest, &service, clock::now_ms()),
            false => pages::welcome(&request, &client.identity, &service),
        });
    }
    Ok(endpoints(&request))
}

/// List all endpoints of the API
///
/// The same as the index, always as JSON.
#[utoipa::path(
    get,
    path = "",
    operation_id = "api_index",
    responses((status = 200, description = "The paths that can be read with GET and no parameters, by name.", body = Index))
)]
pub async fn api_index(_: Permit<ServiceRead>, request: HttpRequest) -> HttpResponse {
    endpoints(&request)
}

/// List all endpoints of version 1 of the API
///
/// The same as the index, always as JSON.
#[utoipa::path(
    get,
    path = "",
    operation_id = "api_v1_index",
    responses((status = 200, description = "The paths that can be read with GET and no parameters, by name.", body = Index))
)]
pub async fn api_v1_index(_: Permit<ServiceRead>, request: HttpRequest) -> HttpResponse {
    endpoints(&request)
}

fn endpoints(request: &HttpRequest) -> HttpResponse {
    let endpoints = contents().iter().flat_map(|chapter| &chapter.endpoints);
    let endpoints = endpoints.filter(|endpoint| endpoint.is_page());
    let index = Index {
        message: "Watchpost monitors this machine",
        version: VERSION,
        endpoints: endpoints
            .map(|endpoint| (endpoint.name.as_str(), absolute(request, &endpoint.path)))
            .collect(),
    };
    HttpResponse::Ok()
        .insert_header((VARY, "accept, accept-encoding"))
        .json(index)
}

/// Get the latest snapshot
#[utoipa::path(
    get,
    path = "",
    operation_id = "snapshot",
    responses((status = 200, description = "The latest round.", body = Snapshot))
)]
pub async fn snapshot(_: Permit<MetricsRead>, latest: Data<Latest>) -> Result<HttpResponse, ApiError> {
    json(&*latest.needed()?.round.snapshot)
}

/// Get the report of the rules about the latest snapshot
#[utoipa::path(
    get,
    path = "",
    operation_id = "report",
    responses((
        status = 200,
        description = "The report about the latest round. If no new round arrives, its severity is unknown.",
        body = Report
    ))
)]
pub async fn report(_: Permit<MetricsRead>, latest: Data<Latest>) -> Result<HttpResponse, ApiError> {
    let judged = latest.needed()?;
    json(&*latest.report_of(Some(&judged)))
}

/// The response changes every few seconds, so clients must not cache it.
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

/// The client's identity and permissions.
#[derive(Serialize, ToSchema)]
pub struct WhoAmI {
    /// The identity, and how the client authenticated.
    identity: Identity,
    /// The client's address.
    address: String,
    /// The roles that the role rule assigns.
    roles: Vec<String>,
    /// The actions that the client may perform now, without reserved ones.
    allowed_actions: Vec<Action>,
    /// The rule that decided.
    decided_by: DecidedBy,
}

#[derive(Serialize, ToSchema)]
struct DecidedBy {
    /// The name of the rule.
    rule: String,
    /// The version of the rule.
    #[schema(value_type = Digest)]
    digest: String,
    /// The rules generation of the decision.
    generation: u64,
}

/// Get your identity and permissions
#[utoipa::path(
    get,
    path = "",
    operation_id = "whoami",
    responses((status = 200, description = "The identity, and the actions that the active role rule allows now.", body = WhoAmI))
)]
pub async fn whoami(_: Permit<ServiceRead>, request: HttpRequest) -> Result<Json<WhoAmI>, ApiError> {
    let client = client(&request)?;
    let mut allowed_actions = Vec::new();
    for action in Action::ALL.iter().filter(|action| !action.is_reserved()) {
        if decide(&request, &client.identity, *action)?.is_allowed() {
            allowed_actions.push(*action);
        }
    }
    let decision = decide(&request, &client.identity, Action::ServiceRead)?;
    Ok(Json(WhoAmI {
        identity: client.identity,
        address: client.address.to_string(),
        roles: decision.roles.clone(),
        allowed_actions,
        decided_by: DecidedBy {
            rule: decision.rule.clone(),
            digest: decision.digest.to_string(),
            generation: decision.generation,
        },
    }))
}

fn client(request: &HttpRequest) -> Result<Client, ApiError> {
    let client = request.extensions().get::<Client>().cloned();
    client.ok_or_else(|| ApiError::Internal("a request passed the gate without an authenticated client".to_owned()))
}
