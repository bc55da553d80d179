//! The response to a scrape: the host's part, rendered once for all scrapes that see the same readings, followed by the
//! service metrics, rendered per request. It measures nothing and serves nothing.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use prometheus::proto::MetricFamily;
use watchpost_policies::{Report, Sample, Snapshot};

use super::compress::Encoded;
use super::format::{Encoding, Format};
use super::measured::Measured;
use super::page::Page;
use super::reserved_names::Claims;
use super::{encode, findings, service_metrics};
use watchpost_source::DeclaredFamily;
use watchpost_source::Kind;

/// The host's part of the page, in every format. Its `Default` is empty; it is used before the first round.
#[derive(Debug, Default)]
pub struct Rendered {
    content: Option<Content>,
    text: OnceLock<Encoded>,
    openmetrics: OnceLock<Encoded>,
}

#[derive(Debug)]
struct Content {
    snapshot: Arc<Snapshot>,
    declared: Arc<[DeclaredFamily]>,
    newer: Vec<Arc<Vec<Sample>>>,
    report: Arc<Report>,
}

impl Rendered {
    /// The page of a round: its measurements, where a series in `newer` replaces the one of the snapshot, and the rules'
    /// findings. `declared` are the families that have their type and help text from outside. A format is rendered on
    /// first use, because most machines are scraped in one format only.
    pub fn new(
        snapshot: Arc<Snapshot>,
        declared: Arc<[DeclaredFamily]>,
        newer: Vec<Arc<Vec<Sample>>>,
        report: Arc<Report>,
    ) -> Self {
        Self {
            content: Some(Content {
                snapshot,
                declared,
                newer,
                report,
            }),
            ..Self::default()
        }
    }

    fn in_format(&self, format: Format) -> &Encoded {
        let encoded = match format {
            Format::Text => &self.text,
            Format::OpenMetrics => &self.openmetrics,
        };
        encoded.get_or_init(|| match &self.content {
            Some(content) => Encoded::new(content.render(format)),
            None => Encoded::default(),
        })
    }
}

impl Content {
    fn render(&self, format: Format) -> String {
        let newer = self.newer.iter().flat_map(|samples| samples.iter());
        let measured = Measured::of(&self.snapshot, newer, &self.declared, reserved());
        let mut page = Page::new(format, measured.size_hint() + 4096);
        measured.write(&mut page);
        write_round(&mut page, &self.snapshot, measured.left_out());
        findings::write(&mut page, &self.report);
        page.into_text()
    }
}

const SNAPSHOT_TIME: &str = "watchpost_snapshot_timestamp_seconds";
const GAPS: &str = "watchpost_snapshot_gaps";
const DROPPED_SAMPLES: &str = "watchpost_samples_dropped";

/// The whole response body. `service_metrics` is the result of
/// [`ServiceMetrics::gather`](super::ServiceMetrics::gather).
pub fn body(rendered: &Rendered, service_metrics: &[MetricFamily], format: Format, encoding: Encoding) -> Bytes {
    let host = rendered.in_format(format);
    host.followed_by(&encode::encode(service_metrics, format), encoding)
}

fn write_round(page: &mut Page, snapshot: &Snapshot, left_out: usize) {
    let mut gauge = |name: &str, help: &str, value: f64| {
        page.family(name, Kind::Gauge, help);
        page.sample(name, "", [], value);
    };
    gauge(
        SNAPSHOT_TIME,
        "Time of the last round, in seconds since 1970; counters may be newer.",
        snapshot.time_ms() as f64 / 1000.0,
    );
    gauge(
        GAPS,
        "Number of parts of the machine that could not be measured in the last round.",
        snapshot.gaps().len() as f64,
    );
    gauge(
        DROPPED_SAMPLES,
        "Number of measured samples that are not exported, because their names or labels are reserved.",
        left_out as f64,
    );
}

