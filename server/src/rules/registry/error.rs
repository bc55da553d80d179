//! Why what is in force was not changed.

use watchpost_policies::{Digest, SetError, SettingsRefusal};

use crate::rules::checks::Failed;
use crate::rules::compiler::CompileError;
use crate::store::StoreError;

/// Why what is in force was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The database did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no such rule.
    #[error("there is no rule {0}; GET /api/v1/rules names those that there are")]
    NoRule(String),
    /// There is no such version.
    #[error("the rule {rule} has no version {digest}; upload it first")]
    NoVersion {
        /// Of which rule.
        rule: String,
        /// Which version.
        digest: Digest,
    },
    /// Somebody else changed something meanwhile.
    #[error("generation {latest} is in force, not the one that you changed; look at it and try again")]
    PendingGeneration {
        /// The number of the latest.
        latest: i64,
    },
    /// It does not go with how things stand.
    #[error("{0}")]
    Conflict(String),
    /// Not now.
    #[error("{0}")]
    Busy(&'static str),
    /// Somebody who may not force.
    #[error("{0}")]
    MayNotForce(&'static str),
    /// A rule that is in force cannot be loaded here any more.
    #[error("the rule {rule} stands in the way: {why}; take it out of force, or give it another version")]
    InTheWay {
        /// Which rule.
        rule: String,
        /// Why.
        why: String,
    },
    /// The rule does not want these settings.
    #[error(transparent)]
    Settings(#[from] SettingsRefusal),
    /// It cannot be compiled.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// It did not pass a check.
    #[error("{}", .0.why)]
    Failed(Failed),
    /// They do not make a set.
    #[error(transparent)]
    Set(#[from] SetError),
    /// We are broken.
    #[error("{0}")]
    Broken(String),
}

impl ChangeError {
    /// Whether the same may go well in a moment: it says nothing of the rule.
    pub(in crate::rules) fn passes(&self) -> bool {
        matches!(
            self,
            Self::Store(_) | Self::Busy(_) | Self::Compile(CompileError::Busy | CompileError::Broken(_))
        )
    }
}

impl From<Failed> for ChangeError {
    fn from(failed: Failed) -> Self {
        Self::Failed(failed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use watchpost_policies::Refusal;

    use super::*;

    #[test]
    fn what_passes_is_told_from_what_is_wrong_with_a_rule() {
        let broken = CompileError::Broken("it could not be started".to_owned());
        for passing in [
            ChangeError::Store(StoreError::Failed("it is away".to_owned())),
            ChangeError::Busy("wait"),
            ChangeError::Compile(CompileError::Busy),
            ChangeError::Compile(broken),
        ] {
            assert!(passing.passes(), "{passing}");
        }
        let limit = Duration::from_secs(1);
        for lasting in [
            ChangeError::Compile(CompileError::Refused(Refusal::Truncated)),
            ChangeError::Compile(CompileError::TooLong { limit }),
            ChangeError::NoRule("weekend".to_owned()),
            ChangeError::Conflict("it does not go".to_owned()),
        ] {
            assert!(!lasting.passes(), "{lasting}");
        }
    }
}
