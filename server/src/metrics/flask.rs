//! Requests to the WM resource monitor's paths, under the names and labels that its Flask exporter had. Only the metrics
//! page of that interface has them; the page for everyone counts the same requests by class.

use std::collections::BTreeMap;

use prometheus::core::Collector;
use prometheus::proto::{Counter, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{HistogramOpts, HistogramVec};

use super::derived::family;

/// Bucket bounds in seconds. They are the Flask exporter's, so that queries on its buckets keep working.
const BUCKETS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

/// The durations of all requests to those paths; the other families are derived from them.
pub(super) struct FlaskMetrics {
    durations: HistogramVec,
}

impl FlaskMetrics {
    pub(super) fn new() -> Self {
        let options = HistogramOpts::new(
            "flask_http_request_duration_seconds",
            "Duration of HTTP requests to the WM resource monitor in seconds, by path.",
        );
        let durations = HistogramVec::new(options.buckets(BUCKETS.to_vec()), &["method", "path", "status"]);
        Self {
            durations: durations.expect("the name, the labels and the buckets are legal"),
        }
    }

    /// Counts a request. `path` is the pattern of its route.
    pub(super) fn observe(&self, method: &str, path: &str, status: u16, seconds: f64) {
        let status = status.to_string();
        let labels = [known_method(method), path, status.as_str()];
        self.durations.with_label_values(&labels).observe(seconds);
    }

    /// All families with these names.
    pub(super) fn families(&self, version: &str) -> Vec<MetricFamily> {
        let durations = self.durations.collect();
        let observed = || durations.iter().flat_map(MetricFamily::get_metric);
        let requests = counted(observed());
        let failed = counted(observed().filter(|metric| label(metric, "status").starts_with('5')));
        let derived = [
            family(
                "flask_http_request_total",
                "Number of HTTP requests to the WM resource monitor.",
                MetricType::COUNTER,
                requests,
            ),
            family(
                "flask_http_request_exceptions_total",
                "Number of HTTP requests to the WM resource monitor with a server error (a status of 500 or above).",
                MetricType::COUNTER,
                failed,
            ),
            family(
                "flask_exporter_info",
                "Version of Watchpost, which replaces the Flask exporter.",
                MetricType::GAUGE,
                vec![info(version)],
            ),
        ];
        durations.into_iter().chain(derived).collect()
    }
}

/// The number of requests by method and status.
fn counted<'m>(observed: impl Iterator<Item = &'m Metric>) -> Vec<Metric> {
    let mut counts = BTreeMap::<(&str, &str), u64>::new();
    for metric in observed {
        let key = (label(metric, "method"), label(metric, "status"));
        *counts.entry(key).or_default() += metric.get_histogram().get_sample_count();
    }
    let counter = |((method, status), count): ((&str, &str), u64)| {
        let mut counter = Counter::default();
        counter.set_value(count as f64);
        let mut metric = labelled(&[("method", method), ("status", status)]);
        metric.set_counter(counter);
        metric
    };
    counts.into_iter().map(counter).collect()
}

fn info(version: &str) -> Metric {
    let mut gauge = prometheus::proto::Gauge::default();
    gauge.set_value(1.0);
    let mut metric = labelled(&[("version", version)]);
    metric.set_gauge(gauge);
    metric
}

fn labelled(labels: &[(&str, &str)]) -> Metric {
    let pair = |(name, value): &(&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    let mut metric = Metric::default();
    metric.set_label(labels.iter().map(pair).collect());
    metric
}

fn label<'m>(metric: &'m Metric, name: &str) -> &'m str {
    let mut labels = metric.get_label().iter();
    labels.find(|label| label.name() == name).map_or("", LabelPair::value)
}

/// All methods that HTTP does not define share one label value, because clients could otherwise create unlimited
/// series.
fn known_method(method: &str) -> &str {
    const METHODS: [&str; 9] = [
        "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT", "TRACE",
    ];
    if METHODS.contains(&method) { method } else { "other" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::encode::encode;
    use crate::metrics::format::Format;

    #[test]
    fn requests_have_the_flask_exporter_s_names_and_labels() {
        let flask = FlaskMetrics::new();
        flask.observe("GET", "/wm", 200, 0.02);
        flask.observe("GET", "/wm/api", 200, 0.02);
        flask.observe("GET", "/wm/api", 503, 20.0);
        for method in ["BREW", "get", ""] {
            flask.observe(method, "/wm", 405, 0.0);
        }
        let text = encode(&flask.families("1.2.3"), Format::Text);
        let duration = |rest: &str| format!("flask_http_request_duration_seconds_{rest}");
        for line in [
            duration("bucket{method=\"GET\",path=\"/wm\",status=\"200\",le=\"0.01\"} 0"),
            duration("bucket{method=\"GET\",path=\"/wm\",status=\"200\",le=\"0.025\"} 1"),
            duration("bucket{method=\"GET\",path=\"/wm/api\",status=\"503\",le=\"10.0\"} 0"),
            duration("bucket{method=\"GET\",path=\"/wm/api\",status=\"503\",le=\"+Inf\"} 1"),
            duration("sum{method=\"GET\",path=\"/wm/api\",status=\"503\"} 20"),
            "flask_http_request_total{method=\"GET\",status=\"200\"} 2".to_owned(),
            "flask_http_request_total{method=\"GET\",status=\"503\"} 1".to_owned(),
            "flask_http_request_total{method=\"other\",status=\"405\"} 3".to_owned(),
            "flask_http_request_exceptions_total{method=\"GET\",status=\"503\"} 1".to_owned(),
            "flask_exporter_info{version=\"1.2.3\"} 1".to_owned(),
        ] {
            assert!(text.lines().any(|present| present == line), "{line} is not in {text}");
        }
        assert!(!text.contains("exceptions_total{method=\"GET\",status=\"200\"}"));
    }
}
