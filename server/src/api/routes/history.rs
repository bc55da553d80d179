//! Recorded measurements and reports: time series, whole snapshots, and reports. A request over the limits is rejected
//! before its data is read, and responses are streamed.

use std::io;

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, ContentType};
use actix_web::web::Data;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::openapi::schema::{Array, ArrayBuilder, ObjectBuilder, Type};
use utoipa::openapi::{KnownFormat, OneOfBuilder, SchemaFormat};
use utoipa::{IntoParams, ToSchema};
use watchpost_policies::{Labels, MetricPattern, Report, Snapshot};

use crate::api::error::ApiError;
use crate::api::input::Query;
use crate::api::permit::{HistoryRead, Permit};
use crate::api::process::Service;
use crate::api::query_time::span;
use crate::api::streamed::Streamed;
use crate::api::streaming::{StreamPermit, StreamPool, StreamWriter};
use crate::clock;
use crate::history::downsample::{Aggregate, downsample};
use crate::metrics::catalogue;
use crate::store::history::{Plan, Selection, Series, StoredRound};
use crate::store::{Store, StoreError};

/// Reading a point is much cheaper than writing one, and a stepped response writes only a few of those it reads.
const MAX_READ_PER_RETURNED_POINT: usize = 50;

/// The recorded history and the limits of one query.
#[derive(Clone)]
pub struct HistoryReader {
    /// The database of the history.
    pub store: Store,
    /// Maximum number of points in one response (`history.max_points`).
    pub max_points: usize,
    /// Maximum number of series in one response (`history.max_series`).
    pub max_series: usize,
    /// The responses that are being streamed.
    pub streams: StreamPool,
}

/// Selects series and a time range.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct HistoryQuery {
    /// The name of a metric, or a prefix followed by `*`.
    #[param(example = "memory")]
    metric: String,
    /// Only series with these labels: `name=value,name=value` such as `mountpoint=/,fstype=ext4`, or a JSON object of
    /// strings.
    labels: Option<String>,
    /// Only series of this machine, named as in a snapshot's `host`.
    host: Option<String>,
    /// Start of the time range; default: an hour before `to`. RFC 3339, seconds since 1970, or an age such as `-1h`.
    #[param(example = "-1h")]
    from: Option<String>,
    /// End of the time range, in the same forms; default: now.
    to: Option<String>,
    /// Interval between points: `30s`, `5m`, `1h`. Without it, the points are as measured.
    #[param(example = "5m")]
    step: Option<String>,
    /// How the points of a step are aggregated, such as `max`; default: the mean.
    #[param(inline)]
    aggregate: Option<Aggregate>,
}

/// Selects whole rounds by machine and time range.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct Rounds {
    /// The machine, named as in a snapshot's `host`; default: this machine.
    host: Option<String>,
    /// Start of the time range; default: an hour before `to`. RFC 3339, seconds since 1970, or an age such as `-1h`.
    #[param(example = "-1m")]
    from: Option<String>,
    /// End of the time range, in the same forms; default: now.
    to: Option<String>,
}

/// Recorded time series.
#[derive(Serialize, ToSchema)]
struct History {
    /// Start of the time range, in RFC 3339 (UTC).
    from: String,
    /// End of the time range, in RFC 3339 (UTC).
    to: String,
    /// Length of a step in milliseconds; null if the points are as measured.
    #[schema(required)]
    step_ms: Option<u64>,
    /// How the points of a step are aggregated.
    #[schema(required)]
    aggregate: Option<Aggregate>,
    /// Sorted by host, metric and labels.
    #[schema(value_type = Vec<HistorySeries>)]
    series: Streamed<HistorySeries>,
}

/// One time series.
#[derive(Serialize, ToSchema)]
struct HistorySeries {
    /// The machine that was measured.
    host: String,
    /// The name of the metric.
    metric: String,
    /// The labels that distinguish the series from others of the same metric.
    labels: Labels,
    /// The unit of the values.
    unit: String,
    /// Pairs of a time and a value.
    #[schema(schema_with = points)]
    points: Vec<Point>,
}

