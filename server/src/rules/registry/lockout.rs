//! Nobody takes the right to change rules from themselves, unless they force it and may.

use watchpost_policies::{Action, Decision, Kind, Report, Request, Verdict};

use super::{Actor, ChangeError, Registry, slot};
use crate::rules::ActiveRule;

impl Registry {
    /// Whether the one who asks could change it again.
    pub(super) fn stays_open(&self, next: &ActiveRule, actor: &Actor, report: &Report) -> Result<(), ChangeError> {
        let Some(identity) = &actor.identity else { return Ok(()) };
        let now = self.0.rules.current();
        let of = |loaded: &ActiveRule| slot(&loaded.generation.entries, Kind::Role, "").cloned();
        if of(next) == of(&now) {
            return Ok(());
        }
        let asked = Request::new(identity, Action::RulesWrite);
        let decision = next.set.decide_afresh(&asked, report);
        let refused = match decision.map(|decision| decision.verdict) {
            Ok(Verdict::Allow) => return Ok(()),
            Ok(Verdict::Deny { reason }) => reason,
            Ok(Verdict::Fault { fault }) => fault.to_string(),
            Err(busy) => busy.to_string(),
        };
        Err(ChangeError::Conflict(format!(
            "under this role rule you could not change rules any more; it says: {refused}. Nothing was changed; give \
             yourself the right to {} in its settings",
            Action::RulesWrite
        )))
    }

    /// Whether the one who asks may do so all the same.
    pub(super) fn may_force(&self, actor: &Actor, report: &Report) -> Result<(), ChangeError> {
        let is_admin = |decision: Decision| decision.is_allowed() && decision.roles.iter().any(|role| role == "admin");
        let decided = actor.identity.as_ref().and_then(|identity| {
            let asked = Request::new(identity, Action::RulesWrite);
            self.0.rules.current().set.decide_afresh(&asked, report).ok()
        });
        match actor.break_glass && decided.is_some_and(is_admin) {
            true => Ok(()),
            false => Err(ChangeError::MayNotForce(
                "only those may force who are admin by the rule in force and whose certificate is in rules.break_glass",
            )),
        }
    }
}
