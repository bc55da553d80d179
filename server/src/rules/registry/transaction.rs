//! The only way to a new generation: it is loaded and tested, then stored in the database, then activated. If a step
//! fails, nothing has changed.

use std::sync::Arc;

use super::{Actor, ChangeError, Changed, LatestRound, PendingGeneration, Registry};
use crate::clock;
use crate::error_chain::error_chain;
use crate::rules::LoadedGeneration;
use crate::rules::coverage::nothing_evaluated;
use crate::rules::unknown_metrics::{OtherMetrics, UnknownMetric};
use crate::store::Store;
use crate::store::rules::{AuditAction, AuditEntry, Entry, Generation, GenerationResult, NewSettings};

/// Attempts of a change without an expected generation, when concurrent changes win.
const ATTEMPTS: u32 = 5;

/// The plan of the next generation, with its audit entries.
pub(in crate::rules) struct NextGeneration {
    pub(in crate::rules) entries: Vec<Entry>,
    pub(in crate::rules) audit_entries: Vec<AuditEntry>,
    /// Settings that are not stored yet.
    pub(in crate::rules) new_settings: Option<NewSettings>,
}

/// A generation that cannot be loaded.
pub(in crate::rules) struct Blocked {
    pub(in crate::rules) pending: PendingGeneration,
    /// The generation that is active meanwhile.
    pub(in crate::rules) instead: Arc<LoadedGeneration>,
}

impl Registry {
    /// A change by a client, with lockout protection.
    pub(super) async fn change_by(
        &self,
        expected: Option<i64>,
        actor: &Actor,
        force: bool,
        now: &LatestRound,
        plan: impl AsyncFn(&Generation) -> Result<Option<NextGeneration>, ChangeError>,
    ) -> Result<Changed, ChangeError> {
        if force {
            self.authorize_force(actor, &now.report)?;
        }
        let check = |next: &LoadedGeneration| {
            if force {
                Ok(())
            } else {
                self.check_lockout(next, actor, &now.report)
            }
        };
        self.change_if(expected, plan, check, Some(now)).await
    }

    /// A change by Watchpost itself, based on the latest generation. A plan of `None` changes nothing.
    pub(in crate::rules) async fn transaction(
        &self,
        plan: impl AsyncFn(&Generation) -> Result<Option<NextGeneration>, ChangeError>,
    ) -> Result<Changed, ChangeError> {
        let _lock = self.0.changing.lock().await;
        self.change(None, plan).await
    }

    /// Activates the latest generation if another process made it. `compiles` is called with its number before one of
    /// its rules is compiled.
    pub(in crate::rules) async fn adopt_latest(
        &self,
        is_active: impl Fn(i64) -> bool,
        compiles: impl FnOnce(i64),
    ) -> Result<Option<Blocked>, ChangeError> {
        let _lock = self.0.changing.lock().await;
        let latest = self.0.store.ask(|store| store.latest_generation()).await?;
        let Some(latest) = latest.filter(|latest| !is_active(latest.number)) else {
            return Ok(None);
        };
        let generation = latest.number;
        if latest.entries.iter().any(|entry| self.has_to_be_compiled(entry)) {
            compiles(generation);
        }
        match self.build(latest).await {
            Ok(next) => {
                self.activate_generation(next);
                self.after_change().await;
                self.warn_unsigned().await;
                Ok(None)
            }
            Err((_, ChangeError::Store(error))) => Err(error.into()),
            Err((entry, error)) => {
                let rule = entry
                    .map(|entry| format!("the rule {}: ", entry.rule))
                    .unwrap_or_default();
                let reason = format!("{rule}{}", error_chain(&error));
                Ok(Some(Blocked {
                    pending: PendingGeneration { generation, reason },
                    instead: self.0.rules.current(),
                }))
            }
        }
    }

    /// A change without lockout protection. The caller holds the lock.
    pub(super) async fn change(
        &self,
        expected: Option<i64>,
        plan: impl AsyncFn(&Generation) -> Result<Option<NextGeneration>, ChangeError>,
    ) -> Result<Changed, ChangeError> {
        self.change_if(expected, plan, |_| Ok(()), None).await
    }

