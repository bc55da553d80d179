//! Work chunks: reports from workers, queries, and the counts for the collector. [`Status`] defines which changes of
//! status are legal for every caller.

use diesel::backend::Backend;
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::sql_types::{BigInt, Nullable, Text};
use diesel::{OptionalExtension, QueryResult, QueryableByName, RunQueryDsl, sql_query};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::connection::{Connection, on};
use super::{Store, StoreError};

/// The status of a chunk; the texts are those of the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[schema(as = ChunkStatus)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The chunk is not assigned yet.
    #[default]
    Pending,
    /// A worker processes the chunk.
    Processing,
    /// The chunk is done.
    Completed,
    /// Processing the chunk failed.
    Failed,
}

impl Status {
    /// All statuses.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Processing, Self::Completed, Self::Failed];

    /// The text in the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Processing => "processing",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }

    /// The legal next statuses. Keeping the current status is always legal, so that a report can be repeated.
    pub const fn next(self) -> &'static [Self] {
        match self {
            Self::Pending => &[Self::Processing, Self::Failed],
            Self::Processing => &[Self::Completed, Self::Failed, Self::Pending],
            Self::Failed => &[Self::Pending, Self::Processing],
            Self::Completed => &[],
        }
    }

    fn is_final(self) -> bool {
        self.next().is_empty()
    }

    /// Whether this change of status is a retry.
    fn tries_again(self, next: Self) -> bool {
        matches!((self, next), (Self::Failed, _) | (Self::Processing, Self::Pending)) && self != next
    }

    fn of_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

/// The range of images of a chunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageRange {
    /// The first image.
    pub start: i64,
    /// The last image.
    pub end: i64,
}

/// A chunk that a worker reports.
#[derive(Clone, Debug, PartialEq, Deserialize, ToSchema)]
#[schema(as = ChunkReport)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// The job's number.
    pub job_id: i32,
    /// The chunk's index within its job.
    pub chunk_index: i32,
    /// The chunk's status; `pending` by default.
    #[serde(default)]
    pub status: Status,
    /// The priority, from 0 to 10; 5 by default.
    #[serde(default = "default_priority")]
    pub priority: i32,
    /// The images of the chunk.
    pub image_range: ImageRange,
    /// The worker's task that processes the chunk.
    #[serde(default)]
    pub task_id: Option<String>,
    /// The reason of a failure.
    #[serde(default)]
    pub error_message: Option<String>,
}

const fn default_priority() -> i32 {
    5
}

/// A change to a chunk. Fields that are not given keep their value.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, ToSchema)]
#[schema(as = ChunkChange)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// The new status.
    pub status: Option<Status>,
    /// The new priority, from 0 to 10.
    pub priority: Option<i32>,
    /// The worker's task that processes the chunk.
    pub task_id: Option<String>,
    /// The reason of a failure.
    pub error_message: Option<String>,
}

/// A stored chunk.
#[derive(Clone, Debug, PartialEq, QueryableByName, Serialize, ToSchema)]
pub struct Chunk {
    /// The id by which the chunk is read and changed.
    #[diesel(sql_type = BigInt)]
    pub id: i64,
    /// The job's number.
    #[diesel(sql_type = BigInt)]
    pub job_id: i64,
    /// The chunk's index within its job.
    #[diesel(sql_type = BigInt)]
    pub chunk_index: i64,
    /// The chunk's status: `pending`, `processing`, `completed` or `failed`.
    #[diesel(sql_type = Text)]
    pub status: String,
    /// The priority, from 0 to 10.
    #[diesel(sql_type = BigInt)]
    pub priority: i64,
    /// The images of the chunk.
    #[diesel(sql_type = Text, deserialize_as = JsonOrText)]
    pub image_range: serde_json::Value,
    /// The reason of the last failure.
    #[diesel(sql_type = Nullable<Text>)]
    pub error_message: Option<String>,
    /// The number of retries.
    #[diesel(sql_type = BigInt)]
    pub retry_count: i64,
    /// The worker's task that processes the chunk.
    #[diesel(sql_type = Nullable<Text>)]
    pub task_id: Option<String>,
    /// When the chunk was first reported.
    #[diesel(sql_type = BigInt)]
    #[serde(rename = "created_at", with = "watchpost_policies::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub created_ms: i64,
    /// When the chunk last changed.
    #[diesel(sql_type = BigInt)]
    #[serde(rename = "updated_at", with = "watchpost_policies::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub updated_ms: i64,
}

