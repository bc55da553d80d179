//! The settings that rules were given. They never change, so a generation that names them can be made again.

use diesel::{ExpressionMethods, OptionalExtension, QueryDsl, QueryResult, RunQueryDsl, insert_into};
use serde::Serialize;
use watchpost_policies::Digest;

use super::{By, CONFIGURATION};
use crate::store::connection::{Connection, on};
use crate::store::schema::rule_settings as columns;
use crate::store::{Store, StoreError};

/// Settings that a rule was given once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Given {
    /// By what a generation names them.
    pub id: i64,
    /// Of which rule.
    #[serde(skip)]
    pub name: String,
    /// The settings, as JSON.
    #[serde(skip)]
    pub settings: String,
    /// When they were given first, in milliseconds since 1970 (UTC).
    pub given_ms: i64,
    /// By whom.
    pub given_by: String,
}

/// Settings that nobody gave before. They are kept with the first generation that has them: until then nobody knows
/// whether any will.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fresh {
    /// Of which rule.
    pub name: String,
    /// The settings, as JSON.
    pub settings: String,
    /// Who gives them.
    pub by: By,
}

/// What an entry has in the place of the number of fresh settings.
pub const FRESH: i64 = -1;

type Row = (i64, String, String, i64, String);

impl Store {
    /// Keeps settings, and tells by what they are named from now on. The same settings are kept once, but those of the
    /// configuration by themselves: whose they are decides whether a change of the configuration changes them.
    pub fn keep_rule_settings(&self, name: &str, settings: &str, by: &By, now_ms: i64) -> Result<i64, StoreError> {
        let fresh = Fresh {
            name: name.to_owned(),
            settings: settings.to_owned(),
            by: by.clone(),
        };
        self.write(|connection| keep(connection, &fresh, now_ms))
    }

    /// By what these settings are named, if somebody gave them before.
    pub fn number_of_rule_settings(&self, fresh: &Fresh) -> Result<Option<i64>, StoreError> {
        self.read(|connection| number_of(connection, fresh).optional())
    }

    /// Settings by their number.
    pub fn rule_settings(&self, id: i64) -> Result<Option<Given>, StoreError> {
        let row: Option<Row> = self.read(|connection| {
            on!(connection, connection => columns::table
                .find(id)
                .select((columns::id, columns::name, columns::settings, columns::given_ms, columns::given_by))
                .first(connection)
                .optional())
        })?;
        Ok(row.map(|(id, name, settings, given_ms, given_by)| Given {
            id,
            name,
            settings,
            given_ms,
            given_by,
        }))
    }
}

/// Keeps settings, if they are not kept, and tells by what they are named.
pub(super) fn keep(connection: &mut Connection, fresh: &Fresh, now_ms: i64) -> QueryResult<i64> {
    on!(connection, connection => insert_into(columns::table)
        .values((
            columns::name.eq(&fresh.name),
            columns::digest.eq(digest_of(fresh)),
            columns::settings.eq(&fresh.settings),
            columns::given_ms.eq(now_ms),
            columns::given_by.eq(&fresh.by.who),
        ))
        .on_conflict_do_nothing()
        .execute(connection))?;
    number_of(connection, fresh)
}

fn digest_of(fresh: &Fresh) -> String {
    let digest = match fresh.by.who == CONFIGURATION {
        true => Digest::of(format!("{CONFIGURATION}\n{}", fresh.settings).as_bytes()),
        false => Digest::of(fresh.settings.as_bytes()),
    };
    digest.to_string()
}

fn number_of(connection: &mut Connection, fresh: &Fresh) -> QueryResult<i64> {
    on!(connection, connection => columns::table
        .filter(columns::name.eq(&fresh.name))
        .filter(columns::digest.eq(digest_of(fresh)))
        .select(columns::id)
        .first(connection))
}
