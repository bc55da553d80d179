//! The service metrics: requests, decisions, sources, tasks, certificates. They are declared here and changed only by
//! the methods below. This module has no clock; callers pass durations.

use std::collections::BTreeSet;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::MetricFamily;
use prometheus::{GaugeVec, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};
use watchpost_policies::{Action, Verdict};
use watchpost_source::Kind;

use super::derived;
use super::flask::FlaskMetrics;

use super::registry_macro::declare;
use super::route_class::{RouteClass, method_class, status_class};
use crate::telemetry;
use crate::tls::RejectReason;
use crate::write_behind::DropReason;

declare! {
    /// All service metrics. The doc comment of a field is the metric's HELP text.
    struct Families {
        /// Duration of HTTP requests in seconds, by class of route.
        watchpost_http_request_duration_seconds: HistogramVec["route"],
        /// Number of HTTP requests, by class of route, method (read or write) and status.
        watchpost_http_requests_total: IntCounterVec["route", "method", "status"],
        /// Number of HTTP requests in flight.
        watchpost_http_requests_in_flight: IntGauge,
        /// Number of open connections.
        watchpost_http_connections: IntGauge,
        /// Number of accepted connections, by listener.
        watchpost_http_connections_accepted_total: IntCounterVec["listener"],
        /// Number of connections that TLS listeners rejected, by reason.
        watchpost_tls_rejected_connections_total: IntCounterVec["reason"],
        /// Number of malformed HTTP requests: their connections were closed, or they were answered with 400 or 431.
        watchpost_http_malformed_requests_total: IntCounter,
        /// Number of connections, requests and responses that were ended because they exceed a limit of the section
        /// `http` (or the limit of expansion of compressed bodies), by limit.
        watchpost_http_limits_exceeded_total: IntCounterVec["limit"],
        /// Number of authorization decisions of the role rule, by action and verdict.
        watchpost_decisions_total: IntCounterVec["action", "verdict"],
        /// Number of records of decisions and judgements that were written to the database.
        watchpost_decisions_recorded_total: IntCounterVec["kind"],
        /// Number of records of decisions and judgements that were lost: the buffer was full, the database rejected
        /// them, or they were not written before the shutdown timeout.
        watchpost_decisions_dropped_total: IntCounterVec["reason"],
        /// Number of requests rejected by the rate limit.
        watchpost_rate_limited_total: IntCounter,
        /// 1 if the last poll of a source succeeded, 0 if it failed.
        watchpost_source_success: IntGaugeVec["source"],
        /// Duration of the last poll of a source, in seconds.
        watchpost_source_duration_seconds: GaugeVec["source"],
        /// Time of the last successful poll of a source, in seconds since 1970; 0 if there was none.
        watchpost_source_last_success_timestamp_seconds: GaugeVec["source"],
        /// Number of failed polls of a source.
        watchpost_source_failures_total: IntCounterVec["source"],
        /// Number of measurements that scrapes requested between rounds, by outcome; after a failure, the last reading of
        /// a source that did not answer in time is served.
        watchpost_scrape_measurements_total: IntCounterVec["outcome"],
        /// Number of the active generation of rules.
        watchpost_rules_generation: IntGauge,
        /// 1 if access is closed: no role allows more than an anonymous client may do, because the role rule failed or
        /// the database was replaced.
        watchpost_access_closed: IntGauge,
        /// Number of times a rule was quarantined because it failed repeatedly.
        watchpost_rule_quarantines_total: IntCounterVec["rule"],
        /// Number of invalid files in the rules folder; the rules that were active before stay active.
        watchpost_rules_folder_rejected_files: IntGauge,
        /// Number of subjects that a rule in shadow mode judged differently from the active rule in the last round.
        watchpost_rule_shadow_differences: IntGaugeVec["rule"],
        /// Number of rounds that a rule was evaluated in shadow mode, by whether its findings were the same.
        watchpost_rule_shadow_rounds_total: IntCounterVec["rule", "outcome"],
        /// Number of requests that a role rule in shadow mode would have decided differently.
        watchpost_role_shadow_differences_total: IntCounterVec["action"],
        /// Number of decisions that were not compared with a role rule in shadow mode: it failed or was busy, or the
        /// queue was full.
        watchpost_role_shadow_skipped_total: IntCounterVec["reason"],
        /// Number of rounds written to the history.
        watchpost_history_rounds_total: IntCounter,
        /// Number of rounds missing in the history: the buffer was full because the database did not respond, they
        /// could not be encoded, or they were not written before the shutdown timeout.
        watchpost_history_rounds_dropped_total: IntCounterVec["reason"],
        /// Size of the history in bytes.
        watchpost_history_bytes: IntGauge,
        /// Number of samples in the compacted history.
        watchpost_history_samples: IntGauge,
        /// Number of times a task ended unexpectedly and was restarted.
        watchpost_task_restarts_total: IntCounterVec["task"],
        /// Expiry time of a certificate or a certificate revocation list, in seconds since 1970.
        watchpost_tls_certificate_expiry_timestamp_seconds: IntGaugeVec["kind"],
        /// Number of certificate reloads, by outcome; after a failure, the last good certificates stay in use.
        watchpost_tls_reloads_total: IntCounterVec["outcome"],
        /// Number of configuration reloads, by outcome; after a failure, the last good configuration stays in use.
        watchpost_config_reloads_total: IntCounterVec["outcome"],
        /// Version, commit and compiler of the running Watchpost.
        watchpost_build_info: IntGaugeVec["version", "commit", "rustc"],
    }
}

