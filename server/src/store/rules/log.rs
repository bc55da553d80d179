//! Who did what to rules, and when; it is only ever added to.

use diesel::dsl::max;
use diesel::{ExpressionMethods, OptionalExtension, QueryDsl, QueryResult, RunQueryDsl, insert_into};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::By;
use crate::store::connection::{Connection, on};
use crate::store::schema::rule_log as columns;
use crate::store::{Store, StoreError};

/// What can be done to a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Deed {
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
    /// It failed too often, and what was good before is in force again.
    PutAside,
}

impl Deed {
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
            Self::PutAside => "put_aside",
        }
    }
}

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = RuleLogLine)]
pub struct Told {
    /// By what it is read on; zero before it is written.
    pub id: i64,
    /// When, in milliseconds since 1970 (UTC).
    pub time_ms: i64,
    /// To which rule.
    #[serde(skip)]
    pub name: String,
    /// What.
    pub what: String,
    /// To which version.
    pub digest: Option<String>,
    /// With which settings.
    #[serde(rename = "settings")]
    pub settings_id: Option<i64>,
    /// Which generation came of it.
    pub generation: Option<i64>,
    /// By whom.
    pub by: String,
    /// From where.
    pub address: String,
    /// What they said of it, or why.
    pub note: String,
}

impl Told {
    /// The beginning of a line.
    pub fn of(name: &str, deed: Deed, by: &By, now_ms: i64) -> Self {
        Self {
            id: 0,
            time_ms: now_ms,
            name: name.to_owned(),
            what: deed.as_str().to_owned(),
            digest: None,
            settings_id: None,
            generation: None,
            by: by.who.clone(),
            address: by.address.clone(),
            note: String::new(),
        }
    }
}

type Row = (
    i64,
    i64,
    String,
    String,
    Option<String>,
    Option<i64>,
    Option<i64>,
    String,
    String,
    String,
);

/// All columns.
macro_rules! told {
    () => {
        (
            columns::id,
            columns::time_ms,
            columns::name,
            columns::what,
            columns::digest,
            columns::settings_id,
            columns::generation,
            columns::done_by,
            columns::address,
            columns::note,
        )
    };
}

impl Store {
    /// What was done to a rule, the latest first, from before this line on.
    pub fn rule_log(&self, name: &str, before: Option<i64>, most: i64) -> Result<Vec<Told>, StoreError> {
        let before = before.unwrap_or(i64::MAX);
        let rows: Vec<Row> = self.read(|connection| {
            on!(connection, connection => columns::table
                .filter(columns::name.eq(name))
                .filter(columns::id.lt(before))
                .select(told!())
                .order(columns::id.desc())
                .limit(most)
                .load(connection))
        })?;
        Ok(rows.into_iter().map(Told::from).collect())
    }
}

impl Store {
    /// The last of these deeds that was done to each rule, but for those of somebody.
    pub fn last_deeds(&self, deeds: &[Deed], but_by: Option<&str>) -> Result<Vec<Told>, StoreError> {
        let deeds: Vec<_> = deeds.iter().map(|deed| deed.as_str()).collect();
        let mut last = self.read(|connection| {
            let last: Vec<Option<i64>> = on!(connection, connection => columns::table
                .filter(columns::what.eq_any(&deeds))
                .filter(columns::done_by.ne(but_by.unwrap_or_default()))
                .group_by(columns::name)
                .select(max(columns::id))
                .load(connection))?;
            lines(connection, &last)
        })?;
        last.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(last)
    }

    /// The last of these deeds that somebody did to a rule.
    pub fn last_deed_by(&self, name: &str, by: &str, deeds: &[Deed]) -> Result<Option<Told>, StoreError> {
        let deeds: Vec<_> = deeds.iter().map(|deed| deed.as_str()).collect();
        let line: Option<Row> = self.read(|connection| {
            on!(connection, connection => columns::table
                .filter(columns::name.eq(name))
                .filter(columns::done_by.eq(by))
                .filter(columns::what.eq_any(&deeds))
                .select(told!())
                .order(columns::id.desc())
                .first(connection)
                .optional())
        })?;
        Ok(line.map(Told::from))
    }
}

impl From<Row> for Told {
    fn from((id, time_ms, name, what, digest, settings_id, generation, by, address, note): Row) -> Self {
        Self {
            id,
            time_ms,
            name,
            what,
            digest,
            settings_id,
            generation,
            by,
            address,
            note,
        }
    }
}

/// The last line of each of these deeds to each version of each rule.
pub(super) fn last_of_each(connection: &mut Connection, deeds: &[Deed]) -> QueryResult<Vec<Told>> {
    let deeds: Vec<_> = deeds.iter().map(|deed| deed.as_str()).collect();
    let last: Vec<Option<i64>> = on!(connection, connection => columns::table
        .filter(columns::what.eq_any(&deeds))
        .group_by((columns::what, columns::name, columns::digest))
        .select(max(columns::id))
        .load(connection))?;
    lines(connection, &last)
}

/// The lines of these numbers, in their order. A line never changes, so it may be asked for after its number.
fn lines(connection: &mut Connection, numbers: &[Option<i64>]) -> QueryResult<Vec<Told>> {
    let numbers: Vec<i64> = numbers.iter().flatten().copied().collect();
    let rows: Vec<Row> = on!(connection, connection => columns::table
        .filter(columns::id.eq_any(&numbers))
        .select(told!())
        .order(columns::id)
        .load(connection))?;
    Ok(rows.into_iter().map(Told::from).collect())
}

pub(super) fn write(connection: &mut Connection, told: &Told) -> QueryResult<usize> {
    on!(connection, connection => insert_into(columns::table)
        .values((
            columns::time_ms.eq(told.time_ms),
            columns::name.eq(&told.name),
            columns::what.eq(&told.what),
            columns::digest.eq(&told.digest),
            columns::settings_id.eq(told.settings_id),
            columns::generation.eq(told.generation),
            columns::done_by.eq(&told.by),
            columns::address.eq(&told.address),
            columns::note.eq(&told.note),
        ))
        .execute(connection))
}
