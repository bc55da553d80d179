//! The queue of access requests for the role rule in shadow mode. Each is evaluated after the active rule has decided
//! and on another thread, and only recorded, so no request waits for it, however slow or broken it is.

use std::sync::Arc;

use serde::Serialize;
use tokio::sync::{Mutex, mpsc};
use utoipa::ToSchema;
use watchpost_policies::{Decision, Digest, Fault, Report, Request, RuleSet, Verdict as ShadowVerdict};

use super::LoadedGeneration;
use super::registry::Registry;
use crate::decisions::{DecisionRecord, Decisions, RequestRecord, ShadowDifference};
use crate::metrics::{NotCompared, ServiceMetrics};
use crate::store::decisions::Verdict;
use crate::tasks::{self, Tasks};

/// Maximum length of the queue. Further decisions are counted and not compared: a longer queue would only delay them,
/// and each job holds a report.
const CAPACITY: usize = 256;

/// A decision to be compared.
pub struct ShadowJob {
    /// The generation of the decision.
    pub active: Arc<LoadedGeneration>,
    /// The report that the decision is based on.
    pub report: Arc<Report>,
    /// The access that was requested.
    pub request: RequestRecord,
    /// The decision of the active rule.
    pub decision: Arc<Decision>,
}

/// A role rule in shadow mode that failed too often and is not evaluated any more.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = ShadowDisabled)]
pub struct ShadowDisabled {
    pub rule: String,
    /// The version in shadow mode.
    pub digest: Digest,
    /// Its last fault.
    pub reason: String,
}

/// The queue and its worker. Cheap to clone.
#[derive(Clone)]
pub struct ShadowQueue(Arc<Inner>);

struct Inner {
    registry: Registry,
    service_metrics: Arc<ServiceMetrics>,
    sender: mpsc::Sender<ShadowJob>,
    /// Locked by the worker; the jobs survive a restart of the worker.
    receiver: Mutex<mpsc::Receiver<ShadowJob>>,
}

impl ShadowQueue {
    /// An empty queue for the role rule in shadow mode of `registry`.
    pub fn new(registry: Registry, service_metrics: Arc<ServiceMetrics>) -> Self {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        Self(Arc::new(Inner {
            registry,
            service_metrics,
            sender,
            receiver: Mutex::new(receiver),
        }))
    }

    /// Enqueues a decision to be compared, if a role rule in shadow mode is evaluated.
    pub fn enqueue(&self, active: &Arc<LoadedGeneration>, job: impl FnOnce(Arc<LoadedGeneration>) -> ShadowJob) {
        if active.shadow_role().is_none() || self.is_disabled(active) {
            return;
        }
        let sent = self.0.sender.try_send(job(active.clone()));
        if sent.is_err() {
            self.0.service_metrics.not_compared(NotCompared::Dropped);
        }
    }

    /// Starts the task that compares decisions and records the differences.
    pub fn start(&self, tasks: &Tasks, decisions: &Decisions) {
        let (shadow_queue, decisions) = (self.clone(), decisions.clone());
        tasks.spawn("shadow queue", move || shadow_queue.clone().run(decisions.clone()));
    }

    /// Compares decisions, forever, one at a time, so a slow rule occupies only one thread.
    async fn run(self, decisions: Decisions) {
        let mut receiver = self.0.receiver.lock().await;
        while let Some(job) = receiver.recv().await {
            let (this, decisions) = (self.clone(), decisions.clone());
            if let Err(panic) = tasks::block(move || this.compare(job, &decisions)).await {
                log::error!(reason = panic.as_str(); "could not compare a decision with that of the role rule in shadow mode");
            }
        }
    }

    /// The role rule in shadow mode that is not evaluated any more, if there is one.
    pub fn disabled(&self) -> Option<ShadowDisabled> {
        let active = self.0.registry.rules().current();
        let shadow = active.shadow_role().filter(|_| self.is_disabled(&active))?;
        Some(ShadowDisabled {
            rule: shadow.role().name().to_owned(),
            digest: shadow.role().module().digest(),
            reason: active.role_shadow.fails.last(),
        })
    }

