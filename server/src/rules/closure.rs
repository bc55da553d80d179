//! Closed access: the built-in role rule with settings under which no role allows more than an anonymous client may do.
//! Only clients in `rules.break_glass` can change rules then. The reason is recorded in the settings, so it survives
//! restarts and reaches every process that shares the database.

use watchpost_policies::Kind;

use super::LoadedGeneration;
use super::registry::slot;

/// Why access is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closure {
    /// The role rule was quarantined, or it could not be loaded.
    RoleRuleFailed,
    /// The role rule of the database is not trusted, and none that was accepted before is left.
    RoleRuleUntrusted,
    /// The database was damaged, or its rules were lost, and a new one was created.
    DatabaseReplaced,
}

impl Closure {
    /// All reasons.
    const ALL: [Self; 3] = [Self::RoleRuleFailed, Self::RoleRuleUntrusted, Self::DatabaseReplaced];

    /// The settings of the built-in role rule. Those of different reasons have the same effect.
    pub(super) const fn settings(self) -> &'static str {
        match self {
            Self::RoleRuleFailed => r#"{"roles": {"reader": [], "user": [], "agent": [], "admin": []}}"#,
            Self::RoleRuleUntrusted => r#"{"roles": {"admin": [], "agent": [], "reader": [], "user": []}}"#,
            Self::DatabaseReplaced => {
                r#"{"identities": [], "roles": {"reader": [], "user": [], "agent": [], "admin": []}}"#
            }
        }
    }

    /// The reason that these settings stand for.
    pub(super) fn of_settings(settings: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|closure| closure.settings() == settings)
    }

    /// The reason, for operators.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::RoleRuleFailed => {
                "access is closed, because the role rule failed; activate a role rule, or run `watchpost rules restore-access`"
            }
            Self::RoleRuleUntrusted => {
                "access is closed, because the role rule is not trusted; sign the generation (`watchpost rules sign-generation`), or run `watchpost rules restore-access`"
            }
            Self::DatabaseReplaced => {
                "access is closed, because the database was damaged or lost its rules; restore a copy of it, or run `watchpost rules restore-access`"
            }
        }
    }
}

impl LoadedGeneration {
    /// Why access is closed, if it is.
    pub fn closure(&self) -> Option<Closure> {
        let entry = slot(&self.generation.entries, Kind::Role, "")?;
        Closure::of_settings(self.set.role().settings()).filter(|_| entry.digest.is_none())
    }
}

#[cfg(test)]
mod tests {
    use watchpost_policies::{Action, Limits, Request};

    use super::*;
    use crate::rules::{Rules, Settings, sample};

    fn with_role(role: &str) -> Rules {
        let settings = Settings {
            threshold: "{}".to_owned(),
            role: role.to_owned(),
        };
        Rules::load(Limits::default(), &settings, None).expect("the settings are valid")
    }

    #[test]
    fn closed_access_allows_every_identity_what_an_anonymous_client_may_do() {
        let open = with_role("{}");
        assert_eq!(open.current().closure(), None);
        let allowed = |rules: &Rules, identity: &_, action| {
            let set = rules.current().set.clone();
            let report = set.before_the_first("edge-1", 0);
            let decision = set.decide_uncached(&Request::new(identity, action), &report);
            decision.expect("an instance is free").is_allowed()
        };
        for closure in Closure::ALL {
            let closed = with_role(closure.settings());
            assert_eq!(closed.current().closure(), Some(closure));
            for identity in sample::identities() {
                for action in Action::ALL {
                    let expected = allowed(&open, &watchpost_policies::Identity::anonymous(), *action);
                    assert_eq!(allowed(&closed, &identity, *action), expected, "{identity}: {action}");
                }
            }
        }
    }
}