/// The names and kinds of the service metrics, which no other family may use.
pub(super) fn families() -> impl Iterator<Item = (&'static str, Kind)> {
    let declared = Families::FAMILIES.iter().map(|family| (family.name, family.kind));
    declared.chain(derived::FAMILIES.iter().copied())
}

/// The declarations of the service metrics, without the derived ones.
#[cfg(test)]
pub(super) fn declarations() -> &'static [super::registry_macro::Declaration] {
    Families::FAMILIES
}

/// The service metrics.
pub struct ServiceMetrics {
    registry: Registry,
    families: Families,
    flask: FlaskMetrics,
    /// The version of the running build.
    version: String,
    /// The sources that have series.
    sources: Mutex<BTreeSet<String>>,
}

/// The build that is running.
#[derive(Clone, Copy, Debug)]
pub struct Build<'b> {
    pub version: &'b str,
    /// The commit that it was built from.
    pub commit: &'b str,
    /// The version of the compiler.
    pub rustc: &'b str,
}

/// An object with an expiry time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateKind {
    /// The server's certificate.
    Server,
    /// The certificate authority that client certificates are verified with; of several, the one that expires first.
    Ca,
    /// The certificate revocation list; it expires at its next update.
    Crl,
}

/// The outcome of a reload, or of a measurement for scrapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The new version, or the new reading of every source, is in use.
    Success,
    /// The last good version, or the last reading of a source, stays in use.
    Failure,
}

/// The health of a source after its latest round.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SourceHealth {
    /// Whether its latest answer was a success.
    pub success: bool,
    /// How long its latest answer took.
    pub duration_seconds: f64,
    /// The time of its latest success, in milliseconds since 1970 (UTC).
    pub last_success_ms: Option<u64>,
    /// The number of failures since the start.
    pub failures: u64,
}

/// What a threshold rule in shadow mode found in one round, compared with the active rule.
#[derive(Clone, Copy, Debug)]
pub struct ShadowRound<'r> {
    /// The rule's name.
    pub rule: &'r str,
    /// The number of subjects on which the two differ.
    pub differences: usize,
    /// Whether the rule in shadow mode failed.
    pub failed: bool,
}

/// Why a decision was not compared with that of a role rule in shadow mode.
#[derive(Clone, Copy, Debug)]
pub enum NotCompared {
    /// The rule failed.
    Fault,
    /// All instances were busy.
    Busy,
    /// The queue was full.
    Dropped,
}

/// A limit of the HTTP server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpLimit {
    /// `http.max_connections`.
    MaxConnections,
    /// `http.max_connections_per_address`.
    MaxConnectionsPerAddress,
    /// `http.header_timeout`, for the head of a request after the first one, and `http.keep_alive`.
    HeaderTimeout,
    /// `http.send_timeout`.
    SendTimeout,
    /// How far a compressed body may expand.
    Expansion,
}

impl HttpLimit {
    const ALL: [Self; 5] = [
        Self::MaxConnections,
        Self::MaxConnectionsPerAddress,
        Self::HeaderTimeout,
        Self::SendTimeout,
        Self::Expansion,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::MaxConnections => "max_connections",
            Self::MaxConnectionsPerAddress => "max_connections_per_address",
            Self::HeaderTimeout => "header_timeout",
            Self::SendTimeout => "send_timeout",
            Self::Expansion => "expansion",
        }
    }
}

