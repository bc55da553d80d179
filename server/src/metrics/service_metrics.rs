//! Our own numbers: requests, decisions, sources, tasks, certificates. They are declared here and changed by the
//! verbs below, nowhere else. It has no clock; whoever measured says how long it took.

use std::collections::BTreeSet;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::MetricFamily;
use prometheus::{GaugeVec, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};
use watchpost_policies::{Action, Verdict};

use super::derived;
use super::page;
use super::registry_macro::declare;
use crate::telemetry;

declare! {
    /// All of them. The doc comment of a field is what Prometheus shows as its help.
    struct Families {
        /// How long it took to answer requests, by route.
        watchpost_http_request_duration_seconds: HistogramVec["method", "path", "status"],
        /// How many requests were answered.
        watchpost_http_requests_total: IntCounterVec["method", "status"],
        /// How many requests were answered with an error of ours, which is a status of 500 or above.
        watchpost_http_request_exceptions_total: IntCounterVec["method", "status"],
        /// How many requests are being answered.
        watchpost_http_requests_in_flight: IntGauge,
        /// How many connections are open.
        watchpost_http_connections: IntGauge,
        /// How many connections were accepted, by listener.
        watchpost_http_connections_accepted_total: IntCounterVec["listener"],
        /// How many requests were decided on by the role rule, by action and verdict.
        watchpost_decisions_total: IntCounterVec["action", "verdict"],
        /// How many records of decisions and judgements were written.
        watchpost_decisions_recorded_total: IntCounterVec["kind"],
        /// How many records of decisions and judgements are missing: too many waited, or the database refused them.
        watchpost_decisions_dropped_total: IntCounter,
        /// How many requests were turned away because their sender asks too often.
        watchpost_rate_limited_total: IntCounter,
        /// 1 if a source answered when it was asked last, 0 if it did not.
        watchpost_source_success: IntGaugeVec["source"],
        /// How long a source took when it was asked last.
        watchpost_source_duration_seconds: GaugeVec["source"],
        /// When a source answered last, in seconds since 1970; 0 if it never did.
        watchpost_source_last_success_timestamp_seconds: GaugeVec["source"],
        /// How often a source did not answer.
        watchpost_source_failures_total: IntCounterVec["source"],
        /// The number of the generation of rules that is in force.
        watchpost_rules_generation: IntGauge,
        /// How often a rule was put aside because it failed again and again.
        watchpost_rules_quarantined_total: IntCounterVec["rule"],
        /// How many files of the folder of rules are wrong; what was in force before stays.
        watchpost_rules_folder_rejected_files: IntGauge,
        /// How many subjects a rule that is asked beside those in force found otherwise than they in the last round.
        watchpost_rule_shadow_differences: IntGaugeVec["rule"],
        /// How many rounds a rule that is asked beside those in force was asked in, by whether it said the same.
        watchpost_rule_shadow_rounds_total: IntCounterVec["rule", "outcome"],
        /// How many requests a role rule that is asked beside the one in force would have decided otherwise.
        watchpost_role_shadow_differences_total: IntCounterVec["action"],
        /// How many decisions were not compared with those of a role rule in shadow: it failed, or there was no room.
        watchpost_role_shadow_skipped_total: IntCounterVec["reason"],
        /// How many rounds were written to the history.
        watchpost_history_rounds_total: IntCounter,
        /// How many rounds are missing in the history because the database did not answer for too long.
        watchpost_history_rounds_dropped_total: IntCounter,
        /// How large the history is.
        watchpost_history_bytes: IntGauge,
        /// How many samples the history has packed.
        watchpost_history_samples: IntGauge,
        /// How often a task ended that should not, and was started again.
        watchpost_task_restarts_total: IntCounterVec["task"],
        /// When a certificate or a list of revoked ones expires, in seconds since 1970.
        watchpost_tls_certificate_expiry_timestamp_seconds: IntGaugeVec["kind"],
        /// How often certificates were loaded anew, by outcome; after a failure the last good ones stay.
        watchpost_tls_reloads_total: IntCounterVec["outcome"],
        /// How often the configuration was loaded anew, by outcome; after a failure the last good one stays.
        watchpost_config_reloads_total: IntCounterVec["outcome"],
        /// Which Watchpost this is.
        watchpost_build_info: IntGaugeVec["version", "commit", "rustc"],
    }
}

/// The names and kinds of our own families, which nobody else may use.
pub(super) fn families() -> impl Iterator<Item = (&'static str, page::Kind)> {
    Families::FAMILIES.iter().chain(derived::FAMILIES).copied()
}

/// Our own numbers.
pub struct ServiceMetrics {
    registry: Registry,
    families: Families,
    /// Those that have series.
    sources: Mutex<BTreeSet<String>>,
}

/// Which Watchpost this is.
#[derive(Clone, Copy, Debug)]
pub struct Build<'b> {
    /// Its version.
    pub version: &'b str,
    /// The commit that it was built from.
    pub commit: &'b str,
    /// The compiler that built it.
    pub rustc: &'b str,
}

