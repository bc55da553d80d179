//! Tests of the service metrics.

use super::*;
use crate::metrics::encode::encode;
use crate::metrics::format::Format;
use crate::metrics::reserved_names::Claims;

fn service_metrics() -> ServiceMetrics {
    ServiceMetrics::new(&Build {
        version: "1.2.3",
        commit: "abc",
        rustc: "1.95.0",
    })
}

fn rendered(service_metrics: &ServiceMetrics) -> String {
    encode(&service_metrics.gather(), Format::Text)
}

fn check(service_metrics: &ServiceMetrics, lines: &[&str]) {
    let text = rendered(service_metrics);
    for line in lines {
        assert!(
            text.lines().any(|present| present == *line),
            "{line} is not present: {text}"
        );
    }
}

#[test]
fn series_with_known_labels_start_at_zero() {
    check(
        &service_metrics(),
        &[
            "watchpost_http_requests_in_flight 0",
            "watchpost_http_connections 0",
            "watchpost_rate_limited_total 0",
            "watchpost_decisions_dropped_total{reason=\"full\"} 0",
            "watchpost_decisions_dropped_total{reason=\"rejected\"} 0",
            "watchpost_decisions_dropped_total{reason=\"shutdown\"} 0",
            "watchpost_history_rounds_dropped_total{reason=\"full\"} 0",
            "watchpost_history_rounds_dropped_total{reason=\"rejected\"} 0",
            "watchpost_history_rounds_dropped_total{reason=\"shutdown\"} 0",
            "watchpost_decisions_recorded_total{kind=\"judgement\"} 0",
            "watchpost_tls_reloads_total{outcome=\"failure\"} 0",
            "watchpost_config_reloads_total{outcome=\"success\"} 0",
            "watchpost_build_info{commit=\"abc\",rustc=\"1.95.0\",version=\"1.2.3\"} 1",
            "flask_exporter_info{version=\"1.2.3\"} 1",
        ],
    );
}

#[test]
fn a_request_is_counted_under_watchpost_s_and_the_predecessor_s_name() {
    let service_metrics = service_metrics();
    service_metrics.request_finished("GET", "/api/metrics", 200, Duration::from_millis(20));
    service_metrics.request_finished("GET", "/api/metrics", 503, Duration::from_secs(20));
    for prefix in ["watchpost", "flask"] {
        let of_route = |rest: &str| format!("{prefix}_http_request_duration_seconds_{rest}");
        check(
            &service_metrics,
            &[
                &of_route("bucket{method=\"GET\",path=\"/api/metrics\",status=\"200\",le=\"0.01\"} 0"),
                &of_route("bucket{method=\"GET\",path=\"/api/metrics\",status=\"200\",le=\"0.025\"} 1"),
                &of_route("bucket{method=\"GET\",path=\"/api/metrics\",status=\"503\",le=\"10.0\"} 0"),
                &of_route("bucket{method=\"GET\",path=\"/api/metrics\",status=\"503\",le=\"+Inf\"} 1"),
                &of_route("sum{method=\"GET\",path=\"/api/metrics\",status=\"503\"} 20"),
                &format!("{prefix}_http_request_exceptions_total{{method=\"GET\",status=\"503\"}} 1"),
            ],
        );
    }
    check(
        &service_metrics,
        &[
            "watchpost_http_requests_total{method=\"GET\",status=\"200\"} 1",
            "flask_http_request_total{method=\"GET\",status=\"503\"} 1",
        ],
    );
    assert!(!rendered(&service_metrics).contains("exceptions_total{method=\"GET\",status=\"200\"}"));
}

#[test]
fn unknown_methods_share_one_label_value() {
    let service_metrics = service_metrics();
    for method in ["BREW", "get", ""] {
        service_metrics.request_finished(method, "/", 405, Duration::ZERO);
    }
    check(
        &service_metrics,
        &["watchpost_http_requests_total{method=\"other\",status=\"405\"} 3"],
    );
}

#[test]
fn a_request_in_flight_is_counted_until_it_is_dropped() {
    let service_metrics = service_metrics();
    let request = service_metrics.request_started();
    let connection = service_metrics.connection_accepted("main");
    check(
        &service_metrics,
        &["watchpost_http_requests_in_flight 1", "watchpost_http_connections 1"],
    );
    drop((request, connection));
    check(
        &service_metrics,
        &[
            "watchpost_http_requests_in_flight 0",
            "watchpost_http_connections 0",
            "watchpost_http_connections_accepted_total{listener=\"main\"} 1",
        ],
    );
}

