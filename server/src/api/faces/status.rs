//! How Watchpost is. Most of it changes only every few seconds, so it is written once and kept until it is true no
//! more; what is of the moment is written for each request.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::web::Data;
use arc_swap::ArcSwapOption;
use serde::Serialize;
use watchpost_policies::{Allocation, Kind, Report, RuleSet, Severity};

use super::health::not_ready;
use super::native::json_bytes;
use crate::api::error::ApiError;
use crate::api::latest::Latest;
use crate::api::permit::{MetricsRead, Permit};
use crate::api::service::{COMMIT, Listening, RUSTC, Service, VERSION};
use crate::clock;
use crate::rules::Rules;
use crate::store::Place;
use crate::tasks::{TaskState, Tasks};
use crate::tls::{Expiry, Tls};

/// How Watchpost is.
pub async fn status(_: Permit<MetricsRead>, page: Data<StatusPage>) -> Result<HttpResponse, ApiError> {
    let body = page.written().map_err(|error| ApiError::Internal(error.to_string()))?;
    Ok(json_bytes(body.into_bytes()))
}

/// Knows everyone who can say something of how Watchpost is.
pub struct StatusPage {
    service: Service,
    latest: Latest,
    rules: Rules,
    tls: Arc<Tls>,
    tasks: Tasks,
    /// Where things are remembered, and where the chunks are.
    stores: [Place; 2],
    kept: ArcSwapOption<(About, String)>,
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

#[derive(Serialize)]
struct Moment {
    time: String,
    uptime_seconds: f64,
}

/// Everything but the moment and the last round, which is written when it is judged.
#[derive(Serialize)]
struct Status<'s> {
    version: &'static str,
    commit: &'static str,
    rustc: &'static str,
    host: &'s str,
    started: String,
    ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_ready_because: Option<&'static str>,
    severity: Severity,
    listeners: &'s [Listening],
    tls: Certificates,
    rules: InForce,
    database: String,
    chunks: String,
    tasks: BTreeMap<String, TaskState>,
}

#[derive(Serialize)]
struct Certificates {
    generation: u64,
    certificate_ends: String,
    client_ca_ends: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    crl_ends: Option<String>,
}

#[derive(Serialize)]
struct InForce {
    generation: u64,
    allocation: &'static str,
    rules: Vec<RuleLine>,
    faults: usize,
}

#[derive(Serialize)]
struct RuleLine {
    name: String,
    kind: Kind,
    version: String,
    digest: String,
}

impl StatusPage {
    /// A page of what these say.
    pub fn new(
        service: Service,
        latest: Latest,
        rules: Rules,
        tls: Arc<Tls>,
        tasks: Tasks,
        stores: [Place; 2],
    ) -> Self {
        Self {
            service,
            latest,
            rules,
            tls,
            tasks,
            stores,
            kept: ArcSwapOption::empty(),
        }
    }

    fn written(&self) -> serde_json::Result<String> {
        let moment = Moment {
            time: clock::written(clock::now_ms()),
            uptime_seconds: self.service.uptime().as_secs_f64(),
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
            round: self.latest.judged().map(|judged| judged.round.number),
            rules: self.rules.current().set.generation(),
            tls: self.tls.generation(),
            ends: self.tls.expiry(),
            tasks: self.tasks.changes(),
            not_ready_because: not_ready(&self.service, &self.latest),
        }
    }

    fn lasting(&self, about: &About) -> serde_json::Result<String> {
        let (judged, report) = (self.latest.judged(), self.latest.report());
        let mut body = serde_json::to_string(&Status {
            version: VERSION,
            commit: COMMIT,
            rustc: RUSTC,
            host: self.service.host(),
            started: clock::written(self.service.began_ms()),
            ready: about.not_ready_because.is_none(),
            not_ready_because: about.not_ready_because,
            severity: report.severity(),
            listeners: self.service.listening(),
            tls: Certificates::of(about.tls, about.ends),
            rules: InForce::of(&self.rules, &self.rules.current().set, &report),
            database: self.stores[0].to_string(),
            chunks: self.stores[1].to_string(),
            tasks: self.tasks.states(),
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
    fn of(rules: &Rules, set: &RuleSet, report: &Report) -> Self {
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
