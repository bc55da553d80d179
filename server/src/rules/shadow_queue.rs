//! The queue of access requests that a role rule in shadow is asked about: after the one that counts, off the threads
//! that answer, and only recorded. However long it takes and however it fails, no request waits for it.

use std::sync::Arc;

use serde::Serialize;
use tokio::sync::{Mutex, mpsc};
use utoipa::ToSchema;
use watchpost_policies::{Decision, Digest, Fault, Report, Request, RuleSet, Verdict as Said};

use super::ActiveRule;
use super::registry::Registry;
use crate::decisions::{DecisionRecordParts, Decisions, RequestRecord, ShadowDifference};
use crate::metrics::{NotCompared, ServiceMetrics};
use crate::store::decisions::Verdict;
use crate::tasks;

/// Decisions that wait to be compared. What comes when so many do is not compared, and counted: more would only be
/// older when its turn comes, and each holds a report.
const CAPACITY: usize = 256;

/// A decision to be compared.
pub struct ShadowJob {
    /// The generation that decided.
    pub active: Arc<ActiveRule>,
    /// The report that it was decided by.
    pub report: Arc<Report>,
    /// The access that was requested.
    pub request: RequestRecord,
    /// What the rule that counts decided.
    pub decision: Arc<Decision>,
}

/// A role rule in shadow that failed too often to be asked on.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = RuleGivenUp)]
pub struct ShadowDisabled {
    /// Which.
    pub rule: String,
    /// Which version of it.
    pub digest: Digest,
    /// How it failed.
    pub why: String,
}

/// The queue and the rule at its end. Cheap to clone.
#[derive(Clone)]
pub struct ShadowQueue(Arc<Inner>);

struct Inner {
    registry: Registry,
    service_metrics: Arc<ServiceMetrics>,
    sender: mpsc::Sender<ShadowJob>,
    /// Taken by the task that compares; it stays when that is started again.
    receiver: Mutex<mpsc::Receiver<ShadowJob>>,
}

impl ShadowQueue {
    /// An empty queue, for the role rule in shadow of this registry.
    pub fn new(registry: Registry, service_metrics: Arc<ServiceMetrics>) -> Self {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        Self(Arc::new(Inner {
            registry,
            service_metrics,
            sender,
            receiver: Mutex::new(receiver),
        }))
    }

    /// Lets a decision be compared with that of the role rule in shadow, if there is one that is asked.
    pub fn enqueue(&self, active: &Arc<ActiveRule>, job: impl FnOnce(Arc<ActiveRule>) -> ShadowJob) {
        if active.shadow_role().is_none() || self.has_given_up(active) {
            return;
        }
        let sent = self.0.sender.try_send(job(active.clone()));
        if sent.is_err() {
            self.0.service_metrics.not_compared(NotCompared::Dropped);
        }
    }

    /// Compares decisions, for ever. One at a time, so that one that takes long takes one thread.
    pub async fn run(self, decisions: Decisions) {
        let mut receiver = self.0.receiver.lock().await;
        while let Some(job) = receiver.recv().await {
            let (this, decisions) = (self.clone(), decisions.clone());
            if let Err(panic) = tasks::block(move || this.compare(job, &decisions)).await {
                log::error!(reason = panic.as_str(); "a decision could not be compared with that of the role rule in shadow");
            }
        }
    }

    /// The role rule in shadow that is not asked any more, if that is so.
    pub fn given_up(&self) -> Option<ShadowDisabled> {
        let active = self.0.registry.rules().current();
        let shadow = active.shadow_role().filter(|_| self.has_given_up(&active))?;
        Some(ShadowDisabled {
            rule: shadow.role().name().to_owned(),
            digest: shadow.role().module().digest(),
            why: active.role_beside.fails.last(),
        })
    }

