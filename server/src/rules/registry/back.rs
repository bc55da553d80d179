//! Back to what a rule was before.

use watchpost_policies::Kind;

use super::advance::{Next, now_ms};
use super::{Actor, ChangeError, Changed, Moment, Registry, Wish, slot};
use crate::store::Store;
use crate::store::rules::{AuditAction, Entry, Generation, Told};

/// Generations that are read at once, where one to go back to is looked for.
const AT_ONCE: i64 = 100;

impl Registry {
    /// Puts in force again what a rule was before the last change of it. Twice is as if nothing had been.
    pub async fn roll_back(&self, wish: &Wish<'_>, actor: &Actor, now: &Moment) -> Result<Changed, ChangeError> {
        let Wish { rule, note, .. } = *wish;
        let _turn = self.0.changing.lock().await;
        let kind = self.kind_of(rule).await?;
        let plan = async |latest: &Generation| {
            let before = self.kept_before(latest, kind, rule).await?;
            let never = || {
                let why = format!("the rule {rule} was never otherwise than now; there is nothing to go back to");
                ChangeError::Conflict(why)
            };
            let before = before.ok_or_else(never)?;
            let now = slot(&latest.entries, kind, rule);
            // Of role rules one counts, so the place of one may be another's.
            if [now, before.as_ref()]
                .into_iter()
                .flatten()
                .all(|entry| entry.rule != rule)
            {
                return Err(never());
            }
            let other = [now, before.as_ref()]
                .into_iter()
                .flatten()
                .find(|entry| entry.rule != rule);
            let other = other.map(|entry| self.told(entry, AuditAction::RolledBack, actor, note));
            let mut next = self.back_to(latest, kind, rule, before, AuditAction::RolledBack, actor, note);
            next.told.extend(other);
            Ok(Some(next))
        };
        self.change_by(wish.expected, actor, wish.force, now, plan).await
    }

    /// What a rule's place was before the last change of it that `is_good` accepts: an entry, or nothing where it took
    /// no part. The outer absence says that it was never otherwise.
    pub(super) async fn before(
        &self,
        latest: &Generation,
        kind: Kind,
        rule: &str,
        is_good: impl Fn(Option<&Entry>) -> bool,
    ) -> Result<Option<Option<Entry>>, ChangeError> {
        let now = slot(&latest.entries, kind, rule);
        let mut number = latest.number;
        loop {
            let older = move |store: &Store| store.generations_before(number, AT_ONCE);
            let older = self.0.store.ask(older).await?;
            let Some(oldest) = older.last() else { return Ok(None) };
            number = oldest.number;
            let mut slots = older.iter().map(|generation| slot(&generation.entries, kind, rule));
            if let Some(other) = slots.find(|before| *before != now && is_good(*before)) {
                return Ok(Some(other.cloned()));
            }
        }
    }

    /// The same, and nothing that was let go since.
    async fn kept_before(
        &self,
        latest: &Generation,
        kind: Kind,
        rule: &str,
    ) -> Result<Option<Option<Entry>>, ChangeError> {
        let mut gone = Vec::new();
        loop {
            let is_there = |entry: Option<&Entry>| entry.is_none_or(|entry| !gone.contains(entry));
            let before = self.before(latest, kind, rule, is_there).await?;
            match before.as_ref().and_then(Option::as_ref) {
                Some(entry) if !self.is_kept(entry).await? => gone.push(entry.clone()),
                _ => return Ok(before),
            }
        }
    }

    /// Whether its version was not let go. It may still be loaded here, as what was in force before.
    pub(super) async fn is_kept(&self, entry: &Entry) -> Result<bool, ChangeError> {
        let Some(digest) = entry.digest else { return Ok(true) };
        Ok(self
            .0
            .store
            .ask(move |store| store.rule_version(digest))
            .await?
            .is_some())
    }

    #[expect(clippy::too_many_arguments, reason = "each is another word of the same sentence")]
    pub(super) fn back_to(
        &self,
        latest: &Generation,
        kind: Kind,
        rule: &str,
        before: Option<Entry>,
        deed: AuditAction,
        actor: &Actor,
        note: &str,
    ) -> Next {
        let now = slot(&latest.entries, kind, rule);
        let mut entries: Vec<_> = latest
            .entries
            .iter()
            .filter(|entry| Some(*entry) != now)
            .cloned()
            .collect();
        let named = before.as_ref().or(now).cloned();
        entries.extend(before);
        let mut told = Told {
            note: note.to_owned(),
            ..Told::of(rule, deed, &actor.by, now_ms())
        };
        if let Some(entry) = named {
            told.digest = entry.digest;
            told.settings_id = Some(entry.settings);
        }
        Next {
            entries,
            told: vec![told],
            fresh: None,
        }
    }
}
