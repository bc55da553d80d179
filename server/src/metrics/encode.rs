//! Writes the service metrics, which the crate `prometheus` collects; that crate's encoder does not support
//! `OpenMetrics`. Summaries and untyped metrics are not written, because there are none.

use prometheus::proto::{Metric, MetricFamily, MetricType};

use super::format::Format;
use watchpost_source::Kind;

use super::page::{Page, bound};

/// All families, followed by the end-of-page marker.
pub(super) fn encode(families: &[MetricFamily], format: Format) -> String {
    let samples: usize = families.iter().map(|family| family.get_metric().len()).sum();
    let mut page = Page::new(format, samples * 200 + families.len() * 150);
    for family in families.iter().filter(|family| !family.get_metric().is_empty()) {
        write_family(&mut page, family);
    }
    page.end();
    page.into_text()
}

fn write_family(page: &mut Page, family: &MetricFamily) {
    let name = family.name();
    let kind = match family.get_field_type() {
        MetricType::COUNTER if name.ends_with("_total") => Kind::Counter,
        // OpenMetrics requires that a counter's name ends in `_total`.
        MetricType::COUNTER => Kind::Unknown,
        MetricType::GAUGE if name.ends_with("_info") => Kind::Info,
        MetricType::GAUGE => Kind::Gauge,
        MetricType::HISTOGRAM => Kind::Histogram,
        MetricType::SUMMARY | MetricType::UNTYPED => return,
    };
    page.family(name, kind, family.help());
    for metric in family.get_metric() {
        let value = match kind {
            Kind::Histogram => {
                write_histogram(page, name, metric);
                continue;
            }
            Kind::Counter | Kind::Unknown => metric.get_counter().get_value(),
            Kind::Gauge | Kind::Info => metric.get_gauge().get_value(),
        };
        page.sample(name, "", labels(metric), value);
    }
}

fn write_histogram(page: &mut Page, name: &str, metric: &Metric) {
    let histogram = metric.get_histogram();
    let finite = histogram
        .get_bucket()
        .iter()
        .filter(|bucket| bucket.upper_bound().is_finite());
    let counts = finite.map(|bucket| (bucket.upper_bound(), bucket.cumulative_count()));
    for (upper, count) in counts.chain([(f64::INFINITY, histogram.get_sample_count())]) {
        let upper = bound(upper);
        let labels = labels(metric).chain([("le", upper.as_str())]);
        page.sample(name, "_bucket", labels, count as f64);
    }
    page.sample(name, "_sum", labels(metric), histogram.get_sample_sum());
    page.sample(name, "_count", labels(metric), histogram.get_sample_count() as f64);
}

fn labels(metric: &Metric) -> impl Iterator<Item = (&str, &str)> {
    metric.get_label().iter().map(|label| (label.name(), label.value()))
}

#[cfg(test)]
mod tests {
    use prometheus::{Counter, Gauge, Histogram, HistogramOpts, Opts, Registry};

    use super::*;

    fn families() -> Vec<MetricFamily> {
        let registry = Registry::new();
        let duration = HistogramOpts::new("took_seconds", "How long.").buckets(vec![0.5, 1.0]);
        let duration = Histogram::with_opts(duration.const_label("method", "GET")).expect("a legal histogram");
        let done = Counter::with_opts(Opts::new("done_total", "How many.")).expect("a legal counter");
        let odd = Counter::with_opts(Opts::new("odd", "How odd.")).expect("a legal counter");
        let build = Opts::new("build_info", "Which.").const_label("version", "1");
        let build = Gauge::with_opts(build).expect("a legal gauge");
        registry.register(Box::new(duration.clone())).expect("a new name");
        registry.register(Box::new(done.clone())).expect("a new name");
        registry.register(Box::new(odd)).expect("a new name");
        registry.register(Box::new(build.clone())).expect("a new name");
        for seconds in [0.25, 0.5, 0.75, 2.0] {
            duration.observe(seconds);
        }
        done.inc();
        build.set(1.0);
        registry.gather()
    }

    #[test]
    fn openmetrics_has_stems_canonical_bounds_and_an_end() {
        let expected = "# HELP build Which.\n# TYPE build info\nbuild_info{version=\"1\"} 1\n\
             # HELP done How many.\n# TYPE done counter\ndone_total 1\n\
             # HELP odd How odd.\n# TYPE odd unknown\nodd 0\n\
             # HELP took_seconds How long.\n# TYPE took_seconds histogram\n# UNIT took_seconds seconds\n\
             took_seconds_bucket{method=\"GET\",le=\"0.5\"} 2\n\
             took_seconds_bucket{method=\"GET\",le=\"1.0\"} 3\n\
             took_seconds_bucket{method=\"GET\",le=\"+Inf\"} 4\n\
             took_seconds_sum{method=\"GET\"} 3.5\n\
             took_seconds_count{method=\"GET\"} 4\n# EOF\n";
        assert_eq!(encode(&families(), Format::OpenMetrics), expected);
    }

    #[test]
    fn text_has_whole_names_and_no_end() {
        let text = encode(&families(), Format::Text);
        assert!(text.contains("# TYPE done_total counter\ndone_total 1\n"), "{text}");
        assert!(text.contains("# TYPE build_info gauge\n"), "{text}");
        assert!(text.contains("# TYPE odd untyped\nodd 0\n"), "{text}");
        assert!(
            text.contains("took_seconds_bucket{method=\"GET\",le=\"1.0\"} 3\n"),
            "{text}"
        );
        assert!(text.ends_with("took_seconds_count{method=\"GET\"} 4\n"), "{text}");
    }

    #[test]
    fn a_family_without_samples_is_not_announced() {
        let mut empty = MetricFamily::default();
        empty.set_name("empty".to_owned());
        assert_eq!(encode(&[empty], Format::OpenMetrics), "# EOF\n");
    }
}
