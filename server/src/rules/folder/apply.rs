//! Activates the rules of the folder, unless the folder did so before, and deactivates a rule whose file was deleted,
//! unless an operator changed the rule since. All of that follows from the audit log, so it holds across restarts and
//! for all processes that share the database. `scan` reads the files.

use serde_json::{Map, Value};
use watchpost_policies::{Digest, Kind};

use crate::rules::closure::Closure;
use crate::rules::registry::{Activation, Actor, ChangeError, LatestRound, NextGeneration, Registry, slot};
use crate::store::rules::{AuditAction, AuditActor, CONFIGURATION, Entry, Generation, Mode, Version};

/// The actor in the audit log. No client can have this name: certificates have a subject, tokens a prefix.
const FOLDER: &str = "folder";

/// A version found in the folder.
pub(super) struct FolderChange<'p> {
    /// The name of the file. It is recorded in the audit log, so the rule is found again after the file is deleted.
    pub(super) file: &'p str,
    pub(super) version: &'p Version,
    /// The settings file next to the component; without one, the configured settings apply.
    pub(super) settings: Option<Map<String, Value>>,
    /// Whether the file was missing in between, which makes it a new file.
    pub(super) reappeared: bool,
}

/// The actor for changes by the folder.
pub(super) fn by_folder() -> AuditActor {
    AuditActor {
        name: FOLDER.to_owned(),
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

/// Activates a version of the folder and returns its entry. What the folder activated last is not activated again: it
/// is still active, or an operator changed it since.
pub(super) async fn activate(
    registry: &Registry,
    change: FolderChange<'_>,
    now: &LatestRound,
) -> Result<Entry, ChangeError> {
    let rule = change.version.name.clone();
    let digest = change.version.digest;
    let (kind, kept, _) = registry.version_of(&rule, digest).await?;
    // The folder is read again, so its role rule becomes active once an operator has restored access.
    if kind == Kind::Role && registry.rules().current().closure() == Some(Closure::DatabaseReplaced) {
        return Err(ChangeError::Conflict(Closure::DatabaseReplaced.reason().to_owned()));
    }
    let settings = match change.settings {
        Some(settings) => settings,
        None => serde_json::from_str(&registry.configured(&rule))
            .map_err(|error| ChangeError::Broken(format!("the settings of {rule} cannot be read: {error}")))?,
    };
    let mut entry = Entry {
        settings: registry.settings_ref(&rule, settings.clone(), &by_folder()).await?.0,
        rule,
        kind,
        mode: Mode::Active,
        digest: kept,
    };
    if change.reappeared || !was_activated(registry, &entry).await? {
        let activation = Activation {
            rule: entry.rule.clone(),
            digest,
            mode: Mode::Active,
            settings: Some(settings.clone()),
            force: false,
            note: change.file.to_owned(),
            expected: None,
        };
        registry.activate(&activation, &folder(), now).await?;
        // Activation has stored the settings, so they have a number now.
        entry.settings = registry.settings_ref(&entry.rule, settings, &by_folder()).await?.0;
    }
    Ok(entry)
}

/// Whether this entry is the last change of the rule by the folder.
async fn was_activated(registry: &Registry, entry: &Entry) -> Result<bool, ChangeError> {
    let rule = entry.rule.clone();
    let actions = [AuditAction::Activated, AuditAction::Deactivated];
    let last = registry
        .store()
        .ask(move |store| store.last_action_by(&rule, FOLDER, &actions));
    Ok(last.await?.is_some_and(|last| {
        last.action == AuditAction::Activated && last.digest == entry.digest && last.settings_id == Some(entry.settings)
    }))
}

/// Deactivates rules that the folder activated and no operator changed since, where `is_left` says that the file no
/// longer provides the rule.
pub(super) async fn deactivate_missing(
    registry: &Registry,
    is_left: impl Fn(&str, &str) -> bool,
) -> Result<(), ChangeError> {
    let actions = [
        AuditAction::Activated,
        AuditAction::RolledBack,
        AuditAction::Configured,
        AuditAction::Quarantined,
    ];
    // A change of configured settings is no reason to keep a rule whose file is missing.
    let last = registry
        .store()
        .ask(move |store| store.last_actions(&actions, Some(CONFIGURATION)));
    for audit_entry in last.await? {
        let is_by_folder = audit_entry.actor == FOLDER && audit_entry.action == AuditAction::Activated;
        if let Some(digest) = audit_entry
            .digest
            .filter(|_| is_by_folder && is_left(&audit_entry.note, &audit_entry.name))
        {
            deactivate(registry, &audit_entry.name, digest, &audit_entry.note).await?;
        }
    }
    Ok(())
}

/// Deactivates a rule; a built-in rule that it replaced becomes active again.
async fn deactivate(registry: &Registry, rule: &str, digest: Digest, file: &str) -> Result<(), ChangeError> {
    let note = format!("removed from {file}");
    let plan = async |latest: &Generation| {
        let is_it = |entry: &&Entry| entry.rule == rule && entry.digest == Some(digest);
        let kinds = [Kind::Threshold, Kind::Role].into_iter();
        let found = kinds.filter_map(|kind| slot(&latest.entries, kind, rule)).find(is_it);
        let Some(entry) = found else { return Ok(None) };
        let mut entries = latest.entries.clone();
        entries.retain(|other| other != entry);
        let mut audit_entries = vec![registry.audit_entry(entry, AuditAction::Deactivated, &folder(), &note)];
        if entry.kind == Kind::Role || registry.is_builtin(rule) {
            let built_in = built_in(registry, entry.kind).await?;
            audit_entries.push(registry.audit_entry(&built_in, AuditAction::Activated, &folder(), &note));
            // The active version needs no comparison with itself.
            entries.retain(|other| other.digest.is_some() || other.rule != built_in.rule);
            entries.push(built_in);
        }
        Ok(Some(NextGeneration {
            entries,
            audit_entries,
            new_settings: None,
            requested: None,
        }))
    };
    if registry.transaction(None, plan).await?.changed {
        log::info!(rule, file; "rule deactivated because its file no longer contains it");
    }
    Ok(())
}

/// The entry of the built-in rule with the configured settings.
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
