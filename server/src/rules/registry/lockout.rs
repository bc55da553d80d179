//! Lockout protection: rejects a change that would remove the client's own permission to change rules, unless the client
//! is allowed to force the change and does. A role rule can remove it, and so can a threshold rule, if a clause of the
//! role rule denies the action while a finding is not ok.

use watchpost_policies::{Action, Busy, Decision, Kind, Report, Request, Verdict};

use super::{Actor, ChangeError, LatestRound, Registry, slot};
use crate::rules::LoadedGeneration;
use crate::tasks;

impl Registry {
    /// Fails if the client could not change rules under the next generation.
    pub(super) async fn check_lockout(
        &self,
        next: &LoadedGeneration,
        actor: &Actor,
        now: &LatestRound,
    ) -> Result<(), ChangeError> {
        let Some(identity) = &actor.identity else { return Ok(()) };
        let current = self.0.rules.current();
        let request = Request::new(identity, Action::RulesWrite);
        // This client keeps the permission under any rule, so no rule locks it out that restores access.
        let is_denied = denial(current.set.decide_uncached(&request, &now.report)).is_some();
        if is_denied && actor.break_glass {
            return Ok(());
        }
        let role_of = |loaded: &LoadedGeneration| slot(&loaded.generation.entries, Kind::Role, "").cloned();
        if role_of(next) != role_of(&current)
            && let Some(reason) = denial(next.set.decide_uncached(&request, &now.report))
        {
            return Err(ChangeError::Conflict(format!(
                "this role rule would deny you {action}: {reason}. Nothing was changed; grant yourself {action} in its \
                 settings",
                action = Action::RulesWrite
            )));
        }
        let Some(snapshot) = now.snapshot.clone() else {
            return Ok(());
        };
        // A client that is denied already is not locked out by this change.
        if is_denied {
            return Ok(());
        }
        let (set, last) = (next.set.clone(), now.report.clone());
        let judged = tasks::block(move || set.judge(&snapshot, Some(&last))).await;
        let judged = judged.map_err(ChangeError::Broken)?;
        match denial(next.set.decide_uncached(&request, &judged)) {
            None => Ok(()),
            Some(reason) => Err(ChangeError::Conflict(format!(
                "with this change, the role rule would deny you {action} because of a finding: {reason}. Nothing was \
                 changed; change the threshold, or the clause of the role rule under `while`",
                action = Action::RulesWrite
            ))),
        }
    }

    /// Fails if the client is not allowed to force a change.
    pub(super) fn authorize_force(&self, actor: &Actor, report: &Report) -> Result<(), ChangeError> {
        let is_admin = |decision: Decision| decision.is_allowed() && decision.roles.iter().any(|role| role == "admin");
        let decided = actor.identity.as_ref().and_then(|identity| {
            let request = Request::new(identity, Action::RulesWrite);
            self.0.rules.current().set.decide_uncached(&request, report).ok()
        });
        match actor.break_glass && decided.is_some_and(is_admin) {
            true => Ok(()),
            false => Err(ChangeError::ForceDenied(
                "to force a change, the client must be admin under the active role rule and its certificate must be listed in rules.break_glass",
            )),
        }
    }
}

/// Why a decision does not allow the action.
fn denial(decision: Result<Decision, Busy>) -> Option<String> {
    match decision.map(|decision| decision.verdict) {
        Ok(Verdict::Allow) => None,
        Ok(Verdict::Deny { reason }) => Some(reason),
        Ok(Verdict::Fault { fault }) => Some(fault.to_string()),
        Err(busy) => Some(busy.to_string()),
    }
}
