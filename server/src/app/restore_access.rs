//! Restores access after it was closed: activates the built-in role rule with the settings of the configuration. It
//! changes the database itself, so it needs no permission from the role rule, and works with or without a running server,
//! which follows the database.

use watchpost_policies::Kind;

use super::{StartError, preflight, stores};
use crate::clock;
use crate::config::Config;
use crate::rules::Rules;
use crate::store::rules::{
    AuditAction, AuditActor, AuditEntry, Entry, Generation, GenerationResult, Mode, SettingsRef,
};
use crate::store::{Store, StoreError};

/// Attempts, when a server changes the rules at the same time.
const ATTEMPTS: u32 = 5;

/// What [`restore_access`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestoredAccess {
    /// The configured role rule was active already.
    Unchanged,
    /// A new generation has the configured role rule.
    Restored {
        /// The number of the generation.
        generation: i64,
        /// The name of the role rule that was active before.
        replaced: String,
    },
}

/// Activates the built-in role rule with the settings of the configuration.
pub fn restore_access(config: &Config) -> Result<RestoredAccess, StartError> {
    let settings = config.rules.settings();
    let rules = Rules::load(config.rules.limits.limits(), &settings, None)
        .map_err(|error| StartError::Refused(preflight::rule_problems(config, error)))?;
    let name = rules.builtin(Kind::Role).manifest().name.clone();
    let store = stores::open_existing(config)?;
    let failed = |error: StoreError| StartError::Store {
        place: store.address().to_string(),
        source: error.into(),
    };
    for _ in 0..ATTEMPTS {
        if let Some(restored) = attempt(&store, &name, &settings.role).map_err(failed)? {
            return Ok(restored);
        }
    }
    Err(failed(StoreError::Busy))
}

/// None if another process was faster.
fn attempt(store: &Store, name: &str, settings: &str) -> Result<Option<RestoredAccess>, StoreError> {
    let latest = store
        .latest_generation()?
        .ok_or_else(|| StoreError::Missing("a generation of rules; start the server first".to_owned()))?;
    let now_ms = clock::now_ms_signed();
    let id = store.store_rule_settings(name, settings, &AuditActor::configuration(), now_ms)?;
    let configured = Entry {
        rule: name.to_owned(),
        kind: Kind::Role,
        mode: Mode::Active,
        digest: None,
        settings: SettingsRef::Stored(id),
    };
    let Some((replaced, entries)) = with_role(&latest, &configured) else {
        return Ok(Some(RestoredAccess::Unchanged));
    };
    let by = AuditActor {
        name: "restore-access".to_owned(),
        address: String::new(),
    };
    let audit = AuditEntry {
        settings_id: Some(configured.settings),
        note: format!("replaced {replaced}"),
        ..AuditEntry::of(name, AuditAction::Activated, &by, now_ms)
    };
    Ok(
        match store.make_generation(latest.number, &entries, &[audit], None, now_ms)? {
            GenerationResult::Done(generation) => Some(RestoredAccess::Restored {
                generation: generation.number,
                replaced,
            }),
            GenerationResult::Superseded(_) | GenerationResult::VersionMissing(_) => None,
        },
    )
}

/// The entries with this active role rule, and the name of the one that it replaces; none if it is active already.
fn with_role(latest: &Generation, role: &Entry) -> Option<(String, Vec<Entry>)> {
    if latest.entries.contains(role) {
        return None;
    }
    let is_replaced = |entry: &Entry| entry.kind == Kind::Role && entry.mode == Mode::Active;
    let replaced = latest.entries.iter().find(|entry| is_replaced(entry));
    let replaced = replaced.map_or_else(|| "none".to_owned(), |entry| entry.rule.clone());
    let kept = latest.entries.iter().filter(|entry| !is_replaced(entry));
    Some((replaced, kept.chain([role]).cloned().collect()))
}
