//! Work chunks: what workers report, what others read, and what the collector counts. Which change of status is legal
//! is told by [`Status`], whoever asks for it.

use diesel::backend::Backend;
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::sql_types::{BigInt, Nullable, Text};
use diesel::{OptionalExtension, QueryResult, QueryableByName, RunQueryDsl, sql_query};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::connection::{Connection, on};
use super::{Store, StoreError};

/// Where a chunk stands. The words are those of the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[schema(as = ChunkStatus)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Nobody works on it yet.
    #[default]
    Pending,
    /// Somebody does.
    Processing,
    /// It is done.
    Completed,
    /// It could not be done.
    Failed,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Processing, Self::Completed, Self::Failed];

    /// As the table has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Processing => "processing",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }

    /// What a chunk that stands here may become. Staying is always legal, so that a report may be sent twice.
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

    /// Whether becoming this means that it is tried once more.
    fn tries_again(self, next: Self) -> bool {
        matches!((self, next), (Self::Failed, _) | (Self::Processing, Self::Pending)) && self != next
    }

    fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }
}

/// Which images a chunk is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageRange {
    /// The first.
    pub start: i64,
    /// The last.
    pub end: i64,
}

/// A chunk that a worker tells of.
#[derive(Clone, Debug, PartialEq, Deserialize, ToSchema)]
#[schema(as = ChunkReport)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Of which job.
    pub job_id: i32,
    /// Which of its chunks.
    pub chunk_index: i32,
    /// Where it stands.
    #[serde(default)]
    pub status: Status,
    /// From 0 to 10; 5, if it is not told.
    #[serde(default = "usual_priority")]
    pub priority: i32,
    /// Which images.
    pub image_range: ImageRange,
    /// Who works on it.
    #[serde(default)]
    pub task_id: Option<String>,
    /// Why it failed.
    #[serde(default)]
    pub error_message: Option<String>,
}

const fn usual_priority() -> i32 {
    5
}

/// What changes about a chunk. What is not told stays.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, ToSchema)]
#[schema(as = ChunkChange)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// Where it stands now.
    pub status: Option<Status>,
    /// Its priority.
    pub priority: Option<i32>,
    /// Who works on it.
    pub task_id: Option<String>,
    /// Why it failed.
    pub error_message: Option<String>,
}

/// A chunk as it is kept.
#[derive(Clone, Debug, PartialEq, QueryableByName, Serialize, ToSchema)]
pub struct Chunk {
    /// By what it is changed.
    #[diesel(sql_type = BigInt)]
    pub id: i64,
    /// Of which job.
    #[diesel(sql_type = BigInt)]
    pub job_id: i64,
    /// Which of its chunks.
    #[diesel(sql_type = BigInt)]
    pub chunk_index: i64,
    /// Where it stands.
    #[diesel(sql_type = Text)]
    pub status: String,
    /// From 0 to 10.
    #[diesel(sql_type = BigInt)]
    pub priority: i64,
    /// Which images.
    #[diesel(sql_type = Text, deserialize_as = JsonOrText)]
    pub image_range: serde_json::Value,
    /// Why it failed.
    #[diesel(sql_type = Nullable<Text>)]
    pub error_message: Option<String>,
    /// How often it was tried again.
    #[diesel(sql_type = BigInt)]
    pub retry_count: i64,
    /// Who works on it.
    #[diesel(sql_type = Nullable<Text>)]
    pub task_id: Option<String>,
    /// When it was reported, in milliseconds since 1970 (UTC).
    #[diesel(sql_type = BigInt)]
    pub created_ms: i64,
    /// When it changed last, in milliseconds since 1970 (UTC).
    #[diesel(sql_type = BigInt)]
    pub updated_ms: i64,
}

/// JSON of somebody else's table, where it may be anything; what is no JSON is a text.
#[derive(Debug, FromSqlRow)]
struct JsonOrText(serde_json::Value);

/// What came of a change.
#[derive(Clone, Debug, PartialEq)]
pub enum ChunkChange {
    /// It is as it was asked for.
    Done(Chunk),
    /// There is no such chunk.
    Missing,
    /// From where it stands it cannot become that.
    Illegal {
        /// Where it stands.
        current: String,
    },
    /// Where it stands is final, and what is known of it stays.
    Final {
        /// Where it stands.
        current: String,
    },
}

/// Which chunks somebody wants to see.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChunkFilter {
    /// Only those that stand there.
    pub status: Option<Status>,
    /// Only those of this job.
    pub job: Option<i64>,
    /// Only those with a greater id.
    pub after: i64,
    /// At most so many.
    pub most: i64,
}

/// What there is of chunks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
#[schema(as = ChunkSummary)]
pub struct Summary {
    /// When it was counted, in milliseconds since 1970 (UTC), by the database's clock.
    pub as_of_ms: i64,
    /// How many stand where, every status told.
    pub by_status: std::collections::BTreeMap<String, i64>,
    /// How long the one that is longest in work has been there, in seconds.
    pub oldest_active_seconds: f64,
    /// How often chunks were tried again, all in all.
    pub retries: i64,
}

