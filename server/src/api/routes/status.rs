//! The state of the server at the time of the request.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::web::Data;
use serde::Serialize;
use utoipa::ToSchema;
use watchpost_policies::{Allocation, Digest, Kind, Report, Severity};

use super::native::json;
use crate::api::error::ApiError;
use crate::api::latest::Latest;
use crate::api::permit::{MetricsRead, Permit};
use crate::api::process::{COMMIT, Listening, RUSTC, Service, VERSION};
use crate::api::readiness::Readiness;
use crate::clock;
use crate::collect::collector::SourceState;
use crate::judge::Judged;
use crate::rules::Rules;
use crate::rules::quarantine::{Quarantine, Quarantined};
use crate::rules::registry::PendingGeneration;
use crate::rules::replication::Replication;
use crate::rules::sandbox::probe::{SandboxProbe, SandboxReport};
use crate::rules::shadow::{RoleInShadow, ShadowComparison};
use crate::store::DatabaseAddress;
use crate::tasks::{TaskState, Tasks};
use crate::tls::{Expiry, Tls};

/// Get the status of the server
///
/// Version, listeners, tasks and sources, active rules, and the last round.
#[utoipa::path(
    get,
    path = "",
    operation_id = "status",
    responses((status = 200, description = "The current status.", body = Status<'static>))
)]
pub async fn status(_: Permit<MetricsRead>, page: Data<StatusPage>) -> Result<HttpResponse, ApiError> {
    let judged = page.0.latest.judged();
    json(&page.status(judged.as_deref()))
}

/// Collects the status from all components of the server.
pub struct StatusPage(StatusSources);

/// The components that report a part of the status.
pub struct StatusSources {
    /// Version, start time and listeners of the process.
    pub service: Service,
    /// The latest round.
    pub latest: Latest,
    /// The active rules.
    pub rules: Rules,
    /// A generation that is not loaded yet.
    pub replication: Replication,
    /// Rules in quarantine.
    pub quarantine: Quarantine,
    /// What the process that compiles uploaded rules can do on this machine.
    pub sandbox: SandboxProbe,
    /// Whether the server is ready.
    pub readiness: Readiness,
    /// The TLS certificates.
    pub tls: Arc<Tls>,
    /// The background tasks.
    pub tasks: Tasks,
    /// The databases.
    pub stores: [DatabaseAddress; 2],
}

/// The status of the server.
#[derive(Serialize, ToSchema)]
struct Status<'s> {
    /// The server's current time.
    time: String,
    /// The uptime of the server.
    uptime_seconds: f64,
    /// A role rule in shadow mode; threshold rules in shadow mode are in the round.
    #[serde(skip_serializing_if = "Option::is_none")]
    role_in_shadow: Option<RoleInShadow>,
    /// A generation that other servers have activated and this process has not loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pending_generation: Option<PendingGeneration>,
    /// Rules in quarantine, because they kept failing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    quarantined: Vec<Quarantined>,
    /// The version of the server.
    version: &'static str,
    /// The commit of the build.
    commit: &'static str,
    /// The compiler of the build.
    rustc: &'static str,
    /// The name of this machine in snapshots.
    host: &'s str,
    /// Start time of the server.
    started: String,
    /// Whether the server is ready, as `/health/ready` reports it.
    ready: bool,
    /// Why the server is not ready: all reasons, separated by `; `.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_ready_reason: Option<String>,
    /// The worst severity of all findings; unknown without any finding or without a recent round.
    severity: Severity,
    /// Why the severity is unknown, where no finding says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    unknown_reason: Option<&'static str>,
    /// The addresses that the server listens on.
    listeners: &'s [Listening],
    /// The TLS certificates in use.
    tls: Certificates,
    /// The active rules.
    rules: ActiveRules,
    /// What protects the server from the process that compiles uploaded rules. Absent in the first moments of the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    sandbox: Option<SandboxReport>,
    /// The database, without its password.
    database: String,
    /// The database of the chunks.
    chunks: String,
    /// Background tasks by name.
    tasks: BTreeMap<String, TaskState>,
    /// The last round; null before the first.
    #[schema(required)]
    round: Option<Round<'s>>,
}