    /// Makes and activates the next generation. The caller holds the lock.
    async fn change_if(
        &self,
        expected: Option<i64>,
        plan: impl AsyncFn(&Generation) -> Result<Option<NextGeneration>, ChangeError>,
        check: impl Fn(&LoadedGeneration) -> Result<(), ChangeError>,
        test_with: Option<&LatestRound>,
    ) -> Result<Changed, ChangeError> {
        let none = || Generation {
            number: 0,
            created_ms: 0,
            entries: Vec::new(),
        };
        let mut newer = 0;
        for _ in 0..ATTEMPTS {
            let latest = self.0.store.ask(|store| store.latest_generation()).await?;
            let latest = latest.unwrap_or_else(none);
            if expected.is_some_and(|expected| expected != latest.number) {
                return Err(ChangeError::GenerationMismatch { latest: latest.number });
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
            let built = self.build_with(candidate, next.new_settings.as_ref()).await;
            let built = built.map_err(|(entry, error)| in_the_way(&latest, entry, error))?;
            if let Some(now) = test_with {
                self.test_new_rules(&latest, &built, now).await?;
            }
            check(&built)?;
            let latest_entries = latest.entries;
            let make = move |store: &Store| {
                let now_ms = clock::now_ms_signed();
                store.make_generation(
                    latest.number,
                    &next.entries,
                    &next.audit_entries,
                    next.new_settings.as_ref(),
                    now_ms,
                )
            };
            match self.0.store.ask(make).await? {
                GenerationResult::Done(generation) => {
                    let active = self.activate_generation(LoadedGeneration { generation, ..built });
                    self.after_change().await;
                    let warnings = nothing_evaluated(&active.set).into_iter().collect();
                    return Ok(Changed {
                        unknown_metrics: warn_unknown_metrics(&active, &latest_entries, test_with),
                        active,
                        changed: true,
                        warnings,
                    });
                }
                GenerationResult::Superseded(other) => newer = other.number,
                GenerationResult::VersionMissing(digest) => {
                    let reason = format!("the version {digest} was deleted meanwhile; upload it again");
                    return Err(ChangeError::Conflict(reason));
                }
            }
        }
        Err(ChangeError::GenerationMismatch { latest: newer })
    }

    fn has_to_be_compiled(&self, entry: &Entry) -> bool {
        let is_loaded = |digest| self.0.rules.loaded().any(|loaded| loaded.module_of(digest).is_some());
        entry
            .digest
            .is_some_and(|digest| !is_loaded(digest) && !self.0.compiler.is_cached(digest))
    }

    /// Tests every rule that is new in a generation with a sample round and the latest snapshot.
    async fn test_new_rules(
        &self,
        latest: &Generation,
        built: &LoadedGeneration,
        now: &LatestRound,
    ) -> Result<(), ChangeError> {
        let loaded = built.generation.entries.iter().zip(&built.rules);
        for (_, rule) in loaded.filter(|(entry, _)| !latest.entries.contains(entry)) {
            self.run_checks(rule.module().clone(), rule.settings().to_owned(), now.snapshot.clone())
                .await?;
        }
        Ok(())
    }

    /// The plan changes nothing; but another process may have made a generation that is not active here yet.
    async fn unchanged(&self, latest: Generation) -> Result<Changed, ChangeError> {
        let current = self.0.rules.current();
        let active = match current.generation.number == latest.number && self.0.rules.is_stored() {
            true => current,
            false => {
                let built = self.build(latest).await.map_err(|(_, error)| error)?;
                self.activate_generation(built)
            }
        };
        Ok(Changed {
            active,
            changed: false,
            warnings: Vec::new(),
            unknown_metrics: Vec::new(),
        })
    }

    pub(in crate::rules) fn audit_entry(
        &self,
        entry: &Entry,
        action: AuditAction,
        actor: &Actor,
        note: &str,
    ) -> AuditEntry {
        AuditEntry {
            digest: entry.digest,
            settings_id: Some(entry.settings),
            note: note.to_owned(),
            ..AuditEntry::of(&entry.rule, action, &actor.by, clock::now_ms_signed())
        }
    }
}

/// Names the rule that cannot be loaded where it is not the one that is being changed.
fn in_the_way(latest: &Generation, entry: Option<Entry>, error: ChangeError) -> ChangeError {
    match entry.filter(|entry| latest.entries.contains(entry)) {
        Some(entry) if !matches!(error, ChangeError::Store(_)) => ChangeError::InTheWay {
            rule: entry.rule,
            reason: error_chain(&error),
        },
        _ => error,
    }
}

/// Logs the metrics that the new rules name and nothing is known to measure. Without a round, the metrics that the
/// configuration defines are not known, so nothing is reported.
fn warn_unknown_metrics(
    active: &LoadedGeneration,
    earlier: &[Entry],
    latest: Option<&LatestRound>,
) -> Vec<UnknownMetric> {
    let Some(snapshot) = latest.and_then(|latest| latest.snapshot.as_deref()) else {
        return Vec::new();
    };
    let others = OtherMetrics {
        snapshot: Some(snapshot),
        configured: &[],
    };
    let unknown = active.unknown_metrics(earlier, others);
    for metric in &unknown {
        log::warn!("{metric}");
    }
    unknown
}