/// A time in milliseconds since 1970, and a value.
#[derive(Serialize)]
struct Point(#[serde(with = "watchpost_policies::rfc3339")] u64, f64);

/// Recorded snapshots.
#[derive(Serialize, ToSchema)]
struct Snapshots {
    /// The oldest first.
    #[schema(value_type = Vec<Snapshot>)]
    snapshots: Streamed<Snapshot>,
}

/// Recorded reports.
#[derive(Serialize, ToSchema)]
struct Reports {
    /// The oldest first.
    #[schema(value_type = Vec<Report>)]
    reports: Streamed<Value>,
}

/// Query time series
///
/// The points are as measured, or one per step. A query over the limits is rejected before its data is read.
#[utoipa::path(
    get,
    path = "",
    operation_id = "history",
    responses(
        (status = 200, description = "Series by host, metric and labels.", body = History),
        (status = 404, description = "No such metric is known or recorded; `detail` has the closest names."),
        (status = 422, description = "The response would exceed the limits; `detail` says what to narrow.")
    )
)]
pub async fn history(
    _: Permit<HistoryRead>,
    past: Data<HistoryReader>,
    query: Query<HistoryQuery>,
) -> Result<HttpResponse, ApiError> {
    let selection = query.selection()?;
    let step_ms = query.step()?;
    let aggregate = query.aggregate.unwrap_or_default();
    let (found, planned) = (selection.clone(), selection.clone());
    let series = past.store.ask(move |store| store.find_series(&found)).await?;
    if series.is_empty() {
        past.check_metric(&query.metric).await?;
    }
    past.check_series(series.len())?;
    let plan = past
        .store
        .ask(move |store| store.plan_history(&planned, series))
        .await?;
    past.check_points(&plan, selection.to_ms - selection.from_ms, step_ms)?;
    let permit = past.permit().await?;
    let store = past.store.clone();
    let series = Streamed::new(move |take| {
        for series in &plan.series {
            let points = store.points(&plan, series).map_err(broken)?;
            let points = match step_ms {
                Some(step_ms) => downsample(&points, selection.from_ms, step_ms, aggregate),
                None => points,
            };
            let Series {
                host,
                metric,
                labels,
                unit,
                ..
            } = series.clone();
            let with_points = HistorySeries {
                host,
                metric,
                labels,
                unit,
                points: points
                    .into_iter()
                    .map(|(time_ms, value)| Point(time_ms, value))
                    .collect(),
            };
            if !take(&with_points) {
                break;
            }
        }
        Ok(())
    });
    let history = History {
        from: clock::written(selection.from_ms),
        to: clock::written(selection.to_ms),
        step_ms,
        aggregate: step_ms.map(|_| aggregate),
        series,
    };
    Ok(stream_response(permit, history))
}

/// Query recorded snapshots
///
/// All samples of each round. Single series are at `/api/v1/history`.
#[utoipa::path(
    get,
    path = "",
    operation_id = "snapshots",
    responses(
        (status = 200, description = "The oldest first.", body = Snapshots),
        (status = 422, description = "The response would exceed the limits; request a shorter time range.")
    )
)]
pub async fn snapshots(
    _: Permit<HistoryRead>,
    past: Data<HistoryReader>,
    service: Data<Service>,
    query: Query<Rounds>,
) -> Result<HttpResponse, ApiError> {
    let snapshots = rounds(past, &service, &query, |past| past.snapshot).await?;
    Ok(stream_response(
        snapshots.permit,
        Snapshots {
            snapshots: snapshots.list,
        },
    ))
}

/// Query recorded reports
///
/// All findings of each round.
#[utoipa::path(
    get,
    path = "",
    operation_id = "reports",
    responses(
        (status = 200, description = "The oldest first.", body = Reports),
        (status = 422, description = "The response would exceed the limits; request a shorter time range.")
    )
)]
pub async fn reports(
    _: Permit<HistoryRead>,
    past: Data<HistoryReader>,
    service: Data<Service>,
    query: Query<Rounds>,
) -> Result<HttpResponse, ApiError> {
    let reports = rounds(past, &service, &query, |past| past.report).await?;
    Ok(stream_response(reports.permit, Reports { reports: reports.list }))
}

