//! What is in force when Watchpost begins, and when its configuration is read again: what the database says, with the
//! settings that the configuration has for the rules that Watchpost brings, unless somebody chose others.

use watchpost_policies::{Digest, Kind};

use super::transaction::NextGeneration;
use super::{ChangeError, Options, PendingGeneration, Registry};
use crate::error_chain::error_chain;
use crate::store::rules::{AuditAction, AuditActor, AuditEntry, CONFIGURATION, Entry, Generation, Mode, SettingsRef};
use crate::store::{Store, StoreError};
use crate::{clock, tasks};

/// Settings under which nobody may do more than a stranger.
const CLOSED: &str = r#"{"identities": []}"#;

impl Registry {
    /// Puts in force what the database says, as the configuration wants it. What comes back is a generation of which a
    /// rule could not be loaded and was left out.
    pub async fn begin(&self) -> Result<Option<PendingGeneration>, ChangeError> {
        let _turn = self.0.changing.lock().await;
        self.after_change().await;
        self.clean_cache().await?;
        let pending = match self.change(None, async |latest| self.as_configured(latest).await).await {
            Ok(_) => None,
            Err(ChangeError::Store(error)) => return Err(error.into()),
            Err(error) => Some(self.begin_without(&error).await?),
        };
        self.warn_unsigned().await;
        Ok(pending)
    }

    /// Other options from now on. What they change of what is in force is a generation; where that cannot be, nothing
    /// is changed.
    pub async fn configure(&self, options: Options) -> Result<(), ChangeError> {
        let _turn = self.0.changing.lock().await;
        let before = self.0.options.swap(options.into());
        let changed = self.change(None, async |latest| self.as_configured(latest).await).await;
        if let Err(error) = changed {
            self.0.options.store(before);
            return Err(error);
        }
        self.warn_unsigned().await;
        Ok(())
    }

    /// Compiled code of what was let go goes too.
    async fn clean_cache(&self) -> Result<(), ChangeError> {
        let Some(cache) = self.0.rules.cache().cloned() else {
            return Ok(());
        };
        let versions = match self.0.store.ask(|store| store.rule_versions(None)).await {
            // No reason not to begin: what is kept too long does no harm.
            Err(StoreError::Unreadable(why)) => {
                log::error!(reason = why.as_str(); "compiled code of rules is not cleaned up, for their versions cannot be read");
                return Ok(());
            }
            versions => versions?,
        };
        let brought = versions.iter().map(|version| version.digest);
        let service_metrics = [Kind::Threshold, Kind::Role].map(|kind| self.0.rules.builtin(kind).digest());
        let known: Vec<Digest> = brought.chain(service_metrics).collect();
        let cleaned = tasks::block(move || cache.keep_only(&known)).await;
        cleaned.map_err(ChangeError::Broken)
    }

    /// What cannot be loaded is left out and told. Where that is the role rule, nobody may do more than a stranger;
    /// those of `rules.break_glass` can bring another.
    async fn begin_without(&self, error: &ChangeError) -> Result<PendingGeneration, ChangeError> {
        let latest = self.0.store.ask(|store| store.latest_generation()).await?;
        let Some(mut wanted) = latest else {
            return Err(ChangeError::Broken(error_chain(error)));
        };
        let mut why = error_chain(error);
        loop {
            match self.build(wanted.clone()).await {
                Ok(next) => {
                    let generation = next.generation.number;
                    self.put(next);
                    return Ok(PendingGeneration { generation, why });
                }
                // A database that is away says nothing of the rules.
                Err((_, ChangeError::Store(error))) => return Err(error.into()),
                Err((Some(entry), error)) => {
                    why = format!("the rule {}: {}", entry.rule, error_chain(&error));
                    log::error!(rule = entry.rule.as_str(), reason = why.as_str(); "a rule cannot be loaded; it begins without");
                    wanted.entries.retain(|other| *other != entry);
                    if entry.kind == Kind::Role && entry.mode == Mode::Active {
                        wanted.entries.push(self.closed().await?);
                    }
                }
                Err((None, error)) => return Err(error),
            }
        }
    }

    async fn as_configured(&self, latest: &Generation) -> Result<Option<NextGeneration>, ChangeError> {
        let by = AuditActor::configuration();
        let mut entries = latest.entries.clone();
        let mut told = Vec::new();
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
                log::info!(rule = name.as_str(); "its settings were given while it served; those of the configuration wait until they are taken back");
                continue;
            }
            let settings = self.configured_settings(&name).await?;
            if entry.settings != settings {
                entry.settings = settings;
                told.push(AuditEntry {
                    settings_id: Some(settings),
                    ..AuditEntry::of(&name, AuditAction::Configured, &by, clock::now_ms_signed())
                });
            }
        }
        Ok((!told.is_empty()).then_some(NextGeneration {
            entries,
            told,
            fresh: None,
        }))
    }

    /// The settings that the configuration has for a rule, under the number that they have in the database.
    pub(in crate::rules) async fn configured_settings(&self, name: &str) -> Result<SettingsRef, ChangeError> {
        let by = AuditActor::configuration();
        let id = self.keep_settings(name, self.configured(name), &by).await?;
        Ok(SettingsRef::Stored(id))
    }

    pub(super) async fn keep_settings(
        &self,
        name: &str,
        settings: String,
        by: &AuditActor,
    ) -> Result<i64, ChangeError> {
        let (name, by) = (name.to_owned(), by.clone());
        let kept = move |store: &Store| store.keep_rule_settings(&name, &settings, &by, clock::now_ms_signed());
        Ok(self.0.store.ask(kept).await?)
    }

    /// Whether nobody but the configuration gave these.
    async fn is_configured(&self, settings: SettingsRef) -> Result<bool, ChangeError> {
        let Some(id) = settings.id() else {
            return Ok(settings == SettingsRef::Configured);
        };
        let given = self.0.store.ask(move |store| store.rule_settings(id)).await?;
        Ok(given.is_none_or(|given| given.given_by == CONFIGURATION))
    }

    /// The built-in role rule with the settings that allow nobody more than a stranger may do.
    pub(in crate::rules) async fn closed(&self) -> Result<Entry, ChangeError> {
        let rule = self.0.rules.builtin(Kind::Role).manifest().name.clone();
        Ok(Entry {
            kind: Kind::Role,
            mode: Mode::Active,
            digest: None,
            settings: SettingsRef::Stored(
                self.keep_settings(&rule, CLOSED.to_owned(), &AuditActor::watchpost())
                    .await?,
            ),
            rule,
        })
    }
}
