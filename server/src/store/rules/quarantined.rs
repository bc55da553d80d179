//! The quarantined rules. They are not stored but derived from the audit log. `rules` decides which rules are
//! quarantined.

use std::collections::{BTreeMap, BTreeSet};

use diesel::QueryResult;
use watchpost_policies::Kind;

use super::generations;
use super::log::{AuditAction, AuditEntry, last_of_each};
use crate::store::connection::Connection;
use crate::store::{Store, StoreError};

/// The actions that end a quarantine. Shadow mode does not, because it changes no active rule.
const ENDING_ACTIONS: [AuditAction; 5] = [
    AuditAction::Activated,
    AuditAction::RolledBack,
    AuditAction::Configured,
    AuditAction::Deactivated,
    AuditAction::Deleted,
];

impl Store {
    /// The rules that were quarantined and not changed since.
    pub fn rules_quarantined(&self) -> Result<Vec<AuditEntry>, StoreError> {
        self.read(|connection| {
            let mut quarantined = last_of_each(connection, &[AuditAction::Quarantined])?;
            if quarantined.is_empty() {
                return Ok(quarantined);
            }
            let later = last_of_each(connection, &ENDING_ACTIONS)?;
            quarantined.retain(|entry| !later.iter().any(|later| ends(entry, later)));
            let roles = role_rules(connection, &quarantined, &later)?;
            quarantined.retain(|entry| !later.iter().any(|later| ends_as_role_rule(entry, later, &roles)));
            // A rule is listed once, with its last failure.
            let last: BTreeMap<_, _> = quarantined
                .into_iter()
                .map(|entry| (entry.name.clone(), entry))
                .collect();
            Ok(last.into_values().collect())
        })
    }
}

/// Whether a later action changed the quarantined rule; deleting another version does not.
fn ends(quarantined: &AuditEntry, later: &AuditEntry) -> bool {
    let concerns_it =
        later.action != AuditAction::Deleted || later.digest.is_none() || later.digest == quarantined.digest;
    later.id > quarantined.id && later.name == quarantined.name && concerns_it
}

/// Only one role rule is active, so activating any role rule, or changing its settings, ends the quarantine of all.
fn ends_as_role_rule(quarantined: &AuditEntry, later: &AuditEntry, roles: &BTreeSet<String>) -> bool {
    let both = roles.contains(&quarantined.name) && roles.contains(&later.name);
    later.id > quarantined.id && both && changes_what_decides(later)
}

fn changes_what_decides(entry: &AuditEntry) -> bool {
    let changing = [AuditAction::Activated, AuditAction::RolledBack, AuditAction::Configured];
    changing.contains(&entry.action)
}

/// The names of the role rules among these entries, according to their generations.
fn role_rules(
    connection: &mut Connection,
    quarantined: &[AuditEntry],
    later: &[AuditEntry],
) -> QueryResult<BTreeSet<String>> {
    let Some(first) = quarantined.iter().map(|entry| entry.id).min() else {
        return Ok(BTreeSet::new());
    };
    let later = later
        .iter()
        .filter(|entry| entry.id > first && changes_what_decides(entry));
    let created = quarantined.iter().chain(later).filter_map(|entry| entry.generation);
    // The quarantined rule is part of the generation before.
    let numbers: BTreeSet<i64> = created.flat_map(|number| [number - 1, number]).collect();
    let generations = generations::by_numbers(connection, &Vec::from_iter(numbers))?;
    let entries = generations.into_iter().flat_map(|generation| generation.entries);
    let roles = entries.filter(|entry| entry.kind == Kind::Role);
    Ok(roles.map(|entry| entry.rule).collect())
}
