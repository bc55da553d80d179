//! What Azure answers about metrics, read out of JSON: for each metric its series, and of each the newest point that
//! has the number that is wanted. It does not know what was asked or why.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::error::{beginning, one_line};
use super::settings::Aggregation;

/// What was answered about one resource.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Answer {
    value: Vec<Metric>,
}

/// What was answered about several, one after the other.
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

/// One metric.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metric {
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

/// The points of a metric, or of one value of its dimensions.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Series {
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

/// A point has the aggregations that were asked for, or none of them. What is no number is none.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Point {
    time_stamp: String,
    #[serde(flatten)]
    numbers: serde_json::Map<String, Value>,
}

impl Answer {
    /// Reads what was answered about one resource.
    pub(super) fn read(body: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(body).map_err(|error| unreadable(body, &error))
    }

    /// Reads what was answered about several: the id of each in lower case, and its answer.
    pub(super) fn read_batch(body: &[u8]) -> Result<Vec<(String, Self)>, String> {
        let batch: Batch = serde_json::from_slice(body).map_err(|error| unreadable(body, &error))?;
        let named = |one: SingleResource| {
            (
                format!("/{}", one.resourceid.to_lowercase().trim_matches('/')),
                one.answer,
            )
        };
        Ok(batch.values.into_iter().map(named).collect())
    }

    /// The metric that Azure calls so.
    pub(super) fn metric(&self, name: &str) -> Option<&Metric> {
        let named = |metric: &&Metric| metric.name.value.eq_ignore_ascii_case(name);
        self.value.iter().find(named)
    }
}

impl Metric {
    /// What Azure says is wrong with this metric, while the answer itself is good.
    pub(super) fn trouble(&self) -> Option<String> {
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

    /// What it counts, in our words.
    pub(super) fn unit(&self) -> String {
        unit(self.unit.as_deref().unwrap_or_default())
    }

    pub(super) fn series(&self) -> &[Series] {
        self.timeseries.as_deref().unwrap_or_default()
    }
}

impl Series {
    /// The newest point that has this number: when, in milliseconds since 1970, and the number.
    pub(super) fn newest(&self, aggregation: Aggregation) -> Option<(u64, f64)> {
        let points = self.data.iter().flatten();
        let has_it = points.filter_map(|point| {
            let time: Timestamp = point.time_stamp.parse().ok()?;
            let time_ms = u64::try_from(time.as_millisecond()).ok()?;
            Some((time_ms, point.numbers.get(aggregation.as_str())?.as_f64()?))
        });
        has_it.max_by_key(|(time_ms, _)| *time_ms)
    }

    /// Its dimensions, as labels may be named.
    pub(super) fn dimensions(&self) -> impl Iterator<Item = (String, String)> {
        let dimensions = self.metadatavalues.iter().flatten();
        dimensions.map(|dimension| (label(&dimension.name.value), dimension.value.clone()))
    }
}

/// Azure's unit in the words of the house; a plain count has none.
fn unit(azures: &str) -> String {
    match azures {
        "Count" | "Unspecified" => String::new(),
        "MilliSeconds" => "milliseconds".to_owned(),
        "MilliCores" => "millicores".to_owned(),
        "NanoCores" => "nanocores".to_owned(),
        "CountPerSecond" => "per_second".to_owned(),
        other => in_snake_case(other),
    }
}

/// `BytesPerSecond` becomes `bytes_per_second`.
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

/// Azure's dimensions have spaces and slashes in their names.
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
        return "an empty answer came; check azure.endpoints, or what stands between here and Azure".to_owned();
    }
    if error.is_eof() {
        return format!("the answer breaks off after {} bytes", body.len());
    }
    let text = one_line(&String::from_utf8_lossy(&body[..body.len().min(400)]));
    format!(
        "the answer cannot be read ({error}); check azure.endpoints, or what stands between here and Azure, for it \
         begins {:?}",
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
    fn the_newest_point_that_has_the_number_counts() {
        let at = |minute: u32| format!("2026-11-21T01:0{minute}:00Z");
        let second = 1_795_222_920_000;
        let check = |data: Value, expected| assert_eq!(newest(data.clone()), expected, "{data}");
        check(
            json!([{ "timeStamp": at(1), "average": 1 }, { "timeStamp": at(2), "average": 2.5 },
                { "timeStamp": at(3) }]),
            Some((second, 2.5)),
        );
        // In any order, and beside other numbers.
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
    fn a_metric_without_series_is_an_answer_too() {
        for empty in [json!([]), Value::Null] {
            assert!(metric(empty).metric("CPU").expect("it is there").series().is_empty());
        }
        assert!(metric(json!([])).metric("Memory").is_none());
    }

    #[test]
    fn a_good_answer_may_hold_a_metric_in_trouble() {
        let trouble = |code: Value, message: Value| {
            let answer = answer(
                json!([{ "name": { "value": "CPU" }, "timeseries": [], "errorCode": code,
                "errorMessage": message }]),
            );
            answer.metric("CPU").expect("it is there").trouble()
        };
        assert_eq!(trouble(json!("Success"), Value::Null), None);
        assert_eq!(trouble(Value::Null, Value::Null), None);
        assert_eq!(trouble(json!("Throttled"), Value::Null).as_deref(), Some("Throttled"));
        assert_eq!(
            trouble(json!("InvalidSamplingType"), json!("Sampling type is not found.\n")).as_deref(),
            Some("InvalidSamplingType: Sampling type is not found")
        );
    }

    #[test]
    fn units_are_in_the_words_of_the_house() {
        let check = |azures: &str, ours: &str| assert_eq!(unit(azures), ours);
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
    fn dimensions_are_labels() {
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
    fn what_is_no_answer_is_told_with_what_it_is() {
        let check = |body: &str, words: &str| {
            let sentence = Answer::read(body.as_bytes()).expect_err(body);
            assert!(sentence.contains(words), "{sentence}");
            assert!(Answer::read_batch(body.as_bytes()).is_err());
        };
        check("", "empty");
        check("{\"value\":[{\"na", "breaks off after 14 bytes");
        check("<html><b>Sign in</b>", "<html><b>Sign in</b>");
        check("{}", "missing field `value`");
    }
}
