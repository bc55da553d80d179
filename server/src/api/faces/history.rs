//! What was measured and judged before: single series over a long time, whole snapshots, and reports. What would be
//! too much is refused before its numbers are read, and answers flow as they are read.

use std::io;

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, ContentType};
use actix_web::web::{Data, Query};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;
use watchpost_policies::{Labels, MetricPattern};

use super::series::{Aggregate, in_steps};
use super::told;
use crate::api::error::ApiError;
use crate::api::permit::{HistoryRead, Permit};
use crate::api::service::Service;
use crate::clock;
use crate::store::history::{Plan, Selection};
use crate::store::{Store, StoreError};
use crate::tasks::{Flow, Flows, Turn};

/// What is asked for, where nothing is told.
const USUAL_SPAN_MS: u64 = 60 * 60 * 1000;

/// Points are read much faster than they are written; of a stepped answer only few are.
const READ_FOR_ONE: usize = 50;

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
pub struct Asked {
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

#[derive(Serialize)]
struct Head<'s> {
    host: &'s str,
    metric: &'s str,
    labels: &'s Labels,
    unit: &'s str,
}

/// Series over time
///
/// As they were measured, or one point a step. What would be too much is refused before it is read.
#[utoipa::path(
    get,
    path = "",
    operation_id = "history",
    responses(
        (status = 200, description = "Series by host, metric and labels.", body = told::History),
        (status = 422, description = "That is too much for one answer; `detail` says what to narrow.")
    )
)]
pub async fn history(_: Permit<HistoryRead>, past: Data<Past>, asked: Query<Asked>) -> Result<HttpResponse, ApiError> {
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
    let head = serde_json::json!({
        "from": clock::written(wanted.from_ms),
        "to": clock::written(wanted.to_ms),
        "step_ms": step_ms,
        "aggregate": step_ms.map(|_| aggregate),
    });
    Ok(flowing(turn, move |flow| {
        let mut head = head.to_string();
        head.pop();
        flow.send(&format!("{head},\"series\":["))?;
        for (at, series) in plan.series.iter().enumerate() {
            let points = store.points(&plan, series).map_err(broken)?;
            let points = match step_ms {
                Some(step_ms) => in_steps(&points, wanted.from_ms, step_ms, aggregate),
                None => points,
            };
            let mut text = serde_json::to_string(&Head {
                host: &series.host,
                metric: &series.metric,
                labels: &series.labels,
                unit: &series.unit,
            })?;
            text.pop();
            let comma = if at > 0 { "," } else { "" };
            let points = serde_json::to_string(&points)?;
            flow.send(&format!("{comma}{text},\"points\":{points}}}"))?;
        }
        flow.send("]}")
    }))
}

/// Whole snapshots of the past
///
/// All that was measured in each round. Single series are at `/api/v1/history`.
#[utoipa::path(
    get,
    path = "",
    operation_id = "snapshots",
    responses(
        (status = 200, description = "The oldest first.", body = told::Snapshots),
        (status = 422, description = "That is too much for one answer; ask for a shorter time.")
    )
)]
pub async fn snapshots(
    _: Permit<HistoryRead>,
    past: Data<Past>,
    service: Data<Service>,
    asked: Query<Rounds>,
) -> Result<HttpResponse, ApiError> {
    rounds(past, &service, &asked, "snapshots", |past| {
        serde_json::to_string(&past.snapshot)
    })
    .await
}

/// Reports of the past
///
/// All that the rules said of each round.
#[utoipa::path(
    get,
    path = "",
    operation_id = "reports",
    responses(
        (status = 200, description = "The oldest first.", body = told::Reports),
        (status = 422, description = "That is too much for one answer; ask for a shorter time.")
    )
)]
pub async fn reports(
    _: Permit<HistoryRead>,
    past: Data<Past>,
    service: Data<Service>,
    asked: Query<Rounds>,
) -> Result<HttpResponse, ApiError> {
    rounds(past, &service, &asked, "reports", |past| {
        serde_json::to_string(&past.report)
    })
    .await
}

