//! What is known of each file of the folder, and how that is told: by what the API shows, and by the log. It decides
//! how long a refusal holds, and nothing else.

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

/// A database that is away, or another rule that stands in the way, is asked again after this long.
const RETRY_DELAY: Duration = Duration::from_secs(10);

/// Compiling that took too long may have had too busy a machine.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(600);

/// What was made of a file the last time that it was taken.
pub(super) struct KnownFile {
    pub(super) content: Content,
    /// The rule in it, or the last one that was.
    pub(super) given: Option<AppliedFile>,
    pub(super) outcome: SyncOutcome,
}

/// A rule as a file gives it.
#[derive(Clone)]
pub(super) struct AppliedFile {
    pub(super) rule: String,
    kind: Kind,
}

/// What one file can have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Slot {
    /// A threshold rule of this name.
    Rule(String),
    /// The one role rule.
    Role,
}

pub(super) enum SyncOutcome {
    /// It was put in force, now or before.
    Placed(Entry),
    /// An earlier file has its seat; the sentence says which.
    Duplicate(String),
    Refused(Refused),
}

pub(super) struct Refused {
    why: String,
    /// Whether it may do without a change of the file.
    is_passing: bool,
    /// When it is tried again.
    pub(super) again: Option<Instant>,
    /// What the configuration said. Under another, a key may be trusted.
    pub(super) under: Arc<Options>,
}

