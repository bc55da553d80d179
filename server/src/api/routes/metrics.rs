//! The catalogue of measured metrics: the names that thresholds and history queries can use, and how many series each
//! has now.

use actix_web::web::{Data, Json};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use watchpost_policies::MetricPattern;

use crate::api::error::ApiError;
use crate::api::input::Query;
use crate::api::latest::Latest;
use crate::api::pagination::PageLimit;
use crate::api::permit::{MetricsRead, Permit};
use crate::metrics::catalogue::{self, ListedMetric};

/// Selects metrics and a page of them.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    /// Only this metric, or those with the prefix before `*`.
    #[param(example = "node_memory_*")]
    metric: Option<String>,
    /// Only metrics with names after this one: the `next` of the previous page.
    #[param(example = "cpu")]
    after: Option<String>,
    /// Maximum number of metrics in the page.
    #[param(minimum = 1, maximum = 1000, default = 100, example = 20)]
    limit: Option<i64>,
}

/// A page of metrics.
#[derive(Serialize, ToSchema)]
#[schema(as = MetricPage)]
pub struct Page {
    /// By name.
    metrics: Vec<MetricEntry>,
    /// The value of `after` for the next page; null on the last page.
    #[schema(required)]
    next: Option<String>,
}

/// A measured metric.
#[derive(Serialize, ToSchema)]
struct MetricEntry {
    /// The name in snapshots, thresholds and history queries. If it ends in `*`, it stands for names that the kernel
    /// defines, and none of them is measured.
    metric: String,
    /// The unit of the values; empty for counts.
    unit: String,
    /// `counter`, `gauge`, `info` or `untyped`.
    r#type: &'static str,
    /// The names of the labels that distinguish the series.
    labels: Vec<String>,
    /// The source that measures it; null for a metric that the server's catalogue does not have.
    #[schema(required)]
    source: Option<&'static str>,
    /// The meaning.
    help: String,
    /// The name on `/metrics`.
    exported: String,
    /// The number of series in the latest snapshot.
    series: usize,
}

/// List the metrics that thresholds and history queries can name
#[utoipa::path(
    get,
    path = "",
    operation_id = "list_metrics",
    responses((status = 200, description = "A page of metrics, by name.", body = Page))
)]
pub async fn list(
    _: Permit<MetricsRead>,
    latest: Data<Latest>,
    query: Query<ListQuery>,
) -> Result<Json<Page>, ApiError> {
    let limit = PageLimit::parse(query.limit)?;
    let pattern = query.metric.as_deref().map(MetricPattern::new).transpose();
    let pattern = pattern.map_err(|error| ApiError::BadRequest(format!("metric: {error}")))?;
    let judged = latest.judged();
    let listed = catalogue::list(judged.as_ref().map(|judged| &*judged.round.snapshot));
    let selected = listed.into_iter().filter(|metric| {
        let is_after = query.after.as_ref().is_none_or(|after| metric.name > *after);
        is_after
            && pattern
                .as_ref()
                .is_none_or(|pattern| catalogue::selects(pattern, &metric.name))
    });
    let to_read = usize::try_from(limit.to_read()).unwrap_or(usize::MAX);
    let mut metrics: Vec<_> = selected.take(to_read).map(MetricEntry::from).collect();
    let next = limit.cut(&mut metrics, |metric| metric.metric.clone());
    Ok(Json(Page { metrics, next }))
}

impl From<ListedMetric> for MetricEntry {
    fn from(metric: ListedMetric) -> Self {
        Self {
            metric: metric.name,
            unit: metric.unit,
            r#type: metric.kind,
            labels: metric.labels.into_iter().collect(),
            source: metric.source,
            help: metric.help,
            exported: metric.exported,
            series: metric.series,
        }
    }
}
