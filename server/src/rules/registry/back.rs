//! Back to what a rule was before.

use watchpost_policies::Kind;

use super::advance::{Next, now_ms};
use super::{Actor, ChangeError, Changed, Moment, Registry, Wish, slot};
use crate::store::rules::{Deed, Entry, Generation, Told};

/// Generations that are looked at for one to go back to.
const FAR_BACK: i64 = 500;

impl Registry {
    /// Puts in force again what a rule was before the last change of it. Twice is as if nothing had been.
    pub async fn roll_back(&self, wish: &Wish<'_>, actor: &Actor, now: &Moment) -> Result<Changed, ChangeError> {
        let Wish { rule, note, .. } = *wish;
        let _turn = self.0.changing.lock().await;
        let kind = self.kind_of(rule).await?;
        let plan = async |latest: &Generation| {
            let before = self.before(latest, kind, rule, |_| true).await?;
            let Some(before) = before else {
                let why = format!("the rule {rule} was never otherwise than now; there is nothing to go back to");
                return Err(ChangeError::Conflict(why));
            };
            Ok(Some(self.back_to(
                latest,
                kind,
                rule,
                before,
                Deed::RolledBack,
                actor,
                note,
            )))
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
        let number = latest.number;
        let older = self
            .0
            .store
            .ask(move |store| store.generations_before(number, FAR_BACK))
            .await?;
        let now = slot(&latest.entries, kind, rule);
        let slots = older.iter().map(|generation| slot(&generation.entries, kind, rule));
        let other = slots.into_iter().find(|before| *before != now && is_good(*before));
        Ok(other.map(Option::<&Entry>::cloned))
    }

    #[expect(clippy::too_many_arguments, reason = "each is another word of the same sentence")]
    pub(super) fn back_to(
        &self,
        latest: &Generation,
        kind: Kind,
        rule: &str,
        before: Option<Entry>,
        deed: Deed,
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
            told.digest = entry.digest.map(|digest| digest.to_string());
            told.settings_id = Some(entry.settings);
        }
        Next {
            entries,
            told: vec![told],
        }
    }
}