/// One file, as the API shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = RuleFile)]
pub struct FileStatus {
    /// Its name.
    pub file: String,
    /// How it is.
    pub state: FileState,
    /// The rule in it, as far as that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Why it is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// How a file of the folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = RuleFileState)]
#[serde(rename_all = "snake_case")]
pub enum FileState {
    /// What it says is in force.
    ActiveRule,
    /// It was, and was changed since by other means.
    LeftAlone,
    /// It is taken in a moment.
    Waiting,
    /// It is wrong; what was in force before stays.
    Refused,
}

impl KnownFile {
    /// Takes its seat, or makes way for the file that has it.
    pub(super) fn claim(&mut self, name: &str, claims: &mut Claims) {
        let Some(seat) = self.given.as_ref().map(AppliedFile::seat) else {
            return;
        };
        match claims.get(&seat) {
            Some(first) => self.outcome = SyncOutcome::Duplicate(seat.taken_by(first)),
            None if matches!(self.outcome, SyncOutcome::Duplicate(_)) => {}
            None => drop(claims.insert(seat, name.to_owned())),
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

    pub(super) fn seat(&self) -> Slot {
        match self.kind {
            Kind::Role => Slot::Role,
            Kind::Threshold => Slot::Rule(self.rule.clone()),
        }
    }
}

impl Slot {
    pub(super) fn taken_by(&self, first: &str) -> String {
        match self {
            Self::Rule(rule) => format!("{first} has the rule {rule} already; take one of the two away"),
            Self::Role => format!("{first} has a role rule already, and one decides; take one of the two away"),
        }
    }
}

impl Refused {
    /// Until the file changes.
    pub(super) fn for_now(why: String, under: Arc<Options>) -> Self {
        Self {
            why,
            is_passing: false,
            again: None,
            under,
        }
    }

    pub(super) fn by(error: &ChangeError, under: Arc<Options>) -> Self {
        let (is_passing, again) = match error {
            ChangeError::Store(_)
            | ChangeError::PendingGeneration { .. }
            | ChangeError::Broken(_)
            | ChangeError::Compile(CompileError::Busy | CompileError::Broken(_)) => (true, Some(RETRY_DELAY)),
            ChangeError::Conflict(_) | ChangeError::InTheWay { .. } => (false, Some(RETRY_DELAY)),
            ChangeError::Compile(CompileError::TooLong { .. }) => (false, Some(MAX_RETRY_DELAY)),
            _ => (false, None),
        };
        Self {
            why: error_chain(error),
            is_passing,
            again: again.map(|after| Instant::now() + after),
            under,
        }
    }
}

impl FileStatus {
    pub(super) fn of(
        name: &str,
        sight: Option<&ScannedFile>,
        known: Option<&KnownFile>,
        is_in_force: impl Fn(&Entry) -> bool,
    ) -> Self {
        let is_new = |known: &&KnownFile| sight.is_none_or(|sight| sight.content == known.content);
        let (state, why) = match known.filter(is_new).map(|known| &known.outcome) {
            None => (
                FileState::Waiting,
                Some("it is taken when two looks see the same".to_owned()),
            ),
            Some(SyncOutcome::Placed(placed)) if is_in_force(placed) => (FileState::ActiveRule, None),
            Some(SyncOutcome::Placed(_)) => {
                let why = "it was changed since by other means; it is taken again when the file changes";
                (FileState::LeftAlone, Some(why.to_owned()))
            }
            Some(SyncOutcome::Duplicate(why)) => (FileState::Refused, Some(why.clone())),
            Some(SyncOutcome::Refused(refused)) => match refused.is_passing {
                true => (FileState::Waiting, Some(refused.why.clone())),
                false => (FileState::Refused, Some(refused.why.clone())),
            },
        };
        Self {
            file: name.to_owned(),
            state,
            rule: known
                .and_then(|known| known.given.as_ref())
                .map(|given| given.rule.clone()),
            why,
        }
    }

    /// The folder itself cannot be read.
    pub(super) fn unreadable(folder: &Path, error: &io::Error) -> Self {
        Self {
            file: folder.display().to_string(),
            state: FileState::Refused,
            rule: None,
            why: Some(format!(
                "the folder cannot be read: {error}; make it, or take rules.dir out of the configuration"
            )),
        }
    }

    /// The file is gone, and what it left behind is still in force.
    pub(super) fn left_behind(name: &str, why: &str) -> Self {
        Self {
            file: name.to_owned(),
            state: FileState::Waiting,
            rule: None,
            why: Some(format!("it is gone, and its rule cannot be taken out of force: {why}")),
        }
    }

    /// Told once, when it becomes so.
    pub(super) fn log(&self) {
        let file = self.file.as_str();
        let rule = self.rule.as_deref().unwrap_or_default();
        let why = self.why.as_deref().unwrap_or_default();
        match self.state {
            FileState::ActiveRule => log::info!(file, rule; "a rule from the folder is in force"),
            FileState::LeftAlone => {
                log::info!(file, rule; "a rule from the folder was changed by other means; it is left alone until its file changes");
            }
            FileState::Waiting => log::debug!(file, reason = why; "a file of the folder of rules is not taken yet"),
            FileState::Refused => {
                log::error!(file, reason = why; "a file of the folder of rules is refused; what was in force before stays");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(rule: &str, kind: Kind, outcome: SyncOutcome) -> KnownFile {
        KnownFile {
            content: Content::Wrong(String::new()),
            given: Some(AppliedFile {
                rule: rule.to_owned(),
                kind,
            }),
            outcome,
        }
    }

    fn refused() -> SyncOutcome {
        SyncOutcome::Refused(Refused {
            why: "it is broken".to_owned(),
            is_passing: false,
            again: None,
            under: Arc::new(Options {
                configured: crate::rules::Settings {
                    threshold: "{}".to_owned(),
                    role: "{}".to_owned(),
                },
                break_glass: Vec::new(),
                max_consecutive_faults: 1,
                provenance: crate::rules::signing::Provenance::default(),
            }),
        })
    }

    #[test]
    fn the_first_of_two_files_has_the_rule_and_the_other_is_refused() {
        let mut claims = Claims::new();
        known("weekend", Kind::Threshold, refused()).claim("a.wasm", &mut claims);
        let mut second = known("weekend", Kind::Threshold, refused());
        second.claim("b.wasm", &mut claims);
        let line = FileStatus::of("b.wasm", None, Some(&second), |_| false);
        assert_eq!(line.state, FileState::Refused);
        let why = "a.wasm has the rule weekend already; take one of the two away";
        assert_eq!(line.why.as_deref(), Some(why));
    }

    #[test]
    fn of_role_rules_one_decides_whatever_they_are_called() {
        let mut claims = Claims::new();
        known("doors", Kind::Role, refused()).claim("a.wasm", &mut claims);
        let mut second = known("gates", Kind::Role, refused());
        second.claim("b.wasm", &mut claims);
        assert!(matches!(second.outcome, SyncOutcome::Duplicate(_)));
        let mut other = known("gates", Kind::Threshold, refused());
        other.claim("c.wasm", &mut claims);
        assert!(
            matches!(other.outcome, SyncOutcome::Refused(_)),
            "a threshold rule is in nobody's way"
        );
    }
}
