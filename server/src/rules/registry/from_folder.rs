//! What the registry does for a folder of rules: it puts in force what lies there, unless that was done before, and takes
//! back what lies there no more, unless somebody changed it since. The log of the rules remembers who did what, so all of
//! that holds over restarts and for all who share the database. The files are read elsewhere.

use std::sync::{Arc, PoisonError};

use serde_json::{Map, Value};
use watchpost_policies::{Digest, Kind};

use super::advance::Next;
use super::{Activation, Actor, ChangeError, Moment, Options, Registry, slot};
use crate::rules::folder::{Line, State};
use crate::store::rules::{AuditAction, By, CONFIGURATION, Entry, Generation, Mode, Version};

/// By whom the log says that it was done. Nobody who asks is called so: certificates have a subject, tokens a prefix.
const FOLDER: &str = "folder";

/// A version that lies in the folder.
pub struct Placing<'p> {
    /// In which file. The log has it, and by that the rule is found again when the file is gone.
    pub file: &'p str,
    /// Which.
    pub version: &'p Version,
    /// The settings beside it; those of the configuration, if there are none.
    pub settings: Option<Map<String, Value>>,
    /// Whether the file was gone meanwhile, so that it counts as another one.
    pub is_back: bool,
}

/// Whoever can write to the folder.
pub fn by_folder() -> By {
    By {
        who: FOLDER.to_owned(),
        address: String::new(),
    }
}

fn folder() -> Actor {
    Actor {
        by: by_folder(),
        identity: None,
        break_glass: false,
    }
}

impl Registry {
    /// Puts in force what lies in the folder, and tells what that is. What the folder put in force last is left as it
    /// is: either that is so still, or somebody changed it since.
    pub async fn place(&self, placing: Placing<'_>, now: &Moment) -> Result<Entry, ChangeError> {
        let rule = placing.version.name.clone();
        let digest = placing.version.digest;
        let (kind, kept, _) = self.version_of(&rule, digest).await?;
        let settings = match placing.settings {
            Some(settings) => settings,
            None => serde_json::from_str(&self.configured(&rule))
                .map_err(|error| ChangeError::Broken(format!("the settings of {rule} cannot be read: {error}")))?,
        };
        let mut placed = Entry {
            settings: self.given(&rule, settings.clone(), &by_folder()).await?.0,
            rule,
            kind,
            mode: Mode::Active,
            digest: kept,
        };
        if placing.is_back || !self.was_placed(&placed).await? {
            let activation = Activation {
                rule: placed.rule.clone(),
                digest,
                mode: Mode::Active,
                settings: Some(settings.clone()),
                force: false,
                note: placing.file.to_owned(),
                expected: None,
            };
            self.activate(&activation, &folder(), now).await?;
            // They have a number by now, if they had none.
            placed.settings = self.given(&placed.rule, settings, &by_folder()).await?.0;
        }
        Ok(placed)
    }

    /// Whether this is what the folder did last with the rule.
    async fn was_placed(&self, placed: &Entry) -> Result<bool, ChangeError> {
        let rule = placed.rule.clone();
        let deeds = [AuditAction::Activated, AuditAction::Retired];
        let last = self.0.store.ask(move |store| store.last_deed_by(&rule, FOLDER, &deeds));
        Ok(last.await?.is_some_and(|told| {
            told.what == AuditAction::Activated
                && told.digest == placed.digest
                && told.settings_id == Some(placed.settings)
        }))
    }

    /// Takes out of force what the folder put there and nobody changed since, where `is_left` says of a file and a rule
    /// that the one does not give the other any more.
    pub async fn take_back(&self, is_left: impl Fn(&str, &str) -> bool) -> Result<(), ChangeError> {
        let deeds = [
            AuditAction::Activated,
            AuditAction::RolledBack,
            AuditAction::Configured,
            AuditAction::PutAside,
        ];
        // What the configuration says of a rule is no reason to keep one that is gone.
        let last = self
            .0
            .store
            .ask(move |store| store.last_deeds(&deeds, Some(CONFIGURATION)));
        for told in last.await? {
            let is_ours = told.by == FOLDER && told.what == AuditAction::Activated;
            if let Some(digest) = told.digest.filter(|_| is_ours && is_left(&told.note, &told.name)) {
                self.take_out(&told.name, digest, &told.note).await?;
            }
        }
        Ok(())
    }

    /// In the place of a rule that Watchpost brings too, that one is in force again.
    async fn take_out(&self, rule: &str, digest: Digest, file: &str) -> Result<(), ChangeError> {
        let _turn = self.0.changing.lock().await;
        let note = format!("it is not in {file} any more");
        let plan = async |latest: &Generation| {
            let is_it = |entry: &&Entry| entry.rule == rule && entry.digest == Some(digest);
            let kinds = [Kind::Threshold, Kind::Role].into_iter();
            let found = kinds.filter_map(|kind| slot(&latest.entries, kind, rule)).find(is_it);
            let Some(entry) = found else { return Ok(None) };
            let mut entries = latest.entries.clone();
            entries.retain(|other| other != entry);
            let mut told = vec![self.told(entry, AuditAction::Retired, &folder(), &note)];
            if entry.kind == Kind::Role || self.brings(rule) {
                let own = self.own(entry.kind).await?;
                told.push(self.told(&own, AuditAction::Activated, &folder(), &note));
                // What counts now needs no comparing with itself.
                entries.retain(|other| other.digest.is_some() || other.rule != own.rule);
                entries.push(own);
            }
            Ok(Some(Next {
                entries,
                told,
                fresh: None,
            }))
        };
        if self.change(None, plan).await?.changed {
            log::info!(rule, file; "a rule is out of force, for it is not in its file any more");
        }
        Ok(())
    }

    /// The rule that Watchpost brings, as the configuration wants it.
    async fn own(&self, kind: Kind) -> Result<Entry, ChangeError> {
        let rule = self.0.rules.builtin(kind).manifest().name.clone();
        Ok(Entry {
            settings: self.configured_settings(&rule).await?,
            rule,
            kind,
            mode: Mode::Active,
            digest: None,
        })
    }

    /// What the configuration says of rules; another value, whenever it is read again and says otherwise.
    pub(in crate::rules) fn options(&self) -> Arc<Options> {
        self.0.options.load_full()
    }

    /// How the files of the folder are.
    pub fn folder(&self) -> Vec<Line> {
        self.0.folder.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(in crate::rules) fn note_folder(&self, lines: Vec<Line>) {
        let refused = lines.iter().filter(|line| line.state == State::Refused).count();
        self.0.own.folder_refuses(refused);
        *self.0.folder.lock().unwrap_or_else(PoisonError::into_inner) = lines;
    }
}
