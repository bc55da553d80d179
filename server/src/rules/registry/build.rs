//! Loads the rules of a stored generation. Rules that are loaded already are reused.

use watchpost_policies::{Digest, Rule, RuleModule};

use super::{ChangeError, Registry};
use crate::rules::LoadedGeneration;
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
        let mut rules = Vec::with_capacity(generation.entries.len());
        for entry in &generation.entries {
            let rule = self.rule(entry, new_settings).await;
            rules.push(rule.map_err(|error| (Some(entry.clone()), error))?);
        }
        LoadedGeneration::new(generation, rules).map_err(|error| (None, error.into()))
    }

    /// Loads one entry, with `new_settings` where the entry has settings that are not stored yet.
    pub(in crate::rules) async fn rule(
        &self,
        entry: &Entry,
        new_settings: Option<&NewSettings>,
    ) -> Result<Rule, ChangeError> {
        if let Some(rule) = self.0.rules.loaded().find_map(|loaded| loaded.rule_of(entry).cloned()) {
            return Ok(rule);
        }
        let module = match entry.digest {
            Some(digest) => self.module(&entry.rule, digest).await?,
            None => self.0.rules.builtin(entry.kind).clone(),
        };
        let settings = match new_settings.filter(|_| entry.settings == SettingsRef::New) {
            Some(new_settings) => new_settings.settings.clone(),
            None => self.settings_text(&entry.rule, entry.settings).await?,
        };
        self.with_settings(&module, settings).await
    }

    pub(in crate::rules) async fn settings_text(
        &self,
        rule: &str,
        settings: SettingsRef,
    ) -> Result<String, ChangeError> {
        let Some(id) = settings.id() else {
            return Err(ChangeError::Broken(format!(
                "the settings of the rule {rule} are not stored yet"
            )));
        };
        let stored = self.0.store.ask(move |store| store.rule_settings(id)).await?;
        let missing = || {
            ChangeError::Broken(format!(
                "the settings {id} of the rule {rule} are missing in the database"
            ))
        };
        Ok(stored.ok_or_else(missing)?.settings)
    }

    /// Loads a version of a rule, compiling it if necessary.
    pub(in crate::rules) async fn module(&self, rule: &str, digest: Digest) -> Result<RuleModule, ChangeError> {
        if let Some(module) = self
            .0
            .rules
            .loaded()
            .find_map(|loaded| loaded.module_of(digest).cloned())
        {
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
            return Err(ChangeError::Conflict(format!(
                "the component stored as {digest} has been modified in the database; delete the version and upload it again"
            )));
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
