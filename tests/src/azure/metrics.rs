//! Responses of Azure Monitor. The current time is the end of the requested time span.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::fault::error;
use super::resource::{Metric, Place};
use super::time::{instant, written};
use super::wire::{Asked, Reply};

/// A parsed request.
struct Question {
    start: i64,
    end: i64,
    namespace: Option<String>,
    names: Vec<String>,
    aggregations: Vec<String>,
    filter: Option<String>,
}

const AGGREGATIONS: [&str; 5] = ["average", "minimum", "maximum", "total", "count"];

/// The response for one resource.
pub(super) fn answer(places: &[Place], asked: &Asked, id: &str) -> Reply {
    if asked.method != "GET" {
        return Reply::json(405, &error("MethodNotAllowed", "Only GET is allowed."));
    }
    let Some(place) = places.iter().find(|place| place.is(id)) else {
        let message = format!("The Resource '{id}' was not found.");
        return Reply::json(404, &error("ResourceNotFound", &message));
    };
    let timespan = asked.query("timespan").unwrap_or_default();
    let (start, end) = timespan.split_once('/').unwrap_or_default();
    let question = question(asked, start, end, "$filter");
    match question.and_then(|question| of_place(place, &question)) {
        Ok(answer) => Reply::json(200, &answer).with("x-ms-ratelimit-remaining-subscription-reads", 249),
        Err(refusal) => refusal,
    }
}

