//! The one way from a generation to the next. It is made and tried beside the one in force; when the database has it,
//! it is put in its place. If anything fails before, nothing has changed.

use std::sync::Arc;

use super::{Actor, ChangeError, Changed, Moment, PendingGeneration, Registry};
use crate::clock;
use crate::error_chain::error_chain;
use crate::rules::ActiveRule;
use crate::store::Store;
use crate::store::rules::{AuditAction, AuditEntry, Entry, Generation, GenerationResult, NewSettings};

/// How often a change that does not say which generation it means is tried again over one that came before it.
const ATTEMPTS: u32 = 5;

/// What the next generation is to be, and what the log is told of it.
pub(in crate::rules) struct NextGeneration {
    pub(in crate::rules) entries: Vec<Entry>,
    pub(in crate::rules) told: Vec<AuditEntry>,
    /// Settings that somebody gives for the first time.
    pub(in crate::rules) fresh: Option<NewSettings>,
}

/// A generation that cannot be loaded.
pub(in crate::rules) struct Blocked {
    pub(in crate::rules) pending: PendingGeneration,
    /// What is in force as long as that is so.
    pub(in crate::rules) instead: Arc<ActiveRule>,
}

impl Registry {
    /// A change that shall not lock out the one who asks for it.
    pub(super) async fn change_by(
        &self,
        expected: Option<i64>,
        actor: &Actor,
        force: bool,
        now: &Moment,
        plan: impl AsyncFn(&Generation) -> Result<Option<NextGeneration>, ChangeError>,
    ) -> Result<Changed, ChangeError> {
        if force {
            self.may_force(actor, &now.report)?;
        }
        let check = |next: &ActiveRule| {
            if force {
                Ok(())
            } else {
                self.stays_open(next, actor, &now.report)
            }
        };
        self.change_if(expected, plan, check, Some(now)).await
    }

    /// A change by Watchpost itself, whatever generation is in force. Where the plan says so, nothing is changed.
    pub(in crate::rules) async fn transaction(
        &self,
        plan: impl AsyncFn(&Generation) -> Result<Option<NextGeneration>, ChangeError>,
    ) -> Result<Changed, ChangeError> {
        let _turn = self.0.changing.lock().await;
        self.change(None, plan).await
    }

    /// Puts the latest generation in force, which another process made, unless that is so already. `compiles` is told
    /// its number before a rule of it is compiled.
    pub(in crate::rules) async fn adopt_latest(
        &self,
        is_in_force: impl Fn(i64) -> bool,
        compiles: impl FnOnce(i64),
    ) -> Result<Option<Blocked>, ChangeError> {
        let _turn = self.0.changing.lock().await;
        let latest = self.0.store.ask(|store| store.latest_generation()).await?;
        let Some(latest) = latest.filter(|latest| !is_in_force(latest.number)) else {
            return Ok(None);
        };
        let generation = latest.number;
        if latest.entries.iter().any(|entry| self.has_to_be_compiled(entry)) {
            compiles(generation);
        }
        match self.build(latest).await {
            Ok(next) => {
                self.put(next);
                self.after_change().await;
                self.warn_unsigned().await;
                Ok(None)
            }
            Err((_, ChangeError::Store(error))) => Err(error.into()),
            Err((entry, error)) => {
                let rule = entry
                    .map(|entry| format!("the rule {}: ", entry.rule))
                    .unwrap_or_default();
                let why = format!("{rule}{}", error_chain(&error));
                Ok(Some(Blocked {
                    pending: PendingGeneration { generation, why },
                    instead: self.0.rules.current(),
                }))
            }
        }
    }

    /// A change that nobody has to be asked about. The caller has the turn.
    pub(super) async fn change(
        &self,
        expected: Option<i64>,
        plan: impl AsyncFn(&Generation) -> Result<Option<NextGeneration>, ChangeError>,
    ) -> Result<Changed, ChangeError> {
        self.change_if(expected, plan, |_| Ok(()), None).await
    }