/// What can expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateKind {
    /// The server's certificate.
    Server,
    /// The authority that clients' certificates are held against; of several the one that expires first.
    Ca,
    /// The list of revoked certificates; its next update is due then.
    Crl,
}

/// How a reload ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The new is in force.
    Success,
    /// The last good stays.
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

/// The kinds of records whose counters exist from the start, so that their first increase is seen as one.
const RECORD_KINDS_FROM_START: [&str; 2] = ["decision", "judgement"];

/// Counts one of something for as long as it lives: a request that is answered, a connection that is open.
#[derive(Debug)]
pub struct Held(IntGauge);

impl ServiceMetrics {
    /// Begins to count. What can be told from the beginning is told as zero, so that it is seen to grow.
    pub fn new(build: &Build<'_>) -> Self {
        let registry = Registry::new();
        let families = Families::register(&registry).expect("the declarations above are legal and none comes twice");
        let process = registry.register(Box::new(ProcessCollector::for_self()));
        process.expect("no name above is one of the process");
        let known = [build.version, build.commit, build.rustc];
        families.watchpost_build_info.with_label_values(&known).set(1);
        for outcome in [Outcome::Success, Outcome::Failure] {
            let labels = [outcome.as_str()];
            families.watchpost_tls_reloads_total.with_label_values(&labels);
            families.watchpost_config_reloads_total.with_label_values(&labels);
        }
        for reason in [NotCompared::Fault, NotCompared::Busy, NotCompared::Dropped] {
            families
                .watchpost_role_shadow_skipped_total
                .with_label_values(&[reason.as_str()]);
        }
        for kind in RECORD_KINDS_FROM_START {
            families.watchpost_decisions_recorded_total.with_label_values(&[kind]);
        }
        Self {
            registry,
            families,
            sources: Mutex::default(),
        }
    }

    /// A request came; it is in flight until what is returned is dropped.
    pub fn request_started(&self) -> Held {
        Held::new(&self.families.watchpost_http_requests_in_flight)
    }

    /// How many requests are in flight.
    pub fn requests_in_flight(&self) -> i64 {
        self.families.watchpost_http_requests_in_flight.get()
    }

    /// A request was answered. `path` is the pattern of its route, never what was asked for literally, or anyone
    /// could make series without end. For the same reason methods that HTTP does not know are one.
    pub fn request_finished(&self, method: &str, path: &str, status: u16, took: Duration) {
        let families = &self.families;
        let digits = digits(status);
        let (method, status) = (known_method(method), text(&digits));
        let of_route = families
            .watchpost_http_request_duration_seconds
            .with_label_values(&[method, path, status]);
        of_route.observe(took.as_secs_f64());
        let labels = [method, status];
        families.watchpost_http_requests_total.with_label_values(&labels).inc();
        if status.starts_with('5') {
            families
                .watchpost_http_request_exceptions_total
                .with_label_values(&labels)
                .inc();
        }
    }

    /// How many connections are open.
    pub fn connections(&self) -> i64 {
        self.families.watchpost_http_connections.get()
    }

    /// A connection was accepted; it is open until what is returned is dropped.
    pub fn connection_accepted(&self, listener: &str) -> Held {
        let accepted = &self.families.watchpost_http_connections_accepted_total;
        accepted.with_label_values(&[listener]).inc();
        Held::new(&self.families.watchpost_http_connections)
    }

    /// The role rule decided on a request.
    pub fn decided(&self, action: Action, verdict: &Verdict) {
        let verdict = match verdict {
            Verdict::Allow => "allow",
            Verdict::Deny { .. } => "deny",
            Verdict::Fault { .. } => "fault",
        };
        let labels = [action.as_str(), verdict];
        self.families.watchpost_decisions_total.with_label_values(&labels).inc();
    }

    /// So many records of this kind were written.
    pub fn decisions_recorded(&self, kind: &str, count: usize) {
        let recorded = &self.families.watchpost_decisions_recorded_total;
        recorded.with_label_values(&[kind]).inc_by(count as u64);
    }

    /// So many records will never be written.
    pub fn decisions_dropped(&self, count: usize) {
        self.families.watchpost_decisions_dropped_total.inc_by(count as u64);
    }

    /// A generation of rules is in force.
    pub fn set_active_generation(&self, generation: i64) {
        self.families.watchpost_rules_generation.set(generation);
    }

    /// A rule was put aside.
    pub fn inc_quarantined(&self, rule: &str) {
        self.families
            .watchpost_rules_quarantined_total
            .with_label_values(&[rule])
            .inc();
    }

    /// So many files of the folder of rules are wrong.
    pub fn set_folder_rejected(&self, files: usize) {
        let files = i64::try_from(files).unwrap_or(i64::MAX);
        self.families.watchpost_rules_folder_rejected_files.set(files);
    }

