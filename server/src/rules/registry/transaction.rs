//! The only way to a new generation: it is loaded and tested, then stored in the database, then activated. If a step
//! fails, nothing has changed.

use std::sync::Arc;

use super::signature::OwnChange;
use super::{Actor, ChangeError, Changed, LatestRound, PendingGeneration, Registry};
use crate::clock;
use crate::error_chain::error_chain;
use crate::rules::LoadedGeneration;
use crate::rules::coverage::nothing_evaluated;
use crate::rules::unknown_metrics::{OtherMetrics, UnknownMetric};
use crate::store::rules::{AuditAction, AuditEntry, Entry, Generation, GenerationResult, NewSettings};
use crate::store::{Store, StoreError};

/// Attempts of a change without an expected generation, when concurrent changes win.
const ATTEMPTS: u32 = 5;

/// The plan of the next generation, with its audit entries.
pub(in crate::rules) struct NextGeneration {
    pub(in crate::rules) entries: Vec<Entry>,
    pub(in crate::rules) audit_entries: Vec<AuditEntry>,
    /// Settings that are not stored yet.
    pub(in crate::rules) new_settings: Option<NewSettings>,
    /// The settings that the author of the change gave, stored or not.
    pub(in crate::rules) requested: Option<String>,
}

/// A generation that cannot be loaded.
pub(in crate::rules) struct Blocked {
    pub(in crate::rules) pending: PendingGeneration,
    /// The generation that is active meanwhile.
    pub(in crate::rules) instead: Arc<LoadedGeneration>,
}

