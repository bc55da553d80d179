//! `watchpost metrics`: prints the metrics that thresholds can name, with their current values on a server.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::client::remote::Remote;
use super::client::{ApiClient, ApiRequest, wait};
use super::fail;
use super::rules::say_json;
use super::table::columns;
use super::{CommandError, say};
use crate::config::Sources;

/// The maximum number of metrics that the server returns at once.
const PAGE_SIZE: u32 = 1000;

/// Prints the metrics that thresholds and history queries can name, with their current values on a server.
///
/// Without --server, it is the server on this machine, which is found by the configuration; the client certificate is
/// that of the development authority's reader. A metric without a value is not measured at present.
#[derive(Args)]
pub(super) struct Metrics {
    /// Only this metric, or those with the prefix before `*`.
    #[arg(value_name = "METRIC")]
    metric: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Deserialize)]
struct Page {
    metrics: Vec<Metric>,
    next: Option<String>,
}

/// A metric as the API describes it, with its series.
#[derive(Deserialize, Serialize)]
struct Metric {
    metric: String,
    unit: String,
    r#type: String,
    labels: Vec<String>,
    source: Option<String>,
    help: String,
    exported: String,
    #[serde(skip_deserializing)]
    series: Vec<Series>,
}

/// The current value of one series.
#[derive(Deserialize, Serialize)]
struct Series {
    labels: BTreeMap<String, String>,
    value: f64,
}

#[derive(Deserialize)]
struct Snapshot {
    samples: Vec<Sample>,
}

#[derive(Deserialize)]
struct Sample {
    metric: String,
    #[serde(flatten)]
    series: Series,
}

impl Metrics {
    pub(super) fn run(self, sources: Sources) -> ExitCode {
        let ended = wait(async {
            let client = self.remote.client_or_local(sources)?;
            let metrics = self.read(&client).await?;
            let out: &mut dyn Write = &mut io::stdout();
            if self.remote.json {
                return say_json(out, &json!({ "metrics": metrics }));
            }
            if metrics.is_empty() {
                let metric = self.metric.as_deref().unwrap_or_default();
                return say(
                    out,
                    &format!("no metric matches {metric}; `watchpost metrics` prints all names\n"),
                );
            }
            say(out, &as_table(&metrics))
        });
        match ended {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(error.code, &error.what),
        }
    }

    /// All pages of the catalogue, with the values of the latest snapshot.
    async fn read(&self, client: &ApiClient) -> Result<Vec<Metric>, CommandError> {
        let mut metrics = Vec::new();
        let mut after = None;
        loop {
            let request = ApiRequest::get("/api/v1/metrics")
                .with("metric", self.metric.as_ref())
                .with("after", after)
                .with("limit", Some(PAGE_SIZE));
            let page: Page = client.send_checked(request).await?.read()?;
            metrics.extend(page.metrics);
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        let snapshot: Snapshot = client.send_checked(ApiRequest::get("/api/v1/snapshot")).await?.read()?;
        let mut measured = BTreeMap::<String, Vec<Series>>::new();
        for sample in snapshot.samples {
            measured.entry(sample.metric).or_default().push(sample.series);
        }
        for metric in &mut metrics {
            metric.series = measured.remove(&metric.metric).unwrap_or_default();
        }
        Ok(metrics)
    }
}

/// A line for each series, and one for each metric without a series.
fn as_table(metrics: &[Metric]) -> String {
    let mut rows = vec![["METRIC", "VALUE", "UNIT", "TYPE", "SOURCE"].map(str::to_owned)];
    for metric in metrics {
        let mut add = |name: String, value: String| {
            let source = metric.source.as_deref().unwrap_or("-");
            let unit = if metric.unit.is_empty() { "-" } else { &metric.unit };
            rows.push([name, value, unit.to_owned(), metric.r#type.clone(), source.to_owned()]);
        };
        if metric.series.is_empty() {
            add(metric.metric.clone(), "-".to_owned());
        }
        for series in &metric.series {
            add(
                format!("{}{}", metric.metric, written(&series.labels)),
                number(series.value),
            );
        }
    }
    columns(&rows)
}

/// Labels as Prometheus writes them.
fn written(labels: &BTreeMap<String, String>) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", labels.join(","))
}

/// At most three decimals, which are enough for people.
fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_series_is_a_line_and_a_metric_without_one_has_a_dash() {
        let metric = |name: &str, unit: &str, source: Option<&str>, series: Vec<Series>| Metric {
            metric: name.to_owned(),
            unit: unit.to_owned(),
            r#type: "gauge".to_owned(),
            labels: Vec::new(),
            source: source.map(str::to_owned),
            help: String::new(),
            exported: name.to_owned(),
            series,
        };
        let series = |mountpoint: &str, value| Series {
            labels: BTreeMap::from([("mountpoint".to_owned(), mountpoint.to_owned())]),
            value,
        };
        let disks = vec![series("/", 45.25), series("/home", 7.0)];
        let metrics = [
            metric("disk", "percent", Some("host.filesystems"), disks),
            metric("temperature", "celsius", Some("host.temperature"), Vec::new()),
            metric(
                "wind",
                "",
                None,
                vec![Series {
                    labels: BTreeMap::new(),
                    value: 0.1 + 0.2,
                }],
            ),
        ];
        let expected = "\
METRIC                    VALUE  UNIT     TYPE   SOURCE
disk{mountpoint=\"/\"}      45.25  percent  gauge  host.filesystems
disk{mountpoint=\"/home\"}  7      percent  gauge  host.filesystems
temperature               -      celsius  gauge  host.temperature
wind                      0.3    -        gauge  -
";
        assert_eq!(as_table(&metrics), expected);
    }

    #[test]
    fn numbers_have_at_most_three_decimals() {
        for (value, expected) in [(0.0, "0"), (1200.0, "1200"), (0.12345, "0.123"), (-2.5, "-2.5")] {
            assert_eq!(number(value), expected);
        }
    }
}
