//! Records of decisions and judgements: inserted in batches, read page by page, and pruned by age and number. The
//! content of a record is defined elsewhere; searchable fields have columns, and the full record is JSON.

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

/// An arbitrary key for PostgreSQL's advisory locks that no other program uses.
const ADVISORY_LOCK_KEY: i64 = 0x6870_6f73_7401;

/// Rows that are deleted in one transaction, because other writers wait for it.
const BATCH_SIZE: i64 = 1000;

/// The subject of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = RecordKind)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The authorization of a request.
    Decision,
    /// A role rule in shadow mode would have decided differently.
    Difference,
    /// A rule's findings changed.
    Judgement,
}

/// The class of a record, which decides what it may displace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A decision about an anonymous client.
    Anonymous,
    /// Any other record.
    Ordinary,
    /// Break-glass access, or a permitted change of rules.
    Privileged,
}

/// The outcome of an authorization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = RecordVerdict)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The request was allowed.
    Allow,
    /// The role rule denied the request.
    Deny,
    /// The role rule failed.
    Fault,
    /// The role rule did not allow the request, but the configuration's break-glass access does.
    BreakGlass,
}

/// A record to insert.
#[derive(Clone, Debug, PartialEq, Eq, Insertable)]
#[diesel(table_name = columns)]
pub struct NewRecord {
    /// Unique for each record, so that a record is stored once even if its batch is retried.
    pub dedupe_key: i64,
    /// The time, in milliseconds since 1970 (UTC).
    pub time_ms: i64,
    /// The record's kind, as in the table.
    pub kind: &'static str,
    /// The client's identity.
    pub identity: Option<String>,
    /// The requested action.
    pub action: Option<&'static str>,
    /// The outcome, as in the table.
    pub verdict: Option<&'static str>,
    /// The rule that decided or judged.
    pub rule: Option<String>,
    /// The full record, as a JSON object.
    pub payload: String,
    /// The machine that wrote the record. Only it deletes the record.
    pub host: String,
    /// The record's class, as in the table.
    pub class: &'static str,
}

/// A stored record.
#[derive(Clone, Debug, PartialEq, Queryable, Selectable, Serialize)]
#[diesel(table_name = columns)]
pub struct Record {
    /// The id by which the next page is read.
    pub id: i64,
    /// The time.
    #[serde(rename = "time", with = "watchpost_policies::rfc3339")]
    pub time_ms: i64,
    /// The record's kind.
    pub kind: String,
    /// The full record.
    #[diesel(deserialize_as = RecordPayload)]
    #[serde(flatten)]
    pub payload: Map<String, Value>,
}

/// Selects records. A field that is `None` matches every record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DecisionFilter {
    /// Only records with a greater id.
    pub after: i64,
    /// The maximum number of records.
    pub limit: i64,
    /// The record's kind.
    pub kind: Option<Kind>,
    /// The client's identity.
    pub identity: Option<String>,
    /// The requested action.
    pub action: Option<&'static str>,
    /// The outcome.
    pub verdict: Option<Verdict>,
    /// The rule that decided or judged.
    pub rule: Option<String>,
    /// The earliest time, in milliseconds since 1970 (UTC).
    pub from_ms: Option<i64>,
    /// The latest time, in milliseconds since 1970 (UTC).
    pub to_ms: Option<i64>,
}

/// The retention of the records of one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionLimits {
    /// Older records are deleted, in milliseconds since 1970 (UTC).
    pub oldest_ms: u64,
    /// If there are more records, the oldest are deleted: first those that exceed the quota of their class, then those
    /// that are not privileged.
    pub max_records: u64,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Decision, Self::Difference, Self::Judgement];

    /// The text in the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Decision => "decision",
            Self::Difference => "difference",
            Self::Judgement => "judgement",
        }
    }
}

impl Class {
    /// The text in the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Ordinary => "ordinary",
            Self::Privileged => "privileged",
        }
    }
}

impl Verdict {
    /// The verdict of a role rule.
    pub const fn of(verdict: &watchpost_policies::Verdict) -> Self {
        match verdict {
            watchpost_policies::Verdict::Allow => Self::Allow,
            watchpost_policies::Verdict::Deny { .. } => Self::Deny,
            watchpost_policies::Verdict::Fault { .. } => Self::Fault,
        }
    }

    /// The text in the table.
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
    /// Inserts records, all of them or none. A record that exists already is not changed.
    pub fn insert_decisions(&self, records: &[NewRecord]) -> Result<(), StoreError> {
        self.write(|connection| match connection {
            Connection::Sqlite(sqlite) => {
                for record in records {
                    let insert = insert_into(columns::table).values(record);
                    insert.on_conflict_do_nothing().execute(sqlite)?;
                }
                Ok(())
            }
            Connection::Postgres(postgres) => {
                // With several writers, a lower id could be committed after a higher one, and a client that pages by id
                // would miss it. The lock makes ids visible in order.
                postgres.batch_execute(&format!("SELECT pg_advisory_xact_lock({ADVISORY_LOCK_KEY})"))?;
                let insert = insert_into(columns::table).values(records);
                insert.on_conflict_do_nothing().execute(postgres).map(drop)
            }
        })
    }

