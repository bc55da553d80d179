//! PixCrawler's resource monitor for its existing clients: `/health` and `/metrics` only, with the bodies and error
//! responses of FastAPI. The numbers of a round are rendered once, in `pixcrawler`.

use std::future::ready;

use actix_web::dev::Payload;
use actix_web::guard::GuardContext;
use actix_web::http::header::{ALLOW, HeaderValue, VARY};
use actix_web::web::{self, Data};
use actix_web::{FromRequest, HttpMessage, HttpRequest, HttpResponse, Scope};
use futures_util::future::Either;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::native::json_bytes;
use super::prometheus;
use crate::api::accept;
use crate::api::arguments::{Argument, HandlerSpec};
use crate::api::authn::Client;
use crate::api::error::ApiError;
use crate::api::latest::Latest;
use crate::api::permit::{HealthRead, MetricsRead, Permit, PermitFuture};
use crate::api::table::{Family, table};
use crate::config::ApiProfile;
use crate::judge::metrics_page::MetricsPages;
use crate::metrics::ServiceMetrics;
use crate::pixcrawler::{Body as Resources, EMPTY_METRICS, PixCrawlerRenderings};

/// All routes of a listener with this API profile.
pub fn table() -> Vec<Family> {
    table! {
        "Resource monitor", "The interface of PixCrawler's resource monitor.", PixCrawler {
            "/health": only_get(health);
            "/metrics": only_get(metrics);
        }
    }
}

/// Registers these routes, with the error responses that PixCrawler's clients know.
pub fn scope() -> Scope {
    let scope = web::scope("").guard(|context: &GuardContext<'_>| {
        let extensions = context.req_data();
        let client = extensions.get::<Client>();
        client.is_some_and(|client| client.api == ApiProfile::PixCrawler)
    });
    let routes = table().into_iter().flat_map(|family| family.routes);
    routes
        .fold(scope, |scope, at| {
            scope.service(at.bare().default_service(web::to(wrong_method)))
        })
        .default_service(web::to(not_found))
}

/// Get all metrics in the Prometheus format, service metrics included
///
/// A client that prefers JSON gets the response of PixCrawler's resource monitor.
#[utoipa::path(
    get,
    path = "",
    operation_id = "metrics",
    responses((
        status = 200,
        description = "In the format that `Accept` prefers.",
        content(
            (String = "text/plain; version=0.0.4; charset=utf-8"),
            (String = "application/openmetrics-text; version=1.0.0; charset=utf-8"),
            (Resources = "application/json")
        )
    ))
)]
pub async fn json_or_prometheus(
    _: Permit<MetricsRead>,
    request: HttpRequest,
    latest: Data<Latest>,
    pages: Data<MetricsPages>,
    renderings: Data<PixCrawlerRenderings>,
    service_metrics: Data<ServiceMetrics>,
) -> HttpResponse {
    if accept::prefers_json(&request) {
        let mut response = resource_response(&latest, &renderings);
        let headers = response.headers_mut();
        headers.insert(VARY, HeaderValue::from_static("accept, accept-encoding"));
        return response;
    }
    prometheus::page(&request, &latest, &pages, || service_metrics.gather()).await
}

/// Permission to read metrics: the role rule allows it, or the client is on this machine, where PixCrawler's clients
/// cannot authenticate.
pub struct LoopbackOrPermit(());

impl Argument for LoopbackOrPermit {
    fn describe(spec: &mut HandlerSpec) {
        Permit::<MetricsRead>::describe(spec);
        spec.open_on_loopback = true;
    }
}

impl FromRequest for LoopbackOrPermit {
    type Error = ApiError;
    type Future = PermitFuture<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let at_home = request
            .extensions()
            .get::<Client>()
            .is_some_and(|client| client.api == ApiProfile::PixCrawler && client.local);
        if at_home {
            return Either::Left(ready(Ok(Self(()))));
        }
        match Permit::<MetricsRead>::from_request(request, payload) {
            Either::Left(permit) => Either::Left(ready(permit.into_inner().map(|_| Self(())))),
            Either::Right(permit) => Either::Right(Box::pin(async { permit.await.map(|_| Self(())) })),
        }
    }
}

/// The status of the service.
#[derive(Serialize, ToSchema)]
struct Healthy {
    /// `healthy`.
    status: &'static str,
}

/// Report that the server responds
#[utoipa::path(
    get,
    path = "",
    operation_id = "health",
    responses((status = 200, description = "The server responds.", body = Healthy))
)]
async fn health(_: Permit<HealthRead>) -> HttpResponse {
    HttpResponse::Ok().json(Healthy { status: "healthy" })
}

/// Get disk, memory and chunk usage
#[utoipa::path(
    get,
    path = "",
    operation_id = "metrics",
    responses((status = 200, description = "Values that could not be measured are null, and their status is `UNKNOWN`; so are all while no new round arrives.", body = Resources))
)]
async fn metrics(_: LoopbackOrPermit, latest: Data<Latest>, renderings: Data<PixCrawlerRenderings>) -> HttpResponse {
    resource_response(&latest, &renderings)
}

fn resource_response(latest: &Latest, renderings: &PixCrawlerRenderings) -> HttpResponse {
    let body = match latest.judged() {
        None => EMPTY_METRICS.to_owned(),
        Some(judged) if latest.is_outdated(&judged) => renderings.of(&judged).outdated_body(),
        Some(judged) => renderings.of(&judged).body.clone(),
    };
    json_bytes(body.into_bytes())
}

async fn wrong_method() -> HttpResponse {
    let detail = json!({ "detail": "Method Not Allowed" });
    HttpResponse::MethodNotAllowed()
        .insert_header((ALLOW, "GET"))
        .json(detail)
}

async fn not_found() -> HttpResponse {
    HttpResponse::NotFound().json(json!({ "detail": "Not Found" }))
}
