//! What people change: which rules count, which are compared, and under which settings.

use std::sync::Arc;

use serde_json::{Map, Value};
use watchpost_policies::{Digest, Kind};

use super::transaction::NextGeneration;
use super::{Actor, ChangeError, Moment, Registry, slot};
use crate::rules::ActiveRule;
use crate::store::Store;
use crate::store::rules::{AuditAction, AuditActor, Entry, Generation, Mode, NewSettings, SettingsRef};

/// What somebody wants in force.
#[derive(Clone, Debug)]
pub struct Activation {
    /// Which rule.
    pub rule: String,
    /// Which version.
    pub digest: Digest,
    /// How it takes part.
    pub mode: Mode,
    /// Under which settings; those that it was brought with, or else those that the rule has, if none are told.
    pub settings: Option<Map<String, Value>>,
    /// Whether it shall be in force even if the one who asks could not change it any more.
    pub force: bool,
    /// What the one who asks says of it.
    pub note: String,
    /// The generation that was looked at before.
    pub expected: Option<i64>,
}

/// That something about a rule shall be otherwise than it is.
#[derive(Clone, Copy, Debug)]
pub struct ChangeRequest<'w> {
    /// Which rule.
    pub rule: &'w str,
    /// The generation that was looked at before.
    pub expected: Option<i64>,
    /// Whether it shall be so even if the one who asks could not change it any more.
    pub force: bool,
    /// What the one who asks says of it.
    pub note: &'w str,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Changed {
    /// What is in force now.
    pub active: Arc<ActiveRule>,
    /// Whether that is another generation than before.
    pub changed: bool,
}

impl Registry {
    /// Puts a version in force, or beside what is.
    pub async fn activate(&self, wanted: &Activation, actor: &Actor, now: &Moment) -> Result<Changed, ChangeError> {
        let _turn = self.0.changing.lock().await;
        let (kind, digest, brought_with) = self.version_of(&wanted.rule, wanted.digest).await?;
        let plan = async |latest: &Generation| {
            // Asked each time, for somebody else may have given the same in the meantime.
            let given = match &wanted.settings {
                Some(settings) => Some(self.given(&wanted.rule, settings.clone(), &actor.by).await?),
                None => None,
            };
            let (given, fresh) = given.unzip();
            let settings = match given
                .or(brought_with)
                .or_else(|| settings_of(&latest.entries, &wanted.rule))
            {
                Some(settings) => settings,
                None => self.configured_settings(&wanted.rule).await?,
            };
            let entry = Entry {
                rule: wanted.rule.clone(),
                kind,
                mode: wanted.mode,
                digest,
                settings,
            };
            if latest.entries.contains(&entry) {
                return Ok(None);
            }
            let mut entries = latest.entries.clone();
            // One version counts and one is compared; of role rules that holds whatever they are called.
            entries.retain(|other| {
                other.mode != wanted.mode || (other.rule != entry.rule && (kind != Kind::Role || other.kind != kind))
            });
            // What counts now needs no comparing with itself, under whatever settings.
            if wanted.mode == Mode::Active {
                let beside = |other: &Entry| other.mode == Mode::Shadow && other.rule == entry.rule;
                entries.retain(|other| !(beside(other) && other.digest == entry.digest));
            }
            let deed = match wanted.mode {
                Mode::Active => AuditAction::Activated,
                Mode::Shadow => AuditAction::Shadowed,
            };
            // Of role rules one counts, so another counts no more.
            let displaced = slot(&latest.entries, kind, &entry.rule)
                .filter(|other| wanted.mode == Mode::Active && other.rule != entry.rule);
            let note = format!("{} decides now", entry.rule);
            let displaced = displaced.map(|other| self.told(other, AuditAction::Retired, actor, &note));
            let mut told = vec![self.told(&entry, deed, actor, &wanted.note)];
            told.extend(displaced);
            entries.push(entry);
            Ok(Some(NextGeneration {
                entries,
                told,
                fresh: fresh.flatten(),
            }))
        };
        self.change_by(wanted.expected, actor, wanted.force, now, plan).await
    }

