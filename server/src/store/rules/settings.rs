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

type Row = (i64, String, String, i64, String);

impl Store {
    /// Keeps settings, and tells by what they are named from now on. The same settings are kept once, but those of the
    /// configuration by themselves: whose they are decides whether a change of the configuration changes them.
    pub fn keep_rule_settings(&self, name: &str, settings: &str, by: &By, now_ms: i64) -> Result<i64, StoreError> {
        let digest = match by.who == CONFIGURATION {
            true => Digest::of(format!("{CONFIGURATION}\n{settings}").as_bytes()),
            false => Digest::of(settings.as_bytes()),
        };
        let digest = digest.to_string();
        self.write(|connection| {
            on!(connection, connection => insert_into(columns::table)
                .values((
                    columns::name.eq(name),
                    columns::digest.eq(&digest),
                    columns::settings.eq(settings),
                    columns::given_ms.eq(now_ms),
                    columns::given_by.eq(&by.who),
                ))
                .on_conflict_do_nothing()
                .execute(connection))?;
            number_of(connection, name, &digest)
        })
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

fn number_of(connection: &mut Connection, name: &str, digest: &str) -> QueryResult<i64> {
    on!(connection, connection => columns::table
        .filter(columns::name.eq(name))
        .filter(columns::digest.eq(digest))
        .select(columns::id)
        .first(connection))
}