async fn rounds(
    past: Data<Past>,
    service: &Service,
    asked: &Rounds,
    name: &'static str,
    written: impl Fn(&crate::store::history::Past) -> serde_json::Result<String> + Send + 'static,
) -> Result<HttpResponse, ApiError> {
    let wanted = asked.selection()?;
    let host = asked.host.clone().unwrap_or_else(|| service.host().to_owned());
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
    Ok(flowing(turn, move |flow| {
        flow.send(&format!("{{\"{name}\":["))?;
        let (mut first, mut outcome) = (true, Ok(()));
        let read = store.past(&host, &wanted, |past| {
            let comma = if std::mem::take(&mut first) { "" } else { "," };
            outcome = written(&past)
                .map_err(io::Error::from)
                .and_then(|text| flow.send(&format!("{comma}{text}")));
            outcome.is_ok()
        });
        read.map_err(broken)?;
        outcome?;
        flow.send("]}")
    }))
}

impl Past {
    async fn turn(&self) -> Result<Turn, ApiError> {
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
        if read > self.max_points.saturating_mul(READ_FOR_ONE) {
            return Err(ApiError::TooMuch(format!(
                "about {read} points would have to be read; ask for a shorter time or fewer series, or raise history.max_points"
            )));
        }
        Ok(())
    }
}

impl Asked {
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

/// From when until when; the last hour, if nothing is told.
pub(in crate::api) fn span(from: Option<&str>, to: Option<&str>, now_ms: u64) -> Result<(u64, u64), ApiError> {
    let to_ms = moment("to", to, now_ms)?.unwrap_or(now_ms);
    let from_ms = moment("from", from, now_ms)?.unwrap_or(to_ms.saturating_sub(USUAL_SPAN_MS));
    if from_ms > to_ms {
        return Err(ApiError::BadRequest("from is after to; exchange them".to_owned()));
    }
    Ok((from_ms, to_ms))
}

/// A time as RFC 3339 has it, seconds since 1970, or how long ago: `-1h`.
pub(super) fn moment(name: &str, text: Option<&str>, now_ms: u64) -> Result<Option<u64>, ApiError> {
    let Some(text) = text.map(str::trim) else {
        return Ok(None);
    };
    let read = || -> Option<u64> {
        if let Some(ago) = text.strip_prefix('-') {
            let ago = crate::config::duration_of(ago)?;
            return Some(now_ms.saturating_sub(u64::try_from(ago.as_millis()).ok()?));
        }
        if let Ok(seconds) = text.parse::<f64>() {
            let legal = (0.0..=253_402_300_799.0).contains(&seconds);
            return legal.then_some((seconds * 1000.0).round() as u64);
        }
        // A plus sign in a query is a space, unless it is escaped.
        let time: Timestamp = text.replace(' ', "+").parse().ok()?;
        u64::try_from(time.as_millisecond()).ok()
    };
    let why = || {
        format!(
            "{name} is \"{text}\"; write a time such as 2026-01-31T12:00:00Z, seconds since 1970, or how long ago, such as -1h"
        )
    };
    read().map(Some).ok_or_else(|| ApiError::BadRequest(why()))
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
fn flowing(turn: Turn, work: impl FnOnce(&mut Flow) -> io::Result<()> + Send + 'static) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(ContentType::json())
        .insert_header((CACHE_CONTROL, "no-store"))
        .streaming(turn.flow(work))
}

fn broken(error: StoreError) -> io::Error {
    log::error!(reason:% = error; "an answer about the past breaks off");
    io::Error::other(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_three_ways() {
        let now_ms = 10_000_000_000;
        let read = |text: &str| moment("from", Some(text), now_ms).map_err(|error| error.to_string());
        assert_eq!(read("2026-01-31T12:00:00Z"), Ok(Some(1_769_860_800_000)));
        assert_eq!(read("2026-01-31T13:00:00 01:00"), Ok(Some(1_769_860_800_000)));
        assert_eq!(read("1769860800.5"), Ok(Some(1_769_860_800_500)));
        assert_eq!(read("-1h"), Ok(Some(now_ms - 3_600_000)));
        for text in ["", "yesterday", "-1", "NaN", "1e300", "2026-01-31T12:00:00"] {
            assert!(read(text).is_err_and(|why| why.contains("from is")), "{text}");
        }
    }

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
