//! The state of each file of the folder, for the API and the log, and how long a rejection lasts.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;
use utoipa::ToSchema;
use watchpost_policies::Kind;

use super::Claims;
use super::scan::{Content, ScannedFile};
use crate::error_chain::error_chain;
use crate::rules::compiler::CompileError;
use crate::rules::registry::{ChangeError, Options};
use crate::store::rules::{Entry, Version};

/// Delay before another attempt after a database error or a conflict with another rule.
const RETRY_DELAY: Duration = Duration::from_secs(10);

/// Delay after a compilation timeout, which may have been caused by a busy machine.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(600);

/// The result of the last processing of a file.
pub(super) struct KnownFile {
    pub(super) content: Content,
    /// The rule in the file, or the last one that was in it.
    pub(super) provided: Option<AppliedFile>,
    pub(super) outcome: SyncOutcome,
}

/// A rule provided by a file.
#[derive(Clone)]
pub(super) struct AppliedFile {
    pub(super) rule: String,
    kind: Kind,
}

/// A place that only one file can occupy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Slot {
    /// A threshold rule of this name.
    Rule(String),
    /// The only role rule.
    Role,
}

pub(super) enum SyncOutcome {
    /// The rule was activated, now or earlier.
    Activated(Entry),
    /// An earlier file occupies the slot; the message names that file.
    Duplicate(String),
    Rejected(Rejected),
}

pub(super) struct Rejected {
    reason: String,
    /// Whether the error is temporary, so the file may be accepted without a change.
    is_transient: bool,
    /// Time of the next attempt.
    pub(super) again: Option<Instant>,
    /// The configuration of that attempt. Under another one, the key may be trusted.
    pub(super) under: Arc<Options>,
}

/// The status of a file, as shown by the API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = RuleFile)]
pub struct FileStatus {
    /// The name of the file.
    pub file: String,
    /// The state of the file.
    pub state: FileState,
    /// The rule in the file, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The reason for the state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// State of a file in the rules folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = RuleFileState)]
#[serde(rename_all = "snake_case")]
pub enum FileState {
    /// The rule of the file is active.
    Active,
    /// The rule was active and has been changed by other means since.
    Overridden,
    /// The file is to be processed soon.
    Pending,
    /// The file is rejected; the previous rule stays active.
    Rejected,
}

impl KnownFile {
    /// Takes its slot, or makes way for the file that has it.
    pub(super) fn claim(&mut self, name: &str, claims: &mut Claims) {
        let Some(slot) = self.provided.as_ref().map(AppliedFile::slot) else {
            return;
        };
        match claims.get(&slot) {
            Some(first) => self.outcome = SyncOutcome::Duplicate(slot.conflict_with(first)),
            None if matches!(self.outcome, SyncOutcome::Duplicate(_)) => {}
            None => drop(claims.insert(slot, name.to_owned())),
        }
    }
}

impl AppliedFile {
    pub(super) fn of(version: &Version) -> Self {
        Self {
            rule: version.name.clone(),
            kind: version.kind,
        }
    }

    pub(super) fn slot(&self) -> Slot {
        match self.kind {
            Kind::Role => Slot::Role,
            Kind::Threshold => Slot::Rule(self.rule.clone()),
        }
    }
}

impl Slot {
    pub(super) fn conflict_with(&self, first: &str) -> String {
        match self {
            Self::Rule(rule) => format!("{first} contains the rule {rule} already; delete one of the two files"),
            Self::Role => {
                format!("{first} contains a role rule already, and only one can be active; delete one of the two files")
            }
        }
    }
}

impl Rejected {
    /// A rejection until the file changes.
    pub(super) fn for_now(reason: String, under: Arc<Options>) -> Self {
        Self {
            reason,
            is_transient: false,
            again: None,
            under,
        }
    }

    /// A rejection until the file changes, or until the next attempt.
    pub(super) fn until_retry(reason: String, under: Arc<Options>) -> Self {
        Self {
            reason,
            is_transient: true,
            again: Some(Instant::now() + RETRY_DELAY),
            under,
        }
    }