    /// The one way to another generation. The caller has the turn.
    async fn change_if(
        &self,
        expected: Option<i64>,
        plan: impl AsyncFn(&Generation) -> Result<Option<NextGeneration>, ChangeError>,
        check: impl Fn(&ActiveRule) -> Result<(), ChangeError>,
        tried: Option<&Moment>,
    ) -> Result<Changed, ChangeError> {
        let none = || Generation {
            number: 0,
            created_ms: 0,
            entries: Vec::new(),
        };
        let mut behind = 0;
        for _ in 0..ATTEMPTS {
            let latest = self.0.store.ask(|store| store.latest_generation()).await?;
            let latest = latest.unwrap_or_else(none);
            if expected.is_some_and(|expected| expected != latest.number) {
                return Err(ChangeError::PendingGeneration { latest: latest.number });
            }
            let Some(next) = plan(&latest).await? else {
                return self.unchanged(latest).await;
            };
            let candidate = Generation {
                number: latest.number + 1,
                created_ms: clock::now_ms_signed(),
                entries: next.entries.clone(),
            };
            self.require_signatures(&latest, &candidate).await?;
            let built = self.build_with(candidate, next.fresh.as_ref()).await;
            let built = built.map_err(|(entry, error)| in_the_way(&latest, entry, error))?;
            if let Some(now) = tried {
                self.try_new(&latest, &built, now).await?;
            }
            check(&built)?;
            let make = move |store: &Store| {
                let now_ms = clock::now_ms_signed();
                store.make_generation(latest.number, &next.entries, &next.told, next.fresh.as_ref(), now_ms)
            };
            match self.0.store.ask(make).await? {
                GenerationResult::Done(generation) => {
                    let active = self.put(ActiveRule { generation, ..built });
                    self.after_change().await;
                    return Ok(Changed { active, changed: true });
                }
                GenerationResult::Pending(other) => behind = other.number,
                GenerationResult::VersionMissing(digest) => {
                    let why = format!("the version {digest} was deleted meanwhile; upload it again");
                    return Err(ChangeError::Conflict(why));
                }
            }
        }
        Err(ChangeError::PendingGeneration { latest: behind })
    }

    fn has_to_be_compiled(&self, entry: &Entry) -> bool {
        let is_loaded = |digest| self.0.rules.loaded().any(|loaded| loaded.module_of(digest).is_some());
        entry
            .digest
            .is_some_and(|digest| !is_loaded(digest) && !self.0.compiler.is_kept(digest))
    }

    /// Lets every rule that is new in a generation answer once, over a made-up round and the latest real one.
    async fn try_new(&self, latest: &Generation, built: &ActiveRule, now: &Moment) -> Result<(), ChangeError> {
        let both = built.generation.entries.iter().zip(&built.rules);
        for (_, rule) in both.filter(|(entry, _)| !latest.entries.contains(entry)) {
            self.try_out(rule.module().clone(), rule.settings().to_owned(), now.snapshot.clone())
                .await?;
        }
        Ok(())
    }

    /// Nothing is to be changed; but another may have changed something that is not in force here yet.
    async fn unchanged(&self, latest: Generation) -> Result<Changed, ChangeError> {
        let current = self.0.rules.current();
        let active = match current.generation.number == latest.number && self.0.rules.is_begun() {
            true => current,
            false => {
                let built = self.build(latest).await.map_err(|(_, error)| error)?;
                self.put(built)
            }
        };
        Ok(Changed { active, changed: false })
    }

    pub(in crate::rules) fn told(&self, entry: &Entry, deed: AuditAction, actor: &Actor, note: &str) -> AuditEntry {
        AuditEntry {
            digest: entry.digest,
            settings_id: Some(entry.settings),
            note: note.to_owned(),
            ..AuditEntry::of(&entry.rule, deed, &actor.by, clock::now_ms_signed())
        }
    }
}

/// Whoever changes one rule is told by name of another that fails.
fn in_the_way(latest: &Generation, entry: Option<Entry>, error: ChangeError) -> ChangeError {
    match entry.filter(|entry| latest.entries.contains(entry)) {
        Some(entry) if !matches!(error, ChangeError::Store(_)) => ChangeError::InTheWay {
            rule: entry.rule,
            why: error_chain(&error),
        },
        _ => error,
    }
}
