//! The interface of the WM resource monitor for its existing clients: the same keys and content types. Unlike the
//! original, `last_cycle_*` has real values.

use std::collections::BTreeMap;

use actix_web::http::header::{CACHE_CONTROL, ContentType};
use actix_web::web::{Data, Json};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use utoipa::ToSchema;

use super::{pages, prometheus};
use crate::api::document::{Endpoint, contents};
use crate::api::latest::Latest;
use crate::api::links::absolute;
use crate::api::permit::{MetricsRead, Permit, ServiceRead};
use crate::api::process::{Service, VERSION};
use crate::clock;
use crate::judge::metrics_page::MetricsPages;
use crate::metrics::ServiceMetrics;

const PAGE: &str = include_str!("../../../assets/wm.html");

/// No version of Python, in the form of one: clients parse it as three integers.
const NO_PYTHON: &str = "0.0.0";

/// The common prefix of the paths; the index pages have others.
const API: &str = "/wm_resource_monitor/api/";

/// Get the index page of the WM resource monitor
#[utoipa::path(
    get,
    path = "",
    operation_id = "wm_resource_monitor",
    responses((status = 200, description = "A page for people.", body = String, content_type = "text/html"))
)]
pub async fn page(_: Permit<ServiceRead>) -> HttpResponse {
    let line = |endpoint: &Endpoint| {
        let (path, summary) = (pages::path(endpoint), pages::escaped(&endpoint.summary));
        format!("<dt>{path}</dt>\n<dd>{summary}.</dd>\n")
    };
    let lines: String = endpoints().map(line).collect();
    // A reverse proxy may forward only these paths, so the page cannot use a style sheet of another path.
    pages::html(PAGE.replace("{endpoints}", &lines), &pages::inline_style_policy(PAGE))
}

/// The index of the interface.
#[derive(Serialize, ToSchema)]
#[schema(as = WmIndex)]
pub struct Index {
    /// Absolute URLs by name.
    #[schema(value_type = BTreeMap<String, String>)]
    endpoints: BTreeMap<&'static str, String>,
    /// The version of the server.
    version: &'static str,
}

/// List the endpoints of the WM interface
#[utoipa::path(
    get,
    path = "",
    operation_id = "wm_resource_monitor_api",
    responses((status = 200, description = "Absolute URLs by name.", body = Index))
)]
pub async fn index(_: Permit<ServiceRead>, request: HttpRequest) -> Json<Index> {
    let name = |endpoint: &'static Endpoint| endpoint.path.trim_start_matches(API);
    Json(Index {
        endpoints: endpoints()
            .map(|endpoint| (name(endpoint), absolute(&request, &endpoint.path)))
            .collect(),
        version: VERSION,
    })
}

fn endpoints() -> impl Iterator<Item = &'static Endpoint> {
    let all = contents().iter().flat_map(|chapter| &chapter.endpoints);
    all.filter(|endpoint| endpoint.path.starts_with(API))
}

/// The status, with the keys in the order of the original.
#[derive(Serialize, ToSchema)]
#[schema(as = WmStatus)]
pub struct Status {
    /// Duration of the last round, in seconds.
    #[schema(required)]
    last_cycle_duration: Option<f64>,
    /// Start time of the last round.
    #[schema(required)]
    last_cycle_start: Option<String>,
    /// `0.0.0`, because the server runs without Python. The key stays, and its value can be parsed as a version.
    python_version: &'static str,
    /// `healthy`.
    status: &'static str,
    /// The server's current time, with its UTC offset.
    timestamp: String,
    /// Uptime in seconds.
    uptime: f64,
    /// The version of the server.
    version: &'static str,
}

/// Get the status in the format of the WM resource monitor
#[utoipa::path(
    get,
    path = "",
    operation_id = "wm_resource_monitor_status",
    responses((status = 200, description = "The keys are those of the original.", body = Status))
)]
pub async fn status(_: Permit<MetricsRead>, service: Data<Service>, latest: Data<Latest>) -> HttpResponse {
    let judged = latest.judged();
    let round = judged.as_ref().map(|judged| &judged.round);
    let status = Status {
        last_cycle_duration: round.map(|round| round.duration.as_secs_f64()),
        last_cycle_start: round.map(|round| offset_time(round.started_ms)),
        python_version: NO_PYTHON,
        status: "healthy",
        timestamp: offset_time(clock::now_ms()),
        uptime: service.uptime().as_secs_f64(),
        version: VERSION,
    };
    // The original ends the body with a newline.
    let mut body = serde_json::to_vec(&status).expect("a status has string keys, so it can be written as JSON");
    body.push(b'\n');
    HttpResponse::Ok()
        .content_type(ContentType::json())
        .insert_header((CACHE_CONTROL, "no-store"))
        .body(body)
}

/// Get all metrics in the Prometheus format, with those of requests under their former names
#[utoipa::path(
    get,
    path = "",
    operation_id = "wm_resource_monitor_metrics",
    responses((
        status = 200,
        description = "The metrics of `/metrics`, and `flask_*` for requests to the WM interface. In the format that `Accept` prefers.",
        content(
            (String = "text/plain; version=0.0.4; charset=utf-8"),
            (String = "application/openmetrics-text; version=1.0.0; charset=utf-8")
        )
    ))
)]
pub async fn metrics(
    _: Permit<MetricsRead>,
    request: HttpRequest,
    latest: Data<Latest>,
    pages: Data<MetricsPages>,
    service_metrics: Data<ServiceMetrics>,
) -> HttpResponse {
    prometheus::page(&request, &latest, &pages, || service_metrics.gather_with_flask()).await
}

/// With the UTC offset, which older parsers of ISO 8601 need.
fn offset_time(time_ms: u64) -> String {
    clock::written(time_ms).replace('Z', "+00:00")
}
