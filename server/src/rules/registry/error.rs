//! Errors of changes of the active rules.

use watchpost_policies::{Digest, SetError, SettingsError};

use crate::rules::checks::Failed;
use crate::rules::compiler::CompileError;
use crate::store::StoreError;

/// Errors of changes of the active rules.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Unknown rule.
    #[error("there is no rule {0}; GET /api/v1/rules lists the rules")]
    NoRule(String),
    /// Unknown version.
    #[error("the rule {rule} has no version {digest}; upload it first")]
    NoVersion { rule: String, digest: Digest },
    /// A concurrent change was faster.
    #[error("generation {latest} is active, not the expected one; read it and retry")]
    GenerationMismatch {
        /// The number of the latest generation.
        latest: i64,
    },
    /// The change conflicts with the current state.
    #[error("{0}")]
    Conflict(String),
    /// A temporary limit is reached.
    #[error("{0}")]
    Busy(&'static str),
    /// The client is not allowed to force the change.
    #[error("{0}")]
    ForceDenied(&'static str),
    /// An active rule cannot be loaded in this process any more.
    #[error("the active rule {rule} blocks the change: {reason}; deactivate it or activate another version")]
    InTheWay { rule: String, reason: String },
    /// The rule rejects the settings.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The component cannot be compiled.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// A check failed.
    #[error("{}", .0.reason)]
    Failed(Failed),
    /// The rules do not form a set.
    #[error(transparent)]
    Set(#[from] SetError),
    /// Internal error.
    #[error("{0}")]
    Broken(String),
}

impl ChangeError {
    /// Whether a retry may succeed: the error is temporary and not caused by the rule.
    pub(in crate::rules) fn is_transient(&self) -> bool {
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

    use watchpost_policies::ComponentError;

    use super::*;

    #[test]
    fn temporary_errors_are_distinguished_from_errors_of_a_rule() {
        let broken = CompileError::Broken("the process could not be started".to_owned());
        for transient in [
            ChangeError::Store(StoreError::Failed("the database is not reachable".to_owned())),
            ChangeError::Busy("wait"),
            ChangeError::Compile(CompileError::Busy),
            ChangeError::Compile(broken),
        ] {
            assert!(transient.is_transient(), "{transient}");
        }
        let limit = Duration::from_secs(1);
        for permanent in [
            ChangeError::Compile(CompileError::Refused(ComponentError::Truncated)),
            ChangeError::Compile(CompileError::TooLong { limit }),
            ChangeError::NoRule("weekend".to_owned()),
            ChangeError::Conflict("it is in use".to_owned()),
        ] {
            assert!(!permanent.is_transient(), "{permanent}");
        }
    }
}
