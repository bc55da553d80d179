//! Records of what was decided and found: written in batches, read page after page, and let go when they are old or
//! too many. What a record says is decided elsewhere; what can be searched has a column, and the rest is JSON.

use diesel::connection::SimpleConnection;
use diesel::{
    ExpressionMethods, Insertable, OptionalExtension, QueryDsl, QueryResult, Queryable, RunQueryDsl, Selectable,
    SelectableHelper, delete, insert_into,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::column_types::RecordPayload;
use super::connection::{Connection, on};
use super::schema::decisions as columns;
use super::{Store, StoreError};

/// Any number that nobody else locks.
const ADVISORY_LOCK_KEY: i64 = 0x6870_6f73_7401;

/// Records that go in one transaction: others that write wait for it.
const BATCH_SIZE: i64 = 1000;

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = RecordKind)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Somebody wanted something.
    Decision,
    /// A role rule in shadow would have decided otherwise.
    Difference,
    /// A rule finds something else than before.
    Judgement,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = RecordVerdict)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It was allowed.
    Allow,
    /// The role rule said no.
    Deny,
    /// The role rule failed.
    Fault,
    /// The role rule did not allow it, and the configuration does.
    BreakGlass,
}

/// A record to be written.
#[derive(Clone, Debug, PartialEq, Eq, Insertable)]
#[diesel(table_name = columns)]
pub struct NewRecord {
    /// What nobody else has: a record that is written twice is there once.
    pub mark: i64,
    /// When, in milliseconds since 1970 (UTC).
    pub time_ms: i64,
    /// What it is about.
    pub kind: &'static str,
    /// Who asked.
    pub identity: Option<String>,
    /// What for.
    pub action: Option<&'static str>,
    /// What became of it.
    pub verdict: Option<&'static str>,
    /// Which rule said so.
    pub rule: Option<String>,
    /// All that there is to say, as a JSON object.
    pub told: String,
}

/// A record as it is read.
#[derive(Clone, Debug, PartialEq, Queryable, Selectable, Serialize)]
#[diesel(table_name = columns)]
pub struct Record {
    /// By what it is read on.
    pub id: i64,
    /// When, in milliseconds since 1970 (UTC).
    pub time_ms: i64,
    /// What it is about.
    pub kind: String,
    /// All that there is to say.
    #[diesel(deserialize_as = RecordPayload)]
    #[serde(flatten)]
    pub told: Map<String, Value>,
}

/// Which records somebody wants to see. What is not named may be anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DecisionFilter {
    /// Only those with a greater id.
    pub after: i64,
    /// At most so many.
    pub most: i64,
    /// What they are about.
    pub kind: Option<Kind>,
    /// Who asked.
    pub identity: Option<String>,
    /// What for.
    pub action: Option<&'static str>,
    /// What became of it.
    pub verdict: Option<Verdict>,
    /// Which rule said so.
    pub rule: Option<String>,
    /// Not before, in milliseconds since 1970 (UTC).
    pub from_ms: Option<i64>,
    /// Not after, in milliseconds since 1970 (UTC).
    pub to_ms: Option<i64>,
}

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// What is older is not.
    pub oldest_ms: u64,
    /// Nor are the oldest, if there are more.
    pub most: u64,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Decision, Self::Difference, Self::Judgement];

    /// As the table has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Decision => "decision",
            Self::Difference => "difference",
            Self::Judgement => "judgement",
        }
    }
}

impl Verdict {
    /// What a role rule said.
    pub const fn of(said: &watchpost_policies::Verdict) -> Self {
        match said {
            watchpost_policies::Verdict::Allow => Self::Allow,
            watchpost_policies::Verdict::Deny { .. } => Self::Deny,
            watchpost_policies::Verdict::Fault { .. } => Self::Fault,
        }
    }

    /// As the table has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Fault => "fault",
            Self::BreakGlass => "break_glass",
        }
    }
}

