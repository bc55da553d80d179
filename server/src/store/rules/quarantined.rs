//! Which rules are put aside: nobody keeps a list of them, it follows from the log. Who puts them there is not known here.

use std::collections::{BTreeMap, BTreeSet};

use diesel::QueryResult;
use watchpost_policies::Kind;

use super::generations;
use super::log::{AuditAction, AuditEntry, last_of_each};
use crate::store::connection::Connection;
use crate::store::{Store, StoreError};

/// What ends it. A shadow ends nothing, for what counts is as it was.
const ENDING_ACTIONS: [AuditAction; 5] = [
    AuditAction::Activated,
    AuditAction::RolledBack,
    AuditAction::Configured,
    AuditAction::Retired,
    AuditAction::Deleted,
];

impl Store {
    /// The rules that were put aside and that nobody has changed since.
    pub fn rules_quarantined(&self) -> Result<Vec<AuditEntry>, StoreError> {
        self.read(|connection| {
            let mut aside = last_of_each(connection, &[AuditAction::Quarantined])?;
            if aside.is_empty() {
                return Ok(aside);
            }
            let later = last_of_each(connection, &ENDING_ACTIONS)?;
            aside.retain(|told| !later.iter().any(|later| ends(told, later)));
            let roles = role_rules(connection, &aside, &later)?;
            aside.retain(|told| !later.iter().any(|later| ends_as_role_rule(told, later, &roles)));
            // A rule is told once, as it failed last.
            let last: BTreeMap<_, _> = aside.into_iter().map(|told| (told.name.clone(), told)).collect();
            Ok(last.into_values().collect())
        })
    }
}

/// Whether it was done to the rule that was put aside; to let another version go is nothing to it.
fn ends(aside: &AuditEntry, later: &AuditEntry) -> bool {
    let is_it = later.what != AuditAction::Deleted || later.digest.is_none() || later.digest == aside.digest;
    later.id > aside.id && later.name == aside.name && is_it
}

/// One role rule counts: whoever puts any in force, or gives it other settings, has changed what counts.
fn ends_as_role_rule(aside: &AuditEntry, later: &AuditEntry, roles: &BTreeSet<String>) -> bool {
    let both = roles.contains(&aside.name) && roles.contains(&later.name);
    later.id > aside.id && both && changes_what_decides(later)
}

fn changes_what_decides(told: &AuditEntry) -> bool {
    let changing = [AuditAction::Activated, AuditAction::RolledBack, AuditAction::Configured];
    changing.contains(&told.what)
}

/// The role rules among those that are told of, by what was in force when they were.
fn role_rules(
    connection: &mut Connection,
    aside: &[AuditEntry],
    later: &[AuditEntry],
) -> QueryResult<BTreeSet<String>> {
    let Some(first) = aside.iter().map(|told| told.id).min() else {
        return Ok(BTreeSet::new());
    };
    let later = later
        .iter()
        .filter(|told| told.id > first && changes_what_decides(told));
    let made = aside.iter().chain(later).filter_map(|told| told.generation);
    // What was put aside takes part in the generation before.
    let numbers: BTreeSet<i64> = made.flat_map(|number| [number - 1, number]).collect();
    let generations = generations::these(connection, &Vec::from_iter(numbers))?;
    let entries = generations.into_iter().flat_map(|generation| generation.entries);
    let roles = entries.filter(|entry| entry.kind == Kind::Role);
    Ok(roles.map(|entry| entry.rule).collect())
}