    /// The selected records, the oldest first.
    pub fn decisions(&self, filter: &DecisionFilter) -> Result<Vec<Record>, StoreError> {
        self.read(|connection| {
            on!(connection, connection => {
                let mut query = columns::table
                    .select(Record::as_select())
                    .filter(columns::id.gt(filter.after))
                    .order(columns::id)
                    .limit(filter.limit)
                    .into_boxed();
                if let Some(kind) = filter.kind {
                    query = query.filter(columns::kind.eq(kind.as_str()));
                }
                if let Some(identity) = &filter.identity {
                    query = query.filter(columns::identity.eq(identity));
                }
                if let Some(action) = filter.action {
                    query = query.filter(columns::action.eq(action));
                }
                if let Some(verdict) = filter.verdict {
                    query = query.filter(columns::verdict.eq(verdict.as_str()));
                }
                if let Some(rule) = &filter.rule {
                    query = query.filter(columns::rule.eq(rule));
                }
                if let Some(from_ms) = filter.from_ms {
                    query = query.filter(columns::time_ms.ge(from_ms));
                }
                if let Some(to_ms) = filter.to_ms {
                    query = query.filter(columns::time_ms.le(to_ms));
                }
                query.load(connection)
            })
        })
    }

    /// The other names that this machine had, as [`earlier_history_hosts`](Self::earlier_history_hosts). Records without a
    /// host, which are older than the column, belong to each machine that finds them.
    pub fn earlier_record_hosts(&self, current: &str) -> Result<Vec<String>, StoreError> {
        let mut hosts: Vec<String> = self.read(|connection| {
            on!(connection, connection => columns::table.select(columns::host).distinct().load(connection))
        })?;
        let is_file = self.is_file();
        hosts.retain(|host| host != current && (is_file || host.is_empty()));
        Ok(hosts)
    }

    /// Deletes one batch of the records of an earlier name of this machine: by their age, and before any record of the
    /// current name if there are too many as a whole. Returns whether any was deleted; call it until none was.
    pub fn prune_earlier_decisions(&self, host: &str, bounds: RetentionLimits) -> Result<bool, StoreError> {
        let count: i64 = self.read(|connection| {
            on!(connection, connection => columns::table.select(diesel::dsl::count_star()).first(connection))
        })?;
        let are_too_many = self.is_file() && u64::try_from(count).unwrap_or(0) > bounds.max_records;
        let max_records = if are_too_many { 0 } else { u64::MAX };
        self.prune_decisions(host, RetentionLimits { max_records, ..bounds })
    }

    /// Deletes one batch of a machine's records that exceed the bounds. Returns whether any was deleted; call it until
    /// none was. Records of other machines are left alone.
    pub fn prune_decisions(&self, host: &str, bounds: RetentionLimits) -> Result<bool, StoreError> {
        let oldest_ms = i64::try_from(bounds.oldest_ms).unwrap_or(i64::MAX);
        let max_records = i64::try_from(bounds.max_records).unwrap_or(i64::MAX);
        self.write(|connection| {
            let mut expired = older_than(connection, host, oldest_ms)?;
            for (quota, of) in quotas(max_records) {
                if expired.is_empty() {
                    expired = beyond(connection, host, quota, of)?;
                }
            }
            if expired.is_empty() {
                expired = excess(connection, host, max_records)?;
            }
            let deleted = on!(connection, connection =>
                delete(columns::table.filter(columns::id.eq_any(&expired))).execute(connection))?;
            Ok(deleted > 0)
        })
    }
}

/// Some of the records of a machine.
#[derive(Clone, Copy)]
enum Of {
    Kind(Kind),
    Class(Class),
}

/// The parts of all records that some may use: anonymous clients and shadow rules must not displace other records, and
/// privileged records, which nothing else displaces, must leave room.
const fn quotas(max_records: i64) -> [(i64, Of); 3] {
    let (half, quarter) = (max_records / 2, max_records / 4);
    [
        (half, Of::Kind(Kind::Difference)),
        (if quarter > 0 { quarter } else { 1 }, Of::Class(Class::Anonymous)),
        (if half > 0 { half } else { 1 }, Of::Class(Class::Privileged)),
    ]
}

fn older_than(connection: &mut Connection, host: &str, oldest_ms: i64) -> QueryResult<Vec<i64>> {
    on!(connection, connection => columns::table
        .filter(columns::time_ms.lt(oldest_ms))
        .filter(columns::host.eq(host))
        .select(columns::id)
        .order(columns::time_ms)
        .limit(BATCH_SIZE)
        .load(connection))
}

/// The oldest of these records beyond the newest `max`.
fn beyond(connection: &mut Connection, host: &str, max: i64, of: Of) -> QueryResult<Vec<i64>> {
    on!(connection, connection => {
        let selected = || {
            let all = columns::table.filter(columns::host.eq(host)).select(columns::id).into_boxed();
            match of {
                Of::Kind(kind) => all.filter(columns::kind.eq(kind.as_str())),
                Of::Class(class) => all.filter(columns::class.eq(class.as_str())),
            }
        };
        let last: Option<i64> = selected()
            .order(columns::id.desc())
            .offset(max)
            .limit(1)
            .first(connection)
            .optional()?;
        let Some(last) = last else { return Ok(Vec::new()) };
        selected()
            .filter(columns::id.le(last))
            .order(columns::id)
            .limit(BATCH_SIZE)
            .load(connection)
    })
}

/// The oldest records that are not privileged, as many as there are more than `max` records.
fn excess(connection: &mut Connection, host: &str, max: i64) -> QueryResult<Vec<i64>> {
    on!(connection, connection => {
        let count: i64 = columns::table
            .filter(columns::host.eq(host))
            .select(diesel::dsl::count_star())
            .first(connection)?;
        if count <= max {
            return Ok(Vec::new());
        }
        columns::table
            .filter(columns::host.eq(host))
            .filter(columns::class.ne(Class::Privileged.as_str()))
            .select(columns::id)
            .order(columns::id)
            .limit((count - max).min(BATCH_SIZE))
            .load(connection)
    })
}
