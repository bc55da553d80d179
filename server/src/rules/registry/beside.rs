//! What a role rule in shadow would have decided: it is asked after the one that counts, off the threads that answer, and
//! only told. However long it takes and however it fails, no request waits for it.

use std::sync::Arc;

use serde::Serialize;
use tokio::sync::{Mutex as Turn, mpsc};
use utoipa::ToSchema;
use watchpost_policies::{Decision, Digest, Fault, Report, Request, RuleSet, Verdict as Said};

use super::Registry;
use crate::decisions::{Asked, Decided, Decisions, Differed};
use crate::metrics::NotCompared;
use crate::rules::InForce;
use crate::store::decisions::Verdict;
use crate::tasks;

/// Decisions that wait to be compared. What comes when so many do is not compared, and counted: more would only be
/// older when its turn comes, and each holds a report.
const WAITING: usize = 256;

/// A decision to be compared.
pub struct Question {
    /// By what it was decided.
    pub in_force: Arc<InForce>,
    /// As things stood.
    pub report: Arc<Report>,
    /// About what.
    pub request: Asked,
    /// How.
    pub counted: Arc<Decision>,
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

/// The decisions that wait. Whoever compares has their end of it, which outlives the task that does.
pub(super) struct Questions {
    sender: mpsc::Sender<Question>,
    waiting: Turn<mpsc::Receiver<Question>>,
}

impl Default for Questions {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        Self {
            sender,
            waiting: Turn::new(receiver),
        }
    }
}

impl Registry {
    /// Lets a decision be compared with that of the role rule in shadow, if there is one that is asked.
    pub fn compare_later(&self, in_force: &Arc<InForce>, question: impl FnOnce(Arc<InForce>) -> Question) {
        if in_force.shadow_role().is_none() || self.has_given_up(in_force) {
            return;
        }
        let sent = self.0.questions.sender.try_send(question(in_force.clone()));
        if sent.is_err() {
            self.0.own.not_compared(NotCompared::Dropped);
        }
    }

    /// Compares decisions, for ever. One at a time, so that one that takes long takes one thread.
    pub async fn compare_decisions(self, decisions: Decisions) {
        let mut waiting = self.0.questions.waiting.lock().await;
        while let Some(question) = waiting.recv().await {
            let (this, decisions) = (self.clone(), decisions.clone());
            if let Err(panic) = tasks::block(move || this.compare(question, &decisions)).await {
                log::error!(reason = panic.as_str(); "a decision could not be compared with that of the role rule in shadow");
            }
        }
    }

    /// The role rule in shadow that is not asked any more, if that is so.
    pub fn given_up(&self) -> Option<GivenUp> {
        let in_force = self.0.rules.current();
        let shadow = in_force.shadow_role().filter(|_| self.has_given_up(&in_force))?;
        Some(GivenUp {
            rule: shadow.role().name().to_owned(),
            digest: shadow.role().module().digest(),
            why: in_force.role_beside.fails.last(),
        })
    }

    fn compare(&self, question: Question, decisions: &Decisions) {
        let (in_force, request) = (&*question.in_force, question.request);
        let shadow = in_force.shadow_role().filter(|_| !self.has_given_up(in_force));
        let Some(shadow) = shadow else { return };
        let asked = Request::new(&request.identity, request.action);
        let Ok((other, took)) = shadow.decide_at_cost(&asked, &question.report) else {
            return self.0.own.not_compared(NotCompared::Busy);
        };
        if let Said::Fault { fault } = &other.verdict {
            self.0.own.not_compared(NotCompared::Fault);
            return self.tell_failed(in_force, shadow, fault);
        }
        let same = other.is_allowed() == question.counted.is_allowed();
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
            let counted = question.counted;
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
        in_force.role_beside.fails.length() >= self.0.options.load().faults_in_a_row
    }
}