/// The response for several resources.
pub(super) fn batch(places: &[Place], asked: &Asked, path: &str) -> Reply {
    let bad = |message: &str| Reply::json(400, &error("BadRequest", message));
    let body: Value = serde_json::from_str(&asked.body).unwrap_or_default();
    let ids: Vec<_> = body["resourceids"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let subscription = path.trim_end_matches("/metrics:getbatch");
    let found = ids.iter().filter_map(|id| places.iter().find(|place| place.is(id)));
    let found: Vec<_> = found.collect();
    let alike: BTreeSet<_> = found
        .iter()
        .map(|place| (place.region.to_lowercase(), place.kind().to_lowercase()))
        .collect();
    if asked.method != "POST" || ids.is_empty() || ids.len() > 50 || alike.len() > 1 {
        return bad("Between 1 and 50 resources of one region and type are asked for by POST.");
    }
    if ids
        .iter()
        .any(|id| id.to_lowercase() != **id || !id.starts_with(subscription))
    {
        return bad("Resource ids are in lower case and of the subscription that is asked.");
    }
    let (start, end) = (asked.query("starttime"), asked.query("endtime"));
    let question = question(asked, &start.unwrap_or_default(), &end.unwrap_or_default(), "filter");
    let values = question.and_then(|question| {
        let one = |place: &&Place| {
            let mut answer = of_place(place, &question)?;
            answer["resourceid"] = json!(place.id.to_lowercase());
            answer["starttime"] = json!(written(question.start));
            answer["endtime"] = json!(written(question.end));
            Ok(answer)
        };
        found.iter().map(one).collect::<Result<Vec<_>, _>>()
    });
    match values {
        Ok(values) => Reply::json(200, &json!({ "values": values })),
        Err(refusal) => refusal,
    }
}

fn flat(message: &str) -> Reply {
    Reply::json(400, &json!({ "code": "BadRequest", "message": message }))
}

fn question(asked: &Asked, start: &str, end: &str, filter: &str) -> Result<Question, Reply> {
    let text = |name: &str| asked.query(name).unwrap_or_default();
    if text("api-version").is_empty() {
        let message = "The api-version query parameter (?api-version=) is required for all requests.";
        return Err(Reply::json(400, &error("MissingApiVersionParameter", message)));
    }
    let (Some(start), Some(end)) = (instant(start), instant(end)) else {
        return Err(flat("Detect invalid value for query parameter: 'timespan'"));
    };
    // An escaped comma in a name.
    let names: Vec<_> = text("metricnames")
        .split(',')
        .map(|name| name.replace("%2", ","))
        .collect();
    let aggregations: Vec<_> = text("aggregation")
        .to_lowercase()
        .split(',')
        .map(str::to_owned)
        .collect();
    if names.len() > 20 || names.iter().any(String::is_empty) {
        return Err(flat("Between 1 and 20 metrics can be asked for at once"));
    }
    if text("interval") != "PT1M" {
        return Err(flat(
            "Detect invalid value for query parameter: 'interval', the value must be: PT1M",
        ));
    }
    if aggregations.iter().any(|word| !AGGREGATIONS.contains(&word.as_str())) {
        return Err(flat("Detect invalid value for query parameter: 'aggregation'"));
    }
    Ok(Question {
        start,
        end,
        namespace: asked.query("metricnamespace"),
        names,
        aggregations,
        filter: asked.query(filter),
    })
}

fn of_place(place: &Place, question: &Question) -> Result<Value, Reply> {
    let kind = place.kind();
    if place.denied {
        return Err(denied(place));
    }
    let wanted = question.namespace.clone().unwrap_or_else(|| kind.clone());
    let namespace_of = |metric: &Metric| metric.namespace.clone().unwrap_or_else(|| kind.clone());
    let here = place
        .metrics
        .iter()
        .filter(|metric| namespace_of(metric).eq_ignore_ascii_case(&wanted));
    let here: Vec<_> = here.collect();
    if here.is_empty() && !wanted.eq_ignore_ascii_case(&kind) {
        return Err(flat(&format!(
            "Detect invalid value: {wanted} for query parameter: 'metricnamespace', the value must be: {kind}"
        )));
    }
    let mut values = Vec::new();
    for name in &question.names {
        let Some(metric) = here.iter().find(|metric| metric.name.eq_ignore_ascii_case(name)) else {
            let (provider, resource) = kind.split_once('/').unwrap_or_default();
            let valid: Vec<_> = here.iter().map(|metric| metric.name.as_str()).collect();
            return Err(flat(&format!(
                "Failed to find metric configuration for provider: {provider}, resource Type: {resource}, \
                 metric: {name}, Valid metrics: {}",
                valid.join(",")
            )));
        };
        values.push(of_metric(place, metric, question)?);
    }
    Ok(json!({
        "cost": 0,
        "timespan": format!("{}/{}", written(question.start), written(question.end)),
        "interval": "PT1M",
        "value": values,
        "namespace": wanted,
        "resourceregion": place.region,
    }))
}

fn denied(place: &Place) -> Reply {
    let message = format!(
        "The client '11111111-1111-1111-1111-111111111111' with object id '22222222-2222-2222-2222-222222222222' does \
         not have authorization to perform action 'Microsoft.Insights/metrics/read' over scope \
         '{}/providers/Microsoft.Insights/metrics' or the scope is invalid. If access was recently granted, please \
         refresh your credentials.",
        place.id
    );
    Reply::json(403, &error("AuthorizationFailed", &message))
}

fn of_metric(place: &Place, metric: &Metric, question: &Question) -> Result<Value, Reply> {
    let name = &metric.name;
    let mut value = json!({
        "id": format!("{}/providers/Microsoft.Insights/metrics/{name}", place.id),
        "type": "Microsoft.Insights/metrics",
        "name": { "value": name, "localizedValue": name },
        "displayDescription": format!("It is {name}"),
        "unit": metric.unit,
        "timeseries": [],
        "errorCode": "Success",
    });
    let has = |word: &String| metric.only.as_ref().is_none_or(|only| only.contains(word));
    let trouble = if question.aggregations.iter().all(has) {
        metric.error.clone()
    } else {
        let message = "Sampling type is not found. Metric does not support the requested aggregation.";
        Some(("InvalidSamplingType".to_owned(), message.to_owned()))
    };
    if let Some((code, message)) = trouble {
        value["errorCode"] = json!(code);
        value["errorMessage"] = json!(message);
    } else if !metric.empty {
        value["timeseries"] = series(metric, question)?;
    }
    Ok(value)
}

fn series(metric: &Metric, question: &Question) -> Result<Value, Reply> {
    let Some(filter) = &question.filter else {
        return Ok(json!([{ "metadatavalues": [], "data": points(metric, question, 0.0) }]));
    };
    let (dimension, wanted) = filter.split_once(" eq ").unwrap_or_default();
    let known = metric
        .dimension
        .as_ref()
        .filter(|(name, _)| name.eq_ignore_ascii_case(dimension));
    let Some((name, values)) = known else {
        return Err(flat(&format!(
            "Metric: {} does not support requested dimension combination: {dimension}",
            metric.name
        )));
    };
    let wanted = wanted.trim_matches('\'');
    let named = values
        .iter()
        .enumerate()
        .filter(|(_, value)| wanted == "*" || wanted == value.as_str());
    let all = named.map(|(at, value)| {
        json!({
            "metadatavalues": [{ "name": { "value": name, "localizedValue": name }, "value": value }],
            "data": points(metric, question, at as f64),
        })
    });
    Ok(all.collect())
}

/// One point per minute in ascending order, as in responses of Azure.
fn points(metric: &Metric, question: &Question, more: f64) -> Value {
    let newest = (question.end - 1).div_euclid(60);
    let oldest = question.start.div_euclid(60);
    let point = |minute: i64| {
        let age = newest.abs_diff(minute);
        let mut point = Map::from_iter([("timeStamp".to_owned(), json!(written(minute * 60)))]);
        let at = usize::try_from(age)
            .unwrap_or(usize::MAX)
            .min(metric.values.len().saturating_sub(1));
        if let Some(value) = metric.values.get(at).filter(|_| age >= metric.late + metric.valueless) {
            for word in &question.aggregations {
                point.insert(word.clone(), json!(value + more));
            }
        }
        (age >= metric.late).then_some(Value::Object(point))
    };
    (oldest..=newest).filter_map(point).collect()
}
