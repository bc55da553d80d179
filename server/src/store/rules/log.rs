//! The audit log of rules: which actor did what and when. Entries are only added.

use diesel::dsl::max;
use diesel::{
    ExpressionMethods, OptionalExtension, QueryDsl, QueryResult, Queryable, RunQueryDsl, Selectable, SelectableHelper,
    insert_into,
};
use serde::Serialize;
use utoipa::ToSchema;
use watchpost_policies::Digest;

use super::{AuditActor, SettingsRef};
use crate::store::column_types::ColumnValue;
use crate::store::connection::{Connection, on};
use crate::store::schema::rule_log as columns;
use crate::store::{Store, StoreError};

/// An action on a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditAction {
    /// A version was uploaded.
    Uploaded,
    /// A stored version was signed with a trusted key.
    Signed,
    /// Versions were deleted.
    Deleted,
    /// A version was activated.
    Activated,
    /// A version was put into shadow mode.
    Shadowed,
    /// The rule was deactivated.
    Deactivated,
    /// The previous version was activated again.
    RolledBack,
    /// The rule's settings were changed.
    Configured,
    /// The rule failed too often, and its last good version was activated again.
    Quarantined,
}

impl AuditAction {
    /// All actions.
    pub const ALL: [Self; 9] = [
        Self::Uploaded,
        Self::Signed,
        Self::Deleted,
        Self::Activated,
        Self::Shadowed,
        Self::Deactivated,
        Self::RolledBack,
        Self::Configured,
        Self::Quarantined,
    ];

    /// The text in the audit log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Uploaded => "uploaded",
            Self::Signed => "signed",
            Self::Deleted => "deleted",
            Self::Activated => "activated",
            Self::Shadowed => "shadowed",
            Self::Deactivated => "deactivated",
            Self::RolledBack => "rolled_back",
            Self::Configured => "configured",
            Self::Quarantined => "quarantined",
        }
    }
}

/// An entry of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable, Serialize, ToSchema)]
#[diesel(table_name = columns)]
#[schema(as = AuditEntry)]
pub struct AuditEntry {
    /// The id by which the next page is read; zero before the entry is written.
    pub id: i64,
    /// The time.
    #[serde(rename = "time", with = "watchpost_policies::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub time_ms: i64,
    /// The rule's name.
    #[serde(skip)]
    pub name: String,
    /// The action.
    #[schema(value_type = String)]
    pub action: AuditAction,
    /// The version's digest.
    #[schema(value_type = Option<String>)]
    pub digest: Option<Digest>,
    /// The settings' number.
    #[schema(value_type = Option<i64>)]
    pub settings_id: Option<SettingsRef>,
    /// The generation that the action created.
    pub generation: Option<i64>,
    /// The actor.
    pub actor: String,
    /// The actor's address; empty if the action was not requested by a client.
    pub address: String,
    /// The actor's note, or the reason.
    pub note: String,
}

impl AuditEntry {
    /// An entry with these fields; the others are empty.
    pub fn of(name: &str, action: AuditAction, actor: &AuditActor, now_ms: i64) -> Self {
        Self {
            id: 0,
            time_ms: now_ms,
            name: name.to_owned(),
            action,
            digest: None,
            settings_id: None,
            generation: None,
            actor: actor.name.clone(),
            address: actor.address.clone(),
            note: String::new(),
        }
    }
}

impl Store {
    /// The audit entries of a rule before this id, the latest first.
    pub fn rule_log(&self, name: &str, before: Option<i64>, limit: i64) -> Result<Vec<AuditEntry>, StoreError> {
        let before = before.unwrap_or(i64::MAX);
        self.read(|connection| {
            on!(connection, connection => columns::table
                .filter(columns::name.eq(name))
                .filter(columns::id.lt(before))
                .select(AuditEntry::as_select())
                .order(columns::id.desc())
                .limit(limit)
                .load(connection))
        })
    }

    /// The last of these actions on each rule, except for those of one actor.
    pub fn last_actions(&self, actions: &[AuditAction], except: Option<&str>) -> Result<Vec<AuditEntry>, StoreError> {
        let mut last = self.read(|connection| {
            let last: Vec<Option<i64>> = on!(connection, connection => columns::table
                .filter(columns::action.eq_any(actions))
                .filter(columns::actor.ne(except.unwrap_or_default()))
                .group_by(columns::name)
                .select(max(columns::id))
                .load(connection))?;
            entries(connection, &last)
        })?;
        last.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(last)
    }

    /// The last of these actions that an actor performed on a rule.
    pub fn last_action_by(
        &self,
        name: &str,
        actor: &str,
        actions: &[AuditAction],
    ) -> Result<Option<AuditEntry>, StoreError> {
        self.read(|connection| {
            on!(connection, connection => columns::table
                .filter(columns::name.eq(name))
                .filter(columns::actor.eq(actor))
                .filter(columns::action.eq_any(actions))
                .select(AuditEntry::as_select())
                .order(columns::id.desc())
                .first(connection)
                .optional())
        })
    }
}

/// The last entry of each of these actions on each version of each rule.
pub(super) fn last_of_each(connection: &mut Connection, actions: &[AuditAction]) -> QueryResult<Vec<AuditEntry>> {
    let last: Vec<Option<i64>> = on!(connection, connection => columns::table
        .filter(columns::action.eq_any(actions))
        .group_by((columns::action, columns::name, columns::digest))
        .select(max(columns::id))
        .load(connection))?;
    entries(connection, &last)
}

/// The entries with these ids, in their order. An entry never changes, so it can be read in a second query.
fn entries(connection: &mut Connection, ids: &[Option<i64>]) -> QueryResult<Vec<AuditEntry>> {
    let ids: Vec<i64> = ids.iter().flatten().copied().collect();
    on!(connection, connection => columns::table
        .filter(columns::id.eq_any(&ids))
        .select(AuditEntry::as_select())
        .order(columns::id)
        .load(connection))
}

pub(super) fn write(connection: &mut Connection, entry: &AuditEntry) -> QueryResult<usize> {
    on!(connection, connection => insert_into(columns::table)
        .values((
            columns::time_ms.eq(entry.time_ms),
            columns::name.eq(&entry.name),
            columns::action.eq(entry.action),
            columns::digest.eq(entry.digest.map(ColumnValue)),
            columns::settings_id.eq(entry.settings_id),
            columns::generation.eq(entry.generation),
            columns::actor.eq(&entry.actor),
            columns::address.eq(&entry.address),
            columns::note.eq(&entry.note),
        ))
        .execute(connection))
}
