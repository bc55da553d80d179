//! Compacts rounds into a window once they are old enough or numerous enough.

use diesel::dsl::{count_star, min};
use diesel::{ExpressionMethods, QueryDsl, QueryResult, RunQueryDsl, delete, insert_into};

use super::MAX_ROUNDS_PER_BLOCK;
use super::round::{compress_lines, lines, points};
use crate::store::connection::{Connection, on};
use crate::store::schema::{history_columns, history_rounds, history_windows};
use crate::store::{Store, StoreError};
use watchpost_history_codec::{self as codec, Packed, Point};

/// The approximate overhead of a row in bytes.
const ROW_BYTES: usize = 24;

/// The number of rows in one INSERT statement.
const BATCH_SIZE: usize = 200;

struct Window {
    begin_ms: i64,
    end_ms: i64,
    rounds: Vec<(u64, Vec<Point>)>,
    extras: Vec<String>,
}

impl Store {
    /// Compacts the oldest rounds of a machine, if they are old or numerous enough. Returns whether it did.
    pub fn compact_history(&self, host: &str, window_ms: u64, now_ms: u64) -> Result<bool, StoreError> {
        let window_ms = i64::try_from(window_ms).unwrap_or(i64::MAX);
        let now_ms = i64::try_from(now_ms).unwrap_or(i64::MAX);
        let (oldest, count) = self.read(|connection| pending(connection, host))?;
        let Some(begin_ms) = oldest else { return Ok(false) };
        let is_full = usize::try_from(count).is_ok_and(|count| count >= MAX_ROUNDS_PER_BLOCK);
        if !is_full && now_ms.saturating_sub(begin_ms) < window_ms {
            return Ok(false);
        }
        let until_ms = begin_ms.saturating_add(window_ms);
        let rows = self.read(|connection| rounds(connection, host, until_ms))?;
        let Some(window) = parse_all(&rows) else {
            // No round can be read. They are logged and deleted, because they would block all later rounds.
            let times: Vec<i64> = rows.iter().map(|row| row.0).collect();
            self.write(|connection| delete_rounds(connection, host, &times))?;
            return Ok(true);
        };
        let packed = pack_window(&window).map_err(StoreError::Failed)?;
        let extras = compress_lines(&window.extras);
        let times: Vec<i64> = rows.iter().map(|row| row.0).collect();
        self.write(|connection| {
            // Another process of this name may have compacted them meanwhile; then they must not be stored twice.
            if delete_rounds(connection, host, &times)? == times.len() {
                write(connection, host, &window, &packed, &extras)?;
            }
            Ok(true)
        })
    }
}

impl Store {
    /// The machines with rounds that no running process compacts: they were renamed or removed.
    pub fn abandoned_hosts(&self, before_ms: u64) -> Result<Vec<String>, StoreError> {
        use history_rounds::{host, table, time_ms};
        let before_ms = i64::try_from(before_ms).unwrap_or(i64::MAX);
        self.read(|connection| {
            on!(connection, connection => table
                .filter(time_ms.lt(before_ms))
                .select(host)
                .distinct()
                .load(connection))
        })
    }
}

type Row = (i64, Vec<u8>, Vec<u8>);

/// Parses the readable rounds. Unreadable rounds are logged once, because the caller deletes them.
fn parse_all(rows: &[Row]) -> Option<Window> {
    let mut window = Window {
        begin_ms: rows.first()?.0,
        end_ms: rows.last()?.0,
        rounds: Vec::with_capacity(rows.len()),
        extras: Vec::with_capacity(rows.len()),
    };
    for (time_ms, numbers, extras) in rows {
        let parsed = points(numbers).and_then(|points| Ok((points, lines(extras)?.join(""))));
        match parsed {
            Ok((points, extras)) => {
                window.rounds.push((u64::try_from(*time_ms).unwrap_or(0), points));
                window.extras.push(extras);
            }
            Err(error) => log::error!(time_ms, reason:% = error; "a round of the history is lost"),
        }
    }
    (!window.rounds.is_empty()).then_some(window)
}

fn pack_window(window: &Window) -> Result<Packed, String> {
    let rounds = window.rounds.iter().map(|(time_ms, samples)| codec::Round {
        time_ms: *time_ms,
        samples,
    });
    codec::pack(&rounds.collect::<Vec<_>>()).map_err(|error| error.to_string())
}

fn pending(connection: &mut Connection, of: &str) -> QueryResult<(Option<i64>, i64)> {
    use history_rounds::{host, table, time_ms};
    on!(connection, connection => table
        .filter(host.eq(of))
        .select((min(time_ms), count_star()))
        .first(connection))
}

fn rounds(connection: &mut Connection, of: &str, until_ms: i64) -> QueryResult<Vec<Row>> {
    use history_rounds::{extras, host, numbers, table, time_ms};
    on!(connection, connection => table
        .filter(host.eq(of))
        .filter(time_ms.lt(until_ms))
        .order(time_ms)
        .limit(MAX_ROUNDS_PER_BLOCK as i64)
        .select((time_ms, numbers, extras))
        .load(connection))
}

/// Deletes rounds, and returns how many there were.
fn delete_rounds(connection: &mut Connection, of: &str, times: &[i64]) -> QueryResult<usize> {
    use history_rounds::{host, table, time_ms};
    on!(connection, connection =>
        delete(table.filter(host.eq(of)).filter(time_ms.eq_any(times))).execute(connection))
}

fn write(connection: &mut Connection, host: &str, window: &Window, packed: &Packed, extras: &[u8]) -> QueryResult<()> {
    use history_windows as columns;
    let size = |bytes: usize| i64::try_from(bytes).unwrap_or(i64::MAX);
    let samples = window.rounds.iter().map(|(_, points)| points.len()).sum();
    let numbers: usize = packed.columns.iter().map(|(_, bytes)| bytes.len() + ROW_BYTES).sum();
    let id: i64 = on!(connection, connection => insert_into(columns::table)
        .values((
            columns::host.eq(host),
            columns::begin_ms.eq(window.begin_ms),
            columns::end_ms.eq(window.end_ms),
            columns::rounds.eq(size(window.rounds.len())),
            columns::samples.eq(size(samples)),
            columns::bytes.eq(size(numbers + packed.shared.len() + extras.len() + ROW_BYTES)),
            columns::shared.eq(&packed.shared),
            columns::extras.eq(extras),
        ))
        .returning(columns::id)
        .get_result(connection))?;
    for batch in packed.columns.chunks(BATCH_SIZE) {
        let row = |(series, bytes): &(i64, Vec<u8>)| {
            (
                history_columns::series_id.eq(*series),
                history_columns::window_id.eq(id),
                history_columns::numbers.eq(bytes.clone()),
            )
        };
        let rows: Vec<_> = batch.iter().map(row).collect();
        on!(connection, connection => insert_into(history_columns::table).values(rows).execute(connection))?;
    }
    Ok(())
}
