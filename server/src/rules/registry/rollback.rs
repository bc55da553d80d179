//! Back to what a rule was before.

use watchpost_policies::Kind;

use super::transaction::NextGeneration;
use super::{Actor, ChangeError, ChangeRequest, Changed, Moment, Registry, slot};
use crate::clock;
use crate::store::Store;
use crate::store::rules::{AuditAction, AuditEntry, Entry, Generation};

/// Generations that are read at once, where one to go back to is looked for.
const BATCH_SIZE: i64 = 100;

/// What a rule's place was before its last change.
pub(in crate::rules) enum Earlier {
    /// It was never otherwise than it is.
    Never,
    /// The rule took no part.
    Inactive,
    /// This was active.
    Active(Entry),
}

/// That a rule's place becomes what it was.
pub(in crate::rules) struct Replacement<'r> {
    pub(in crate::rules) latest: &'r Generation,
    pub(in crate::rules) kind: Kind,
    pub(in crate::rules) rule: &'r str,
    /// What it becomes; nothing takes part, if this is missing.
    pub(in crate::rules) before: Option<Entry>,
    /// How the audit log calls it.
    pub(in crate::rules) deed: AuditAction,
    pub(in crate::rules) actor: &'r Actor,
    pub(in crate::rules) note: &'r str,
}

impl Registry {
    /// Puts in force again what a rule was before the last change of it. Twice is as if nothing had been.
    pub async fn roll_back(
        &self,
        wish: &ChangeRequest<'_>,
        actor: &Actor,
        now: &Moment,
    ) -> Result<Changed, ChangeError> {
        let ChangeRequest { rule, note, .. } = *wish;
        let _turn = self.0.changing.lock().await;
        let kind = self.kind_of(rule).await?;
        let plan = async |latest: &Generation| {
            let never = || {
                let why = format!("the rule {rule} was never otherwise than now; there is nothing to go back to");
                ChangeError::Conflict(why)
            };
            let before = match self.kept_before(latest, kind, rule).await? {
                Earlier::Never => return Err(never()),
                Earlier::Inactive => None,
                Earlier::Active(entry) => Some(entry),
            };
            let both: Vec<&Entry> = slot(&latest.entries, kind, rule).into_iter().chain(&before).collect();
            // Of role rules one counts, so the place of one may be another's.
            if both.iter().all(|entry| entry.rule != rule) {
                return Err(never());
            }
            let other = both.into_iter().find(|entry| entry.rule != rule);
            let other = other.map(|entry| self.told(entry, AuditAction::RolledBack, actor, note));
            let replacement = Replacement {
                latest,
                kind,
                rule,
                before,
                deed: AuditAction::RolledBack,
                actor,
                note,
            };
            let mut next = replacement.plan();
            next.told.extend(other);
            Ok(Some(next))
        };
        self.change_by(wish.expected, actor, wish.force, now, plan).await
    }

    /// What a rule's place was before the last change of it that `is_good` accepts; nothing stands for a rule that took
    /// no part.
    pub(in crate::rules) async fn before(
        &self,
        latest: &Generation,
        kind: Kind,
        rule: &str,
        is_good: impl Fn(Option<&Entry>) -> bool,
    ) -> Result<Earlier, ChangeError> {
        let now = slot(&latest.entries, kind, rule);
        let mut number = latest.number;
        loop {
            let older = move |store: &Store| store.generations_before(number, BATCH_SIZE);
            let older = self.0.store.ask(older).await?;
            let Some(oldest) = older.last() else {
                return Ok(Earlier::Never);
            };
            number = oldest.number;
            let mut slots = older.iter().map(|generation| slot(&generation.entries, kind, rule));
            if let Some(other) = slots.find(|before| *before != now && is_good(*before)) {
                return Ok(other.map_or(Earlier::Inactive, |entry| Earlier::Active(entry.clone())));
            }
        }
    }

    /// The same, and nothing that was deleted since.
    async fn kept_before(&self, latest: &Generation, kind: Kind, rule: &str) -> Result<Earlier, ChangeError> {
        let mut gone = Vec::new();
        loop {
            let is_there = |entry: Option<&Entry>| entry.is_none_or(|entry| !gone.contains(entry));
            match self.before(latest, kind, rule, is_there).await? {
                Earlier::Active(entry) if !self.is_kept(&entry).await? => gone.push(entry),
                before => return Ok(before),
            }
        }
    }

    /// Whether its version was not deleted. It may still be loaded here, as what was in force before.
    pub(in crate::rules) async fn is_kept(&self, entry: &Entry) -> Result<bool, ChangeError> {
        let Some(digest) = entry.digest else { return Ok(true) };
        let version = self.0.store.ask(move |store| store.rule_version(digest)).await?;
        Ok(version.is_some())
    }
}

impl Replacement<'_> {
    /// The generation with the replacement, and its entry for the audit log.
    pub(in crate::rules) fn plan(self) -> NextGeneration {
        let now = slot(&self.latest.entries, self.kind, self.rule);
        let others = self.latest.entries.iter().filter(|entry| Some(*entry) != now);
        let entries = others.chain(&self.before).cloned().collect();
        let mut told = AuditEntry {
            note: self.note.to_owned(),
            ..AuditEntry::of(self.rule, self.deed, &self.actor.by, clock::now_ms_signed())
        };
        if let Some(entry) = self.before.as_ref().or(now) {
            told.digest = entry.digest;
            told.settings_id = Some(entry.settings);
        }
        NextGeneration {
            entries,
            told: vec![told],
            fresh: None,
        }
    }
}
