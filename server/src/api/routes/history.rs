//! What was measured and judged before: single series over a long time, whole snapshots, and reports. What would be
//! too much is refused before its numbers are read, and answers flow as they are read.

use std::io;

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, ContentType};
use actix_web::web::{Data, Query};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::openapi::schema::{Array, ArrayBuilder, ObjectBuilder, Type};
use utoipa::{IntoParams, ToSchema};
use watchpost_policies::{Labels, MetricPattern, Report, Snapshot};

use crate::api::error::ApiError;
use crate::api::permit::{HistoryRead, Permit};
use crate::api::process::Service;
use crate::api::query_time::span;
use crate::api::streamed::Streamed;
use crate::api::streaming::{Flow, Flows, StreamPermit};
use crate::clock;
use crate::history::downsample::{Aggregate, downsample};
use crate::store::history::{Past as PastRound, Plan, Selection, Series};
use crate::store::{Store, StoreError};

/// Points are read much faster than they are written; of a stepped answer only few are.
const READ_BATCH_SIZE: usize = 50;

/// Where the past is, and how much of it one may ask for at once.
#[derive(Clone)]
pub struct Past {
    /// Where.
    pub store: Store,
    /// Points of one answer.
    pub max_points: usize,
    /// Series of one answer.
    pub max_series: usize,
    /// Answers that are being written.
    pub flows: Flows,
}

/// Which series, and of which time.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct HistoryQuery {
    /// Which metric, or the beginning of some and `*`.
    #[param(example = "memory")]
    metric: String,
    /// Only series with these labels: `name=value,name=value` such as `mountpoint=/,fstype=ext4`, or a JSON object of
    /// texts.
    labels: Option<String>,
    /// Only of this machine, by the name that a snapshot has as its `host`.
    host: Option<String>,
    /// From when; an hour before `to`, if nothing is told. RFC 3339, seconds since 1970, or how long ago.
    #[param(example = "-1h")]
    from: Option<String>,
    /// Until when, in the same forms; now, if nothing is told.
    to: Option<String>,
    /// One point for each of these: `30s`, `5m`, `1h`.
    #[param(example = "5m")]
    step: Option<String>,
    /// What becomes of the points of a step, such as `max`; their mean, if nothing is told.
    #[param(inline)]
    aggregate: Option<Aggregate>,
}

/// Which rounds. They are whole, so nothing of them can be chosen.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct Rounds {
    /// Of which machine, by the name that a snapshot has as its `host`; this one, if nothing is told.
    host: Option<String>,
    /// From when; an hour before `to`, if nothing is told. RFC 3339, seconds since 1970, or how long ago.
    #[param(example = "-1m")]
    from: Option<String>,
    /// Until when, in the same forms; now, if nothing is told.
    to: Option<String>,
}

/// Series of the past.
#[derive(Serialize, ToSchema)]
struct History {
    /// From when.
    from: String,
    /// Until when.
    to: String,
    /// How long a step is, in milliseconds; nothing, if the points are as they were measured.
    #[schema(required)]
    step_ms: Option<u64>,
    /// What became of the points of a step.
    #[schema(required)]
    aggregate: Option<Aggregate>,
    /// The series.
    #[schema(value_type = Vec<HistorySeries>)]
    series: Streamed<HistorySeries>,
}

/// One series.
#[derive(Serialize, ToSchema)]
struct HistorySeries {
    /// The machine.
    host: String,
    /// What was measured.
    metric: String,
    /// What tells it from its like.
    labels: Labels,
    /// What its numbers count.
    unit: String,
    /// Times in milliseconds since 1970 (UTC), each with its number.
    #[schema(schema_with = points)]
    points: Vec<(u64, f64)>,
}

/// Whole snapshots of the past.
#[derive(Serialize, ToSchema)]
struct Snapshots {
    /// The oldest first.
    #[schema(value_type = Vec<Snapshot>)]
    snapshots: Streamed<Snapshot>,
}

/// Reports of the past.
#[derive(Serialize, ToSchema)]
struct Reports {
    /// The oldest first.
    #[schema(value_type = Vec<Report>)]
    reports: Streamed<Value>,
}

/// Series over time
///
/// As they were measured, or one point a step. What would be too much is refused before it is read.
#[utoipa::path(
    get,
    path = "",
    operation_id = "history",
    responses(
        (status = 200, description = "Series by host, metric and labels.", body = History),
        (status = 422, description = "That is too much for one answer; `detail` says what to narrow.")
    )
)]
pub async fn history(
    _: Permit<HistoryRead>,
    past: Data<Past>,
    asked: Query<HistoryQuery>,
) -> Result<HttpResponse, ApiError> {
    let wanted = asked.selection()?;
    let step_ms = asked.step()?;
    let aggregate = asked.aggregate.unwrap_or_default();
    let (found, planned) = (wanted.clone(), wanted.clone());
    let series = past.store.ask(move |store| store.find_series(&found)).await?;
    past.check_series(series.len())?;
    let plan = past
        .store
        .ask(move |store| store.plan_history(&planned, series))
        .await?;
    past.check_points(&plan, wanted.to_ms - wanted.from_ms, step_ms)?;
    let turn = past.turn().await?;
    let store = past.store.clone();
    let series = Streamed::new(move |take| {
        for series in &plan.series {
            let points = store.points(&plan, series).map_err(broken)?;
            let points = match step_ms {
                Some(step_ms) => downsample(&points, wanted.from_ms, step_ms, aggregate),
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
                points,
            };
            if !take(&with_points) {
                break;
            }
        }
        Ok(())
    });
    let history = History {
        from: clock::written(wanted.from_ms),
        to: clock::written(wanted.to_ms),
        step_ms,
        aggregate: step_ms.map(|_| aggregate),
        series,
    };
    Ok(flowing(turn, history))
}