/// The kinds of records whose counters exist from the start, so that their first increase is seen as one.
const RECORD_KINDS_FROM_START: [&str; 2] = ["decision", "judgement"];

/// A finished request.
#[derive(Clone, Copy, Debug)]
pub struct FinishedRequest<'r> {
    /// The class of the operation that handled it.
    pub route: RouteClass,
    pub method: &'r str,
    /// The pattern of its route, never the requested path, because clients could otherwise create unlimited series.
    pub path: &'r str,
    pub status: u16,
    pub duration: Duration,
}

/// Counts one request in flight or one open connection for as long as it lives.
#[derive(Debug)]
pub struct GaugeGuard(IntGauge);

impl ServiceMetrics {
    /// Creates and registers all metrics. Series whose labels are known start at zero, so that their first increase is
    /// seen.
    pub fn new(build: &Build<'_>) -> Self {
        let registry = Registry::new();
        let families = Families::register(&registry).expect("the declarations above are valid and unique");
        let process = registry.register(Box::new(ProcessCollector::for_self()));
        process.expect("no name above is a process metric");
        let labels = [build.version, build.commit, build.rustc];
        families.watchpost_build_info.with_label_values(&labels).set(1);
        for outcome in [Outcome::Success, Outcome::Failure] {
            let labels = [outcome.as_str()];
            families.watchpost_tls_reloads_total.with_label_values(&labels);
            families.watchpost_config_reloads_total.with_label_values(&labels);
            families.watchpost_scrape_measurements_total.with_label_values(&labels);
        }
        for reason in [NotCompared::Fault, NotCompared::Busy, NotCompared::Dropped] {
            families
                .watchpost_role_shadow_skipped_total
                .with_label_values(&[reason.as_str()]);
        }
        for reason in DropReason::ALL {
            let labels = [reason.as_str()];
            families.watchpost_decisions_dropped_total.with_label_values(&labels);
            families
                .watchpost_history_rounds_dropped_total
                .with_label_values(&labels);
        }
        for reason in RejectReason::all() {
            families
                .watchpost_tls_rejected_connections_total
                .with_label_values(&[reason.as_str()]);
        }
        for limit in HttpLimit::ALL {
            families
                .watchpost_http_limits_exceeded_total
                .with_label_values(&[limit.as_str()]);
        }
        for kind in RECORD_KINDS_FROM_START {
            families.watchpost_decisions_recorded_total.with_label_values(&[kind]);
        }
        Self {
            registry,
            families,
            flask: FlaskMetrics::new(),
            version: build.version.to_owned(),
            sources: Mutex::default(),
        }
    }

    /// Counts a request as in flight until the returned value is dropped.
    pub fn request_started(&self) -> GaugeGuard {
        GaugeGuard::new(&self.families.watchpost_http_requests_in_flight)
    }

    /// The number of requests in flight.
    pub fn requests_in_flight(&self) -> i64 {
        self.families.watchpost_http_requests_in_flight.get()
    }

    /// Counts a finished request.
    pub fn request_finished(&self, request: &FinishedRequest<'_>) {
        let FinishedRequest {
            route,
            method,
            path,
            status,
            duration,
        } = *request;
        let (families, seconds) = (&self.families, duration.as_secs_f64());
        let of_route = &families.watchpost_http_request_duration_seconds;
        of_route.with_label_values(&[route.as_str()]).observe(seconds);
        let labels = [route.as_str(), method_class(method), status_class(status)];
        families.watchpost_http_requests_total.with_label_values(&labels).inc();
        if route == RouteClass::Wm {
            self.flask.observe(method, path, status, seconds);
        }
    }

    /// The number of open connections.
    pub fn connections(&self) -> i64 {
        self.families.watchpost_http_connections.get()
    }

    /// Counts an accepted connection, which is open until the returned value is dropped.
    pub fn connection_accepted(&self, listener: &str) -> GaugeGuard {
        let accepted = &self.families.watchpost_http_connections_accepted_total;
        accepted.with_label_values(&[listener]).inc();
        GaugeGuard::new(&self.families.watchpost_http_connections)
    }

    /// Counts a connection that a TLS listener rejected.
    pub fn tls_rejected(&self, reason: RejectReason) {
        let rejected = &self.families.watchpost_tls_rejected_connections_total;
        rejected.with_label_values(&[reason.as_str()]).inc();
    }