/// A part of each round, and the permit to stream it.
struct Parts<T> {
    permit: StreamPermit,
    list: Streamed<T>,
}

async fn rounds<T>(
    past: Data<HistoryReader>,
    service: &Service,
    query: &Rounds,
    part: impl Fn(StoredRound) -> T + Send + 'static,
) -> Result<Parts<T>, ApiError> {
    let selection = query.selection()?;
    let host = query.host.clone().unwrap_or_else(|| service.host().to_string());
    let (selected, of) = (selection.clone(), host.clone());
    let samples = past
        .store
        .ask(move |store| store.count_snapshots(&of, &selected))
        .await?;
    check_samples(samples, past.max_points)?;
    let permit = past.permit().await?;
    let store = past.store.clone();
    let list = Streamed::new(move |take| {
        let read = store.past(&host, &selection, |round| take(&part(round)));
        read.map_err(broken)
    });
    Ok(Parts { permit, list })
}

/// Checks the number of samples of all rounds in a response. A number that does not fit is over the limit.
fn check_samples(samples: i64, max: usize) -> Result<(), ApiError> {
    if usize::try_from(samples).unwrap_or(usize::MAX) > max {
        return Err(ApiError::TooMuch(format!(
            "the response would have about {samples} samples, more than the limit of {max}; request a shorter time range, or raise history.max_points"
        )));
    }
    Ok(())
}

impl HistoryReader {
    async fn permit(&self) -> Result<StreamPermit, ApiError> {
        self.streams.acquire().await.ok_or_else(|| ApiError::Unavailable {
            reason: "too many history responses are being streamed; retry when some of them have finished".to_owned(),
            after_seconds: 5,
        })
    }

    /// An error if the metric is neither in the catalogue nor stored, even with other labels or of another machine.
    async fn check_metric(&self, metric: &str) -> Result<(), ApiError> {
        let Ok(pattern) = MetricPattern::new(metric) else {
            return Ok(());
        };
        if catalogue::knows(&pattern) {
            return Ok(());
        }
        let stored = self.store.ask(|store| store.stored_metrics()).await?;
        if stored.iter().any(|name| catalogue::selects(&pattern, name)) {
            return Ok(());
        }
        let mut known: Vec<&str> = catalogue::names().collect();
        known.extend(stored.iter().map(String::as_str));
        let advice = match catalogue::closest(metric, known).as_slice() {
            [] => String::new(),
            closest => format!("did you mean {}? ", closest.join(" or ")),
        };
        Err(ApiError::Missing(format!(
            "metric: there is no metric {metric}; {advice}GET /api/v1/metrics lists all names"
        )))
    }

    fn check_series(&self, series: usize) -> Result<(), ApiError> {
        if series > self.max_series {
            return Err(ApiError::TooMuch(format!(
                "the response would have {series} series, more than the limit of {}; select labels or a host, or raise history.max_series",
                self.max_series
            )));
        }
        Ok(())
    }

    fn check_points(&self, plan: &Plan, span_ms: u64, step_ms: Option<u64>) -> Result<(), ApiError> {
        let read = plan.points();
        let written = match step_ms {
            None => read,
            Some(step_ms) => {
                let steps = usize::try_from(span_ms / step_ms)
                    .unwrap_or(usize::MAX)
                    .saturating_add(1);
                read.min(steps.saturating_mul(plan.series.len()))
            }
        };
        if written > self.max_points {
            return Err(ApiError::TooMuch(format!(
                "the response would have about {written} points, more than the limit of {}; request a shorter time range or a longer step, or raise history.max_points",
                self.max_points
            )));
        }
        if read > self.max_points.saturating_mul(MAX_READ_PER_RETURNED_POINT) {
            return Err(ApiError::TooMuch(format!(
                "the query would read about {read} points; request a shorter time range or fewer series, or raise history.max_points"
            )));
        }
        Ok(())
    }
}

