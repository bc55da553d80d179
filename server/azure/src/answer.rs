//! Parses the responses of Azure Monitor: for each metric its series, and for each series the newest point with
//! the requested aggregation.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::error::{beginning, one_line};
use super::settings::Aggregation;

/// The response for one resource.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Answer {
    value: Vec<Metric>,
}

/// The response for a batch of resources.
#[derive(Debug, Deserialize)]
struct Batch {
    values: Vec<SingleResource>,
}

#[derive(Debug, Deserialize)]
struct SingleResource {
    resourceid: String,
    #[serde(flatten)]
    answer: Answer,
}

/// A metric in a response.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Metric {
    name: Name,
    #[serde(default)]
    unit: Option<String>,
    #[serde(default)]
    timeseries: Option<Vec<Series>>,
    #[serde(default)]
    error_code: Option<String>,
    #[serde(default)]
    error_message: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
struct Name {
    value: String,
}

/// The points of a metric, or of one combination of its dimension values.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Series {
    #[serde(default)]
    metadatavalues: Option<Vec<Dimension>>,
    #[serde(default)]
    data: Option<Vec<Point>>,
}

#[derive(Clone, Debug, Deserialize)]
struct Dimension {
    name: Name,
    value: String,
}

/// A data point. It has the requested aggregations or none of them; values that are not numbers are ignored.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Point {
    time_stamp: String,
    #[serde(flatten)]
    numbers: serde_json::Map<String, Value>,
}

impl Answer {
    /// Parses the response for one resource.
    pub(crate) fn read(body: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(body).map_err(|error| unreadable(body, &error))
    }

    /// Parses a batch response: the id of each resource in lower case, and its answer.
    pub(crate) fn read_batch(body: &[u8]) -> Result<Vec<(String, Self)>, String> {
        let batch: Batch = serde_json::from_slice(body).map_err(|error| unreadable(body, &error))?;
        let named = |one: SingleResource| {
            (
                format!("/{}", one.resourceid.to_lowercase().trim_matches('/')),
                one.answer,
            )
        };
        Ok(batch.values.into_iter().map(named).collect())
    }

    /// The metric of this name, case-insensitively.
    pub(crate) fn metric(&self, name: &str) -> Option<&Metric> {
        let named = |metric: &&Metric| metric.name.value.eq_ignore_ascii_case(name);
        self.value.iter().find(named)
    }
}

impl Metric {
    /// The error that Azure reports for this metric in an otherwise successful response.
    pub(crate) fn error(&self) -> Option<String> {
        let code = self.error_code.as_deref()?;
        if code.is_empty() || code.eq_ignore_ascii_case("Success") {
            return None;
        }
        let message = self.error_message.as_deref().map(one_line).unwrap_or_default();
        Some(match message.as_str() {
            "" => beginning(code, 80),
            message => format!("{}: {}", beginning(code, 80), beginning(message, 300)),
        })
    }

    /// The unit as Watchpost names it.
    pub(crate) fn unit(&self) -> String {
        unit(self.unit.as_deref().unwrap_or_default())
    }

    pub(crate) fn series(&self) -> &[Series] {
        self.timeseries.as_deref().unwrap_or_default()
    }
}

impl Series {
    /// The newest point with this aggregation: its time in milliseconds since 1970 (UTC) and its value.
    pub(crate) fn newest(&self, aggregation: Aggregation) -> Option<(u64, f64)> {
        let points = self.data.iter().flatten();
        let with_value = points.filter_map(|point| {
            let time: Timestamp = point.time_stamp.parse().ok()?;
            let time_ms = u64::try_from(time.as_millisecond()).ok()?;
            Some((time_ms, point.numbers.get(aggregation.as_str())?.as_f64()?))
        });
        with_value.max_by_key(|(time_ms, _)| *time_ms)
    }

    /// The dimensions, with names converted to legal label names.
    pub(crate) fn dimensions(&self) -> impl Iterator<Item = (String, String)> {
        let dimensions = self.metadatavalues.iter().flatten();
        dimensions.map(|dimension| (label(&dimension.name.value), dimension.value.clone()))
    }
}

/// Converts Azure's unit; a plain count has none.
fn unit(azure_unit: &str) -> String {
    match azure_unit {
        "Count" | "Unspecified" => String::new(),
        "MilliSeconds" => "milliseconds".to_owned(),
        "MilliCores" => "millicores".to_owned(),
        "NanoCores" => "nanocores".to_owned(),
        "CountPerSecond" => "per_second".to_owned(),
        other => in_snake_case(other),
    }
}