    /// Counts a connection, a request or a response that exceeds this limit.
    pub fn limit_exceeded(&self, limit: HttpLimit) {
        let exceeded = &self.families.watchpost_http_limits_exceeded_total;
        exceeded.with_label_values(&[limit.as_str()]).inc();
    }

    /// Counts a malformed HTTP request.
    pub fn malformed_request(&self) {
        self.families.watchpost_http_malformed_requests_total.inc();
    }

    /// Counts a decision of the role rule.
    pub fn decided(&self, action: Action, verdict: &Verdict) {
        let verdict = match verdict {
            Verdict::Allow => "allow",
            Verdict::Deny { .. } => "deny",
            Verdict::Fault { .. } => "fault",
        };
        let labels = [action.as_str(), verdict];
        self.families.watchpost_decisions_total.with_label_values(&labels).inc();
    }

    /// Counts records of this kind that were written.
    pub fn decisions_recorded(&self, kind: &str, count: usize) {
        let recorded = &self.families.watchpost_decisions_recorded_total;
        recorded.with_label_values(&[kind]).inc_by(count as u64);
    }

    /// Counts records that were lost for this reason.
    pub(crate) fn decisions_dropped(&self, count: usize, reason: DropReason) {
        let dropped = &self.families.watchpost_decisions_dropped_total;
        dropped.with_label_values(&[reason.as_str()]).inc_by(count as u64);
    }

    /// Sets the number of the active generation of rules.
    pub fn set_rules_generation(&self, generation: i64) {
        self.families.watchpost_rules_generation.set(generation);
    }

    /// Sets whether access is closed.
    pub fn set_access_closed(&self, closed: bool) {
        self.families.watchpost_access_closed.set(closed.into());
    }

    /// Counts a rule that was quarantined.
    pub fn inc_rules_quarantined(&self, rule: &str) {
        self.families
            .watchpost_rule_quarantines_total
            .with_label_values(&[rule])
            .inc();
    }

    /// Sets the number of invalid files in the rules folder.
    pub fn set_folder_rejected(&self, files: usize) {
        let files = i64::try_from(files).unwrap_or(i64::MAX);
        self.families.watchpost_rules_folder_rejected_files.set(files);
    }

