//! Loads the rules of a stored generation. Rules that are loaded already are reused.

use std::collections::BTreeMap;

use watchpost_policies::{Digest, Rule, RuleModule};

use super::signature::modified;
use super::{ChangeError, Registry};
use crate::rules::LoadedGeneration;
use crate::rules::closure::Closure;
use crate::store::rules::{Entry, Generation, NewSettings, SettingsRef};
use crate::tasks;

impl Registry {
    /// Loads a generation; the error names the entry that could not be loaded.
    pub(super) async fn build(&self, generation: Generation) -> Result<LoadedGeneration, (Option<Entry>, ChangeError)> {
        self.build_with(generation, None).await
    }

    /// Like [`Self::build`], for a generation with settings that are not stored yet.
    pub(super) async fn build_with(
        &self,
        generation: Generation,
        new_settings: Option<&NewSettings>,
    ) -> Result<LoadedGeneration, (Option<Entry>, ChangeError)> {
        let texts = self.settings_of(&generation).await.map_err(|error| (None, error))?;
        let mut rules = Vec::with_capacity(generation.entries.len());
        for entry in &generation.entries {
            let settings = match (entry.settings, new_settings) {
                (SettingsRef::New, Some(new_settings)) => Ok(new_settings.settings.clone()),
                (settings, _) => texts.text(&entry.rule, settings),
            };
            let rule = match settings {
                Ok(settings) => self.rule_with(entry, settings).await,
                Err(error) => Err(error),
            };
            rules.push(rule.map_err(|error| (Some(entry.clone()), error))?);
        }
        LoadedGeneration::new(generation, rules).map_err(|error| (None, error.into()))
    }

    /// Loads one entry.
    pub(in crate::rules) async fn rule(&self, entry: &Entry) -> Result<Rule, ChangeError> {
        let settings = self.settings_text(&entry.rule, entry.settings).await?;
        self.rule_with(entry, settings).await
    }

    /// Loads one entry, or reuses it if it is loaded. The settings are compared too: a database that lost its last
    /// changes may give their numbers to others.
    async fn rule_with(&self, entry: &Entry, settings: String) -> Result<Rule, ChangeError> {
        let loaded = self.0.rules.loaded().find_map(|loaded| loaded.rule_of(entry).cloned());
        if let Some(rule) = loaded.filter(|rule| rule.settings() == settings) {
            return Ok(rule);
        }
        let module = match entry.digest {
            Some(digest) => self.module(&entry.rule, digest).await?,
            None => self.0.rules.builtin(entry.kind).clone(),
        };
        self.with_settings(&module, settings).await
    }

    /// The stored settings of a generation, read at once.
    pub(super) async fn settings_of(&self, generation: &Generation) -> Result<SettingsTexts, ChangeError> {
        let ids: Vec<i64> = generation
            .entries
            .iter()
            .filter_map(|entry| entry.settings.id())
            .collect();
        let stored = self.0.store.ask(move |store| store.rule_settings_by_ids(&ids)).await?;
        let texts = stored.into_iter().map(|stored| (stored.id, stored.settings));
        Ok(SettingsTexts(texts.collect()))
    }

    pub(in crate::rules) async fn settings_text(
        &self,
        rule: &str,
        settings: SettingsRef,
    ) -> Result<String, ChangeError> {
        let ids: Vec<i64> = settings.id().into_iter().collect();
        let stored = self.0.store.ask(move |store| store.rule_settings_by_ids(&ids)).await?;
        let texts = stored.into_iter().map(|stored| (stored.id, stored.settings));
        SettingsTexts(texts.collect()).text(rule, settings)
    }

    /// Loads a version of a rule, compiling it if necessary.
    pub(in crate::rules) async fn module(&self, rule: &str, digest: Digest) -> Result<RuleModule, ChangeError> {
        if let Some(module) = self.loaded_module(digest) {
            return Ok(module);
        }
        let wasm = self.0.store.ask(move |store| store.rule_component(digest)).await?;
        let wasm = wasm.ok_or_else(|| ChangeError::NoVersion {
            rule: rule.to_owned(),
            digest,
        })?;
        // Otherwise anyone with write access to the database could store other bytes under the digest of a trusted
        // component.
        if Digest::of(&wasm) != digest {
            return Err(ChangeError::Conflict(modified(digest)));
        }
        Ok(self.0.compiler.module(wasm.into()).await?.module)
    }

    /// Configures a module on a blocking thread; the rule validates the settings.
    pub(in crate::rules) async fn with_settings(
        &self,
        module: &RuleModule,
        settings: String,
    ) -> Result<Rule, ChangeError> {
        let module = module.clone();
        let configured = tasks::block(move || module.with_settings(&settings)).await;
        Ok(configured.map_err(ChangeError::Broken)??)
    }
}

/// Stored settings by their number.
#[derive(Debug, Default)]
pub(super) struct SettingsTexts(BTreeMap<i64, String>);

impl SettingsTexts {
    /// Whether a rule was loaded with these settings. A rule that was added since closes access.
    pub(super) fn has(&self, entry: &Entry, rule: &Rule) -> bool {
        match entry.settings.id().map(|id| self.0.get(&id)) {
            // The settings of the request, which are not stored yet.
            None => true,
            Some(Some(text)) => text == rule.settings(),
            Some(None) => entry.digest.is_none() && Closure::of_settings(rule.settings()).is_some(),
        }
    }

    /// The settings of a rule.
    pub(super) fn text(&self, rule: &str, settings: SettingsRef) -> Result<String, ChangeError> {
        let Some(id) = settings.id() else {
            return Err(ChangeError::Broken(format!(
                "the settings of the rule {rule} are not stored yet"
            )));
        };
        self.0.get(&id).cloned().ok_or_else(|| {
            ChangeError::Broken(format!(
                "the settings {id} of the rule {rule} are missing in the database"
            ))
        })
    }
}