    pub(super) fn by(error: &ChangeError, under: Arc<Options>) -> Self {
        let (is_transient, again) = match error {
            ChangeError::Store(_)
            | ChangeError::GenerationMismatch { .. }
            | ChangeError::Broken(_)
            | ChangeError::Compile(CompileError::Busy | CompileError::Broken(_)) => (true, Some(RETRY_DELAY)),
            ChangeError::Conflict(_) | ChangeError::InTheWay { .. } => (false, Some(RETRY_DELAY)),
            ChangeError::Compile(CompileError::TooLong { .. }) => (false, Some(MAX_RETRY_DELAY)),
            _ => (false, None),
        };
        Self {
            reason: error_chain(error),
            is_transient,
            again: again.map(|after| Instant::now() + after),
            under,
        }
    }
}

impl FileStatus {
    pub(super) fn of(
        name: &str,
        file: Option<&ScannedFile>,
        known: Option<&KnownFile>,
        is_active: impl Fn(&Entry) -> bool,
    ) -> Self {
        let is_new = |known: &&KnownFile| file.is_none_or(|file| file.content == known.content);
        let (state, reason) = match known.filter(is_new).map(|known| &known.outcome) {
            None => (
                FileState::Pending,
                Some("waiting for two scans with the same content".to_owned()),
            ),
            Some(SyncOutcome::Activated(activated)) if is_active(activated) => (FileState::Active, None),
            Some(SyncOutcome::Activated(_)) => {
                let reason = "the rule was changed by other means; the file applies again when it changes";
                (FileState::Overridden, Some(reason.to_owned()))
            }
            Some(SyncOutcome::Duplicate(reason)) => (FileState::Rejected, Some(reason.clone())),
            Some(SyncOutcome::Rejected(rejected)) => match rejected.is_transient {
                true => (FileState::Pending, Some(rejected.reason.clone())),
                false => (FileState::Rejected, Some(rejected.reason.clone())),
            },
        };
        Self {
            file: name.to_owned(),
            state,
            rule: known
                .and_then(|known| known.provided.as_ref())
                .map(|provided| provided.rule.clone()),
            reason,
        }
    }

    /// The status of a folder that cannot be read.
    pub(super) fn unreadable(folder: &Path, error: &io::Error) -> Self {
        Self {
            file: folder.display().to_string(),
            state: FileState::Rejected,
            rule: None,
            reason: Some(format!(
                "the folder cannot be read: {error}; create it, or remove rules.dir from the configuration"
            )),
        }
    }

    /// The status of a missing file whose rule is still active.
    pub(super) fn still_active(name: &str, reason: &str) -> Self {
        Self {
            file: name.to_owned(),
            state: FileState::Pending,
            rule: None,
            reason: Some(format!(
                "the file is missing, but its rule could not be deactivated: {reason}"
            )),
        }
    }

    /// Logs the state; called once per change.
    pub(super) fn log(&self) {
        let file = self.file.as_str();
        let rule = self.rule.as_deref().unwrap_or_default();
        let reason = self.reason.as_deref().unwrap_or_default();
        match self.state {
            FileState::Active => log::info!(file, rule; "rule from the folder is active"),
            FileState::Overridden => {
                log::info!(file, rule; "rule from the folder was changed by other means; its file is ignored until it changes");
            }
            FileState::Pending => log::debug!(file, reason; "file in the rules folder is pending"),
            FileState::Rejected => {
                log::error!(file, reason; "file in the rules folder is rejected; the previous rule stays active");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(rule: &str, kind: Kind, outcome: SyncOutcome) -> KnownFile {
        KnownFile {
            content: Content::Invalid(String::new()),
            provided: Some(AppliedFile {
                rule: rule.to_owned(),
                kind,
            }),
            outcome,
        }
    }

    fn rejected() -> SyncOutcome {
        SyncOutcome::Rejected(Rejected {
            reason: "it is broken".to_owned(),
            is_transient: false,
            again: None,
            under: Arc::new(Options {
                configured: crate::rules::Settings {
                    threshold: "{}".to_owned(),
                    role: "{}".to_owned(),
                },
                break_glass: Vec::new(),
                max_consecutive_faults: 1,
                provenance: crate::rules::signing::Provenance::default(),
                quota: crate::store::rules::VersionQuota {
                    max_versions: 1,
                    max_bytes: 1,
                },
            }),
        })
    }

    #[test]
    fn of_two_files_with_the_same_rule_the_second_is_rejected() {
        let mut claims = Claims::new();
        known("weekend", Kind::Threshold, rejected()).claim("a.wasm", &mut claims);
        let mut second = known("weekend", Kind::Threshold, rejected());
        second.claim("b.wasm", &mut claims);
        let line = FileStatus::of("b.wasm", None, Some(&second), |_| false);
        assert_eq!(line.state, FileState::Rejected);
        let reason = "a.wasm contains the rule weekend already; delete one of the two files";
        assert_eq!(line.reason.as_deref(), Some(reason));
    }

    #[test]
    fn only_one_role_rule_is_accepted_whatever_its_name() {
        let mut claims = Claims::new();
        known("doors", Kind::Role, rejected()).claim("a.wasm", &mut claims);
        let mut second = known("gates", Kind::Role, rejected());
        second.claim("b.wasm", &mut claims);
        assert!(matches!(second.outcome, SyncOutcome::Duplicate(_)));
        let mut other = known("gates", Kind::Threshold, rejected());
        other.claim("c.wasm", &mut claims);
        assert!(
            matches!(other.outcome, SyncOutcome::Rejected(_)),
            "a threshold rule has another slot"
        );
    }
}