/// Converts `BytesPerSecond` to `bytes_per_second`.
fn in_snake_case(text: &str) -> String {
    let mut snake = String::new();
    for letter in text.chars() {
        if letter.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

/// Replaces the spaces and slashes in dimension names.
fn label(name: &str) -> String {
    let legal = |letter: char| {
        if letter.is_ascii_alphanumeric() {
            letter.to_ascii_lowercase()
        } else {
            '_'
        }
    };
    let label: String = name.chars().map(legal).collect();
    if label.starts_with(|first: char| first.is_ascii_digit()) {
        return format!("_{label}");
    }
    label
}

fn unreadable(body: &[u8], error: &serde_json::Error) -> String {
    if body.is_empty() {
        return "empty response; check azure.endpoints and any proxy in between".to_owned();
    }
    if error.is_eof() {
        return format!("the response is truncated after {} bytes", body.len());
    }
    let text = one_line(&String::from_utf8_lossy(&body[..body.len().min(400)]));
    format!(
        "cannot parse the response ({error}); check azure.endpoints and any proxy in between; the response \
         starts with {:?}",
        beginning(&text, 100)
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(value: Value) -> Answer {
        let whole = json!({ "cost": 0, "interval": "PT1M", "value": value, "namespace": "n" });
        Answer::read(whole.to_string().as_bytes()).expect("an answer")
    }

    fn metric(timeseries: Value) -> Answer {
        answer(
            json!([{ "id": "x", "name": { "value": "CPU", "localizedValue": "c" }, "unit": "Percent",
            "timeseries": timeseries, "errorCode": "Success" }]),
        )
    }

    fn newest(data: Value) -> Option<(u64, f64)> {
        let answer = metric(json!([{ "metadatavalues": [], "data": data }]));
        answer.metric("cpu")?.series()[0].newest(Aggregation::Average)
    }

    #[test]
    fn the_newest_point_with_the_aggregation_is_used() {
        let at = |minute: u32| format!("2026-11-21T01:0{minute}:00Z");
        let second = 1_795_222_920_000;
        let check = |data: Value, expected| assert_eq!(newest(data.clone()), expected, "{data}");
        check(
            json!([{ "timeStamp": at(1), "average": 1 }, { "timeStamp": at(2), "average": 2.5 },
                { "timeStamp": at(3) }]),
            Some((second, 2.5)),
        );
        // Points in any order, and with other aggregations.
        check(
            json!([{ "timeStamp": at(2), "average": 3.0 }, { "timeStamp": at(1), "average": 1.0 },
                { "timeStamp": at(4), "total": 9.0 }, { "timeStamp": at(5), "average": null },
                { "timeStamp": at(6), "average": "NaN" }, { "timeStamp": "late", "average": 7.0 }]),
            Some((second, 3.0)),
        );
        check(json!([{ "timeStamp": at(1) }]), None);
        check(json!([]), None);
        check(Value::Null, None);
    }

    #[test]
    fn a_metric_may_have_no_series() {
        for empty in [json!([]), Value::Null] {
            assert!(metric(empty).metric("CPU").expect("it is there").series().is_empty());
        }
        assert!(metric(json!([])).metric("Memory").is_none());
    }

    #[test]
    fn a_successful_response_may_contain_a_metric_with_an_error() {
        let error = |code: Value, message: Value| {
            let answer = answer(
                json!([{ "name": { "value": "CPU" }, "timeseries": [], "errorCode": code,
                "errorMessage": message }]),
            );
            answer.metric("CPU").expect("it is there").error()
        };
        assert_eq!(error(json!("Success"), Value::Null), None);
        assert_eq!(error(Value::Null, Value::Null), None);
        assert_eq!(error(json!("Throttled"), Value::Null).as_deref(), Some("Throttled"));
        assert_eq!(
            error(json!("InvalidSamplingType"), json!("Sampling type is not found.\n")).as_deref(),
            Some("InvalidSamplingType: Sampling type is not found")
        );
    }

    #[test]
    fn units_are_converted_to_snake_case() {
        let check = |azure: &str, expected: &str| assert_eq!(unit(azure), expected);
        check("Percent", "percent");
        check("Count", "");
        check("Unspecified", "");
        check("", "");
        check("BytesPerSecond", "bytes_per_second");
        check("CountPerSecond", "per_second");
        check("MilliSeconds", "milliseconds");
        check("ByteSeconds", "byte_seconds");
        check("NanoCores", "nanocores");
        check("BitsPerSecond", "bits_per_second");
    }

    #[test]
    fn dimensions_become_labels() {
        let answer = metric(json!([{ "metadatavalues": [
            { "name": { "value": "LUN", "localizedValue": "lun" }, "value": "0" },
            { "name": { "value": "Disk Name" }, "value": "a b" },
            { "name": { "value": "5xx" }, "value": "" },
        ], "data": [] }]));
        let series = &answer.metric("CPU").expect("it is there").series()[0];
        let labels: Vec<_> = series.dimensions().collect();
        let expected = [("lun", "0"), ("disk_name", "a b"), ("_5xx", "")];
        assert_eq!(
            labels,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
    }

    #[test]
    fn a_batch_names_each_resource() {
        let body = json!({ "values": [
            { "starttime": "a", "endtime": "b", "resourceid": "/Subscriptions/S", "value": [] },
            { "resourceid": "subscriptions/t", "value": [] },
        ] });
        let batch = Answer::read_batch(body.to_string().as_bytes()).expect("a batch");
        let ids: Vec<_> = batch.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!(ids, ["/subscriptions/s", "/subscriptions/t"]);
    }

    #[test]
    fn an_invalid_response_is_quoted_in_the_error() {
        let check = |body: &str, expected: &str| {
            let error = Answer::read(body.as_bytes()).expect_err(body);
            assert!(error.contains(expected), "{error}");
            assert!(Answer::read_batch(body.as_bytes()).is_err());
        };
        check("", "empty");
        check("{\"value\":[{\"na", "truncated after 14 bytes");
        check("<html><b>Sign in</b>", "<html><b>Sign in</b>");
        check("{}", "missing field `value`");
    }
}
