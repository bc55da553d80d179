//! Changes by operators: activation, deactivation and settings.

use std::sync::Arc;

use serde_json::{Map, Value};
use watchpost_policies::{Digest, Kind};

use super::transaction::NextGeneration;
use super::{Actor, ChangeError, LatestRound, Registry, slot};
use crate::rules::LoadedGeneration;
use crate::rules::coverage::subjects_lost;
use crate::rules::unknown_metrics::UnknownMetric;
use crate::store::Store;
use crate::store::rules::{AuditAction, AuditActor, Entry, Generation, Mode, NewSettings, SettingsRef};

/// A request to activate a version.
#[derive(Clone, Debug)]
pub struct Activation {
    pub rule: String,
    pub digest: Digest,
    /// Active or shadow.
    pub mode: Mode,
    /// Without settings, those uploaded with the version are used, else the current settings of the rule.
    pub settings: Option<Map<String, Value>>,
    /// Whether to skip the lockout check.
    pub force: bool,
    /// The client's note for the audit log.
    pub note: String,
    /// The generation that the client expects to be active; any, if missing.
    pub expected: Option<i64>,
}

/// Options shared by changes of one rule.
#[derive(Clone, Copy, Debug)]
pub struct ChangeRequest<'c> {
    pub rule: &'c str,
    /// The generation that the client expects to be active; any, if missing.
    pub expected: Option<i64>,
    /// Whether to skip the lockout check.
    pub force: bool,
    /// The client's note for the audit log.
    pub note: &'c str,
}

/// The result of a change.
#[derive(Clone, Debug)]
pub struct Changed {
    /// The active generation after the change.
    pub active: Arc<LoadedGeneration>,
    /// Whether the change made a new generation.
    pub changed: bool,
    /// What is not monitored any more because of it.
    pub warnings: Vec<String>,
    /// Metrics that the new rules name and nothing is known to measure.
    pub unknown_metrics: Vec<UnknownMetric>,
}

impl Registry {
    /// Activates a version, or runs it in shadow mode.
    pub async fn activate(
        &self,
        activation: &Activation,
        actor: &Actor,
        now: &LatestRound,
    ) -> Result<Changed, ChangeError> {
        let (kind, digest, uploaded_settings) = self.version_of(&activation.rule, activation.digest).await?;
        let plan = async |latest: &Generation| {
            // Looked up in each attempt: another process may have stored the same settings in the meantime.
            let requested = match &activation.settings {
                Some(settings) => Some(self.settings_ref(&activation.rule, settings.clone(), &actor.by).await?),
                None => None,
            };
            let (requested, new_settings) = requested.unzip();
            let settings = match requested
                .or(uploaded_settings)
                .or_else(|| settings_of(&latest.entries, &activation.rule))
            {
                Some(settings) => settings,
                None => self.configured_settings(&activation.rule).await?,
            };
            let entry = Entry {
                rule: activation.rule.clone(),
                kind,
                mode: activation.mode,
                digest,
                settings,
            };
            if latest.entries.contains(&entry) {
                return Ok(None);
            }
            let mut entries = latest.entries.clone();
            // A rule has one active and one shadow version; role rules share one slot of each, whatever their names.
            entries.retain(|other| {
                other.mode != activation.mode
                    || (other.rule != entry.rule && (kind != Kind::Role || other.kind != kind))
            });
            // The active version needs no comparison with itself, whatever its settings are.
            if activation.mode == Mode::Active {
                let is_shadow = |other: &Entry| other.mode == Mode::Shadow && other.rule == entry.rule;
                entries.retain(|other| !(is_shadow(other) && other.digest == entry.digest));
            }
            let action = match activation.mode {
                Mode::Active => AuditAction::Activated,
                Mode::Shadow => AuditAction::Shadowed,
            };
            // Only one role rule is active, so activating one deactivates another.
            let displaced = slot(&latest.entries, kind, &entry.rule)
                .filter(|other| activation.mode == Mode::Active && other.rule != entry.rule);
            let note = format!("replaced by {}", entry.rule);
            let displaced = displaced.map(|other| self.audit_entry(other, AuditAction::Deactivated, actor, &note));
            let mut audit_entries = vec![self.audit_entry(&entry, action, actor, &activation.note)];
            audit_entries.extend(displaced);
            entries.push(entry);
            Ok(Some(NextGeneration {
                entries,
                audit_entries,
                new_settings: new_settings.flatten(),
                requested: activation.settings.clone().map(text_of),
            }))
        };
        self.change_by(activation.expected, actor, activation.force, now, plan)
            .await
    }