/// The last round, without samples and findings.
#[derive(Serialize, ToSchema)]
struct Round<'r> {
    /// The number of the round since the start.
    number: u64,
    /// Start time of the round.
    started: String,
    /// Duration of the measurement.
    duration_seconds: f64,
    /// Duration of the evaluation by the rules.
    judgement_seconds: f64,
    /// The number of samples.
    samples: usize,
    /// The number of sources that failed.
    gaps: usize,
    /// The state of each source by name.
    #[schema(value_type = BTreeMap<String, SourceState>)]
    sources: BTreeMap<&'r str, &'r SourceState>,
    /// Differences between rules in shadow mode and active rules.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    shadow: &'r [ShadowComparison],
}

#[derive(Serialize, ToSchema)]
struct Certificates {
    /// How often the certificates were replaced.
    generation: u64,
    /// Expiry time of the server certificate.
    certificate_expires: String,
    /// Expiry time of the client CA.
    client_ca_expires: String,
    /// When the next revocation list is due, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    crl_expires: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ActiveRules)]
struct ActiveRules {
    /// The current generation.
    generation: u64,
    /// How the engine allocates the memory of instances.
    allocation: &'static str,
    /// The active rules in the order of evaluation.
    rules: Vec<RuleLine>,
    /// The number of rules that failed in the last round.
    faults: usize,
}

#[derive(Serialize, ToSchema)]
struct RuleLine {
    /// The name of the rule.
    name: String,
    /// The kind of rule: `threshold` or `role`.
    kind: Kind,
    /// The version that the rule states.
    version: String,
    /// The digest of the version.
    #[schema(value_type = Digest)]
    digest: String,
}

impl StatusPage {
    /// The status page with the current values of all parts.
    pub fn new(sources: StatusSources) -> Self {
        Self(sources)
    }

    fn status<'s>(&'s self, judged: Option<&'s Judged>) -> Status<'s> {
        let report = self.0.latest.report_of(judged);
        let not_ready_reason = self.0.readiness.reason();
        let [database, chunks] = &self.0.stores;
        Status {
            time: clock::written(clock::now_ms()),
            uptime_seconds: self.0.service.uptime().as_secs_f64(),
            role_in_shadow: self.0.rules.current().role_in_shadow(),
            pending_generation: self.0.replication.pending(),
            quarantined: self.0.quarantine.rules(),
            version: VERSION,
            commit: COMMIT,
            rustc: RUSTC,
            host: self.0.service.host().as_str(),
            started: clock::written(self.0.service.started_ms()),
            ready: not_ready_reason.is_none(),
            not_ready_reason,
            severity: report.severity(),
            unknown_reason: report.unknown_reason(),
            listeners: self.0.service.listening(),
            tls: Certificates::of(self.0.tls.generation(), self.0.tls.expiry()),
            rules: ActiveRules::of(&self.0.rules, &report),
            sandbox: self.0.sandbox.report(),
            database: database.to_string(),
            chunks: chunks.to_string(),
            tasks: self.0.tasks.states(),
            round: judged.map(Round::of),
        }
    }
}

impl<'r> Round<'r> {
    fn of(judged: &'r Judged) -> Self {
        let round = &*judged.round;
        Self {
            number: round.number,
            started: clock::written(round.started_ms),
            duration_seconds: round.duration.as_secs_f64(),
            judgement_seconds: judged.duration.as_secs_f64(),
            samples: round.snapshot.samples().len(),
            gaps: round.snapshot.gaps().len(),
            sources: round.sources.iter().map(|(name, source)| (&**name, source)).collect(),
            shadow: judged.shadow.as_ref().map_or(&[], |shadow| &shadow.rules),
        }
    }
}

impl Certificates {
    fn of(generation: u64, ends: Expiry) -> Self {
        let written = |seconds: i64| clock::written(u64::try_from(seconds).unwrap_or(0).saturating_mul(1000));
        Self {
            generation,
            certificate_expires: written(ends.server),
            client_ca_expires: written(ends.client_ca),
            crl_expires: ends.crl.map(written),
        }
    }
}

impl ActiveRules {
    fn of(rules: &Rules, report: &Report) -> Self {
        let active = rules.current();
        let set = &active.set;
        let line = |rule: &watchpost_policies::Rule| RuleLine {
            name: rule.name().to_owned(),
            kind: rule.module().kind(),
            version: rule.module().manifest().version.clone(),
            digest: rule.module().digest().to_string(),
        };
        Self {
            generation: set.generation(),
            allocation: match rules.engine().allocation() {
                Allocation::Pooling => "pooling",
                Allocation::OnDemand { .. } => "on demand",
            },
            rules: set.thresholds().iter().chain([set.role()]).map(line).collect(),
            faults: report.faults().len(),
        }
    }
}
