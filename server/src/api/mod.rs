//! The HTTP API: the one table of routes. The handlers are in `routes`, a file for each family of paths; the middleware
//! is in `gate`, and the OpenAPI document of the routes in `document`.

pub mod accept;
pub mod access;
mod access_log;
pub mod arguments;
pub mod authn;
mod body_limit;
pub mod compress;
mod cross_site;
pub mod document;
pub mod error;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod gate;
pub mod input;
pub mod latest;
pub mod links;
pub mod pagination;
pub mod permit;
pub mod process;
pub mod query_time;
pub mod rate;
pub mod readiness;
pub mod request_id;
pub mod routes;
mod streamed;
pub mod streaming;
pub mod table;

use actix_web::web::{self, PathConfig, PayloadConfig, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};

use error::ApiError;
use input::path_error;
use routes::rules::{change, generation, read, trial, upload};
use routes::{chunks, decisions, docs, health, history, metrics, native, pixcrawler, status, wm};
use table::Family;

/// All routes. Those of an API profile come first, and match only on listeners with that profile.
pub fn routes(config: &mut ServiceConfig) {
    config.service(pixcrawler::scope());
    for at in table().into_iter().flat_map(|family| family.routes) {
        config.service(at);
    }
    config.default_service(web::to(not_found));
}

/// The paths of the full API. If a request matches two routes, the first is used.
pub fn table() -> Vec<Family> {
    table::table! {
        "Service", "The index of all endpoints, and your identity.", Service {
            "/": get(native::index);
            "/api": get(native::api_index);
            "/api/v1": get(native::api_v1_index);
            "/api/v1/whoami": get(native::whoami);
            "/openapi.json": get(docs::openapi);
            "/docs": get(docs::swagger_ui);
            "/redoc": get(docs::redoc);
            "/docs/assets/{file}": get(docs::asset);
        }
        "Machine", "The latest measurements of this machine, and the findings of the rules.", Machine {
            "/api/v1/status": get(status::status);
            "/api/v1/snapshot": get(native::snapshot);
            "/api/v1/report": get(native::report);
            "/api/v1/metrics": get(metrics::list);
            "/metrics" [Metrics]: get(pixcrawler::json_or_prometheus);
        }
        "History", "Recorded measurements and reports.", History {
            "/api/v1/history": get(history::history);
            "/api/v1/snapshots": get(history::snapshots);
            "/api/v1/reports": get(history::reports);
        }
        "Health", "Health endpoints for probes and load balancers.", Health {
            "/health": get(health::health);
            "/health/live" limited as Exempt: get(health::live);
            "/health/ready" limited as Probe: get(health::ready);
            "/health/detailed": get(health::detailed);
        }
        "Chunks", "Work chunks: workers report their progress, other clients read it.", Chunks {
            "/api/v1/chunks": get(chunks::list), post(chunks::report);
            "/api/v1/chunks/summary": get(chunks::summary);
            "/api/v1/chunks/{id}": get(chunks::one), patch(chunks::change);
        }
        "Rules", "Threshold rules judge measurements, role rules authorize clients. Rules can be changed at run time.",
        RulesRead / RulesChange {
            "/api/v1/rules": get(read::list), post(upload::upload, Component);
            "/api/v1/rules/{name}/versions/{digest}/trial": post(trial::begin);
            "/api/v1/trials/{id}": get(trial::outcome), delete(trial::end);
            "/api/v1/uploads/{id}": get(upload::outcome);
            "/api/v1/rules/{name}": get(read::one), delete(change::delete);
            "/api/v1/rules/{name}/versions": get(read::versions);
            "/api/v1/rules/{name}/versions/{digest:[0-9a-f]{64}}.wasm": get(read::component);
            "/api/v1/rules/{name}/versions/{digest}": get(read::version), delete(change::delete_version);
            "/api/v1/rules/{name}/active": put(change::activate), delete(change::deactivate);
            "/api/v1/rules/{name}/shadow": delete(change::end_shadow);
            "/api/v1/rules/{name}/rollback": post(change::roll_back);
            "/api/v1/rules/{name}/settings": put(change::set_settings), delete(change::unset_settings);
            "/api/v1/rules/{name}/log": get(read::log);
            "/api/v1/generation/statement": get(generation::statement);
            "/api/v1/generation/signature": put(generation::sign);
        }
        "Decisions", "Recorded access decisions and findings.", History {
            "/api/v1/decisions": get(decisions::list);
        }
        "WM resource monitor", "The interface of the WM resource monitor, for its existing clients.", Wm {
            "/wm_resource_monitor": get(wm::page);
            "/wm_resource_monitor/api": get(wm::index);
            "/wm_resource_monitor/api/status": get(wm::status);
            "/wm_resource_monitor/api/metrics": get(wm::metrics);
        }
    }
}

async fn not_found(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    Err(ApiError::NotFound(request.path().to_owned()))
}

/// Turns the framework's extractor errors into API errors. The size of a body is limited by the gate.
pub fn refusals() -> impl Fn(&mut ServiceConfig) + Clone {
    |config: &mut ServiceConfig| {
        config
            .app_data(PayloadConfig::new(usize::MAX))
            .app_data(PathConfig::default().error_handler(|error, request| path_error(&error, request).into()));
    }
}
