//! Packs rounds that are kept as they came into a window, when it is time.

use diesel::dsl::{count_star, min};
use diesel::{ExpressionMethods, QueryDsl, QueryResult, RunQueryDsl, delete, insert_into};

use super::MAX_ROUNDS_PER_BLOCK;
use super::pack::{self, Packed, Point};
use super::round::{lines, points, texts};
use crate::store::connection::{Connection, on};
use crate::store::schema::{history_columns, history_rounds, history_windows};
use crate::store::{Store, StoreError};

/// What a row costs besides its bytes.
const ROW_BYTES: usize = 24;

/// Rows that are written by one statement.
const BATCH_SIZE: usize = 200;

struct Window {
    begin_ms: i64,
    end_ms: i64,
    rounds: Vec<(u64, Vec<Point>)>,
    told: Vec<String>,
}

impl Store {
    /// Packs the oldest rounds of a machine, if they are old enough or enough. Whether it did.
    pub fn condense(&self, host: &str, window_ms: u64, now_ms: u64) -> Result<bool, StoreError> {
        let window_ms = i64::try_from(window_ms).unwrap_or(i64::MAX);
        let now_ms = i64::try_from(now_ms).unwrap_or(i64::MAX);
        let (oldest, count) = self.read(|connection| waiting(connection, host))?;
        let Some(begin_ms) = oldest else { return Ok(false) };
        let enough = usize::try_from(count).is_ok_and(|count| count >= MAX_ROUNDS_PER_BLOCK);
        if !enough && now_ms.saturating_sub(begin_ms) < window_ms {
            return Ok(false);
        }
        let until_ms = begin_ms.saturating_add(window_ms);
        let rows = self.read(|connection| rounds(connection, host, until_ms))?;
        let Some(window) = read_all(&rows) else {
            // Nothing of them can be read; they are named in the log, and would stand in the way for ever.
            let times: Vec<i64> = rows.iter().map(|row| row.0).collect();
            self.write(|connection| forget(connection, host, &times))?;
            return Ok(true);
        };
        let packed = pack_window(&window).map_err(StoreError::Failed)?;
        let told = texts(&window.told);
        let times: Vec<i64> = rows.iter().map(|row| row.0).collect();
        self.write(|connection| {
            // Another Watchpost of this name may have packed them meanwhile; then they are not there twice.
            if forget(connection, host, &times)? == times.len() {
                write(connection, host, &window, &packed, &told)?;
            }
            Ok(true)
        })
    }
}

impl Store {
    /// The machines that left rounds behind which nobody packs: they have another name now, or are gone.
    pub fn hosts_left_behind(&self, before_ms: u64) -> Result<Vec<String>, StoreError> {
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

/// Those that can be read; the others are told in the log, once, for they go with this.
fn read_all(rows: &[Row]) -> Option<Window> {
    let mut window = Window {
        begin_ms: rows.first()?.0,
        end_ms: rows.last()?.0,
        rounds: Vec::with_capacity(rows.len()),
        told: Vec::with_capacity(rows.len()),
    };
    for (time_ms, numbers, told) in rows {
        let read = points(numbers).and_then(|points| Ok((points, lines(told)?.join(""))));
        match read {
            Ok((points, told)) => {
                window.rounds.push((u64::try_from(*time_ms).unwrap_or(0), points));
                window.told.push(told);
            }
            Err(error) => log::error!(time_ms, reason:% = error; "a round of the history is lost"),
        }
    }
    (!window.rounds.is_empty()).then_some(window)
}

fn pack_window(window: &Window) -> Result<Packed, String> {
    let rounds = window.rounds.iter().map(|(time_ms, samples)| pack::Round {
        time_ms: *time_ms,
        samples,
    });
    pack::pack(&rounds.collect::<Vec<_>>()).map_err(|error| error.to_string())
}

fn waiting(connection: &mut Connection, of: &str) -> QueryResult<(Option<i64>, i64)> {
    use history_rounds::{host, table, time_ms};
    on!(connection, connection => table
        .filter(host.eq(of))
        .select((min(time_ms), count_star()))
        .first(connection))
}

fn rounds(connection: &mut Connection, of: &str, until_ms: i64) -> QueryResult<Vec<Row>> {
    use history_rounds::{host, numbers, table, time_ms, told};
    on!(connection, connection => table
        .filter(host.eq(of))
        .filter(time_ms.lt(until_ms))
        .order(time_ms)
        .limit(MAX_ROUNDS_PER_BLOCK as i64)
        .select((time_ms, numbers, told))
        .load(connection))
}

/// How many of them were there.
fn forget(connection: &mut Connection, of: &str, times: &[i64]) -> QueryResult<usize> {
    use history_rounds::{host, table, time_ms};
    on!(connection, connection =>
        delete(table.filter(host.eq(of)).filter(time_ms.eq_any(times))).execute(connection))
}

fn write(connection: &mut Connection, host: &str, window: &Window, packed: &Packed, told: &[u8]) -> QueryResult<()> {
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
            columns::bytes.eq(size(numbers + packed.shared.len() + told.len() + ROW_BYTES)),
            columns::shared.eq(&packed.shared),
            columns::told.eq(told),
        ))
        .returning(columns::id)
        .get_result(connection))?;
    for some in packed.columns.chunks(BATCH_SIZE) {
        let row = |(series, bytes): &(i64, Vec<u8>)| {
            (
                history_columns::series_id.eq(*series),
                history_columns::window_id.eq(id),
                history_columns::numbers.eq(bytes.clone()),
            )
        };
        let rows: Vec<_> = some.iter().map(row).collect();
        on!(connection, connection => insert_into(history_columns::table).values(rows).execute(connection))?;
    }
    Ok(())
}
