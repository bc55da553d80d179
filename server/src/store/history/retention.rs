//! Prunes the history by age and size: window by window, each in its own transaction, so that writers never wait for
//! long.

use std::collections::HashSet;

use diesel::dsl::count_star;
use diesel::sql_types::{BigInt, Text};
use diesel::{
    ExpressionMethods, JoinOnDsl, NullableExpressionMethods, OptionalExtension, QueryDsl, QueryResult, QueryableByName,
    RunQueryDsl, delete, sql_query,
};

use super::round::points;
use super::write::RoundWriter;
use crate::store::connection::{Connection, on};
use crate::store::schema::{history_columns, history_rounds, history_series, history_windows};
use crate::store::{Store, StoreError};

/// The retention of the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionLimits {
    /// Windows that end before this time are deleted, in milliseconds since 1970 (UTC).
    pub oldest_ms: u64,
    /// If the history is larger, the oldest windows are deleted.
    pub max_bytes: u64,
}

/// The size of the history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// The size in bytes.
    pub bytes: i64,
    /// The number of compacted samples.
    pub samples: i64,
    /// The number of windows.
    pub windows: i64,
    /// The number of rounds that are not compacted yet.
    pub rounds: i64,
}

impl Store {
    /// Deletes one window of a machine that exceeds the bounds. Returns whether any was deleted; call it until none was.
    /// The data of other machines is left alone: their clocks and their bounds may differ.
    pub fn prune_history(&self, host: &str, bounds: RetentionLimits) -> Result<bool, StoreError> {
        let oldest_ms = i64::try_from(bounds.oldest_ms).unwrap_or(i64::MAX);
        self.write(|connection| drop_rounds(connection, host, oldest_ms))?;
        let Some((id, end_ms)) = self.read(|connection| oldest(connection, host))? else {
            return Ok(false);
        };
        let too_old = u64::try_from(end_ms).is_ok_and(|end| end < bounds.oldest_ms);
        if !too_old && u64::try_from(self.usage(Some(host))?.bytes).unwrap_or(0) <= bounds.max_bytes {
            return Ok(false);
        }
        self.write(|connection| drop_window(connection, id, host))?;
        Ok(true)
    }

    /// The other names that this machine had: all that have data in a database file, which no other machine uses. Data
    /// of other machines in a shared database is theirs.
    pub fn earlier_history_hosts(&self, current: &str) -> Result<Vec<String>, StoreError> {
        if !self.is_file() {
            return Ok(Vec::new());
        }
        let mut hosts: Vec<String> = self.read(|connection| {
            on!(connection, connection => history_series::table
                .select(history_series::host)
                .distinct()
                .load(connection))
        })?;
        hosts.retain(|host| host != current);
        Ok(hosts)
    }

    /// Deletes one window of an earlier name of this machine: by its age, and before any data of the current name if the
    /// history is too large as a whole. Returns whether any was deleted; call it until none was.
    pub fn prune_earlier_history(&self, host: &str, bounds: RetentionLimits) -> Result<bool, StoreError> {
        let is_too_large = u64::try_from(self.usage(None)?.bytes).unwrap_or(0) > bounds.max_bytes;
        let max_bytes = if is_too_large { 0 } else { u64::MAX };
        self.prune_history(host, RetentionLimits { max_bytes, ..bounds })
    }

    /// The size of the history of all machines.
    pub fn history_usage(&self) -> Result<Usage, StoreError> {
        self.usage(None)
    }

    /// The size of the history of one machine, or of all.
    fn usage(&self, host: Option<&str>) -> Result<Usage, StoreError> {
        self.read(|connection| {
            let windows: Sums = summed(
                connection,
                "SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) AS bytes,
                 CAST(COALESCE(SUM(samples), 0) AS BIGINT) AS samples, COUNT(*) AS count FROM history_windows",
                host,
            )?;
            let rounds: Sums = summed(
                connection,
                "SELECT CAST(COALESCE(SUM(LENGTH(numbers) + LENGTH(extras)), 0) AS BIGINT) AS bytes,
                 CAST(0 AS BIGINT) AS samples, COUNT(*) AS count FROM history_rounds",
                host,
            )?;
            Ok(Usage {
                bytes: windows.bytes + rounds.bytes,
                samples: windows.samples,
                windows: windows.count,
                rounds: rounds.count,
            })
        })
    }
}