/// The result of one attempt to make a generation.
enum Attempt {
    Done(Changed),
    /// Another process was faster; its generation has this number.
    Superseded(i64),
    /// This entry has to be compiled first.
    Uncompiled {
        latest: Generation,
        entry: Entry,
    },
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
        let check = async |next: &LoadedGeneration| {
            if force {
                Ok(())
            } else {
                self.check_lockout(next, actor, now).await
            }
        };
        self.change_if(expected, plan, check, Some(now)).await
    }

    /// A change by Watchpost itself. A plan of `None` changes nothing.
    pub(in crate::rules) async fn transaction(
        &self,
        expected: Option<i64>,
        plan: impl AsyncFn(&Generation) -> Result<Option<NextGeneration>, ChangeError>,
    ) -> Result<Changed, ChangeError> {
        self.change_if(expected, plan, async |_| Ok(()), None).await
    }

    /// Activates the latest generation if another process made it. `compiles` is called with its number before one of
    /// its rules is compiled.
    pub(in crate::rules) async fn adopt_latest(
        &self,
        is_active: impl Fn(&Generation) -> bool,
        compiles: impl Fn(i64),
    ) -> Result<Option<Blocked>, ChangeError> {
        let mut held = self.hold_modules();
        loop {
            let (number, uncompiled) = {
                let _lock = self.0.changing.lock().await;
                let latest = self.0.store.ask(|store| store.latest_generation()).await?;
                let Some(latest) = latest.filter(|latest| !is_active(latest)) else {
                    return Ok(None);
                };
                let number = latest.number;
                // An untrusted component is not compiled.
                let verified = match self.verify_generation(&latest, None).await {
                    Ok(verified) => verified,
                    Err(error) => return self.blocked(number, None, error).map(Some),
                };
                match latest
                    .entries
                    .iter()
                    .find(|entry| self.has_to_be_compiled(entry))
                    .cloned()
                {
                    Some(entry) => (number, entry),
                    None => match self.build(latest).await {
                        Ok(next) => {
                            if let Err(error) = verified.check(&next) {
                                return self.blocked(number, None, error).map(Some);
                            }
                            self.activate_accepted(next, false).await;
                            self.after_change().await;
                            self.warn_unsigned().await;
                            return Ok(None);
                        }
                        Err((entry, error)) => return self.blocked(number, entry, error).map(Some),
                    },
                }
            };
            compiles(number);
            if let Err(error) = held.compile(&uncompiled).await {
                return self.blocked(number, Some(uncompiled), error).map(Some);
            }
        }
    }

    /// A database error says nothing about the rules, so it is no reason to wait.
    fn blocked(&self, generation: i64, entry: Option<Entry>, error: ChangeError) -> Result<Blocked, ChangeError> {
        if let ChangeError::Store(error) = error {
            return Err(error.into());
        }
        let rule = entry
            .map(|entry| format!("the rule {}: ", entry.rule))
            .unwrap_or_default();
        let reason = format!("{rule}{}", error_chain(&error));
        Ok(Blocked {
            pending: PendingGeneration { generation, reason },
            instead: self.0.rules.current(),
        })
    }

    /// Makes and activates the next generation. The lock is released while a component compiles.
    async fn change_if(
        &self,
        expected: Option<i64>,
        plan: impl AsyncFn(&Generation) -> Result<Option<NextGeneration>, ChangeError>,
        check: impl AsyncFn(&LoadedGeneration) -> Result<(), ChangeError>,
        test_with: Option<&LatestRound>,
    ) -> Result<Changed, ChangeError> {
        let mut held = self.hold_modules();
        let (mut attempts, mut newer) = (0, 0);
        while attempts < ATTEMPTS {
            let attempt = {
                let _lock = self.0.changing.lock().await;
                self.attempt(expected, &plan, &check, test_with).await?
            };
            match attempt {
                Attempt::Done(changed) => return Ok(changed),
                Attempt::Superseded(number) => {
                    newer = number;
                    attempts += 1;
                }
                Attempt::Uncompiled { latest, entry } => {
                    let compiled = held.compile(&entry).await;
                    compiled.map_err(|error| in_the_way(&latest, Some(entry), error))?;
                }
            }
        }
        Err(ChangeError::GenerationMismatch { latest: newer })
    }

    /// The caller holds the lock.
    async fn attempt(
        &self,
        expected: Option<i64>,
        plan: &impl AsyncFn(&Generation) -> Result<Option<NextGeneration>, ChangeError>,
        check: &impl AsyncFn(&LoadedGeneration) -> Result<(), ChangeError>,
        test_with: Option<&LatestRound>,
    ) -> Result<Attempt, ChangeError> {
        let none = || Generation {
            number: 0,
            created_ms: 0,
            entries: Vec::new(),
        };
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
        let own = OwnChange {
            before: &latest.entries,
            requested: next.requested.as_deref(),
        };
        let verified = self.verify_generation(&candidate, Some(own)).await?;
        if let Some(entry) = candidate.entries.iter().find(|entry| self.has_to_be_compiled(entry)) {
            let entry = entry.clone();
            return Ok(Attempt::Uncompiled { latest, entry });
        }
        let built = self.build_with(candidate, next.new_settings.as_ref()).await;
        let built = built.map_err(|(entry, error)| in_the_way(&latest, entry, error))?;
        verified.check(&built)?;
        if let Some(now) = test_with {
            self.test_new_rules(&latest, &built, now).await?;
        }
        check(&built).await?;
        // Recorded before it is stored: a crash in between must not make the next start reject it.
        self.propose(&built).await;
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
        let result = self.0.store.ask(make).await;
        // Without a response, the generation may be stored nevertheless; the next change replaces the proposal.
        if !matches!(result, Ok(GenerationResult::Done(_)) | Err(StoreError::Unreachable(_))) {
            self.withdraw().await;
        }
        match result? {
            GenerationResult::Done(generation) => {
                let active = self
                    .activate_accepted(LoadedGeneration { generation, ..built }, true)
                    .await;
                self.after_change().await;
                let warnings = nothing_evaluated(&active.set).into_iter().collect();
                Ok(Attempt::Done(Changed {
                    unknown_metrics: warn_unknown_metrics(&active, &latest_entries, test_with),
                    active,
                    changed: true,
                    warnings,
                }))
            }
            GenerationResult::Superseded(other) => Ok(Attempt::Superseded(other.number)),
            GenerationResult::VersionMissing(digest) => {
                let reason = format!("the version {digest} was deleted meanwhile; upload it again");
                Err(ChangeError::Conflict(reason))
            }
        }
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
    async fn unchanged(&self, latest: Generation) -> Result<Attempt, ChangeError> {
        let current = self.0.rules.current();
        let active = match current.generation == latest && self.0.rules.is_stored() {
            true => current,
            false => {
                let verified = self.verify_generation(&latest, None).await?;
                if let Some(entry) = latest.entries.iter().find(|entry| self.has_to_be_compiled(entry)) {
                    let entry = entry.clone();
                    return Ok(Attempt::Uncompiled { latest, entry });
                }
                let built = self.build(latest).await.map_err(|(_, error)| error)?;
                verified.check(&built)?;
                self.activate_accepted(built, false).await
            }
        };
        Ok(Attempt::Done(Changed {
            active,
            changed: false,
            warnings: Vec::new(),
            unknown_metrics: Vec::new(),
        }))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::registry::accepted::Accepted;
    use crate::rules::registry::signature::VerifiedSettings;
    use crate::rules::registry::{of_store, store_in};
    use crate::store::rules::SettingsRef;

    const OTHER: &str = r#"{"identities": []}"#;

    #[test]
    fn a_change_that_another_process_supersedes_is_not_recorded_as_accepted() {
        actix_web::rt::System::new().block_on(async {
            let folder = tempfile::tempdir().expect("a folder");
            let store = store_in(folder.path());
            let registry = of_store(&store);
            registry.start().await.expect("it starts");
            let first = Accepted::of(&registry.rules().current());
            let by = crate::store::rules::AuditActor::configuration();
            let settings = registry
                .store_settings("role", OTHER.to_owned(), &by)
                .await
                .expect("stored");
            // The other process stores its generation between the plan and the commit of this one.
            let plan = async |latest: &Generation| {
                let others = latest.entries.clone();
                let made = registry.store().make_generation(latest.number, &others, &[], None, 1);
                assert!(matches!(made, Ok(GenerationResult::Done(_))));
                let mut entries = latest.entries.clone();
                for entry in entries.iter_mut().filter(|entry| entry.rule == "role") {
                    entry.settings = SettingsRef::Stored(settings);
                }
                Ok(Some(NextGeneration {
                    entries,
                    audit_entries: Vec::new(),
                    new_settings: None,
                    requested: None,
                }))
            };
            let changed = registry.transaction(Some(first.generation), plan).await;
            assert!(matches!(changed, Err(ChangeError::GenerationMismatch { latest: 2 })));
            let record = registry.0.record.lock().clone();
            assert_eq!((record.accepted, record.proposed), (Some(first), None));
        });
    }

    #[test]
    fn settings_that_change_after_they_were_verified_are_not_activated() {
        actix_web::rt::System::new().block_on(async {
            let folder = tempfile::tempdir().expect("a folder");
            let registry = of_store(&store_in(folder.path()));
            registry.start().await.expect("it starts");
            let generation = registry.rules().current().generation.clone();
            let texts = registry.settings_of(&generation).await.expect("they are stored");
            let verified = VerifiedSettings(Some(texts));
            let unchanged = registry.build(generation.clone()).await.expect("it loads");
            verified.check(&unchanged).expect("the settings are the same");
            let database = folder.path().join("watchpost.db");
            let mut connection =
                <diesel::SqliteConnection as diesel::Connection>::establish(&database.display().to_string())
                    .expect("it opens");
            let forged = format!("UPDATE rule_settings SET settings = '{OTHER}' WHERE name = 'role'");
            diesel::connection::SimpleConnection::batch_execute(&mut connection, &forged).expect("changed");
            let changed = registry.build(generation).await.expect("it loads");
            let error = verified.check(&changed).expect_err("the settings are others");
            assert!(error.to_string().contains("changed in the database"), "{error}");
        });
    }
}
