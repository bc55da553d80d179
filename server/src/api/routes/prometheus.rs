//! Metrics for Prometheus: the last round with newer readings of its counters, and the current service metrics. This is
//! the one request that measures.

use actix_web::http::header::{CONTENT_ENCODING, CONTENT_TYPE, VARY};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use crate::api::accept;
use crate::api::latest::Latest;
use crate::api::permit::{MetricsRead, Permit};
use crate::judge::metrics_page::MetricsPages;
use crate::metrics::{self, ServiceMetrics};

/// Get all metrics in the Prometheus format
#[utoipa::path(
    get,
    path = "",
    operation_id = "wm_resource_monitor_metrics",
    responses((
        status = 200,
        description = "In the format that `Accept` prefers.",
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
    let (format, encoding) = (accept::format(&request), accept::encoding(&request));
    let refreshed = pages.refreshed().await;
    let judged = latest.judged();
    let page = judged.map(|judged| pages.of(judged, refreshed)).unwrap_or_default();
    let body = metrics::body(&page, &service_metrics.gather(), format, encoding);
    let mut response = HttpResponse::Ok();
    response
        .insert_header((CONTENT_TYPE, format.content_type()))
        .insert_header((VARY, "accept, accept-encoding"));
    if let Some(name) = encoding.content_encoding() {
        response.insert_header((CONTENT_ENCODING, name));
    }
    response.body(body)
}