    /// Deactivates a rule or ends its shadow. The active role rule cannot be deactivated, because every request needs a
    /// decision. Warns about the subjects of the latest report that no rule evaluates any more.
    pub async fn deactivate(
        &self,
        ChangeRequest {
            rule,
            expected,
            force,
            note,
        }: &ChangeRequest<'_>,
        mode: Mode,
        actor: &Actor,
        now: &LatestRound,
    ) -> Result<Changed, ChangeError> {
        let plan = async |latest: &Generation| {
            let is_it = |entry: &&Entry| entry.rule == *rule && entry.mode == mode;
            let Some(entry) = latest.entries.iter().find(is_it) else {
                self.kind_of(rule).await?;
                return Ok(None);
            };
            if entry.kind == Kind::Role && mode == Mode::Active {
                let reason = "one role rule must be active; activate another role rule instead";
                return Err(ChangeError::Conflict(reason.to_owned()));
            }
            let audit_entry = self.audit_entry(entry, AuditAction::Deactivated, actor, note);
            let entries = latest.entries.iter().filter(|other| *other != entry).cloned().collect();
            Ok(Some(NextGeneration {
                entries,
                audit_entries: vec![audit_entry],
                new_settings: None,
                requested: None,
            }))
        };
        let mut changed = self.change_by(*expected, actor, *force, now, plan).await?;
        if changed.changed
            && mode == Mode::Active
            && let Some(warning) = subjects_lost(&now.report, rule)
        {
            log::warn!(rule = *rule; "{warning}");
            changed.warnings.insert(0, warning);
        }
        Ok(changed)
    }

    /// Sets the settings of a rule, active and in shadow; without settings, resets them to the configuration's.
    pub async fn set_settings(
        &self,
        request: &ChangeRequest<'_>,
        settings: Option<Map<String, Value>>,
        actor: &Actor,
        now: &LatestRound,
    ) -> Result<Changed, ChangeError> {
        let ChangeRequest { rule, note, .. } = *request;
        self.kind_of(rule).await?;
        let plan = async |latest: &Generation| {
            let (id, new_settings) = match &settings {
                Some(settings) => self.settings_ref(rule, settings.clone(), &actor.by).await?,
                None => (self.configured_settings(rule).await?, None),
            };
            let mut entries = latest.entries.clone();
            let mut audit_entries = Vec::new();
            let mut in_use = false;
            for entry in entries.iter_mut().filter(|entry| entry.rule == rule) {
                in_use = true;
                if entry.settings != id {
                    entry.settings = id;
                    audit_entries.push(self.audit_entry(entry, AuditAction::Configured, actor, note));
                }
            }
            if !in_use {
                let reason = format!("the rule {rule} is not in use; pass its settings when you activate it");
                return Err(ChangeError::Conflict(reason));
            }
            audit_entries.truncate(1);
            Ok((!audit_entries.is_empty()).then_some(NextGeneration {
                entries,
                audit_entries,
                new_settings,
                requested: settings.clone().map(text_of),
            }))
        };
        self.change_by(request.expected, actor, request.force, now, plan).await
    }

    /// The reference of settings, and the settings themselves if the database does not have them yet.
    pub(in crate::rules) async fn settings_ref(
        &self,
        rule: &str,
        settings: Map<String, Value>,
        by: &AuditActor,
    ) -> Result<(SettingsRef, Option<NewSettings>), ChangeError> {
        let new_settings = NewSettings {
            name: rule.to_owned(),
            settings: text_of(settings),
            by: by.clone(),
        };
        let find = move |store: &Store| Ok((store.number_of_rule_settings(&new_settings)?, new_settings));
        Ok(match self.0.store.ask(find).await? {
            (Some(id), _) => (SettingsRef::Stored(id), None),
            (None, new_settings) => (SettingsRef::New, Some(new_settings)),
        })
    }

    /// The kind of a rule; an error if there is no such rule.
    pub(super) async fn kind_of(&self, rule: &str) -> Result<Kind, ChangeError> {
        if let Some(kind) = self.builtin_kind(rule) {
            return Ok(kind);
        }
        let name = rule.to_owned();
        let versions = self.0.store.ask(move |store| store.rule_versions(Some(&name))).await?;
        let first = versions.first().ok_or_else(|| ChangeError::NoRule(rule.to_owned()));
        Ok(first?.kind)
    }

    /// The kind of a version, its digest in entries (none for a built-in rule), and the settings uploaded with it.
    pub(in crate::rules) async fn version_of(
        &self,
        rule: &str,
        digest: Digest,
    ) -> Result<(Kind, Option<Digest>, Option<SettingsRef>), ChangeError> {
        let builtin = self.builtin_kind(rule);
        if let Some(kind) = builtin.filter(|kind| self.0.rules.builtin(*kind).digest() == digest) {
            return Ok((kind, None, None));
        }
        let version = self.0.store.ask(move |store| store.rule_version(digest)).await?;
        match version.filter(|version| version.name == rule) {
            Some(version) => Ok((version.kind, Some(digest), version.settings_id.map(SettingsRef::Stored))),
            None => {
                self.kind_of(rule).await?;
                Err(ChangeError::NoVersion {
                    rule: rule.to_owned(),
                    digest,
                })
            }
        }
    }
}

fn text_of(settings: Map<String, Value>) -> String {
    Value::Object(settings).to_string()
}

/// The current settings of a rule, active or in shadow.
fn settings_of(entries: &[Entry], rule: &str) -> Option<SettingsRef> {
    let of_rule = entries.iter().filter(|entry| entry.rule == rule);
    // The active entry comes first.
    of_rule.min_by_key(|entry| entry.mode).map(|entry| entry.settings)
}
