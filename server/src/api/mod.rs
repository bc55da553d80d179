//! The HTTP API: the one table of routes. The handlers are in `routes`, a file for each family of paths; the middleware
//! is in `gate`, and the OpenAPI document of the routes in `document`.

pub mod accept;
pub mod access;
pub mod arguments;
pub mod authn;
pub mod body;
mod body_limit;
pub mod compress;
pub mod document;
pub mod error;
pub mod gate;
pub mod latest;
pub mod links;
pub mod pagination;
pub mod permit;
pub mod process;
pub mod query_time;
pub mod rate;
pub mod request_id;
pub mod routes;
mod streamed;
pub mod streaming;
pub mod table;

use actix_web::error::{JsonPayloadError, PathError, PayloadError, QueryPayloadError};
use actix_web::web::{self, JsonConfig, PathConfig, PayloadConfig, QueryConfig, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};

use error::ApiError;
use routes::rules::{change, read, trial, upload};
use routes::{chunks, decisions, docs, health, history, native, pixcrawler, prometheus, status, wm};
use table::{BodyClass, Family};

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
        "Service", "The index of all endpoints, and your identity." {
            "/": get(native::index);
            "/api/v1/whoami": get(native::whoami);
            "/openapi.json": get(docs::openapi);
            "/docs": get(docs::swagger_ui);
            "/redoc": get(docs::redoc);
            "/docs/assets/{file}": get(docs::asset);
        }
        "Machine", "The latest measurements of this machine, and the findings of the rules." {
            "/api/v1/status": get(status::status);
            "/api/v1/snapshot": get(native::snapshot);
            "/api/v1/report": get(native::report);
            "/metrics": get(pixcrawler::json_or_prometheus);
        }
        "History", "Recorded measurements and reports." {
            "/api/v1/history": get(history::history);
            "/api/v1/snapshots": get(history::snapshots);
            "/api/v1/reports": get(history::reports);
        }
        "Health", "Health endpoints for probes and load balancers." {
            "/health": get(health::health);
            "/health/live": get(health::live);
            "/health/ready": get(health::ready);
            "/health/detailed": get(health::detailed);
        }
        "Chunks", "Work chunks: workers report their progress, other clients read it." {
            "/api/v1/chunks": get(chunks::list), post(chunks::report);
            "/api/v1/chunks/summary": get(chunks::summary);
            "/api/v1/chunks/{id}": get(chunks::one), patch(chunks::change);
        }
        "Rules", "Threshold rules judge measurements, role rules authorize clients. Rules can be changed at run time." {
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
        }
        "Decisions", "Recorded access decisions and findings." {
            "/api/v1/decisions": get(decisions::list);
        }
        "WM resource monitor", "The interface of the WM resource monitor, for its existing clients." {
            "/wm_resource_monitor": get(wm::page);
            "/wm_resource_monitor/api": get(wm::index);
            "/wm_resource_monitor/api/status": get(wm::status);
            "/wm_resource_monitor/api/metrics": get(prometheus::metrics);
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
            .app_data(
                JsonConfig::default()
                    .limit(usize::MAX)
                    .error_handler(|error, _| json(error).into()),
            )
            .app_data(QueryConfig::default().error_handler(|error, _| query(&error).into()))
            .app_data(PathConfig::default().error_handler(|error, request| path(&error, request).into()));
    }
}

fn json(error: JsonPayloadError) -> ApiError {
    match error {
        JsonPayloadError::Payload(PayloadError::Overflow) => ApiError::BodyTooLarge,
        JsonPayloadError::Payload(PayloadError::Io(error)) if error.kind() == std::io::ErrorKind::TimedOut => {
            ApiError::BodyTooSlow
        }
        JsonPayloadError::ContentType => BodyClass::Json.wrong_form(),
        JsonPayloadError::Deserialize(error) => unexpected(&error),
        error => unexpected(&error),
    }
}

fn unexpected(error: &dyn std::error::Error) -> ApiError {
    ApiError::BadRequest(format!("the body is not valid JSON for this request: {error}"))
}

fn query(error: &QueryPayloadError) -> ApiError {
    let message = match error {
        QueryPayloadError::Deserialize(error) => error.to_string(),
        error => error.to_string(),
    };
    // serde's message starts like this when a parameter is missing.
    let missing = message
        .strip_prefix("missing field `")
        .and_then(|rest| rest.strip_suffix('`'));
    ApiError::BadRequest(match missing {
        Some(name) => format!("{name} is missing; write ?{name}=…"),
        None => format!("invalid query: {message}"),
    })
}

/// If a path segment is a number, nothing else in the path can be wrong.
fn path(error: &PathError, request: &HttpRequest) -> ApiError {
    ApiError::BadRequest(match (request.match_info().get("id"), error) {
        (Some(id), _) => format!("\"{id}\" is not a number; write the id from an earlier response, such as 1"),
        (None, PathError::Deserialize(error)) => format!("invalid path: {error}"),
        (None, error) => format!("invalid path: {error}"),
    })
}