impl HistoryQuery {
    fn selection(&self) -> Result<Selection, ApiError> {
        let (from_ms, to_ms) = span(self.from.as_deref(), self.to.as_deref(), clock::now_ms())?;
        let metric = MetricPattern::new(&self.metric);
        Ok(Selection {
            metric: Some(metric.map_err(|error| ApiError::BadRequest(format!("metric: {error}")))?),
            labels: labels(self.labels.as_deref().unwrap_or_default())?,
            host: self.host.clone(),
            from_ms,
            to_ms,
        })
    }

    fn step(&self) -> Result<Option<u64>, ApiError> {
        let Some(text) = self.step.as_deref() else {
            if self.aggregate.is_some() {
                let reason = "aggregate requires a step, such as step=5m";
                return Err(ApiError::BadRequest(reason.to_owned()));
            }
            return Ok(None);
        };
        let step = crate::config::duration_of(text).map(|step| u64::try_from(step.as_millis()).unwrap_or(u64::MAX));
        let step = step.filter(|step| *step > 0);
        step.map(Some)
            .ok_or_else(|| ApiError::BadRequest(format!("step is \"{text}\"; write a duration, such as 30s, 5m or 1h")))
    }
}

impl Rounds {
    fn selection(&self) -> Result<Selection, ApiError> {
        let (from_ms, to_ms) = span(self.from.as_deref(), self.to.as_deref(), clock::now_ms())?;
        Ok(Selection {
            metric: None,
            labels: Vec::new(),
            host: self.host.clone(),
            from_ms,
            to_ms,
        })
    }
}

/// `name=value,name=value`, or a JSON object, which values with commas need.
fn labels(text: &str) -> Result<Vec<(String, String)>, ApiError> {
    let wrong = || {
        let reason = "labels must be name=value,name=value, or a JSON object of strings";
        ApiError::BadRequest(reason.to_owned())
    };
    let text = text.trim();
    if text.starts_with('{') {
        let read: std::collections::BTreeMap<String, String> = serde_json::from_str(text).map_err(|_| wrong())?;
        return Ok(read.into_iter().collect());
    }
    let pairs = text.split(',').filter(|pair| !pair.trim().is_empty());
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').ok_or_else(wrong)?;
        Ok((name.trim().to_owned(), value.trim().to_owned()))
    };
    pairs.map(pair).collect()
}

/// A response that is written while its data is read. An error in the middle breaks the connection, so that no client
/// mistakes a part for the whole.
fn stream_response(permit: StreamPermit, answer: impl Serialize + Send + 'static) -> HttpResponse {
    let work = move |writer: &mut StreamWriter| serde_json::to_writer(writer, &answer).map_err(io::Error::from);
    HttpResponse::Ok()
        .content_type(ContentType::json())
        .insert_header((CACHE_CONTROL, "no-store"))
        .streaming(permit.start(work))
}

/// Pairs, which clients read as lists of a text and a number.
fn points() -> Array {
    let time = ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)));
    let number = ObjectBuilder::new().schema_type(Type::Number);
    let item = OneOfBuilder::new().item(time).item(number);
    let pair = ArrayBuilder::new().items(item).min_items(Some(2)).max_items(Some(2));
    let description = "Pairs of a time and a value";
    ArrayBuilder::new().items(pair).description(Some(description)).build()
}

fn broken(error: StoreError) -> io::Error {
    log::error!(reason:% = error; "streaming a history response failed");
    io::Error::other(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_have_two_formats() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let read = |text: &str| labels(text).map_err(|error| error.to_string());
        let both = vec![pair("device", "sda"), pair("mode", "idle")];
        assert_eq!(read("device=sda, mode=idle"), Ok(both.clone()));
        assert_eq!(read(r#"{"device": "sda", "mode": "idle"}"#), Ok(both));
        assert_eq!(read("path=a=b"), Ok(vec![pair("path", "a=b")]));
        assert_eq!(read(""), Ok(Vec::new()));
        assert!(read("device").is_err() && read("{").is_err());
    }

    #[test]
    fn a_response_has_at_most_the_maximum_number_of_samples() {
        assert!(check_samples(10, 10).is_ok());
        for over in [11, i64::MAX, -1] {
            assert!(matches!(check_samples(over, 10), Err(ApiError::TooMuch(_))), "{over}");
        }
    }
}
