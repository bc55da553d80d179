//! Metrics for Prometheus: the last round with newer readings of its counters, and the current service metrics. This is
//! the one request that measures.

use actix_web::http::header::{CONTENT_ENCODING, CONTENT_TYPE, VARY};
use actix_web::{HttpRequest, HttpResponse};

use crate::api::accept;
use crate::api::latest::Latest;
use crate::judge::metrics_page::MetricsPages;
use crate::metrics::{self, MetricFamily};

/// The page with newer readings and these service metrics, in the format and the encoding that the request prefers.
pub async fn page(
    request: &HttpRequest,
    latest: &Latest,
    pages: &MetricsPages,
    service_metrics: impl FnOnce() -> Vec<MetricFamily>,
) -> HttpResponse {
    let (format, encoding) = (accept::format(request), accept::encoding(request));
    let refreshed = pages.refreshed().await;
    let page = latest.judged().map(|judged| {
        let report = latest.report_of(Some(&judged));
        pages.of(judged, refreshed, report)
    });
    let page = page.unwrap_or_default();
    let body = metrics::body(&page, &service_metrics(), format, encoding);
    let mut response = HttpResponse::Ok();
    response
        .insert_header((CONTENT_TYPE, format.content_type()))
        .insert_header((VARY, "accept, accept-encoding"));
    if let Some(name) = encoding.content_encoding() {
        response.insert_header((CONTENT_ENCODING, name));
    }
    response.body(body)
}