#[test]
fn a_host_source_is_exported_under_both_names() {
    let service_metrics = service_metrics();
    let healthy = SourceHealth {
        success: true,
        duration_seconds: 0.5,
        last_success_ms: Some(7_500),
        ..SourceHealth::default()
    };
    let failed = |failures| SourceHealth {
        duration_seconds: 2.0,
        failures,
        ..SourceHealth::default()
    };
    service_metrics.set_sources([("host.memory", healthy), ("cabinet", failed(1))]);
    check(
        &service_metrics,
        &[
            "watchpost_source_success{source=\"host.memory\"} 1",
            "watchpost_source_success{source=\"cabinet\"} 0",
            "watchpost_source_duration_seconds{source=\"host.memory\"} 0.5",
            "watchpost_source_last_success_timestamp_seconds{source=\"host.memory\"} 7.5",
            "watchpost_source_last_success_timestamp_seconds{source=\"cabinet\"} 0",
            "watchpost_source_failures_total{source=\"host.memory\"} 0",
            "watchpost_source_failures_total{source=\"cabinet\"} 1",
            "node_scrape_collector_success{collector=\"memory\"} 1",
            "node_scrape_collector_duration_seconds{collector=\"memory\"} 0.5",
        ],
    );
    assert!(!rendered(&service_metrics).contains("collector=\"cabinet\""));
    // One failed twice in rounds that were skipped, and then not again.
    service_metrics.set_sources([("host.memory", failed(1)), ("cabinet", failed(3))]);
    service_metrics.set_sources([("host.memory", failed(1)), ("cabinet", failed(3))]);
    check(
        &service_metrics,
        &[
            "node_scrape_collector_success{collector=\"memory\"} 0",
            "watchpost_source_failures_total{source=\"cabinet\"} 3",
        ],
    );
}

#[test]
fn a_removed_source_has_no_series_and_one_that_is_added_again_counts_from_zero() {
    let service_metrics = service_metrics();
    let failed = |failures| SourceHealth {
        failures,
        ..SourceHealth::default()
    };
    service_metrics.set_sources([("session", failed(3)), ("cabinet", failed(1))]);
    service_metrics.set_sources([("cabinet", failed(1))]);
    assert!(
        !rendered(&service_metrics).contains("source=\"session\""),
        "{}",
        rendered(&service_metrics)
    );
    check(
        &service_metrics,
        &["watchpost_source_failures_total{source=\"cabinet\"} 1"],
    );
    service_metrics.set_sources([("session", failed(2))]);
    // Removed and added again between two rounds.
    service_metrics.set_sources([("session", failed(1))]);
    check(
        &service_metrics,
        &["watchpost_source_failures_total{source=\"session\"} 1"],
    );
}

#[test]
fn decisions_reloads_and_certificates_are_exported() {
    let service_metrics = service_metrics();
    let reason = "no".to_owned();
    service_metrics.decided(Action::RulesWrite, &Verdict::Deny { reason });
    service_metrics.decided(Action::RulesWrite, &Verdict::Allow);
    service_metrics.rate_limited();
    service_metrics.task_started("collect");
    service_metrics.task_started("warn");
    service_metrics.task_restarted("warn");
    service_metrics.tls_reloaded(Outcome::Success);
    service_metrics.config_reloaded(Outcome::Failure);
    service_metrics.certificate_expires(CertificateKind::Server, Some(1_800_000_000));
    service_metrics.certificate_expires(CertificateKind::Crl, Some(1));
    service_metrics.certificate_expires(CertificateKind::Crl, None);
    service_metrics.certificate_expires(CertificateKind::Ca, None);
    let action = Action::RulesWrite;
    check(
        &service_metrics,
        &[
            &format!("watchpost_decisions_total{{action=\"{action}\",verdict=\"deny\"}} 1"),
            &format!("watchpost_decisions_total{{action=\"{action}\",verdict=\"allow\"}} 1"),
            "watchpost_rate_limited_total 1",
            "watchpost_task_restarts_total{task=\"collect\"} 0",
            "watchpost_task_restarts_total{task=\"warn\"} 1",
            "watchpost_tls_reloads_total{outcome=\"success\"} 1",
            "watchpost_config_reloads_total{outcome=\"failure\"} 1",
            "watchpost_tls_certificate_expiry_timestamp_seconds{kind=\"server\"} 1800000000",
        ],
    );
    assert!(
        !rendered(&service_metrics).contains("kind=\"crl\"") && !rendered(&service_metrics).contains("kind=\"ca\"")
    );
}

#[test]
fn no_two_families_share_a_name_in_any_format() {
    let mut claims = Claims::default();
    for (name, kind) in families() {
        assert!(claims.claim(name, kind), "{name} is taken");
    }
}

#[test]
fn all_gathered_names_with_reserved_prefixes_are_reserved() {
    let service_metrics = service_metrics();
    service_metrics.request_finished("GET", "/", 500, Duration::ZERO);
    service_metrics.set_sources([("host.memory", SourceHealth::default())]);
    for family in service_metrics.gather() {
        let has_reserved_prefix = ["watchpost_", "node_"]
            .iter()
            .any(|prefix| family.name().starts_with(prefix));
        assert!(
            !has_reserved_prefix || families().any(|(name, _)| name == family.name()),
            "{}",
            family.name()
        );
        assert!(!family.help().is_empty(), "{}", family.name());
    }
}

#[test]
fn a_status_is_three_digits() {
    for (status, expected) in [(200, "200"), (7, "007"), (599, "599"), (u16::MAX, "999")] {
        assert_eq!(text(&digits(status)), expected);
    }
}
