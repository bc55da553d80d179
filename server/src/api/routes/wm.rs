//! The paths of the WM resource monitor, for the clients it had: the same keys and content types. The figures behind
//! `last_cycle_*` are real here.

use std::collections::BTreeMap;

use actix_web::http::header::{CACHE_CONTROL, ContentType};
use actix_web::web::{Data, Json};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use utoipa::ToSchema;

use super::pages;
use crate::api::document::{Endpoint, contents};
use crate::api::latest::Latest;
use crate::api::links::absolute;
use crate::api::permit::{MetricsRead, Permit, ServiceRead};
use crate::api::process::{RUSTC, Service, VERSION};
use crate::clock;

const PAGE: &str = include_str!("../../../assets/wm.html");

/// What its paths begin with, but for those of the pages themselves.
const API: &str = "/wm_resource_monitor/api/";

/// The page that says where to look
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
    // Where a front end brings us only these paths, a style sheet of another would be missing.
    pages::html(PAGE.replace("{endpoints}", &lines), &pages::own_style(PAGE))
}

/// Where the rest is.
#[derive(Serialize, ToSchema)]
#[schema(as = WmIndex)]
pub struct Index {
    /// Absolute addresses, by name.
    #[schema(value_type = BTreeMap<String, String>)]
    endpoints: BTreeMap<&'static str, String>,
    /// The version that runs.
    version: &'static str,
}

/// Where the rest of this interface is
#[utoipa::path(
    get,
    path = "",
    operation_id = "wm_resource_monitor_api",
    responses((status = 200, description = "Absolute addresses, by name.", body = Index))
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

/// How it is. The keys are in the order in which they always were.
#[derive(Serialize, ToSchema)]
#[schema(as = WmStatus)]
pub struct Status {
    /// How long the last round took, in seconds.
    #[schema(required)]
    last_cycle_duration: Option<f64>,
    /// When it began.
    #[schema(required)]
    last_cycle_start: Option<String>,
    /// There is none; what built it stands here.
    python_version: String,
    /// `healthy`.
    status: &'static str,
    /// What time it is here, with the offset written out.
    timestamp: String,
    /// For how many seconds it runs.
    uptime: f64,
    /// The version that runs.
    version: &'static str,
}

/// How Watchpost is, in the words of the WM resource monitor
#[utoipa::path(
    get,
    path = "",
    operation_id = "wm_resource_monitor_status",
    responses((status = 200, description = "The keys are those that it always had.", body = Status))
)]
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