    /// The threshold rules that were evaluated in shadow mode this round. Rules that no longer are disappear.
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

    /// A role rule beside the one in force would have decided otherwise.
    pub fn inc_shadow_difference(&self, action: Action) {
        let differences = &self.families.watchpost_role_shadow_differences_total;
        differences.with_label_values(&[action.as_str()]).inc();
    }

    /// A decision was not compared with that of a role rule beside the one in force.
    pub fn not_compared(&self, reason: NotCompared) {
        let not_compared = &self.families.watchpost_role_shadow_skipped_total;
        not_compared.with_label_values(&[reason.as_str()]).inc();
    }

    /// A request was turned away because its sender asks too often.
    pub fn rate_limited(&self) {
        self.families.watchpost_rate_limited_total.inc();
    }

    /// The health of all sources. One that never answered has a last success of zero; the series of those that were
    /// named before and are not named here disappear.
    pub fn set_sources<'s>(&self, sources: impl IntoIterator<Item = (&'s str, SourceHealth)>) {
        let mut known = self.sources.lock();
        let mut gone = std::mem::take(&mut *known);
        for (source, health) in sources {
            self.set_source(source, &health);
            gone.remove(source);
            known.insert(source.to_owned());
        }
        gone.iter().for_each(|source| self.remove_source(source));
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
        // Rounds may be passed over, so it is brought up to what was counted. A source that was removed and added
        // again between two rounds counts from zero.
        if failures.get() > health.failures {
            failures.reset();
        }
        failures.inc_by(health.failures - failures.get());
    }

    fn remove_source(&self, source: &str) {
        let families = &self.families;
        let labels = [source];
        // All four were set together; an error would say that there is no such series.
        drop(families.watchpost_source_success.remove_label_values(&labels));
        drop(families.watchpost_source_duration_seconds.remove_label_values(&labels));
        let last = &families.watchpost_source_last_success_timestamp_seconds;
        drop(last.remove_label_values(&labels));
        drop(families.watchpost_source_failures_total.remove_label_values(&labels));
    }

    /// So many rounds were written to the history.
    pub fn rounds_kept(&self, count: usize) {
        self.families.watchpost_history_rounds_total.inc_by(count as u64);
    }

    /// A round could not be written in time.
    pub fn round_lost(&self) {
        self.families.watchpost_history_rounds_dropped_total.inc();
    }

    /// The size of the stored history, and how many samples its compacted part has.
    pub fn set_history_usage(&self, bytes: i64, samples: i64) {
        self.families.watchpost_history_bytes.set(bytes);
        self.families.watchpost_history_samples.set(samples);
    }

    /// A task is begun for the first time; from now on it is told that it was restarted zero times.
    pub fn task_started(&self, task: &str) {
        self.families.watchpost_task_restarts_total.with_label_values(&[task]);
    }

    /// A task ended that should not, and was started again.
    pub fn task_restarted(&self, task: &str) {
        self.families
            .watchpost_task_restarts_total
            .with_label_values(&[task])
            .inc();
    }

    /// When this expires, in seconds since 1970; `None` if there is none.
    pub fn certificate_expires(&self, kind: CertificateKind, at: Option<i64>) {
        let expiry = &self.families.watchpost_tls_certificate_expiry_timestamp_seconds;
        let labels = [kind.as_str()];
        match at {
            Some(at) => expiry.with_label_values(&labels).set(at),
            // There may have been none before.
            None => drop(expiry.remove_label_values(&labels)),
        }
    }

    /// Certificates were loaded anew.
    pub fn tls_reloaded(&self, outcome: Outcome) {
        let reloads = &self.families.watchpost_tls_reloads_total;
        reloads.with_label_values(&[outcome.as_str()]).inc();
    }

    /// The configuration was loaded anew.
    pub fn config_reloaded(&self, outcome: Outcome) {
        let reloads = &self.families.watchpost_config_reloads_total;
        reloads.with_label_values(&[outcome.as_str()]).inc();
    }

    /// All of them as they are now, those of the process, and the names that others know them by.
    pub fn gather(&self) -> Vec<MetricFamily> {
        let mut families = self.registry.gather();
        let derived = derived::derived(&families);
        families.extend(derived);
        families.push(derived::log_lines_dropped(telemetry::dropped_lines()));
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

impl Held {
    fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn known_method(method: &str) -> &str {
    const METHODS: [&str; 9] = [
        "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT", "TRACE",
    ];
    if METHODS.contains(&method) { method } else { "other" }
}

/// A status as it is written, without an allocation, for this is done at each request.
fn digits(status: u16) -> [u8; 3] {
    let status = status.min(999);
    [status / 100, status / 10 % 10, status % 10].map(|digit| b'0' + digit as u8)
}

fn text(digits: &[u8; 3]) -> &str {
    std::str::from_utf8(digits).expect("digits are ASCII")
}

#[cfg(test)]
mod tests;
