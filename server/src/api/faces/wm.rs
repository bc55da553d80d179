//! The paths of the WM resource monitor, for the clients it had: the same keys and content types. The figures behind
//! `last_cycle_*` are real here.

use actix_web::http::header::{CACHE_CONTROL, ContentType};
use actix_web::web::{Data, Json};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;

use crate::api::latest::Latest;
use crate::api::links::absolute;
use crate::api::permit::{MetricsRead, Permit, ServiceRead};
use crate::api::service::{RUSTC, Service, VERSION};
use crate::clock;

const PAGE: &str = include_str!("wm.html");

/// The page that says where to look.
pub async fn page(_: Permit<ServiceRead>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(ContentType::html())
        .insert_header((
            "content-security-policy",
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        ))
        .body(PAGE)
}

/// Where the rest is.
#[derive(Serialize)]
pub struct Index {
    endpoints: Endpoints,
    version: &'static str,
}

#[derive(Serialize)]
struct Endpoints {
    metrics: String,
    status: String,
}

/// Where the rest is.
pub async fn index(_: Permit<ServiceRead>, request: HttpRequest) -> Json<Index> {
    Json(Index {
        endpoints: Endpoints {
            metrics: absolute(&request, "/wm_resource_monitor/api/metrics"),
            status: absolute(&request, "/wm_resource_monitor/api/status"),
        },
        version: VERSION,
    })
}

/// How it is. The keys are in the order in which they always were.
#[derive(Serialize)]
pub struct Status {
    last_cycle_duration: Option<f64>,
    last_cycle_start: Option<String>,
    python_version: String,
    status: &'static str,
    timestamp: String,
    uptime: f64,
    version: &'static str,
}

/// How it is.
pub async fn status(_: Permit<MetricsRead>, service: Data<Service>, latest: Data<Latest>) -> HttpResponse {
    let judged = latest.judged();
    let round = judged.as_ref().map(|judged| &judged.round);
    let status = Status {
        last_cycle_duration: round.map(|round| round.took.as_secs_f64()),
        last_cycle_start: round.map(|round| offset_time(round.began_ms)),
        python_version: format!("none: built by {RUSTC}"),
        status: "healthy",
        timestamp: offset_time(clock::now_ms()),
        uptime: service.uptime().as_secs_f64(),
        version: VERSION,
    };
    // A line of its own, as the original ended it.
    let mut body = serde_json::to_vec(&status).unwrap_or_default();
    body.push(b'\n');
    HttpResponse::Ok()
        .content_type(ContentType::json())
        .insert_header((CACHE_CONTROL, "no-store"))
        .body(body)
}

/// With the offset written out, which older readers of ISO 8601 want.
fn offset_time(time_ms: u64) -> String {
    clock::written(time_ms).replace('Z', "+00:00")
}
