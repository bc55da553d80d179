//! Watchpost's own paths: how it is, what it measured, what the rules say of it, and who asks.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix_web::http::header::{CACHE_CONTROL, ContentType};
use actix_web::web::{Data, Json};
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use serde::Serialize;
use watchpost_policies::{Action, Allocation, Identity, Kind, Report, RuleSet, Severity};

use crate::api::door::Client;
use crate::api::error::ApiError;
use crate::api::faces::health::not_ready;
use crate::api::latest::Latest;
use crate::api::links::absolute;
use crate::api::permit::{MetricsRead, Permit, ServiceRead, decide};
use crate::api::service::{COMMIT, Listening, RUSTC, Service, VERSION};
use crate::clock;
use crate::rules::Rules;
use crate::tasks::{TaskState, Tasks};
use crate::tls::Tls;

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

/// How Watchpost is, but for the last round, which is written when it is judged.
#[derive(Serialize)]
struct Status {
    version: &'static str,
    commit: &'static str,
    rustc: &'static str,
    host: String,
    time: String,
    started: String,
    uptime_seconds: f64,
    ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_ready_because: Option<&'static str>,
    severity: Severity,
    listeners: Vec<Listening>,
    tls: Certificates,
    rules: InForce,
    tasks: BTreeMap<String, TaskState>,
}

#[derive(Serialize)]
struct Certificates {
    generation: u64,
    certificate_ends: String,
    client_ca_ends: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    crl_ends: Option<String>,
}

#[derive(Serialize)]
struct InForce {
    generation: u64,
    allocation: &'static str,
    rules: Vec<RuleLine>,
    faults: usize,
}

#[derive(Serialize)]
struct RuleLine {
    name: String,
    kind: Kind,
    version: String,
    digest: String,
}

/// How Watchpost is.
pub async fn status(
    _: Permit<MetricsRead>,
    service: Data<Service>,
    latest: Data<Latest>,
    rules: Data<Rules>,
    tls: Data<Tls>,
    tasks: Data<Tasks>,
) -> Result<HttpResponse, ApiError> {
    let judged = latest.judged();
    let report = latest.report();
    let not_ready_because = not_ready(&service, &latest);
    let status = Status {
        version: VERSION,
        commit: COMMIT,
        rustc: RUSTC,
        host: service.host().to_owned(),
        time: clock::written(clock::now_ms()),
        started: clock::written(service.began_ms()),
        uptime_seconds: service.uptime().as_secs_f64(),
        ready: not_ready_because.is_none(),
        not_ready_because,
        severity: report.severity(),
        listeners: service.listening().to_vec(),
        tls: Certificates::of(&tls),
        rules: InForce::of(&rules, &report),
        tasks: tasks.states(),
    };
    let mut body = serde_json::to_string(&status).map_err(|error| ApiError::Internal(error.to_string()))?;
    let round = judged.as_ref().map_or("null", |judged| &judged.told);
    body.truncate(body.len() - 1);
    body.push_str(",\"round\":");
    body.push_str(round);
    body.push('}');
    Ok(json_bytes(body.into_bytes()))
}

impl Certificates {
    fn of(tls: &Tls) -> Self {
        let ends = tls.expiry();
        let written = |seconds: i64| clock::written(u64::try_from(seconds).unwrap_or(0).saturating_mul(1000));
        Self {
            generation: tls.generation(),
            certificate_ends: written(ends.server),
            client_ca_ends: written(ends.client_ca),
            crl_ends: ends.crl.map(written),
        }
    }
}

impl InForce {
    fn of(rules: &Rules, report: &Report) -> Self {
        let set: Arc<RuleSet> = rules.current();
        let line = |rule: &watchpost_policies::Rule| RuleLine {
            name: rule.name().to_owned(),
            kind: rule.module().kind(),
            version: rule.module().manifest().version.clone(),
            digest: rule.module().digest().to_string(),
        };
        Self {
            generation: set.generation(),
            allocation: match rules.engine().allocation() {
                Allocation::Pooling => "pooling",
                Allocation::OnDemand { .. } => "on demand",
            },
            rules: set.thresholds().iter().chain([set.role()]).map(line).collect(),
            faults: report.faults().len(),
        }
    }
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

fn json_bytes(body: Vec<u8>) -> HttpResponse {
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
