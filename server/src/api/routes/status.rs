//! How Watchpost is, as it is at the moment of the request.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::web::Data;
use serde::Serialize;
use utoipa::ToSchema;
use watchpost_policies::{Allocation, Digest, Kind, Report, Severity};

use super::health::not_ready;
use super::native::json;
use crate::api::error::ApiError;
use crate::api::latest::Latest;
use crate::api::permit::{MetricsRead, Permit};
use crate::api::process::{COMMIT, Listening, RUSTC, Service, VERSION};
use crate::clock;
use crate::collect::collector::SourceState;
use crate::judge::Judged;
use crate::rules::Rules;
use crate::rules::quarantine::{Quarantine, Quarantined};
use crate::rules::registry::PendingGeneration;
use crate::rules::replication::Replication;
use crate::rules::shadow::{RoleInShadow, ShadowComparison};
use crate::store::DatabaseAddress;
use crate::tasks::{TaskState, Tasks};
use crate::tls::{Expiry, Tls};

/// How Watchpost is
///
/// Its version, listeners, tasks and sources, the rules in force, and the last round.
#[utoipa::path(
    get,
    path = "",
    operation_id = "status",
    responses((status = 200, description = "How it is just now.", body = Status<'static>))
)]
pub async fn status(_: Permit<MetricsRead>, page: Data<StatusPage>) -> Result<HttpResponse, ApiError> {
    let judged = page.0.latest.judged();
    json(&page.status(judged.as_deref()))
}

/// Knows everyone who can say something of how Watchpost is.
pub struct StatusPage(StatusSources);

/// Those who can say something of how Watchpost is.
pub struct StatusSources {
    /// The process.
    pub service: Service,
    /// The latest round.
    pub latest: Latest,
    /// What is in force.
    pub rules: Rules,
    /// What should be in force and is not.
    pub replication: Replication,
    /// What was taken out of force.
    pub quarantine: Quarantine,
    /// The certificates.
    pub tls: Arc<Tls>,
    /// The background work.
    pub tasks: Tasks,
    /// Where things are remembered, and where the chunks are.
    pub stores: [DatabaseAddress; 2],
}

/// How Watchpost is.
#[derive(Serialize, ToSchema)]
struct Status<'s> {
    /// What time it is here.
    time: String,
    /// How long it has been there.
    uptime_seconds: f64,
    /// A role rule that is asked beside the one in force; threshold rules in shadow are in the round.
    #[serde(skip_serializing_if = "Option::is_none")]
    role_in_shadow: Option<RoleInShadow>,
    /// A generation that others have in force and this process has not loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    behind: Option<PendingGeneration>,
    /// Rules that failed too often.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    quarantined: Vec<Quarantined>,
    /// The version that runs.
    version: &'static str,
    /// The commit that it was built of.
    commit: &'static str,
    /// The compiler that built it.
    rustc: &'static str,
    /// What measurements call this machine.
    host: &'s str,
    /// Since when it runs.
    started: String,
    /// Whether it knows the state of the machine and takes requests.
    ready: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_ready_because: Option<&'static str>,
    /// The worst that the rules found.
    severity: Severity,
    /// Where it listens.
    listeners: &'s [Listening],
    /// The certificates in force.
    tls: Certificates,
    /// The rules in force.
    rules: ActiveRules,
    /// Where things are remembered, without secrets.
    database: String,
    /// Where the chunks are.
    chunks: String,
    /// Work in the background, by name.
    tasks: BTreeMap<String, TaskState>,
    /// The last round; nothing before the first.
    #[schema(required)]
    round: Option<Round<'s>>,
}

/// The last round, without what was measured and found.
#[derive(Serialize, ToSchema)]
struct Round<'r> {
    /// Counted since the start.
    number: u64,
    /// When it began.
    began: String,
    /// How long it took to measure.
    duration_seconds: f64,
    /// How long it took to judge.
    judgement_seconds: f64,
    /// How many samples there are.
    samples: usize,
    /// How many sources could not answer.
    gaps: usize,
    /// How each source does, by name.
    #[schema(value_type = BTreeMap<String, SourceState>)]
    sources: BTreeMap<&'r str, &'r SourceState>,
    /// What rules in shadow say otherwise.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    shadow: &'r [ShadowComparison],
}

#[derive(Serialize, ToSchema)]
struct Certificates {
    /// How often they were replaced.
    generation: u64,
    /// When the server's own ends.
    certificate_expires: String,
    /// When the authority of clients ends.
    client_ca_expires: String,
    /// When the list of revocations ends, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    crl_expires: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RulesInForce)]
struct ActiveRules {
    /// The generation.
    generation: u64,
    /// How instances get their memory.
    allocation: &'static str,
    /// The rules.
    rules: Vec<RuleLine>,
    /// How many of them failed in the last round.
    faults: usize,
}

#[derive(Serialize, ToSchema)]
struct RuleLine {
    /// Its name.
    name: String,
    /// Which contract it keeps.
    kind: Kind,
    /// Its own word for the version.
    version: String,
    /// The version.
    #[schema(value_type = Digest)]
    digest: String,
}

impl StatusPage {
    /// A page of what these say.
    pub fn new(sources: StatusSources) -> Self {
        Self(sources)
    }

    /// All of it, if this is the latest round.
    fn status<'s>(&'s self, judged: Option<&'s Judged>) -> Status<'s> {
        let report = self.0.latest.report_of(judged);
        let not_ready_because = not_ready(&self.0.service, judged);
        let [database, chunks] = &self.0.stores;
        Status {
            time: clock::written(clock::now_ms()),
            uptime_seconds: self.0.service.uptime().as_secs_f64(),
            role_in_shadow: self.0.rules.current().role_in_shadow(),
            behind: self.0.replication.pending(),
            quarantined: self.0.quarantine.rules(),
            version: VERSION,
            commit: COMMIT,
            rustc: RUSTC,
            host: self.0.service.host().as_str(),
            started: clock::written(self.0.service.began_ms()),
            ready: not_ready_because.is_none(),
            not_ready_because,
            severity: report.severity(),
            listeners: self.0.service.listening(),
            tls: Certificates::of(self.0.tls.generation(), self.0.tls.expiry()),
            rules: ActiveRules::of(&self.0.rules, &report),
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
            began: clock::written(round.began_ms),
            duration_seconds: round.took.as_secs_f64(),
            judgement_seconds: judged.took.as_secs_f64(),
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
