//! Activates the latest generation of the database on startup, and applies the configured settings of the built-in
//! rules on startup and reload, unless other settings were set through the API.

use watchpost_policies::{Digest, Kind};

use super::transaction::NextGeneration;
use super::{ChangeError, Options, PendingGeneration, Registry};
use crate::error_chain::error_chain;
use crate::store::rules::{AuditAction, AuditActor, AuditEntry, CONFIGURATION, Entry, Generation, Mode, SettingsRef};
use crate::store::{Store, StoreError};
use crate::{clock, tasks};

/// Settings of the built-in role rule under which no role allows more than an anonymous client may do.
const CLOSED: &str = r#"{"roles": {"reader": [], "user": [], "agent": [], "admin": []}}"#;

impl Registry {
    /// Activates the latest generation with the configured settings. Returns that generation if a rule could not be
    /// loaded and was left out.
    pub async fn start(&self) -> Result<Option<PendingGeneration>, ChangeError> {
        let _lock = self.0.changing.lock().await;
        self.after_change().await;
        self.clean_cache().await?;
        let pending = match self.change(None, async |latest| self.as_configured(latest).await).await {
            Ok(_) => None,
            Err(ChangeError::Store(error)) => return Err(error.into()),
            Err(error) => Some(self.start_without(&error).await?),
        };
        self.warn_unsigned().await;
        Ok(pending)
    }

    /// Applies another configuration. Settings that change for an active rule make a new generation; if that fails,
    /// nothing is changed.
    pub async fn configure(&self, options: Options) -> Result<(), ChangeError> {
        let _lock = self.0.changing.lock().await;
        let before = self.0.options.swap(options.into());
        let changed = self.change(None, async |latest| self.as_configured(latest).await).await;
        if let Err(error) = changed {
            self.0.options.store(before);
            return Err(error);
        }
        self.warn_unsigned().await;
        Ok(())
    }

    /// Deletes compiled code of versions that have been deleted.
    async fn clean_cache(&self) -> Result<(), ChangeError> {
        let Some(cache) = self.0.rules.cache().cloned() else {
            return Ok(());
        };
        let versions = match self.0.store.ask(|store| store.rule_versions(None)).await {
            // This does not prevent the start: outdated cache files do no harm.
            Err(StoreError::Unreadable(reason)) => {
                log::error!(reason = reason.as_str(); "could not read the rule versions; compiled code of deleted rules is not removed");
                return Ok(());
            }
            versions => versions?,
        };
        let uploaded = versions.iter().map(|version| version.digest);
        let builtin = [Kind::Threshold, Kind::Role].map(|kind| self.0.rules.builtin(kind).digest());
        let known: Vec<Digest> = uploaded.chain(builtin).collect();
        let cleaned = tasks::block(move || cache.retain(&known)).await;
        cleaned.map_err(ChangeError::Broken)
    }

    /// Starts without the rules that cannot be loaded, and logs them. Without the role rule no client has a role;
    /// clients in `rules.break_glass` can activate another one.
    async fn start_without(&self, error: &ChangeError) -> Result<PendingGeneration, ChangeError> {
        let latest = self.0.store.ask(|store| store.latest_generation()).await?;
        let Some(mut generation_to_load) = latest else {
            return Err(ChangeError::Broken(error_chain(error)));
        };
        let mut reason = error_chain(error);
        loop {
            match self.build(generation_to_load.clone()).await {
                Ok(next) => {
                    let generation = next.generation.number;
                    self.activate_generation(next);
                    return Ok(PendingGeneration { generation, reason });
                }
                // A database error says nothing about the rules.
                Err((_, ChangeError::Store(error))) => return Err(error.into()),
                Err((Some(entry), error)) => {
                    reason = format!("the rule {}: {}", entry.rule, error_chain(&error));
                    log::error!(rule = entry.rule.as_str(), reason = reason.as_str(); "could not load rule; starting without it");
                    generation_to_load.entries.retain(|other| *other != entry);
                    if entry.kind == Kind::Role && entry.mode == Mode::Active {
                        generation_to_load.entries.push(self.closed().await?);
                    }
                }
                Err((None, error)) => return Err(error),
            }
        }
    }

    async fn as_configured(&self, latest: &Generation) -> Result<Option<NextGeneration>, ChangeError> {
        let by = AuditActor::configuration();
        let mut entries = latest.entries.clone();
        let mut audit_entries = Vec::new();
        for kind in [Kind::Threshold, Kind::Role] {
            let name = self.0.rules.builtin(kind).manifest().name.clone();
            if latest.number == 0 {
                entries.push(Entry {
                    rule: name.clone(),
                    kind,
                    mode: Mode::Active,
                    digest: None,
                    settings: SettingsRef::Configured,
                });
            }
            let is_it = |entry: &&mut Entry| entry.rule == name && entry.mode == Mode::Active;
            let Some(entry) = entries.iter_mut().find(is_it) else {
                continue;
            };
            if !self.is_configured(entry.settings).await? {
                log::info!(rule = name.as_str(); "rule settings were set through the API; the configuration's settings are ignored until they are reset");
                continue;
            }
            let settings = self.configured_settings(&name).await?;
            if entry.settings != settings {
                entry.settings = settings;
                audit_entries.push(AuditEntry {
                    settings_id: Some(settings),
                    ..AuditEntry::of(&name, AuditAction::Configured, &by, clock::now_ms_signed())
                });
            }
        }
        Ok((!audit_entries.is_empty()).then_some(NextGeneration {
            entries,
            audit_entries,
            new_settings: None,
        }))
    }

    /// The reference of the configured settings of a rule, which are stored if necessary.
    pub(in crate::rules) async fn configured_settings(&self, name: &str) -> Result<SettingsRef, ChangeError> {
        let by = AuditActor::configuration();
        let id = self.store_settings(name, self.configured(name), &by).await?;
        Ok(SettingsRef::Stored(id))
    }

    pub(super) async fn store_settings(
        &self,
        name: &str,
        settings: String,
        by: &AuditActor,
    ) -> Result<i64, ChangeError> {
        let (name, by) = (name.to_owned(), by.clone());
        let kept = move |store: &Store| store.store_rule_settings(&name, &settings, &by, clock::now_ms_signed());
        Ok(self.0.store.ask(kept).await?)
    }

    /// Whether settings come from the configuration.
    async fn is_configured(&self, settings: SettingsRef) -> Result<bool, ChangeError> {
        let Some(id) = settings.id() else {
            return Ok(settings == SettingsRef::Configured);
        };
        let stored = self.0.store.ask(move |store| store.rule_settings(id)).await?;
        Ok(stored.is_none_or(|stored| stored.updated_by == CONFIGURATION))
    }

    /// The built-in role rule with settings under which no role allows more than an anonymous client may do.
    pub(in crate::rules) async fn closed(&self) -> Result<Entry, ChangeError> {
        let rule = self.0.rules.builtin(Kind::Role).manifest().name.clone();
        Ok(Entry {
            kind: Kind::Role,
            mode: Mode::Active,
            digest: None,
            settings: SettingsRef::Stored(
                self.store_settings(&rule, CLOSED.to_owned(), &AuditActor::watchpost())
                    .await?,
            ),
            rule,
        })
    }
}
