//! Rolls a rule back to its previous version.

use watchpost_policies::Kind;

use super::transaction::NextGeneration;
use super::{Actor, ChangeError, ChangeRequest, Changed, LatestRound, Registry, slot};
use crate::clock;
use crate::store::Store;
use crate::store::rules::{AuditAction, AuditEntry, Entry, Generation};

/// Generations read per query while searching for the previous version.
const BATCH_SIZE: i64 = 100;

/// The state of a rule's slot before its last change.
pub(in crate::rules) enum Earlier {
    /// The slot never had another state.
    Never,
    /// The rule was inactive.
    Inactive,
    /// This entry was active.
    Active(Entry),
}

/// A replacement of a rule's slot by an earlier state.
pub(in crate::rules) struct Replacement<'r> {
    pub(in crate::rules) latest: &'r Generation,
    pub(in crate::rules) kind: Kind,
    pub(in crate::rules) rule: &'r str,
    /// The new entry of the slot; without one, the rule is deactivated.
    pub(in crate::rules) before: Option<Entry>,
    /// The action for the audit log.
    pub(in crate::rules) action: AuditAction,
    pub(in crate::rules) actor: &'r Actor,
    pub(in crate::rules) note: &'r str,
}

impl Registry {
    /// Rolls back to the state before the last change of the rule. A second rollback undoes the first.
    pub async fn roll_back(
        &self,
        request: &ChangeRequest<'_>,
        actor: &Actor,
        now: &LatestRound,
    ) -> Result<Changed, ChangeError> {
        let ChangeRequest { rule, note, .. } = *request;
        let kind = self.kind_of(rule).await?;
        let plan = async |latest: &Generation| {
            let no_earlier_state = || {
                let reason = format!("the rule {rule} has no earlier state; there is nothing to roll back to");
                ChangeError::Conflict(reason)
            };
            let before = match self.previous_stored(latest, kind, rule).await? {
                Earlier::Never => return Err(no_earlier_state()),
                Earlier::Inactive => None,
                Earlier::Active(entry) => Some(entry),
            };
            let both: Vec<&Entry> = slot(&latest.entries, kind, rule).into_iter().chain(&before).collect();
            // Role rules share a slot, so it may hold another rule.
            if both.iter().all(|entry| entry.rule != rule) {
                return Err(no_earlier_state());
            }
            let other = both.into_iter().find(|entry| entry.rule != rule);
            let other = other.map(|entry| self.audit_entry(entry, AuditAction::RolledBack, actor, note));
            let replacement = Replacement {
                latest,
                kind,
                rule,
                before,
                action: AuditAction::RolledBack,
                actor,
                note,
            };
            let mut next = replacement.plan();
            next.audit_entries.extend(other);
            Ok(Some(next))
        };
        self.change_by(request.expected, actor, request.force, now, plan).await
    }

    /// The state of a rule's slot before the last change whose result `is_good` accepts; `None` stands for an inactive
    /// rule.
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

    /// Like [`Self::before`], without versions that have been deleted since.
    async fn previous_stored(&self, latest: &Generation, kind: Kind, rule: &str) -> Result<Earlier, ChangeError> {
        let mut deleted = Vec::new();
        loop {
            let is_there = |entry: Option<&Entry>| entry.is_none_or(|entry| !deleted.contains(entry));
            match self.before(latest, kind, rule, is_there).await? {
                Earlier::Active(entry) if !self.is_kept(&entry).await? => deleted.push(entry),
                before => return Ok(before),
            }
        }
    }

    /// Whether the version still exists. A deleted one may still be loaded here as part of the previous generation.
    pub(in crate::rules) async fn is_kept(&self, entry: &Entry) -> Result<bool, ChangeError> {
        let Some(digest) = entry.digest else { return Ok(true) };
        let version = self.0.store.ask(move |store| store.rule_version(digest)).await?;
        Ok(version.is_some())
    }
}

impl Replacement<'_> {
    /// The generation with the replacement, and its audit entry.
    pub(in crate::rules) fn plan(self) -> NextGeneration {
        let now = slot(&self.latest.entries, self.kind, self.rule);
        let others = self.latest.entries.iter().filter(|entry| Some(*entry) != now);
        let entries = others.chain(&self.before).cloned().collect();
        let mut audit_entry = AuditEntry {
            note: self.note.to_owned(),
            ..AuditEntry::of(self.rule, self.action, &self.actor.by, clock::now_ms_signed())
        };
        if let Some(entry) = self.before.as_ref().or(now) {
            audit_entry.digest = entry.digest;
            audit_entry.settings_id = Some(entry.settings);
        }
        NextGeneration {
            entries,
            audit_entries: vec![audit_entry],
            new_settings: None,
            requested: None,
        }
    }
}