impl Store {
    /// Takes reports. A chunk that is known already stays as it is; whether one is new is told beside it. All of them
    /// are kept or none.
    pub fn report_chunks(&self, reports: &[Report]) -> Result<Vec<(Chunk, bool)>, StoreError> {
        self.write(|connection| {
            // In one order for all, or two that report the same would wait for each other.
            let mut order: Vec<usize> = (0..reports.len()).collect();
            order.sort_by_key(|at| (reports[*at].job_id, reports[*at].chunk_index));
            let mut kept = vec![None; reports.len()];
            for at in order {
                kept[at] = Some(keep(connection, &reports[at])?);
            }
            Ok(kept.into_iter().flatten().collect())
        })
    }

    /// Changes a chunk, if that is legal. One that may become nothing else does not change in any other way either.
    pub fn change_chunk(&self, id: i64, change: &Change) -> Result<ChunkChange, StoreError> {
        self.write(|connection| {
            let Some(chunk) = one(connection, "id = $1", &[id], Lock::ToChange)? else {
                return Ok(ChunkChange::Missing);
            };
            let current = Status::of_word(&chunk.status);
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

    /// The chunks that somebody wants, by their ids.
    pub fn chunks(&self, wanted: &ChunkFilter) -> Result<Vec<Chunk>, StoreError> {
        let mut condition = "id > $1".to_owned();
        let mut numbers = vec![wanted.after];
        if let Some(job) = wanted.job {
            condition.push_str(" AND job_id = $2");
            numbers.push(job);
        }
        if let Some(status) = wanted.status {
            // One of four words of our own.
            condition.push_str(&format!(" AND status = '{}'", status.as_str()));
        }
        condition.push_str(&format!(" ORDER BY id LIMIT {}", wanted.most));
        self.read(|connection| rows(connection, &condition, &numbers))
    }

    /// What there is of chunks.
    pub fn chunk_summary(&self) -> Result<Summary, StoreError> {
        self.read(|connection| {
            // Chunks change by this clock, and ours may be another.
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

    /// How many chunks failed from one moment on and before another, by the database's clock. Of the last millisecond
    /// more may come, so it belongs to whoever counts next.
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

fn keep(connection: &mut Connection, report: &Report) -> QueryResult<(Chunk, bool)> {
    let range = serde_json::to_string(&report.image_range)
        .map_err(|error| diesel::result::Error::SerializationError(Box::new(error)))?;
    let sql = format!(
        "INSERT INTO job_chunks (job_id, chunk_index, status, priority, image_range, task_id, error_message)
         VALUES ($1, $2, $3, $4, {}, $6, $7) ON CONFLICT (job_id, chunk_index) DO NOTHING",
        connection.to_json("$5")
    );
    let made = on!(connection, connection => sql_query(&sql)
        .bind::<diesel::sql_types::Integer, _>(report.job_id)
        .bind::<diesel::sql_types::Integer, _>(report.chunk_index)
        .bind::<Text, _>(report.status.as_str())
        .bind::<diesel::sql_types::Integer, _>(report.priority)
        .bind::<Text, _>(&range)
        .bind::<Nullable<Text>, _>(report.task_id.as_deref())
        .bind::<Nullable<Text>, _>(report.error_message.as_deref())
        .execute(connection))?;
    let key = [i64::from(report.job_id), i64::from(report.chunk_index)];
    let kept = one(connection, "job_id = $1 AND chunk_index = $2", &key, Lock::None)?;
    kept.map(|chunk| (chunk, made > 0))
        .ok_or(diesel::result::Error::NotFound)
}

/// What is told twice is as old as when it was told first.
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
    let again = change
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
    // Why it failed before is not true of the next attempt.
    let kept = chunk.error_message.as_deref().filter(|_| !again);
    let error = change.error_message.as_deref().or(kept);
    on!(connection, connection => sql_query(&sql)
        .bind::<Text, _>(status)
        .bind::<BigInt, _>(priority)
        .bind::<Nullable<Text>, _>(task)
        .bind::<Nullable<Text>, _>(error)
        .bind::<BigInt, _>(chunk.retry_count + i64::from(again))
        .bind::<BigInt, _>(chunk.id)
        .execute(connection))
}

#[derive(PartialEq)]
enum Lock {
    None,
    /// Until the end of the transaction nobody else changes it. SQLite has locked everything already.
    ToChange,
}

fn one(connection: &mut Connection, condition: &str, numbers: &[i64], lock: Lock) -> QueryResult<Option<Chunk>> {
    let locked = lock == Lock::ToChange && matches!(connection, Connection::Postgres(_));
    let condition = format!("{condition}{}", if locked { " FOR UPDATE" } else { "" });
    Ok(rows(connection, &condition, numbers)
        .optional()?
        .and_then(|rows| rows.into_iter().next()))
}

/// The names and their order are the same for both, and so are the placeholders.
fn rows(connection: &mut Connection, condition: &str, numbers: &[i64]) -> QueryResult<Vec<Chunk>> {
    let sql = format!(
        "SELECT CAST(id AS BIGINT) AS id, CAST(job_id AS BIGINT) AS job_id, CAST(chunk_index AS BIGINT) AS chunk_index,
         status, CAST(priority AS BIGINT) AS priority, CAST(image_range AS TEXT) AS image_range, error_message,
         CAST(COALESCE(retry_count, 0) AS BIGINT) AS retry_count, task_id, {} AS created_ms, {} AS updated_ms
         FROM job_chunks WHERE {condition}",
        // In somebody else's table there may be none.
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