impl Store {
    /// Writes records, all of them or none. One that was written before stays as it is.
    pub fn keep_decisions(&self, records: &[NewRecord]) -> Result<(), StoreError> {
        self.write(|connection| match connection {
            Connection::Sqlite(sqlite) => {
                for record in records {
                    let kept = insert_into(columns::table).values(record);
                    kept.on_conflict_do_nothing().execute(sqlite)?;
                }
                Ok(())
            }
            Connection::Postgres(postgres) => {
                // Several share the table. Whoever reads on after an id would miss a smaller one that comes later, so
                // ids come in the order in which they are seen.
                postgres.batch_execute(&format!("SELECT pg_advisory_xact_lock({ADVISORY_LOCK_KEY})"))?;
                let kept = insert_into(columns::table).values(records);
                kept.on_conflict_do_nothing().execute(postgres).map(drop)
            }
        })
    }

    /// The records that are wanted, the oldest first.
    pub fn decisions(&self, wanted: &DecisionFilter) -> Result<Vec<Record>, StoreError> {
        self.read(|connection| {
            on!(connection, connection => {
                let mut query = columns::table
                    .select(Record::as_select())
                    .filter(columns::id.gt(wanted.after))
                    .order(columns::id)
                    .limit(wanted.most)
                    .into_boxed();
                if let Some(kind) = wanted.kind {
                    query = query.filter(columns::kind.eq(kind.as_str()));
                }
                if let Some(identity) = &wanted.identity {
                    query = query.filter(columns::identity.eq(identity));
                }
                if let Some(action) = wanted.action {
                    query = query.filter(columns::action.eq(action));
                }
                if let Some(verdict) = wanted.verdict {
                    query = query.filter(columns::verdict.eq(verdict.as_str()));
                }
                if let Some(rule) = &wanted.rule {
                    query = query.filter(columns::rule.eq(rule));
                }
                if let Some(from_ms) = wanted.from_ms {
                    query = query.filter(columns::time_ms.ge(from_ms));
                }
                if let Some(to_ms) = wanted.to_ms {
                    query = query.filter(columns::time_ms.le(to_ms));
                }
                query.load(connection)
            })
        })
    }

    /// Lets some records go, if that has to be. Whether it did: ask again until it did not.
    pub fn prune_decisions(&self, bounds: Bounds) -> Result<bool, StoreError> {
        let oldest_ms = i64::try_from(bounds.oldest_ms).unwrap_or(i64::MAX);
        let most = i64::try_from(bounds.most).unwrap_or(i64::MAX);
        self.write(|connection| {
            let mut going = older_than(connection, oldest_ms)?;
            if going.is_empty() {
                // What only would have been pushes out no more than half of what was.
                going = beyond(connection, Some(Kind::Difference), most / 2)?;
            }
            if going.is_empty() {
                going = beyond(connection, None, most)?;
            }
            let gone = on!(connection, connection =>
                delete(columns::table.filter(columns::id.eq_any(&going))).execute(connection))?;
            Ok(gone > 0)
        })
    }
}

fn older_than(connection: &mut Connection, oldest_ms: i64) -> QueryResult<Vec<i64>> {
    on!(connection, connection => columns::table
        .filter(columns::time_ms.lt(oldest_ms))
        .select(columns::id)
        .order(columns::time_ms)
        .limit(BATCH_SIZE)
        .load(connection))
}

/// The oldest of those that are more than so many; of a kind, or of all.
fn beyond(connection: &mut Connection, kind: Option<Kind>, most: i64) -> QueryResult<Vec<i64>> {
    on!(connection, connection => {
        let of_kind = || {
            let all = columns::table.select(columns::id).into_boxed();
            match kind {
                Some(kind) => all.filter(columns::kind.eq(kind.as_str())),
                None => all,
            }
        };
        let last: Option<i64> = of_kind()
            .order(columns::id.desc())
            .offset(most)
            .limit(1)
            .first(connection)
            .optional()?;
        let Some(last) = last else { return Ok(Vec::new()) };
        of_kind()
            .filter(columns::id.le(last))
            .order(columns::id)
            .limit(BATCH_SIZE)
            .load(connection)
    })
}
