//! The statements about work chunks: reports and changes of workers, lists, and the counts for the collector.

use diesel::sql_types::{BigInt, Nullable, Text};
use diesel::{OptionalExtension, QueryResult, QueryableByName, RunQueryDsl, sql_query};

use super::{Change, Chunk, ChunkChange, ChunkFilter, Report, Status, Summary};
use crate::store::connection::{Connection, on};
use crate::store::{Store, StoreError};

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
