//! Activates the latest generation of the database on startup, and applies the configured settings of the built-in
//! rules on startup and reload, unless other settings were set through the API.

use watchpost_policies::{Digest, Kind};

use super::accepted::{Accepted, Record};
use super::signature::VerifiedSettings;
use super::transaction::NextGeneration;
use super::{ChangeError, Options, PendingGeneration, Registry, warn_if_nothing_is_evaluated};
use crate::error_chain::error_chain;
use crate::rules::closure::Closure;
use crate::store::rules::{AuditAction, AuditActor, AuditEntry, CONFIGURATION, Entry, Generation, Mode, SettingsRef};
use crate::store::{Store, StoreError};
use crate::{clock, tasks};

impl Registry {
    /// Activates the latest generation with the configured settings. Returns that generation if it was not loaded, or a
    /// part of it was left out.
    pub async fn start(&self) -> Result<Option<PendingGeneration>, ChangeError> {
        self.after_change().await;
        self.clean_cache().await?;
        self.read_accepted().await?;
        let is_new = self
            .0
            .store
            .ask(|store| store.latest_generation_number())
            .await?
            .is_none();
        let pending = match self
            .transaction(None, async |latest| self.as_configured(latest).await)
            .await
        {
            Ok(_) => None,
            Err(ChangeError::Store(error)) => return Err(error.into()),
            Err(error) if is_new => return Err(error),
            Err(error) => Some(self.start_without(&error).await?),
        };
        // The rules of the new database are stored, or it is a restored one.
        self.0.store.forget_replacement();
        self.warn_unsigned().await;
        Ok(pending)
    }

    /// Reads which rules this server accepted. A database file has the same owner as the record, so its rules are
    /// accepted if there is no record yet; a database server is shared with others.
    async fn read_accepted(&self) -> Result<(), ChangeError> {
        let recorded = self.0.accepted_file.read().map_err(|error| {
            let without = match self.0.store.is_file() {
                true => {
                    "delete it, and the server accepts the rules that the database file has, without verifying them"
                }
                false => "delete it to have all rules of the database verified",
            };
            ChangeError::Broken(format!(
                "cannot read the record of accepted rules: {error}; correct its permissions, or {without}"
            ))
        })?;
        if let Some(recorded) = recorded {
            *self.0.record.lock() = recorded;
            return Ok(());
        }
        if !self.0.store.is_file() {
            return Ok(());
        }
        let Some(latest) = self.0.store.ask(|store| store.latest_generation()).await? else {
            return Ok(());
        };
        let texts = self.settings_of(&latest).await?;
        let Some(accepted) = Accepted::stored(&latest, &texts) else {
            return Ok(());
        };
        self.write_record(Record {
            accepted: Some(accepted),
            proposed: None,
            follows_configuration: true,
        })
        .await;
        Ok(())
    }

    /// Applies another configuration. Settings that change for an active rule make a new generation; if that fails,
    /// nothing is changed. Without such a change it waits for no compilation.
    pub async fn configure(&self, options: Options) -> Result<(), ChangeError> {
        let before = self.0.options.swap(options.into());
        if let Err(error) = self.apply_configured().await {
            self.0.options.store(before);
            return Err(error);
        }
        self.warn_unsigned().await;
        Ok(())
    }

    async fn apply_configured(&self) -> Result<(), ChangeError> {
        let latest = self.0.store.ask(|store| store.latest_generation()).await?;
        let is_changed = match &latest {
            Some(latest) => self.as_configured(latest).await?.is_some(),
            None => true,
        };
        if is_changed {
            self.transaction(None, async |latest| self.as_configured(latest).await)
                .await?;
        } else {
            // A new generation has warned already.
            warn_if_nothing_is_evaluated(&self.0.rules.current());
        }
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
        let Some(latest) = latest else {
            return Err(ChangeError::Broken(error_chain(error)));
        };
        let generation = latest.number;
        let (mut generation_to_load, verified, rejection) = self.trusted_part(latest).await?;
        let mut reason = rejection.unwrap_or_else(|| error_chain(error));
        loop {
            match self.build(generation_to_load.clone()).await {
                Ok(next) => {
                    verified.check(&next)?;
                    self.activate_generation(next);
                    return Ok(PendingGeneration { generation, reason });
                }
                // A database error says nothing about the rules.
                Err((_, ChangeError::Store(error))) => return Err(error.into()),
                Err((Some(entry), error)) => {
                    reason = format!("the rule {}: {}", entry.rule, error_chain(&error));
                    log::error!(rule = entry.rule.as_str(), reason = reason.as_str(); "could not load rule; starting without it");
                    self.leave_out(&mut generation_to_load, &entry, Closure::RoleRuleFailed)
                        .await?;
                }
                Err((None, error)) => return Err(error),
            }
        }
    }