/// JSON of a table that another program may own, where a value may be anything; invalid JSON is read as text.
#[derive(Debug, FromSqlRow)]
struct JsonOrText(serde_json::Value);

/// The result of a change.
#[derive(Clone, Debug, PartialEq)]
pub enum ChunkChange {
    /// The chunk is as requested.
    Done(Chunk),
    /// No chunk has this id.
    Missing,
    /// The requested status is not a legal next status.
    Illegal {
        /// The chunk's status.
        current: String,
    },
    /// The chunk's status is final, so nothing about it can be changed.
    Final {
        /// The chunk's status.
        current: String,
    },
}

/// Selects chunks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChunkFilter {
    /// Only chunks with this status.
    pub status: Option<Status>,
    /// Only chunks of this job.
    pub job: Option<i64>,
    /// Only chunks with a greater id.
    pub after: i64,
    /// The maximum number of chunks.
    pub limit: i64,
}

/// The counts of chunks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
#[schema(as = ChunkSummary)]
pub struct Summary {
    /// The time of the count, by the database's clock.
    #[serde(rename = "as_of", with = "watchpost_policies::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub as_of_ms: i64,
    /// The number of chunks in each status, including zeros.
    pub by_status: std::collections::BTreeMap<String, i64>,
    /// The age in seconds of the chunk that has been in status `processing` for the longest time.
    pub oldest_active_seconds: f64,
    /// The total number of retries.
    pub retries: i64,
}

impl Store {
    /// Stores reports, all of them or none. A chunk that exists already is not changed; the flag next to each chunk is
    /// true if it is new.
    pub fn report_chunks(&self, reports: &[Report]) -> Result<Vec<(Chunk, bool)>, StoreError> {
        self.write(|connection| {
            // One order for all writers, or two that report the same chunks would deadlock.
            let mut order: Vec<usize> = (0..reports.len()).collect();
            order.sort_by_key(|at| (reports[*at].job_id, reports[*at].chunk_index));
            let mut stored = vec![None; reports.len()];
            for at in order {
                stored[at] = Some(insert(connection, &reports[at])?);
            }
            Ok(stored.into_iter().flatten().collect())
        })
    }

    /// Changes a chunk if that is legal. Nothing about a chunk in a final status can be changed.
    pub fn change_chunk(&self, id: i64, change: &Change) -> Result<ChunkChange, StoreError> {
        self.write(|connection| {
            let Some(chunk) = one(connection, "id = $1", &[id], Lock::ToChange)? else {
                return Ok(ChunkChange::Missing);
            };
            let current = Status::of_text(&chunk.status);
            if let Some(next) = change.status
                && current.is_none_or(|current| current != next && !current.next().contains(&next))
            {
                return Ok(ChunkChange::Illegal { current: chunk.status });
            }
            if changes_nothing(&chunk, change) {
                return Ok(ChunkChange::Done(chunk));
            }
            if current.is_some_and(Status::is_final) {
                return Ok(ChunkChange::Final { current: chunk.status });
            }
            write_change(connection, &chunk, change, current)?;
            let changed = one(connection, "id = $1", &[id], Lock::None)?;
            Ok(changed.map_or(ChunkChange::Missing, ChunkChange::Done))
        })
    }

    /// The selected chunks, ordered by id.
    pub fn chunks(&self, filter: &ChunkFilter) -> Result<Vec<Chunk>, StoreError> {
        let mut condition = "id > $1".to_owned();
        let mut numbers = vec![filter.after];
        if let Some(job) = filter.job {
            condition.push_str(" AND job_id = $2");
            numbers.push(job);
        }
        if let Some(status) = filter.status {
            // One of four constant texts.
            condition.push_str(&format!(" AND status = '{}'", status.as_str()));
        }
        condition.push_str(&format!(" ORDER BY id LIMIT {}", filter.limit));
        self.read(|connection| rows(connection, &condition, &numbers))
    }

