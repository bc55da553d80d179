//! From a generation as it is kept to one that is loaded. What is loaded already is taken as it is.

use watchpost_policies::{Digest, Rule, RuleModule};

use super::{ChangeError, Registry};
use crate::rules::ActiveRule;
use crate::store::rules::{Entry, Generation, NewSettings, SettingsRef};
use crate::tasks;

impl Registry {
    /// Loads a generation; the error says which entry stands in the way.
    pub(super) async fn build(&self, generation: Generation) -> Result<ActiveRule, (Option<Entry>, ChangeError)> {
        self.build_with(generation, None).await
    }

    /// The same of one that has settings that nobody gave before.
    pub(super) async fn build_with(
        &self,
        generation: Generation,
        fresh: Option<&NewSettings>,
    ) -> Result<ActiveRule, (Option<Entry>, ChangeError)> {
        let mut rules = Vec::with_capacity(generation.entries.len());
        for entry in &generation.entries {
            let rule = self.rule(entry, fresh).await;
            rules.push(rule.map_err(|error| (Some(entry.clone()), error))?);
        }
        ActiveRule::new(generation, rules).map_err(|error| (None, error.into()))
    }

    /// One of them.
    pub(in crate::rules) async fn rule(&self, entry: &Entry, fresh: Option<&NewSettings>) -> Result<Rule, ChangeError> {
        if let Some(rule) = self.0.rules.loaded().find_map(|loaded| loaded.rule_of(entry).cloned()) {
            return Ok(rule);
        }
        let module = match entry.digest {
            Some(digest) => self.module(&entry.rule, digest).await?,
            None => self.0.rules.builtin(entry.kind).clone(),
        };
        let settings = match fresh.filter(|_| entry.settings == SettingsRef::New) {
            Some(fresh) => fresh.settings.clone(),
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
                "the settings of the rule {rule} are not kept yet"
            )));
        };
        let given = self.0.store.ask(move |store| store.rule_settings(id)).await?;
        let lost = || ChangeError::Broken(format!("the settings {id} of the rule {rule} are lost"));
        Ok(given.ok_or_else(lost)?.settings)
    }

    /// A version of a rule, compiled.
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
        // Whoever can write to the database could otherwise give other bytes the name of good ones.
        if Digest::of(&wasm) != digest {
            return Err(ChangeError::Conflict(format!(
                "the bytes of {digest} in the database are not those that were uploaded; delete it and upload it again"
            )));
        }
        Ok(self.0.compiler.module(wasm.into()).await?.module)
    }

    /// Lets a rule look at settings, off the thread that answers others.
    pub(in crate::rules) async fn with_settings(
        &self,
        module: &RuleModule,
        settings: String,
    ) -> Result<Rule, ChangeError> {
        let module = module.clone();
        let taken = tasks::block(move || module.with_settings(&settings)).await;
        Ok(taken.map_err(ChangeError::Broken)??)
    }
}