    fn compare(&self, job: ShadowJob, decisions: &Decisions) {
        let (active, request) = (&*job.active, job.request);
        let shadow = active.shadow_role().filter(|_| !self.has_given_up(active));
        let Some(shadow) = shadow else { return };
        let asked = Request::new(&request.identity, request.action);
        let Ok((other, took)) = shadow.decide_at_cost(&asked, &job.report) else {
            return self.0.service_metrics.not_compared(NotCompared::Busy);
        };
        if let Said::Fault { fault } = &other.verdict {
            self.0.service_metrics.not_compared(NotCompared::Fault);
            return self.tell_failed(active, shadow, fault);
        }
        let same = other.is_allowed() == job.decision.is_allowed();
        active.role_beside.answered(same);
        if same {
            return;
        }
        self.0.service_metrics.inc_shadow_difference(request.action);
        // Whoever asks again and again is recorded once, for as long as things stand as they do.
        if took.is_some() {
            let would = DecisionRecordParts {
                request,
                verdict: Verdict::of(&other.verdict),
                decision: Some(other),
                took,
            };
            let actual = job.decision;
            decisions.record_difference(ShadowDifference { would, actual });
        }
    }

    /// One line when it begins to fail, and one when it is not asked any more.
    fn tell_failed(&self, active: &ActiveRule, shadow: &RuleSet, fault: &Fault) {
        let rule = shadow.role().name();
        let failed = active.role_beside.fails.count(Some(fault));
        if failed == 1 {
            log::warn!(rule, reason:% = fault; "a role rule in shadow fails; nobody waits for it, and what counts is as it was");
        }
        if self.has_given_up(active) {
            log::error!(rule, failed, reason:% = fault; "a role rule in shadow failed too often and is not asked any more, until other rules are in force");
        }
    }

    fn has_given_up(&self, active: &ActiveRule) -> bool {
        active.role_beside.fails.length() >= self.0.registry.options().max_consecutive_faults
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use watchpost_policies::{Action, Call, Identity, Kind, Misbehaviour};

    use super::*;
    use crate::rules::registry::{of_store, store_in};
    use crate::store::rules::{Entry, Mode};

    /// What is in force, with the role rule asked beside itself.
    fn with_shadow(active: &ActiveRule) -> ActiveRule {
        let (mut generation, mut rules) = (active.generation.clone(), active.rules.clone());
        let role = generation.entries.iter().position(|entry| entry.kind == Kind::Role);
        let role = role.expect("there is a role rule");
        rules.push(rules[role].clone());
        generation.entries.push(Entry {
            mode: Mode::Shadow,
            ..generation.entries[role].clone()
        });
        ActiveRule::new(generation, rules).expect("they make a set")
    }

    fn job(active: Arc<ActiveRule>) -> ShadowJob {
        let (identity, action) = (Identity::anonymous(), Action::HealthRead);
        let report = active.set.before_the_first("host", 1);
        let decision = active.set.decide(&Request::new(&identity, action), &report);
        ShadowJob {
            decision: decision.expect("nobody else asks"),
            report: Arc::new(report),
            request: RequestRecord {
                time_ms: 1,
                identity,
                address: Ipv4Addr::LOCALHOST.into(),
                action,
                resource: "".into(),
                request_id: "".into(),
            },
            active,
        }
    }

    #[test]
    fn decisions_wait_as_long_as_there_is_room_and_a_shadow_that_is_asked() {
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
            assert_eq!(waiting().await, 0, "no rule is in shadow");
            let active = Arc::new(with_shadow(&current));
            for _ in 0..CAPACITY + 1 {
                queue.enqueue(&active, job);
            }
            assert_eq!(waiting().await, CAPACITY);
            queue.0.receiver.lock().await.recv().await.expect("many wait");
            let fault = Fault {
                rule: "role".to_owned(),
                digest: Digest::of(b""),
                call: Call::Decide,
                misbehaviour: Misbehaviour::Overtime { limit_ms: 1 },
            };
            for _ in 0..registry.options().max_consecutive_faults {
                active.role_beside.fails.count(Some(&fault));
            }
            queue.enqueue(&active, job);
            assert_eq!(
                waiting().await,
                CAPACITY - 1,
                "a shadow that failed too often is not asked"
            );
        });
    }
}