    /// The counts of all chunks.
    pub fn chunk_summary(&self) -> Result<Summary, StoreError> {
        self.read(|connection| {
            // The database's clock, because chunks are updated by it and the local clock may differ.
            let now = format!("SELECT {} AS number", connection.milliseconds(connection.now()));
            let mut summary = Summary {
                as_of_ms: number(connection, &now)?,
                ..Summary::default()
            };
            for status in Status::ALL {
                summary.by_status.insert(status.as_str().to_owned(), 0);
            }
            for count in counts(connection)? {
                summary.by_status.insert(count.status, count.count);
            }
            let oldest = number(
                connection,
                &format!(
                    "SELECT COALESCE({}, 0) AS number FROM job_chunks WHERE status = 'processing'",
                    connection.milliseconds("MIN(updated_at)")
                ),
            )?;
            if oldest > 0 {
                summary.oldest_active_seconds = summary.as_of_ms.saturating_sub(oldest).max(0) as f64 / 1000.0;
            }
            summary.retries = number(
                connection,
                "SELECT CAST(COALESCE(SUM(retry_count), 0) AS BIGINT) AS number FROM job_chunks WHERE retry_count > 0",
            )?;
            Ok(summary)
        })
    }

    /// The number of chunks that failed from one moment on and before another, by the database's clock. The end is
    /// exclusive, because more chunks may fail within that millisecond; the next count includes it.
    pub fn chunks_failed(&self, from_ms: i64, until_ms: i64) -> Result<i64, StoreError> {
        self.read(|connection| {
            let changed = connection.milliseconds("updated_at");
            number(
                connection,
                &format!(
                    "SELECT COUNT(*) AS number FROM job_chunks WHERE status = 'failed' AND {changed} >= {from_ms}
                     AND {changed} < {until_ms}"
                ),
            )
        })
    }
}

fn insert(connection: &mut Connection, report: &Report) -> QueryResult<(Chunk, bool)> {
    let range = serde_json::to_string(&report.image_range)
        .map_err(|error| diesel::result::Error::SerializationError(Box::new(error)))?;
    let sql = format!(
        "INSERT INTO job_chunks (job_id, chunk_index, status, priority, image_range, task_id, error_message)
         VALUES ($1, $2, $3, $4, {}, $6, $7) ON CONFLICT (job_id, chunk_index) DO NOTHING",
        connection.to_json("$5")
    );
    let inserted = on!(connection, connection => sql_query(&sql)
        .bind::<diesel::sql_types::Integer, _>(report.job_id)
        .bind::<diesel::sql_types::Integer, _>(report.chunk_index)
        .bind::<Text, _>(report.status.as_str())
        .bind::<diesel::sql_types::Integer, _>(report.priority)
        .bind::<Text, _>(&range)
        .bind::<Nullable<Text>, _>(report.task_id.as_deref())
        .bind::<Nullable<Text>, _>(report.error_message.as_deref())
        .execute(connection))?;
    let key = [i64::from(report.job_id), i64::from(report.chunk_index)];
    let stored = one(connection, "job_id = $1 AND chunk_index = $2", &key, Lock::None)?;
    stored
        .map(|chunk| (chunk, inserted > 0))
        .ok_or(diesel::result::Error::NotFound)
}

/// A repeated report does not change the time of the last update.
fn changes_nothing(chunk: &Chunk, change: &Change) -> bool {
    let same = |now: &Option<String>, next: &Option<String>| next.is_none() || now == next;
    change.status.is_none_or(|next| next.as_str() == chunk.status)
        && change.priority.is_none_or(|next| i64::from(next) == chunk.priority)
        && same(&chunk.task_id, &change.task_id)
        && same(&chunk.error_message, &change.error_message)
}

