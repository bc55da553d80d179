//! From what lies in the folder to what is in force: a rule is activated, unless that was done before, and deactivated
//! when it lies there no more, unless somebody changed it since. The audit log remembers who did what, so all of that
//! holds over restarts and for all who share the database. The files are read elsewhere.

use serde_json::{Map, Value};
use watchpost_policies::{Digest, Kind};

use crate::rules::registry::{Activation, Actor, ChangeError, Moment, NextGeneration, Registry, slot};
use crate::store::rules::{AuditAction, AuditActor, CONFIGURATION, Entry, Generation, Mode, Version};

/// By whom the log says that it was done. Nobody who asks is called so: certificates have a subject, tokens a prefix.
const FOLDER: &str = "folder";

/// A version that lies in the folder.
pub(super) struct FolderChange<'p> {
    /// In which file. The log has it, and by that the rule is found again when the file is gone.
    pub(super) file: &'p str,
    /// Which.
    pub(super) version: &'p Version,
    /// The settings beside it; those of the configuration, if there are none.
    pub(super) settings: Option<Map<String, Value>>,
    /// Whether the file was gone meanwhile, so that it counts as another one.
    pub(super) is_back: bool,
}

/// Whoever can write to the folder.
pub(super) fn by_folder() -> AuditActor {
    AuditActor {
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

/// Puts in force what lies in the folder, and tells what that is. What the folder put in force last is left as it is:
/// either that is so still, or somebody changed it since.
pub(super) async fn place(registry: &Registry, placing: FolderChange<'_>, now: &Moment) -> Result<Entry, ChangeError> {
    let rule = placing.version.name.clone();
    let digest = placing.version.digest;
    let (kind, kept, _) = registry.version_of(&rule, digest).await?;
    let settings = match placing.settings {
        Some(settings) => settings,
        None => serde_json::from_str(&registry.configured(&rule))
            .map_err(|error| ChangeError::Broken(format!("the settings of {rule} cannot be read: {error}")))?,
    };
    let mut placed = Entry {
        settings: registry.given(&rule, settings.clone(), &by_folder()).await?.0,
        rule,
        kind,
        mode: Mode::Active,
        digest: kept,
    };
    if placing.is_back || !was_placed(registry, &placed).await? {
        let activation = Activation {
            rule: placed.rule.clone(),
            digest,
            mode: Mode::Active,
            settings: Some(settings.clone()),
            force: false,
            note: placing.file.to_owned(),
            expected: None,
        };
        registry.activate(&activation, &folder(), now).await?;
        // They have a number by now, if they had none.
        placed.settings = registry.given(&placed.rule, settings, &by_folder()).await?.0;
    }
    Ok(placed)
}

/// Whether this is what the folder did last with the rule.
async fn was_placed(registry: &Registry, placed: &Entry) -> Result<bool, ChangeError> {
    let rule = placed.rule.clone();
    let deeds = [AuditAction::Activated, AuditAction::Retired];
    let last = registry
        .store()
        .ask(move |store| store.last_action_by(&rule, FOLDER, &deeds));
    Ok(last.await?.is_some_and(|told| {
        told.action == AuditAction::Activated
            && told.digest == placed.digest
            && told.settings_id == Some(placed.settings)
    }))
}

/// Takes out of force what the folder put there and nobody changed since, where `is_left` says of a file and a rule that
/// the one does not give the other any more.
pub(super) async fn take_back(registry: &Registry, is_left: impl Fn(&str, &str) -> bool) -> Result<(), ChangeError> {
    let deeds = [
        AuditAction::Activated,
        AuditAction::RolledBack,
        AuditAction::Configured,
        AuditAction::Quarantined,
    ];
    // What the configuration says of a rule is no reason to keep one that is gone.
    let last = registry
        .store()
        .ask(move |store| store.last_actions(&deeds, Some(CONFIGURATION)));
    for told in last.await? {
        let is_ours = told.actor == FOLDER && told.action == AuditAction::Activated;
        if let Some(digest) = told.digest.filter(|_| is_ours && is_left(&told.note, &told.name)) {
            take_out(registry, &told.name, digest, &told.note).await?;
        }
    }
    Ok(())
}

/// In the place of a rule that Watchpost brings too, that one is in force again.
async fn take_out(registry: &Registry, rule: &str, digest: Digest, file: &str) -> Result<(), ChangeError> {
    let note = format!("it is not in {file} any more");
    let plan = async |latest: &Generation| {
        let is_it = |entry: &&Entry| entry.rule == rule && entry.digest == Some(digest);
        let kinds = [Kind::Threshold, Kind::Role].into_iter();
        let found = kinds.filter_map(|kind| slot(&latest.entries, kind, rule)).find(is_it);
        let Some(entry) = found else { return Ok(None) };
        let mut entries = latest.entries.clone();
        entries.retain(|other| other != entry);
        let mut told = vec![registry.told(entry, AuditAction::Retired, &folder(), &note)];
        if entry.kind == Kind::Role || registry.brings(rule) {
            let built_in = built_in(registry, entry.kind).await?;
            told.push(registry.told(&built_in, AuditAction::Activated, &folder(), &note));
            // What counts now needs no comparing with itself.
            entries.retain(|other| other.digest.is_some() || other.rule != built_in.rule);
            entries.push(built_in);
        }
        Ok(Some(NextGeneration {
            entries,
            told,
            fresh: None,
        }))
    };
    if registry.transaction(plan).await?.changed {
        log::info!(rule, file; "a rule is out of force, for it is not in its file any more");
    }
    Ok(())
}

/// The rule that Watchpost brings, as the configuration wants it.
async fn built_in(registry: &Registry, kind: Kind) -> Result<Entry, ChangeError> {
    let rule = registry.rules().builtin(kind).manifest().name.clone();
    Ok(Entry {
        settings: registry.configured_settings(&rule).await?,
        rule,
        kind,
        mode: Mode::Active,
        digest: None,
    })
}
