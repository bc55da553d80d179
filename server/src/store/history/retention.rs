//! Lets the oldest go, by age and by size: window after window, each in a transaction of its own, so that nobody who
//! writes has to wait for long.

use std::collections::HashSet;

use diesel::dsl::count_star;
use diesel::sql_types::BigInt;
use diesel::{
    ExpressionMethods, JoinOnDsl, NullableExpressionMethods, OptionalExtension, QueryDsl, QueryResult, QueryableByName,
    RunQueryDsl, delete, sql_query,
};

use super::round::points;
use super::write::Keeper;
use crate::store::connection::{Connection, on};
use crate::store::schema::{history_columns, history_rounds, history_series, history_windows};
use crate::store::{Store, StoreError};

/// How much of the past is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// What ended before is not.
    pub oldest_ms: u64,
    /// Nor is the oldest, if all of it is larger.
    pub most_bytes: u64,
}

/// What there is of the past.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// In how many bytes.
    pub bytes: i64,
    /// How many samples are packed.
    pub samples: i64,
    /// How many windows they are packed in.
    pub windows: i64,
    /// How many rounds are not packed yet.
    pub rounds: i64,
}

impl Store {
    /// Lets one window go, if that has to be. Whether it did: ask again until it did not.
    pub fn sweep(&self, bounds: Bounds) -> Result<bool, StoreError> {
        let oldest_ms = i64::try_from(bounds.oldest_ms).unwrap_or(i64::MAX);
        self.write(|connection| drop_rounds(connection, oldest_ms))?;
        let Some((id, host, end_ms)) = self.read(oldest)? else {
            return Ok(false);
        };
        let too_old = u64::try_from(end_ms).is_ok_and(|end| end < bounds.oldest_ms);
        if !too_old && u64::try_from(self.history_usage()?.bytes).unwrap_or(0) <= bounds.most_bytes {
            return Ok(false);
        }
        self.write(|connection| drop_window(connection, id, &host))?;
        Ok(true)
    }

    /// What there is of the past.
    pub fn history_usage(&self) -> Result<Usage, StoreError> {
        self.read(|connection| {
            let of_windows: Sums = summed(
                connection,
                "SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) AS bytes,
                 CAST(COALESCE(SUM(samples), 0) AS BIGINT) AS samples, COUNT(*) AS count FROM history_windows",
            )?;
            let of_rounds: Sums = summed(
                connection,
                "SELECT CAST(COALESCE(SUM(LENGTH(numbers) + LENGTH(told)), 0) AS BIGINT) AS bytes,
                 CAST(0 AS BIGINT) AS samples, COUNT(*) AS count FROM history_rounds",
            )?;
            Ok(Usage {
                bytes: of_windows.bytes + of_rounds.bytes,
                samples: of_windows.samples,
                windows: of_windows.count,
                rounds: of_rounds.count,
            })
        })
    }
}

impl Keeper {
    /// Gives up series of a machine of which nothing is left. Only who gives numbers to series may do it.
    pub fn forget_series(&mut self, of: &str) -> Result<usize, StoreError> {
        self.forget_numbers();
        self.store().write(|connection| {
            let in_rounds = numbers_in_rounds(connection, of)?;
            let left: Vec<i64> = on!(connection, connection => history_series::table
                .left_join(history_columns::table.on(history_columns::series_id.eq(history_series::id)))
                .filter(history_series::host.eq(of))
                .filter(history_columns::window_id.nullable().is_null())
                .select(history_series::id)
                .load(connection))?;
            let mut gone = 0;
            for id in left.iter().filter(|id| !in_rounds.contains(id)) {
                gone += on!(connection, connection =>
                    delete(history_series::table.filter(history_series::id.eq(*id))).execute(connection))?;
            }
            Ok(gone)
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

fn summed(connection: &mut Connection, sql: &str) -> QueryResult<Sums> {
    on!(connection, connection => sql_query(sql).get_result(connection))
}

fn oldest(connection: &mut Connection) -> QueryResult<Option<(i64, String, i64)>> {
    use history_windows::{end_ms, host, id, table};
    on!(connection, connection => table
        .order(end_ms)
        .select((id, host, end_ms))
        .first(connection)
        .optional())
}

/// Rounds that nobody packed, of a machine that is not there any more.
fn drop_rounds(connection: &mut Connection, before_ms: i64) -> QueryResult<usize> {
    use history_rounds::{table, time_ms};
    on!(connection, connection => delete(table.filter(time_ms.lt(before_ms))).execute(connection))
}

/// By the series of its machine, for columns are found by their series first.
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
    // One that cannot be read has no series that it could miss.
    Ok(all
        .iter()
        .filter_map(|bytes| points(bytes).ok())
        .flatten()
        .map(|point| point.series)
        .collect())
}