fn write_change(
    connection: &mut Connection,
    chunk: &Chunk,
    change: &Change,
    current: Option<Status>,
) -> QueryResult<usize> {
    let is_retry = change
        .status
        .is_some_and(|next| current.is_some_and(|current| current.tries_again(next)));
    let sql = format!(
        "UPDATE job_chunks SET status = $1, priority = $2, task_id = $3, error_message = $4, retry_count = $5,
         updated_at = {} WHERE id = $6",
        connection.now()
    );
    let status = match change.status {
        Some(next) => next.as_str(),
        None => &chunk.status,
    };
    let priority = change.priority.map_or(chunk.priority, i64::from);
    let task = change.task_id.as_deref().or(chunk.task_id.as_deref());
    // The reason of the previous failure does not apply to the retry.
    let stored = chunk.error_message.as_deref().filter(|_| !is_retry);
    let error = change.error_message.as_deref().or(stored);
    on!(connection, connection => sql_query(&sql)
        .bind::<Text, _>(status)
        .bind::<BigInt, _>(priority)
        .bind::<Nullable<Text>, _>(task)
        .bind::<Nullable<Text>, _>(error)
        .bind::<BigInt, _>(chunk.retry_count + i64::from(is_retry))
        .bind::<BigInt, _>(chunk.id)
        .execute(connection))
}

#[derive(PartialEq)]
enum Lock {
    None,
    /// Locks the row until the end of the transaction. SQLite has locked the whole file already.
    ToChange,
}

fn one(connection: &mut Connection, condition: &str, numbers: &[i64], lock: Lock) -> QueryResult<Option<Chunk>> {
    let locked = lock == Lock::ToChange && matches!(connection, Connection::Postgres(_));
    let condition = format!("{condition}{}", if locked { " FOR UPDATE" } else { "" });
    Ok(rows(connection, &condition, numbers)
        .optional()?
        .and_then(|rows| rows.into_iter().next()))
}

/// The names, their order and the placeholders are the same for both databases.
fn rows(connection: &mut Connection, condition: &str, numbers: &[i64]) -> QueryResult<Vec<Chunk>> {
    let sql = format!(
        "SELECT CAST(id AS BIGINT) AS id, CAST(job_id AS BIGINT) AS job_id, CAST(chunk_index AS BIGINT) AS chunk_index,
         status, CAST(priority AS BIGINT) AS priority, CAST(image_range AS TEXT) AS image_range, error_message,
         CAST(COALESCE(retry_count, 0) AS BIGINT) AS retry_count, task_id, {} AS created_ms, {} AS updated_ms
         FROM job_chunks WHERE {condition}",
        // In a table of another program the times may be NULL.
        format_args!("COALESCE({}, 0)", connection.milliseconds("created_at")),
        format_args!("COALESCE({}, 0)", connection.milliseconds("updated_at")),
    );
    on!(connection, connection => {
        let mut query = sql_query(sql).into_boxed();
        for number in numbers {
            query = query.bind::<BigInt, _>(*number);
        }
        query.load(connection)
    })
}

impl<DB: Backend> FromSql<Text, DB> for JsonOrText
where
    String: FromSql<Text, DB>,
{
    fn from_sql(bytes: DB::RawValue<'_>) -> deserialize::Result<Self> {
        let text = <String as FromSql<Text, DB>>::from_sql(bytes)?;
        Ok(Self(
            serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text)),
        ))
    }
}

impl From<JsonOrText> for serde_json::Value {
    fn from(value: JsonOrText) -> Self {
        value.0
    }
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = Text)]
    status: String,
    #[diesel(sql_type = BigInt)]
    count: i64,
}

fn counts(connection: &mut Connection) -> QueryResult<Vec<Count>> {
    let sql = "SELECT status, COUNT(*) AS count FROM job_chunks GROUP BY status";
    on!(connection, connection => sql_query(sql).load(connection))
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    number: i64,
}

fn number(connection: &mut Connection, sql: &str) -> QueryResult<i64> {
    let found: Number = on!(connection, connection => sql_query(sql).get_result(connection))?;
    Ok(found.number)
}
