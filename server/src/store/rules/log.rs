//! Who did what to rules, and when; it is only ever added to.

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

/// What can be done to a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditAction {
    /// A version was brought.
    Uploaded,
    /// Somebody who is trusted vouches for a version that was there.
    Signed,
    /// Versions were let go.
    Deleted,
    /// A version is in force.
    Activated,
    /// A version is asked beside the one in force.
    Shadowed,
    /// It takes no part any more.
    Retired,
    /// What was in force before is in force again.
    RolledBack,
    /// It has other settings.
    Configured,
    /// The rule failed too often and was replaced by its last good version.
    Quarantined,
}

impl AuditAction {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Uploaded,
        Self::Signed,
        Self::Deleted,
        Self::Activated,
        Self::Shadowed,
        Self::Retired,
        Self::RolledBack,
        Self::Configured,
        Self::Quarantined,
    ];

    /// As the log has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Uploaded => "uploaded",
            Self::Signed => "signed",
            Self::Deleted => "deleted",
            Self::Activated => "activated",
            Self::Shadowed => "shadowed",
            Self::Retired => "retired",
            Self::RolledBack => "rolled_back",
            Self::Configured => "configured",
            Self::Quarantined => "quarantined",
        }
    }
}

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable, Serialize, ToSchema)]
#[diesel(table_name = columns)]
#[schema(as = AuditEntry)]
pub struct AuditEntry {
    /// By what it is read on; zero before it is written.
    pub id: i64,
    /// When, in milliseconds since 1970 (UTC).
    pub time_ms: i64,
    /// To which rule.
    #[serde(skip)]
    pub name: String,
    /// What.
    #[schema(value_type = String)]
    pub what: AuditAction,
    /// To which version.
    #[schema(value_type = Option<String>)]
    pub digest: Option<Digest>,
    /// With which settings.
    #[schema(value_type = Option<i64>)]
    pub settings_id: Option<SettingsRef>,
    /// Which generation came of it.
    pub generation: Option<i64>,
    /// By whom.
    #[diesel(column_name = done_by)]
    pub by: String,
    /// From where.
    pub address: String,
    /// What they said of it, or why.
    pub note: String,
}

impl AuditEntry {
    /// The beginning of a line.
    pub fn of(name: &str, action: AuditAction, by: &AuditActor, now_ms: i64) -> Self {
        Self {
            id: 0,
            time_ms: now_ms,
            name: name.to_owned(),
            what: action,
            digest: None,
            settings_id: None,
            generation: None,
            by: by.who.clone(),
            address: by.address.clone(),
            note: String::new(),
        }
    }
}

impl Store {
    /// What was done to a rule, the latest first, from before this line on.
    pub fn rule_log(&self, name: &str, before: Option<i64>, most: i64) -> Result<Vec<AuditEntry>, StoreError> {
        let before = before.unwrap_or(i64::MAX);
        self.read(|connection| {
            on!(connection, connection => columns::table
                .filter(columns::name.eq(name))
                .filter(columns::id.lt(before))
                .select(AuditEntry::as_select())
                .order(columns::id.desc())
                .limit(most)
                .load(connection))
        })
    }

    /// The last of these actions that was taken on each rule, but for those of somebody.
    pub fn last_deeds(&self, actions: &[AuditAction], but_by: Option<&str>) -> Result<Vec<AuditEntry>, StoreError> {
        let mut last = self.read(|connection| {
            let last: Vec<Option<i64>> = on!(connection, connection => columns::table
                .filter(columns::what.eq_any(actions))
                .filter(columns::done_by.ne(but_by.unwrap_or_default()))
                .group_by(columns::name)
                .select(max(columns::id))
                .load(connection))?;
            lines(connection, &last)
        })?;
        last.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(last)
    }

    /// The last of these actions that somebody took on a rule.
    pub fn last_deed_by(
        &self,
        name: &str,
        by: &str,
        actions: &[AuditAction],
    ) -> Result<Option<AuditEntry>, StoreError> {
        self.read(|connection| {
            on!(connection, connection => columns::table
                .filter(columns::name.eq(name))
                .filter(columns::done_by.eq(by))
                .filter(columns::what.eq_any(actions))
                .select(AuditEntry::as_select())
                .order(columns::id.desc())
                .first(connection)
                .optional())
        })
    }
}

/// The last line of each of these actions on each version of each rule.
pub(super) fn last_of_each(connection: &mut Connection, actions: &[AuditAction]) -> QueryResult<Vec<AuditEntry>> {
    let last: Vec<Option<i64>> = on!(connection, connection => columns::table
        .filter(columns::what.eq_any(actions))
        .group_by((columns::what, columns::name, columns::digest))
        .select(max(columns::id))
        .load(connection))?;
    lines(connection, &last)
}

/// The lines of these numbers, in their order. A line never changes, so it may be asked for after its number.
fn lines(connection: &mut Connection, numbers: &[Option<i64>]) -> QueryResult<Vec<AuditEntry>> {
    let numbers: Vec<i64> = numbers.iter().flatten().copied().collect();
    on!(connection, connection => columns::table
        .filter(columns::id.eq_any(&numbers))
        .select(AuditEntry::as_select())
        .order(columns::id)
        .load(connection))
}

pub(super) fn write(connection: &mut Connection, told: &AuditEntry) -> QueryResult<usize> {
    on!(connection, connection => insert_into(columns::table)
        .values((
            columns::time_ms.eq(told.time_ms),
            columns::name.eq(&told.name),
            columns::what.eq(told.what),
            columns::digest.eq(told.digest.map(ColumnValue)),
            columns::settings_id.eq(told.settings_id),
            columns::generation.eq(told.generation),
            columns::done_by.eq(&told.by),
            columns::address.eq(&told.address),
            columns::note.eq(&told.note),
        ))
        .execute(connection))
}