/// Whole snapshots of the past
///
/// All that was measured in each round. Single series are at `/api/v1/history`.
#[utoipa::path(
    get,
    path = "",
    operation_id = "snapshots",
    responses(
        (status = 200, description = "The oldest first.", body = Snapshots),
        (status = 422, description = "That is too much for one answer; ask for a shorter time.")
    )
)]
pub async fn snapshots(
    _: Permit<HistoryRead>,
    past: Data<Past>,
    service: Data<Service>,
    asked: Query<Rounds>,
) -> Result<HttpResponse, ApiError> {
    let snapshots = rounds(past, &service, &asked, |past| past.snapshot).await?;
    Ok(flowing(
        snapshots.turn,
        Snapshots {
            snapshots: snapshots.list,
        },
    ))
}

/// Reports of the past
///
/// All that the rules said of each round.
#[utoipa::path(
    get,
    path = "",
    operation_id = "reports",
    responses(
        (status = 200, description = "The oldest first.", body = Reports),
        (status = 422, description = "That is too much for one answer; ask for a shorter time.")
    )
)]
pub async fn reports(
    _: Permit<HistoryRead>,
    past: Data<Past>,
    service: Data<Service>,
    asked: Query<Rounds>,
) -> Result<HttpResponse, ApiError> {
    let reports = rounds(past, &service, &asked, |past| past.report).await?;
    Ok(flowing(reports.turn, Reports { reports: reports.list }))
}

/// A part of each round, and the right to tell of it.
struct Parts<T> {
    turn: StreamPermit,
    list: Streamed<T>,
}

async fn rounds<T>(
    past: Data<Past>,
    service: &Service,
    asked: &Rounds,
    part: impl Fn(PastRound) -> T + Send + 'static,
) -> Result<Parts<T>, ApiError> {
    let wanted = asked.selection()?;
    let host = asked.host.clone().unwrap_or_else(|| service.host().to_string());
    let (counted, of) = (wanted.clone(), host.clone());
    let samples = past
        .store
        .ask(move |store| store.count_snapshots(&of, &counted))
        .await?;
    if usize::try_from(samples).unwrap_or(0) > past.max_points {
        return Err(ApiError::TooMuch(format!(
            "that is about {samples} samples, and one answer has at most {}; ask for a shorter time, or raise history.max_points",
            past.max_points
        )));
    }
    let turn = past.turn().await?;
    let store = past.store.clone();
    let list = Streamed::new(move |take| {
        let read = store.past(&host, &wanted, |round| take(&part(round)));
        read.map_err(broken)
    });
    Ok(Parts { turn, list })
}

impl Past {
    async fn turn(&self) -> Result<StreamPermit, ApiError> {
        self.flows.turn().await.ok_or_else(|| ApiError::Unavailable {
            why: "too many answers about the past are being read; come again when some of them are done".to_owned(),
            after_seconds: 5,
        })
    }

    fn check_series(&self, series: usize) -> Result<(), ApiError> {
        if series > self.max_series {
            return Err(ApiError::TooMuch(format!(
                "that is {series} series, and one answer has at most {}; name labels or a host, or raise history.max_series",
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
                "that is about {written} points, and one answer has at most {}; ask for a shorter time or a longer step, or raise history.max_points",
                self.max_points
            )));
        }
        if read > self.max_points.saturating_mul(READ_BATCH_SIZE) {
            return Err(ApiError::TooMuch(format!(
                "about {read} points would have to be read; ask for a shorter time or fewer series, or raise history.max_points"
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
                let why = "aggregate needs a step, such as step=5m";
                return Err(ApiError::BadRequest(why.to_owned()));
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

/// `name=value,name=value`, or as JSON, where a value has a comma in it.
fn labels(text: &str) -> Result<Vec<(String, String)>, ApiError> {
    let wrong = || {
        let why = "labels are written name=value,name=value, or as a JSON object of texts";
        ApiError::BadRequest(why.to_owned())
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

/// An answer that is written while it is read. What breaks in its midst breaks the connection, so that nobody takes
/// a part for the whole.
fn flowing(turn: StreamPermit, answer: impl Serialize + Send + 'static) -> HttpResponse {
    let work = move |flow: &mut Flow| serde_json::to_writer(flow, &answer).map_err(io::Error::from);
    HttpResponse::Ok()
        .content_type(ContentType::json())
        .insert_header((CACHE_CONTROL, "no-store"))
        .streaming(turn.flow(work))
}

/// Pairs, which clients read as lists of two numbers.
fn points() -> Array {
    let number = ObjectBuilder::new().schema_type(Type::Number);
    let pair = ArrayBuilder::new().items(number).min_items(Some(2)).max_items(Some(2));
    let description = "Times in milliseconds since 1970 (UTC), each with its number";
    ArrayBuilder::new().items(pair).description(Some(description)).build()
}

fn broken(error: StoreError) -> io::Error {
    log::error!(reason:% = error; "an answer about the past breaks off");
    io::Error::other(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_written_in_two_ways() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let read = |text: &str| labels(text).map_err(|error| error.to_string());
        let both = vec![pair("device", "sda"), pair("mode", "idle")];
        assert_eq!(read("device=sda, mode=idle"), Ok(both.clone()));
        assert_eq!(read(r#"{"device": "sda", "mode": "idle"}"#), Ok(both));
        assert_eq!(read("path=a=b"), Ok(vec![pair("path", "a=b")]));
        assert_eq!(read(""), Ok(Vec::new()));
        assert!(read("device").is_err() && read("{").is_err());
    }
}