    /// The generation to start with, its settings, and why it is not the latest, if so: the one that this server accepted
    /// last, as long as the database has it unchanged, and otherwise the trusted rules of the latest.
    async fn trusted_part(
        &self,
        latest: Generation,
    ) -> Result<(Generation, VerifiedSettings, Option<String>), ChangeError> {
        let reason = match self.verify_generation(&latest, None).await {
            Ok(verified) => return Ok((latest, verified, None)),
            Err(ChangeError::Store(error)) => return Err(error.into()),
            Err(error) => error_chain(&error),
        };
        log::error!(generation = latest.number, reason = reason.as_str(); "the latest generation of rules is not trusted; starting without it");
        let accepted = self.0.record.lock().accepted.clone();
        if let Some(accepted) = accepted {
            let after = accepted.generation.saturating_add(1);
            let stored = self
                .0
                .store
                .ask(move |store| store.generations_before(after, 1))
                .await?;
            if let Some(stored) = stored.into_iter().next() {
                let texts = self.settings_of(&stored).await?;
                if Accepted::stored(&stored, &texts) == Some(accepted) {
                    return Ok((stored, VerifiedSettings(Some(texts)), Some(reason)));
                }
            }
        }
        let texts = self.settings_of(&latest).await?;
        let mut trusted = latest.clone();
        for entry in &latest.entries {
            if self.rejection(&latest, &texts, entry, None).await?.is_some() {
                self.leave_out(&mut trusted, entry, Closure::RoleRuleUntrusted).await?;
            }
        }
        Ok((trusted, VerifiedSettings(Some(texts)), Some(reason)))
    }

    async fn leave_out(&self, generation: &mut Generation, entry: &Entry, closure: Closure) -> Result<(), ChangeError> {
        generation.entries.retain(|other| other != entry);
        if entry.kind == Kind::Role && entry.mode == Mode::Active {
            generation.entries.push(self.closed(closure).await?);
        }
        Ok(())
    }

    /// Whether a database without rules had some: a damaged file was renamed, or this server has accepted rules before.
    /// An empty file is a valid database, so a file that was truncated or deleted shows only in the record.
    fn has_lost_rules(&self) -> bool {
        self.0.store.was_replaced() || self.0.record.lock().accepted.is_some()
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
            // The settings of the lost database may have allowed less than the configuration does.
            if kind == Kind::Role && latest.number == 0 && self.has_lost_rules() {
                log::error!(
                    "the database has no rules, although this server has accepted some; access stays closed until an operator restores it"
                );
                *entry = self.closed(Closure::DatabaseReplaced).await?;
                audit_entries.push(AuditEntry {
                    settings_id: Some(entry.settings),
                    note: Closure::DatabaseReplaced.reason().to_owned(),
                    ..AuditEntry::of(
                        &name,
                        AuditAction::Configured,
                        &AuditActor::watchpost(),
                        clock::now_ms_signed(),
                    )
                });
                continue;
            }
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
        if audit_entries.is_empty() {
            return Ok(None);
        }
        // Otherwise a client of the database could have settings of the API replaced by those of the configuration, by
        // forging their author.
        if latest.number > 0 && self.0.record.lock().accepted.is_some() {
            self.verify_generation(latest, None).await?;
        }
        Ok(Some(NextGeneration {
            entries,
            audit_entries,
            new_settings: None,
            requested: None,
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
    pub(in crate::rules) async fn closed(&self, closure: Closure) -> Result<Entry, ChangeError> {
        let rule = self.0.rules.builtin(Kind::Role).manifest().name.clone();
        Ok(Entry {
            kind: Kind::Role,
            mode: Mode::Active,
            digest: None,
            settings: SettingsRef::Stored(
                self.store_settings(&rule, closure.settings().to_owned(), &AuditActor::watchpost())
                    .await?,
            ),
            rule,
        })
    }
}