    /// Takes a rule out of what counts, or of what is compared. Somebody has to decide, so the role rule stays.
    pub async fn retire(
        &self,
        ChangeRequest {
            rule, expected, note, ..
        }: &ChangeRequest<'_>,
        mode: Mode,
        actor: &Actor,
    ) -> Result<Changed, ChangeError> {
        let _turn = self.0.changing.lock().await;
        self.change(*expected, async |latest| {
            let is_it = |entry: &&Entry| entry.rule == *rule && entry.mode == mode;
            let Some(entry) = latest.entries.iter().find(is_it) else {
                self.kind_of(rule).await?;
                return Ok(None);
            };
            if entry.kind == Kind::Role && mode == Mode::Active {
                let why = "somebody has to decide who may do what; activate another role rule instead";
                return Err(ChangeError::Conflict(why.to_owned()));
            }
            let told = self.told(entry, AuditAction::Retired, actor, note);
            let entries = latest.entries.iter().filter(|other| *other != entry).cloned().collect();
            Ok(Some(NextGeneration {
                entries,
                told: vec![told],
                fresh: None,
            }))
        })
        .await
    }

    /// Gives a rule other settings wherever it takes part; those of the configuration, if none are told.
    pub async fn set_settings(
        &self,
        wish: &ChangeRequest<'_>,
        settings: Option<Map<String, Value>>,
        actor: &Actor,
        now: &Moment,
    ) -> Result<Changed, ChangeError> {
        let ChangeRequest { rule, note, .. } = *wish;
        let _turn = self.0.changing.lock().await;
        self.kind_of(rule).await?;
        let plan = async |latest: &Generation| {
            let (id, fresh) = match &settings {
                Some(settings) => self.given(rule, settings.clone(), &actor.by).await?,
                None => (self.configured_settings(rule).await?, None),
            };
            let mut entries = latest.entries.clone();
            let mut told = Vec::new();
            let mut in_use = false;
            for entry in entries.iter_mut().filter(|entry| entry.rule == rule) {
                in_use = true;
                if entry.settings != id {
                    entry.settings = id;
                    told.push(self.told(entry, AuditAction::Configured, actor, note));
                }
            }
            if !in_use {
                let why = format!("the rule {rule} takes no part; give its settings when you activate it");
                return Err(ChangeError::Conflict(why));
            }
            told.truncate(1);
            Ok((!told.is_empty()).then_some(NextGeneration { entries, told, fresh }))
        };
        self.change_by(wish.expected, actor, wish.force, now, plan).await
    }

    /// The number of settings that somebody gives; and they themselves, if nobody gave them before.
    pub(in crate::rules) async fn given(
        &self,
        rule: &str,
        settings: Map<String, Value>,
        by: &AuditActor,
    ) -> Result<(SettingsRef, Option<NewSettings>), ChangeError> {
        let fresh = NewSettings {
            name: rule.to_owned(),
            settings: Value::Object(settings).to_string(),
            by: by.clone(),
        };
        let look = move |store: &Store| Ok((store.number_of_rule_settings(&fresh)?, fresh));
        Ok(match self.0.store.ask(look).await? {
            (Some(id), _) => (SettingsRef::Stored(id), None),
            (None, fresh) => (SettingsRef::New, Some(fresh)),
        })
    }

    /// Which contract a rule keeps; it has to be there.
    pub(super) async fn kind_of(&self, rule: &str) -> Result<Kind, ChangeError> {
        if let Some(kind) = self.builtin_kind(rule) {
            return Ok(kind);
        }
        let name = rule.to_owned();
        let versions = self.0.store.ask(move |store| store.rule_versions(Some(&name))).await?;
        let first = versions.first().ok_or_else(|| ChangeError::NoRule(rule.to_owned()));
        Ok(first?.kind)
    }

    /// Which contract a version keeps, how an entry names it, and the settings that it was brought with.
    pub(in crate::rules) async fn version_of(
        &self,
        rule: &str,
        digest: Digest,
    ) -> Result<(Kind, Option<Digest>, Option<SettingsRef>), ChangeError> {
        let service_metrics = self.builtin_kind(rule);
        if let Some(kind) = service_metrics.filter(|kind| self.0.rules.builtin(*kind).digest() == digest) {
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

/// The settings that a rule has already, wherever it takes part.
fn settings_of(entries: &[Entry], rule: &str) -> Option<SettingsRef> {
    let of_rule = entries.iter().filter(|entry| entry.rule == rule);
    // What counts comes first.
    of_rule.min_by_key(|entry| entry.mode).map(|entry| entry.settings)
}