    /// Records the results of the threshold rules in shadow mode in this round. Series of rules that are not given
    /// disappear.
    pub fn set_shadow_rounds<'r>(&self, rules: impl IntoIterator<Item = ShadowRound<'r>>) {
        let families = &self.families;
        families.watchpost_rule_shadow_differences.reset();
        for shadow in rules {
            let differences = families
                .watchpost_rule_shadow_differences
                .with_label_values(&[shadow.rule]);
            differences.set(i64::try_from(shadow.differences).unwrap_or(i64::MAX));
            let outcome = match (shadow.failed, shadow.differences) {
                (true, _) => "fault",
                (false, 0) => "same",
                (false, _) => "other",
            };
            families
                .watchpost_rule_shadow_rounds_total
                .with_label_values(&[shadow.rule, outcome])
                .inc();
        }
    }

    /// Counts a request that a role rule in shadow mode would have decided differently.
    pub fn inc_shadow_difference(&self, action: Action) {
        let differences = &self.families.watchpost_role_shadow_differences_total;
        differences.with_label_values(&[action.as_str()]).inc();
    }

    /// Counts a decision that was not compared with that of a role rule in shadow mode.
    pub fn not_compared(&self, reason: NotCompared) {
        let not_compared = &self.families.watchpost_role_shadow_skipped_total;
        not_compared.with_label_values(&[reason.as_str()]).inc();
    }

    /// Counts a request that the rate limit rejected.
    pub fn rate_limited(&self) {
        self.families.watchpost_rate_limited_total.inc();
    }

    /// Sets the health of all sources. A source without a success has a last success of zero. The series of sources
    /// that are not given disappear.
    pub fn set_sources<'s>(&self, sources: impl IntoIterator<Item = (&'s str, SourceHealth)>) {
        let mut known = self.sources.lock();
        let mut removed = std::mem::take(&mut *known);
        for (source, health) in sources {
            self.set_source(source, &health);
            removed.remove(source);
            known.insert(source.to_owned());
        }
        removed.iter().for_each(|source| self.remove_source(source));
    }

    fn set_source(&self, source: &str, health: &SourceHealth) {
        let families = &self.families;
        let labels = [source];
        let success = families.watchpost_source_success.with_label_values(&labels);
        success.set(health.success.into());
        let duration = families.watchpost_source_duration_seconds.with_label_values(&labels);
        duration.set(health.duration_seconds);
        let last = &families.watchpost_source_last_success_timestamp_seconds;
        let last_ms = health.last_success_ms.unwrap_or_default();
        last.with_label_values(&labels).set(last_ms as f64 / 1000.0);
        let failures = families.watchpost_source_failures_total.with_label_values(&labels);
        // The counter is set to the source's own total, because rounds may be skipped. A source that was removed and
        // added again between two rounds counts from zero.
        if failures.get() > health.failures {
            failures.reset();
        }
        failures.inc_by(health.failures - failures.get());
    }

    fn remove_source(&self, source: &str) {
        let families = &self.families;
        let labels = [source];
        // All four were set together, and an error would only say that a series does not exist.
        drop(families.watchpost_source_success.remove_label_values(&labels));
        drop(families.watchpost_source_duration_seconds.remove_label_values(&labels));
        let last = &families.watchpost_source_last_success_timestamp_seconds;
        drop(last.remove_label_values(&labels));
        drop(families.watchpost_source_failures_total.remove_label_values(&labels));
    }

    /// Counts a measurement that scrapes requested; it fails if a source did not answer in time.
    pub fn scrape_measured(&self, outcome: Outcome) {
        let measurements = &self.families.watchpost_scrape_measurements_total;
        measurements.with_label_values(&[outcome.as_str()]).inc();
    }

    /// Counts rounds that were written to the history.
    pub fn rounds_written(&self, count: usize) {
        self.families.watchpost_history_rounds_total.inc_by(count as u64);
    }

    /// Counts rounds that are missing in the history for this reason.
    pub(crate) fn rounds_dropped(&self, count: usize, reason: DropReason) {
        let dropped = &self.families.watchpost_history_rounds_dropped_total;
        dropped.with_label_values(&[reason.as_str()]).inc_by(count as u64);
    }

    /// Sets the size of the stored history and the number of samples in its compacted part.
    pub fn set_history_usage(&self, bytes: i64, samples: i64) {
        self.families.watchpost_history_bytes.set(bytes);
        self.families.watchpost_history_samples.set(samples);
    }

    /// Counts a task that starts for the first time, so that its number of restarts is exported as zero.
    pub fn task_started(&self, task: &str) {
        self.families.watchpost_task_restarts_total.with_label_values(&[task]);
    }

    /// Counts a task that ended unexpectedly and was restarted.
    pub fn task_restarted(&self, task: &str) {
        self.families
            .watchpost_task_restarts_total
            .with_label_values(&[task])
            .inc();
    }

    /// Sets the expiry time in seconds since 1970, or removes it with `None`.
    pub fn certificate_expires(&self, kind: CertificateKind, at: Option<i64>) {
        let expiry = &self.families.watchpost_tls_certificate_expiry_timestamp_seconds;
        let labels = [kind.as_str()];
        match at {
            Some(at) => expiry.with_label_values(&labels).set(at),
            // The series may not exist.
            None => drop(expiry.remove_label_values(&labels)),
        }
    }

    /// Counts a reload of the certificates.
    pub fn tls_reloaded(&self, outcome: Outcome) {
        let reloads = &self.families.watchpost_tls_reloads_total;
        reloads.with_label_values(&[outcome.as_str()]).inc();
    }

    /// Counts a reload of the configuration.
    pub fn config_reloaded(&self, outcome: Outcome) {
        let reloads = &self.families.watchpost_config_reloads_total;
        reloads.with_label_values(&[outcome.as_str()]).inc();
    }

    /// All service metrics with their current values, the process metrics, and the derived families.
    pub fn gather(&self) -> Vec<MetricFamily> {
        let mut families = self.registry.gather();
        let derived = derived::derived(&families);
        families.extend(derived);
        families.push(derived::log_lines_dropped(telemetry::dropped_lines()));
        families.push(derived::max_virtual_memory());
        families
    }

    /// All service metrics, with those of the WM resource monitor under the names of its Flask exporter.
    pub fn gather_with_flask(&self) -> Vec<MetricFamily> {
        let mut families = self.gather();
        families.extend(self.flask.families(&self.version));
        families
    }
}

impl CertificateKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Ca => "ca",
            Self::Crl => "crl",
        }
    }
}

impl NotCompared {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Fault => "fault",
            Self::Busy => "busy",
            Self::Dropped => "dropped",
        }
    }
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
        }
    }
}

impl GaugeGuard {
    fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests;