/// The names that no sample may have, because Watchpost exports its own families under them.
fn reserved() -> Claims {
    let mut claims = Claims::default();
    for name in [SNAPSHOT_TIME, GAPS, DROPPED_SAMPLES].iter().chain(findings::FAMILIES) {
        claims.claim(name, Kind::Gauge);
    }
    for (name, kind) in service_metrics::families() {
        claims.claim(name, kind);
    }
    claims
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use watchpost_policies::{Gap, Labels, MetricName, Sample, Unit};

    use super::*;
    use crate::metrics::SourceHealth;
    use crate::metrics::route_class::RouteClass;
    use crate::metrics::service_metrics::{Build, FinishedRequest, ServiceMetrics};
    use crate::rules::by_default;

    fn snapshot() -> Snapshot {
        let sample = |metric: &str, value: f64, unit: &str| {
            let metric = MetricName::new(metric).expect("a legal name");
            Sample::new(metric, Labels::none(), value, Unit::new(unit), 2500).expect("a finite value")
        };
        let samples = vec![
            sample("cpu", 25.0, "percent"),
            sample("node_load1", 0.5, ""),
            sample("http_requests_total", 1e9, ""),
            sample("node_scrape_collector_success", 9.0, ""),
        ];
        let gap = Gap {
            source: "host.disks".to_owned(),
            metrics: Vec::new(),
            reason: "no such file".to_owned(),
        };
        Snapshot::new("edge-1".to_owned(), 2500, Labels::none(), samples, vec![gap])
    }

    fn service_metrics() -> ServiceMetrics {
        let service_metrics = ServiceMetrics::new(&Build {
            version: "1.2.3",
            commit: "abc",
            rustc: "1.95.0",
        });
        service_metrics.request_finished(&FinishedRequest {
            route: RouteClass::Metrics,
            method: "GET",
            path: "/metrics",
            status: 200,
            duration: Duration::from_millis(2),
        });
        let state = SourceHealth {
            success: true,
            last_success_ms: Some(2500),
            ..SourceHealth::default()
        };
        service_metrics.set_sources([("host.memory", state)]);
        service_metrics
    }

    fn answer(format: Format) -> String {
        let report = by_default().judge(&snapshot(), None);
        let rendered = Rendered::new(Arc::new(snapshot()), Arc::default(), Vec::new(), Arc::new(report));
        let bytes = body(&rendered, &service_metrics().gather(), format, Encoding::Identity);
        String::from_utf8(bytes.to_vec()).expect("UTF-8")
    }

    #[test]
    fn a_response_has_the_measurements_and_then_the_service_metrics() {
        let text = answer(Format::Text);
        for line in [
            "watchpost_cpu_ratio 0.25\n",
            "node_load1 0.5\n",
            "watchpost_snapshot_timestamp_seconds 2.5\n",
            "watchpost_snapshot_gaps 1\n",
            "watchpost_samples_dropped 2\n",
            "watchpost_report_severity{severity=\"unknown\"} 1\n",
            "watchpost_http_requests_total{method=\"read\",route=\"metrics\",status=\"2xx\"} 1\n",
            "node_scrape_collector_success{collector=\"memory\"} 1\n",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        assert!(!text.contains("1000000000"), "a sample cannot replace a service metric");
    }

    #[test]
    fn only_openmetrics_has_an_end_and_it_is_the_last_line() {
        let openmetrics = answer(Format::OpenMetrics);
        assert!(openmetrics.ends_with("\n# EOF\n"));
        assert_eq!(openmetrics.matches("# EOF").count(), 1);
        assert!(!answer(Format::Text).contains("# EOF"));
    }

    #[test]
    fn every_family_has_a_help_a_type_and_comes_once() {
        for format in [Format::Text, Format::OpenMetrics] {
            let text = answer(format);
            let mut seen = HashSet::new();
            let mut families = 0;
            for line in text.lines() {
                let Some(head) = line.strip_prefix("# ") else { continue };
                let mut parts = head.split(' ');
                let (what, name) = (parts.next(), parts.next());
                assert!(seen.insert((what, name)), "{line} comes twice");
                families += usize::from(what == Some("TYPE"));
                assert!(what != Some("TYPE") || seen.contains(&(Some("HELP"), name)), "{line}");
                assert!(what != Some("HELP") || parts.next().is_some(), "{line} has no text");
            }
            assert!(families > 20, "{families}");
        }
    }

    #[test]
    fn before_the_first_round_there_are_only_the_service_metrics() {
        let service_metrics = service_metrics().gather();
        for encoding in [Encoding::Identity, Encoding::Gzip, Encoding::Zstd] {
            assert!(!body(&Rendered::default(), &service_metrics, Format::OpenMetrics, encoding).is_empty());
        }
    }
}
