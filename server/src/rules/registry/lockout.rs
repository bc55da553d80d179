//! Lockout protection: rejects a change of the role rule that would remove the client's own permission to change rules,
//! unless the client is allowed to force the change and does.

use watchpost_policies::{Action, Decision, Kind, Report, Request, Verdict};

use super::{Actor, ChangeError, Registry, slot};
use crate::rules::LoadedGeneration;

impl Registry {
    /// Fails if the client could not change rules under the next generation.
    pub(super) fn check_lockout(
        &self,
        next: &LoadedGeneration,
        actor: &Actor,
        report: &Report,
    ) -> Result<(), ChangeError> {
        let Some(identity) = &actor.identity else { return Ok(()) };
        let now = self.0.rules.current();
        let of = |loaded: &LoadedGeneration| slot(&loaded.generation.entries, Kind::Role, "").cloned();
        if of(next) == of(&now) {
            return Ok(());
        }
        let request = Request::new(identity, Action::RulesWrite);
        let decision = next.set.decide_uncached(&request, report);
        let reason = match decision.map(|decision| decision.verdict) {
            Ok(Verdict::Allow) => return Ok(()),
            Ok(Verdict::Deny { reason }) => reason,
            Ok(Verdict::Fault { fault }) => fault.to_string(),
            Err(busy) => busy.to_string(),
        };
        Err(ChangeError::Conflict(format!(
            "this role rule would deny you {action}: {reason}. Nothing was changed; grant yourself {action} in its \
             settings",
            action = Action::RulesWrite
        )))
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
