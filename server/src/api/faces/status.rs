//! How Watchpost is. Most of it changes only every few seconds, so it is written once and kept until it is true no
//! more; what is of the moment is written for each request.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::web::Data;
use arc_swap::ArcSwapOption;
use serde::Serialize;
use utoipa::ToSchema;
use watchpost_policies::{Allocation, Digest, Kind, Report, Severity};

use super::health::not_ready;
use super::native::json_bytes;
use super::told;
use crate::api::error::ApiError;
use crate::api::latest::Latest;
use crate::api::permit::{MetricsRead, Permit};
use crate::api::service::{COMMIT, Listening, RUSTC, Service, VERSION};
use crate::clock;
use crate::rules::Rules;
use crate::rules::quarantine::{Quarantine, Quarantined};
use crate::rules::registry::PendingGeneration;
use crate::rules::replication::Replication;
use crate::rules::shadow::RoleInShadow;
use crate::store::Place;
use crate::tasks::{TaskState, Tasks};
use crate::tls::{Expiry, Tls};

/// How Watchpost is
///
/// Its version, listeners, tasks and sources, the rules in force, and the last round.
#[utoipa::path(
    get,
    path = "",
    operation_id = "status",
    responses((status = 200, description = "How it is just now.", body = told::Status<'static>))
)]
pub async fn status(_: Permit<MetricsRead>, page: Data<StatusPage>) -> Result<HttpResponse, ApiError> {
    let body = page.written().map_err(|error| ApiError::Internal(error.to_string()))?;
    Ok(json_bytes(body.into_bytes()))
}

/// Knows everyone who can say something of how Watchpost is.
pub struct StatusPage {
    sources: StatusSources,
    kept: ArcSwapOption<(About, String)>,
}

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
    pub stores: [Place; 2],
}

/// While all of these stay the same, so does everything but the moment.
#[derive(Clone, Copy, PartialEq)]
struct About {
    round: Option<u64>,
    rules: u64,
    tls: u64,
    ends: Expiry,
    tasks: u64,
    not_ready_because: Option<&'static str>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Moment {
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
    put_aside: Vec<Quarantined>,
}

/// Everything but the moment and the last round, which is written when it is judged.
#[derive(Serialize, ToSchema)]
#[schema(as = LastingStatus)]
pub(super) struct Status<'s> {
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
    rules: InForce,
    /// Where things are remembered, without secrets.
    database: String,
    /// Where the chunks are.
    chunks: String,
    /// Work in the background, by name.
    tasks: BTreeMap<String, TaskState>,
}

#[derive(Serialize, ToSchema)]
struct Certificates {
    /// How often they were replaced.
    generation: u64,
    /// When the server's own ends.
    certificate_ends: String,
    /// When the authority of clients ends.
    client_ca_ends: String,
    /// When the list of revocations ends, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    crl_ends: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RulesInForce)]
struct InForce {
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
        Self {
            sources,
            kept: ArcSwapOption::empty(),
        }
    }

    fn written(&self) -> serde_json::Result<String> {
        let moment = Moment {
            time: clock::written(clock::now_ms()),
            uptime_seconds: self.sources.service.uptime().as_secs_f64(),
            role_in_shadow: self.sources.rules.current().role_in_shadow(),
            behind: self.sources.replication.pending(),
            put_aside: self.sources.quarantine.rules(),
        };
        let mut body = serde_json::to_string(&moment)?;
        let kept = self.kept()?;
        body.truncate(body.len() - 1);
        body.reserve(kept.1.len());
        body.push(',');
        body.push_str(&kept.1[1..]);
        Ok(body)
    }

    fn kept(&self) -> serde_json::Result<Arc<(About, String)>> {
        // What changes while it is written makes it be written once more, for this is asked first.
        let about = self.about();
        if let Some(kept) = self.kept.load_full().filter(|kept| kept.0 == about) {
            return Ok(kept);
        }
        let fresh = Arc::new((about, self.lasting(&about)?));
        self.kept.store(Some(fresh.clone()));
        Ok(fresh)
    }

    fn about(&self) -> About {
        About {
            round: self.sources.latest.judged().map(|judged| judged.round.number),
            rules: self.sources.rules.current().set.generation(),
            tls: self.sources.tls.generation(),
            ends: self.sources.tls.expiry(),
            tasks: self.sources.tasks.changes(),
            not_ready_because: not_ready(&self.sources.service, &self.sources.latest),
        }
    }

    fn lasting(&self, about: &About) -> serde_json::Result<String> {
        let (judged, report) = (self.sources.latest.judged(), self.sources.latest.report());
        let mut body = serde_json::to_string(&Status {
            version: VERSION,
            commit: COMMIT,
            rustc: RUSTC,
            host: self.sources.service.host(),
            started: clock::written(self.sources.service.began_ms()),
            ready: about.not_ready_because.is_none(),
            not_ready_because: about.not_ready_because,
            severity: report.severity(),
            listeners: self.sources.service.listening(),
            tls: Certificates::of(about.tls, about.ends),
            rules: InForce::of(&self.sources.rules, &report),
            database: self.sources.stores[0].to_string(),
            chunks: self.sources.stores[1].to_string(),
            tasks: self.sources.tasks.states(),
        })?;
        let round = judged.as_ref().map_or("null", |judged| &judged.told);
        body.truncate(body.len() - 1);
        body.push_str(",\"round\":");
        body.push_str(round);
        body.push('}');
        Ok(body)
    }
}

impl Certificates {
    fn of(generation: u64, ends: Expiry) -> Self {
        let written = |seconds: i64| clock::written(u64::try_from(seconds).unwrap_or(0).saturating_mul(1000));
        Self {
            generation,
            certificate_ends: written(ends.server),
            client_ca_ends: written(ends.client_ca),
            crl_ends: ends.crl.map(written),
        }
    }
}

impl InForce {
    fn of(rules: &Rules, report: &Report) -> Self {
        let in_force = rules.current();
        let set = &in_force.set;
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
