//! The queue of access requests that a role rule in shadow is asked about: after the one that counts, off the threads
//! that answer, and only recorded. However long it takes and however it fails, no request waits for it.

use std::sync::Arc;

use serde::Serialize;
use tokio::sync::{Mutex, mpsc};
use utoipa::ToSchema;
use watchpost_policies::{Decision, Digest, Fault, Report, Request, RuleSet, Verdict as Said};

use super::InForce;
use super::registry::Registry;
use crate::decisions::{Asked, Decided, Decisions, Differed};
use crate::metrics::{NotCompared, Own};
use crate::store::decisions::Verdict;
use crate::tasks;

/// Decisions that wait to be compared. What comes when so many do is not compared, and counted: more would only be
/// older when its turn comes, and each holds a report.
const CAPACITY: usize = 256;

/// A decision to be compared.
pub struct ShadowJob {
    /// The generation that decided.
    pub in_force: Arc<InForce>,
    /// The report that it was decided by.
    pub report: Arc<Report>,
    /// The access that was requested.
    pub request: Asked,
    /// What the rule that counts decided.
    pub decision: Arc<Decision>,
}

/// A role rule in shadow that failed too often to be asked on.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = RuleGivenUp)]
pub struct GivenUp {
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
    own: Arc<Own>,
    sender: mpsc::Sender<ShadowJob>,
    /// Taken by the task that compares; it stays when that is started again.
    receiver: Mutex<mpsc::Receiver<ShadowJob>>,
}

impl ShadowQueue {
    /// An empty queue, for the role rule in shadow of this registry.
    pub fn new(registry: Registry, own: Arc<Own>) -> Self {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        Self(Arc::new(Inner {
            registry,
            own,
            sender,
            receiver: Mutex::new(receiver),
        }))
    }

    /// Lets a decision be compared with that of the role rule in shadow, if there is one that is asked.
    pub fn enqueue(&self, in_force: &Arc<InForce>, job: impl FnOnce(Arc<InForce>) -> ShadowJob) {
        if in_force.shadow_role().is_none() || self.has_given_up(in_force) {
            return;
        }
        let sent = self.0.sender.try_send(job(in_force.clone()));
        if sent.is_err() {
            self.0.own.not_compared(NotCompared::Dropped);
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
    pub fn given_up(&self) -> Option<GivenUp> {
        let in_force = self.0.registry.rules().current();
        let shadow = in_force.shadow_role().filter(|_| self.has_given_up(&in_force))?;
        Some(GivenUp {
            rule: shadow.role().name().to_owned(),
            digest: shadow.role().module().digest(),
            why: in_force.role_beside.fails.last(),
        })
    }

    fn compare(&self, job: ShadowJob, decisions: &Decisions) {
        let (in_force, request) = (&*job.in_force, job.request);
        let shadow = in_force.shadow_role().filter(|_| !self.has_given_up(in_force));
        let Some(shadow) = shadow else { return };
        let asked = Request::new(&request.identity, request.action);
        let Ok((other, took)) = shadow.decide_at_cost(&asked, &job.report) else {
            return self.0.own.not_compared(NotCompared::Busy);
        };
        if let Said::Fault { fault } = &other.verdict {
            self.0.own.not_compared(NotCompared::Fault);
            return self.tell_failed(in_force, shadow, fault);
        }
        let same = other.is_allowed() == job.decision.is_allowed();
        in_force.role_beside.answered(same);
        if same {
            return;
        }
        self.0.own.decided_otherwise(request.action);
        // Whoever asks again and again is recorded once, for as long as things stand as they do.
        if took.is_some() {
            let would = Decided {
                request,
                verdict: Verdict::of(&other.verdict),
                decision: Some(other),
                took,
            };
            let counted = job.decision;
            decisions.differed(Differed { would, counted });
        }
    }

    /// One line when it begins to fail, and one when it is not asked any more.
    fn tell_failed(&self, in_force: &InForce, shadow: &RuleSet, fault: &Fault) {
        let rule = shadow.role().name();
        let failed = in_force.role_beside.fails.count(Some(fault));
        if failed == 1 {
            log::warn!(rule, reason:% = fault; "a role rule in shadow fails; nobody waits for it, and what counts is as it was");
        }
        if self.has_given_up(in_force) {
            log::error!(rule, failed, reason:% = fault; "a role rule in shadow failed too often and is not asked any more, until other rules are in force");
        }
    }

    fn has_given_up(&self, in_force: &InForce) -> bool {
        in_force.role_beside.fails.length() >= self.0.registry.options().faults_in_a_row
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
    fn with_shadow(in_force: &InForce) -> InForce {
        let (mut generation, mut rules) = (in_force.generation.clone(), in_force.rules.clone());
        let role = generation.entries.iter().position(|entry| entry.kind == Kind::Role);
        let role = role.expect("there is a role rule");
        rules.push(rules[role].clone());
        generation.entries.push(Entry {
            mode: Mode::Shadow,
            ..generation.entries[role].clone()
        });
        InForce::new(generation, rules).expect("they make a set")
    }

    fn job(in_force: Arc<InForce>) -> ShadowJob {
        let (identity, action) = (Identity::anonymous(), Action::HealthRead);
        let report = in_force.set.before_the_first("host", 1);
        let decision = in_force.set.decide(&Request::new(&identity, action), &report);
        ShadowJob {
            decision: decision.expect("nobody else asks"),
            report: Arc::new(report),
            request: Asked {
                time_ms: 1,
                identity,
                address: Ipv4Addr::LOCALHOST.into(),
                action,
                resource: "".into(),
                request_id: "".into(),
            },
            in_force,
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
            let queue = ShadowQueue::new(registry.clone(), Arc::new(Own::new(&build)));
            let waiting = async || queue.0.receiver.lock().await.len();
            let current = registry.rules().current();
            queue.enqueue(&current, job);
            assert_eq!(waiting().await, 0, "no rule is in shadow");
            let in_force = Arc::new(with_shadow(&current));
            for _ in 0..CAPACITY + 1 {
                queue.enqueue(&in_force, job);
            }
            assert_eq!(waiting().await, CAPACITY);
            queue.0.receiver.lock().await.recv().await.expect("many wait");
            let fault = Fault {
                rule: "role".to_owned(),
                digest: Digest::of(b""),
                call: Call::Decide,
                misbehaviour: Misbehaviour::Overtime { limit_ms: 1 },
            };
            for _ in 0..registry.options().faults_in_a_row {
                in_force.role_beside.fails.count(Some(&fault));
            }
            queue.enqueue(&in_force, job);
            assert_eq!(
                waiting().await,
                CAPACITY - 1,
                "a shadow that failed too often is not asked"
            );
        });
    }
}