    fn compare(&self, job: ShadowJob, decisions: &Decisions) {
        let (active, request) = (&*job.active, job.request);
        let shadow = active.shadow_role().filter(|_| !self.is_disabled(active));
        let Some(shadow) = shadow else { return };
        let access = Request::new(&request.identity, request.action);
        let Ok((other, duration)) = shadow.decide_at_cost(&access, &job.report) else {
            return self.0.service_metrics.not_compared(NotCompared::Busy);
        };
        if let ShadowVerdict::Fault { fault } = &other.verdict {
            self.0.service_metrics.not_compared(NotCompared::Fault);
            return self.log_fault(active, shadow, fault);
        }
        let same = other.is_allowed() == job.decision.is_allowed();
        active.role_shadow.answered(same);
        if same {
            return;
        }
        self.0.service_metrics.inc_shadow_difference(request.action);
        // A decision from the cache, which has no duration, was recorded when it was computed.
        if duration.is_some() {
            let shadow_decision = DecisionRecord {
                request,
                verdict: Verdict::of(&other.verdict),
                decision: Some(other),
                duration,
                requests: 1,
            };
            let actual = job.decision;
            decisions.record_difference(ShadowDifference {
                shadow_decision,
                actual,
            });
        }
    }

    /// Logs the first fault and the end of its evaluation.
    fn log_fault(&self, active: &LoadedGeneration, shadow: &RuleSet, fault: &Fault) {
        let rule = shadow.role().name();
        let failed = active.role_shadow.fails.count(Some(fault));
        if failed == 1 {
            log::warn!(rule, reason:% = fault; "role rule in shadow mode fails; requests are not affected");
        }
        if self.is_disabled(active) {
            log::error!(rule, failed, reason:% = fault; "role rule in shadow mode failed too often; it is not evaluated again until the active rules change");
        }
    }

    fn is_disabled(&self, active: &LoadedGeneration) -> bool {
        active.role_shadow.fails.length() >= self.0.registry.options().max_consecutive_faults
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use watchpost_policies::{Action, Call, Identity, Kind, Misbehaviour};

    use super::*;
    use crate::rules::registry::{of_store, store_in};
    use crate::store::rules::{Entry, Mode};

    /// The active generation, with its role rule also in shadow mode.
    fn with_shadow(active: &LoadedGeneration) -> LoadedGeneration {
        let (mut generation, mut rules) = (active.generation.clone(), active.rules.clone());
        let role = generation.entries.iter().position(|entry| entry.kind == Kind::Role);
        let role = role.expect("there is a role rule");
        rules.push(rules[role].clone());
        generation.entries.push(Entry {
            mode: Mode::Shadow,
            ..generation.entries[role].clone()
        });
        LoadedGeneration::new(generation, rules).expect("they form a set")
    }

    fn job(active: Arc<LoadedGeneration>) -> ShadowJob {
        let (identity, action) = (Identity::anonymous(), Action::HealthRead);
        let report = active.set.before_the_first("host", 1);
        let decision = active.set.decide(&Request::new(&identity, action), &report);
        ShadowJob {
            decision: decision.expect("the rule is idle"),
            report: Arc::new(report),
            request: RequestRecord {
                time_ms: 1,
                identity,
                address: Ipv4Addr::LOCALHOST.into(),
                action,
                resource: "".into(),
                request_id: "".into(),
                server_request_id: "".into(),
            },
            active,
        }
    }

    #[test]
    fn decisions_are_queued_up_to_the_capacity_and_only_for_an_enabled_shadow() {
        actix_web::rt::System::new().block_on(async {
            let folder = tempfile::tempdir().expect("a folder");
            let registry = of_store(&store_in(folder.path()));
            let build = crate::metrics::Build {
                version: "",
                commit: "",
                rustc: "",
            };
            let queue = ShadowQueue::new(registry.clone(), Arc::new(ServiceMetrics::new(&build)));
            let waiting = async || queue.0.receiver.lock().await.len();
            let current = registry.rules().current();
            queue.enqueue(&current, job);
            assert_eq!(waiting().await, 0, "there is no rule in shadow mode");
            let active = Arc::new(with_shadow(&current));
            for _ in 0..CAPACITY + 1 {
                queue.enqueue(&active, job);
            }
            assert_eq!(waiting().await, CAPACITY);
            queue.0.receiver.lock().await.recv().await.expect("the queue is full");
            let fault = Fault {
                rule: "role".to_owned(),
                digest: Digest::of(b""),
                call: Call::Decide,
                misbehaviour: Misbehaviour::Timeout { limit_ms: 1 },
            };
            for _ in 0..registry.options().max_consecutive_faults {
                active.role_shadow.fails.count(Some(&fault));
            }
            queue.enqueue(&active, job);
            assert_eq!(waiting().await, CAPACITY - 1, "a disabled shadow gets no jobs");
        });
    }
}