impl RoundWriter {
    /// Deletes the series of a machine that have no data. Only the writer that assigns ids to series may do it.
    pub fn delete_unused_series(&mut self, of: &str) -> Result<usize, StoreError> {
        self.clear_cache();
        self.store().write(|connection| {
            let in_rounds = numbers_in_rounds(connection, of)?;
            let unused: Vec<i64> = on!(connection, connection => history_series::table
                .left_join(history_columns::table.on(history_columns::series_id.eq(history_series::id)))
                .filter(history_series::host.eq(of))
                .filter(history_columns::window_id.nullable().is_null())
                .select(history_series::id)
                .load(connection))?;
            let mut deleted = 0;
            for id in unused.iter().filter(|id| !in_rounds.contains(id)) {
                deleted += on!(connection, connection =>
                    delete(history_series::table.filter(history_series::id.eq(*id))).execute(connection))?;
            }
            Ok(deleted)
        })
    }
}

#[derive(QueryableByName)]
struct Sums {
    #[diesel(sql_type = BigInt)]
    bytes: i64,
    #[diesel(sql_type = BigInt)]
    samples: i64,
    #[diesel(sql_type = BigInt)]
    count: i64,
}

fn summed(connection: &mut Connection, sql: &str, host: Option<&str>) -> QueryResult<Sums> {
    let Some(host) = host else {
        return on!(connection, connection => sql_query(sql).get_result(connection));
    };
    match connection {
        Connection::Sqlite(sqlite) => sql_query(format!("{sql} WHERE host = ?"))
            .bind::<Text, _>(host)
            .get_result(sqlite),
        Connection::Postgres(postgres) => sql_query(format!("{sql} WHERE host = $1"))
            .bind::<Text, _>(host)
            .get_result(postgres),
    }
}

fn oldest(connection: &mut Connection, of: &str) -> QueryResult<Option<(i64, i64)>> {
    use history_windows::{end_ms, host, id, table};
    on!(connection, connection => table
        .filter(host.eq(of))
        .order(end_ms)
        .select((id, end_ms))
        .first(connection)
        .optional())
}

/// Deletes rounds that were never compacted.
fn drop_rounds(connection: &mut Connection, of: &str, before_ms: i64) -> QueryResult<usize> {
    use history_rounds::{host, table, time_ms};
    on!(connection, connection =>
        delete(table.filter(host.eq(of)).filter(time_ms.lt(before_ms))).execute(connection))
}

/// Filters by the series of the window's machine, because the index of the columns starts with the series.
fn drop_window(connection: &mut Connection, window: i64, of: &str) -> QueryResult<()> {
    on!(connection, connection => {
        let series = history_series::table.filter(history_series::host.eq(of)).select(history_series::id);
        delete(
            history_columns::table
                .filter(history_columns::series_id.eq_any(series))
                .filter(history_columns::window_id.eq(window)),
        )
        .execute(connection)?;
        delete(history_windows::table.filter(history_windows::id.eq(window))).execute(connection)
    })?;
    Ok(())
}

fn numbers_in_rounds(connection: &mut Connection, of: &str) -> QueryResult<HashSet<i64>> {
    use history_rounds::{host, numbers, table};
    let count: i64 = on!(connection, connection => table.filter(host.eq(of)).select(count_star()).first(connection))?;
    if count == 0 {
        return Ok(HashSet::new());
    }
    let all: Vec<Vec<u8>> = on!(connection, connection => table.filter(host.eq(of)).select(numbers).load(connection))?;
    // An unreadable round refers to no series.
    Ok(all
        .iter()
        .filter_map(|bytes| points(bytes).ok())
        .flatten()
        .map(|point| point.series)
        .collect())
}
