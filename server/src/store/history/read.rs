//! Reads the history: single series over a long time, or whole snapshots. A query finds the series first and plans the
//! reads then, so that a query that is too large is rejected before windows or columns are read.

use std::collections::{BTreeMap, HashMap, HashSet};

use diesel::{ExpressionMethods, OptionalExtension, QueryDsl, QueryResult, RunQueryDsl};
use watchpost_policies::{MetricName, MetricPattern, Sample, Snapshot, Unit};

use super::round::{RoundExtras, lines, points};
use super::series::{Series, find_series, stored_metrics};
use crate::store::connection::{Connection, on};
use crate::store::schema::{history_columns, history_rounds, history_series, history_windows};
use crate::store::{Store, StoreError};
use watchpost_history_codec::{Point, Shared, unpack_column};

/// A sample may be that much older than its round, because Azure reports values late.
const MAX_LATENESS_MS: u64 = 15 * 60 * 1000;

/// Selects series and a time range.
#[derive(Clone, Debug)]
pub struct Selection {
    /// The metrics; all if `None`.
    pub metric: Option<MetricPattern>,
    /// Labels that a series must have.
    pub labels: Vec<(String, String)>,
    /// The machine; all if `None`.
    pub host: Option<String>,
    /// The start of the range, in milliseconds since 1970 (UTC).
    pub from_ms: u64,
    /// The end of the range, inclusive, in milliseconds since 1970 (UTC).
    pub to_ms: u64,
}

/// The data to read for a selection.
#[derive(Debug, Default)]
pub struct Plan {
    /// The selected series.
    pub series: Vec<Series>,
    windows: Vec<Window>,
    /// The points of rounds that are not compacted yet, by series.
    recent: HashMap<i64, Vec<(u64, f64)>>,
    from_ms: u64,
    to_ms: u64,
}

#[derive(Debug)]
struct Window {
    id: i64,
    host: String,
    rounds: usize,
    shared: Shared,
}

/// A whole round of the history.
#[derive(Debug)]
pub struct StoredRound {
    pub snapshot: Snapshot,
    /// The rules' report about it.
    pub report: serde_json::Value,
}

impl Plan {
    /// The maximum number of points in the result.
    pub fn points(&self) -> usize {
        let points_of = |series: &Series| {
            let packed = self.windows.iter().filter(|window| window.host == series.host);
            let recent = self.recent.get(&series.id).map_or(0, Vec::len);
            packed.map(|window| window.rounds).fold(recent, usize::saturating_add)
        };
        self.series.iter().map(points_of).fold(0, usize::saturating_add)
    }
}

impl Store {
    /// The series of a selection.
    pub fn find_series(&self, selection: &Selection) -> Result<Vec<Series>, StoreError> {
        self.read(|connection| find_series(connection, selection))
    }

    /// The names of all metrics that the history has.
    pub fn stored_metrics(&self) -> Result<Vec<String>, StoreError> {
        self.read(stored_metrics)
    }

    /// Plans the reads of a selection with these series.
    pub fn plan_history(&self, selection: &Selection, series: Vec<Series>) -> Result<Plan, StoreError> {
        let mut hosts: Vec<&str> = series.iter().map(|series| series.host.as_str()).collect();
        hosts.sort_unstable();
        hosts.dedup();
        let mut plan = Plan {
            from_ms: selection.from_ms,
            to_ms: selection.to_ms,
            ..Plan::default()
        };
        let selected: HashSet<i64> = series.iter().map(|series| series.id).collect();
        for host in hosts {
            let later = Selection {
                to_ms: selection.to_ms.saturating_add(MAX_LATENESS_MS),
                ..selection.clone()
            };
            // Rounds first: rounds that are compacted meanwhile are then found twice instead of missed.
            let recent = self.read(|connection| recent_rounds(connection, host, selection))?;
            for (id, rounds, shared) in self.read(|connection| windows(connection, host, &later))? {
                let Some(shared) = readable(id, Shared::unpack(&shared)) else {
                    continue;
                };
                plan.windows.push(Window {
                    id,
                    host: host.to_owned(),
                    // A number that does not fit is over any limit.
                    rounds: usize::try_from(rounds).unwrap_or(usize::MAX),
                    shared,
                });
            }
            for (time_ms, numbers) in recent {
                for point in readable(time_ms, points(&numbers)).unwrap_or_default() {
                    if selected.contains(&point.series) {
                        plan.recent
                            .entry(point.series)
                            .or_default()
                            .push((point.time_ms, point.value));
                    }
                }
            }
        }
        plan.series = series;
        Ok(plan)
    }

    /// The points of one series, ordered by time.
    pub fn points(&self, plan: &Plan, series: &Series) -> Result<Vec<(u64, f64)>, StoreError> {
        let within = |time_ms: u64| (plan.from_ms..=plan.to_ms).contains(&time_ms);
        let windows: BTreeMap<i64, &Window> = plan
            .windows
            .iter()
            .filter(|window| window.host == series.host)
            .map(|window| (window.id, window))
            .collect();
        let mut found: Vec<(u64, f64)> = Vec::new();
        if let (Some((first, _)), Some((last, _))) = (windows.first_key_value(), windows.last_key_value()) {
            for (id, numbers) in self.read(|connection| columns(connection, series.id, *first, *last))? {
                let Some(window) = windows.get(&id) else { continue };
                let samples = readable(id, unpack_column(&window.shared, &numbers)).unwrap_or_default();
                found.extend(
                    samples
                        .iter()
                        .filter(|sample| within(sample.time_ms))
                        .map(|sample| (sample.time_ms, sample.value)),
                );
            }
        }
        let recent = plan.recent.get(&series.id).into_iter().flatten();
        found.extend(recent.filter(|(time_ms, _)| within(*time_ms)));
        // A source without new data repeats its last sample with the original time.
        found.sort_by_key(|(time_ms, _)| *time_ms);
        found.dedup_by_key(|(time_ms, _)| *time_ms);
        Ok(found)
    }

    /// The number of samples in all compacted snapshots of a machine in this range; rounds that are not compacted are
    /// few.
    pub fn count_snapshots(&self, of: &str, selection: &Selection) -> Result<i64, StoreError> {
        use history_windows::{begin_ms, end_ms, host, samples, table};
        let (from, to) = times(selection);
        let packed: Vec<i64> = self.read(|connection| {
            on!(connection, connection => table
                .filter(host.eq(of))
                .filter(end_ms.ge(from))
                .filter(begin_ms.le(to))
                .select(samples)
                .load(connection))
        })?;
        Ok(packed.into_iter().sum())
    }

    /// Reads whole rounds of a machine, window by window, until `take` returns false.
    pub fn past(
        &self,
        host: &str,
        selection: &Selection,
        mut take: impl FnMut(StoredRound) -> bool,
    ) -> Result<(), StoreError> {
        let series = self.read(|connection| {
            let all = Selection {
                metric: None,
                labels: Vec::new(),
                host: Some(host.to_owned()),
                ..selection.clone()
            };
            find_series(connection, &all)
        })?;
        let series: HashMap<i64, Series> = series.into_iter().map(|series| (series.id, series)).collect();
        let within = |time_ms: u64| (selection.from_ms..=selection.to_ms).contains(&time_ms);
        // Rounds first, as in a plan.
        let recent = self.read(|connection| whole_rounds(connection, host, selection))?;
        let mut seen = HashSet::new();
        for (id, _, shared) in self.read(|connection| windows(connection, host, selection))? {
            // The window may have been pruned in the meantime.
            let Some(extras) = self.read(|connection| extras_of(connection, id))? else {
                continue;
            };
            let both = readable(id, Shared::unpack(&shared)).zip(readable(id, lines(&extras)));
            let Some((shared, extras)) = both else { continue };
            let mut rounds: Vec<Vec<Point>> = vec![Vec::new(); shared.round_times().len()];
            for (number, numbers) in self.read(|connection| columns_of(connection, host, id))? {
                for sample in readable(id, unpack_column(&shared, &numbers)).unwrap_or_default() {
                    rounds[sample.round].push(Point {
                        series: number,
                        time_ms: sample.time_ms,
                        value: sample.value,
                    });
                }
            }
            for ((time_ms, points), line) in shared.round_times().iter().zip(rounds).zip(&extras) {
                let past = readable(id, RoundExtras::from_line(line))
                    .map(|extras| past(host, *time_ms, &points, extras, &series));
                if let Some(past) = past.filter(|_| within(*time_ms) && seen.insert(*time_ms))
                    && !take(past)
                {
                    return Ok(());
                }
            }
        }
        for (at, numbers, extras) in recent {
            let time_ms = u64::try_from(at).unwrap_or(0);
            let extras = lines(&extras).and_then(|lines| RoundExtras::from_line(&lines.join("")));
            let both = readable(at, points(&numbers)).zip(readable(at, extras));
            let past = both.map(|(points, extras)| past(host, time_ms, &points, extras, &series));
            if let Some(past) = past.filter(|_| seen.insert(time_ms))
                && !take(past)
            {
                return Ok(());
            }
        }
        Ok(())
    }
}

fn past(host: &str, time_ms: u64, points: &[Point], extras: RoundExtras, series: &HashMap<i64, Series>) -> StoredRound {
    let sample = |point: &Point| {
        let series = series.get(&point.series)?;
        let metric = MetricName::new(&series.metric).ok()?;
        let (labels, unit) = (series.labels.clone(), Unit::new(&series.unit));
        Sample::new(metric, labels, point.value, unit, point.time_ms).ok()
    };
    let samples = points.iter().filter_map(sample).collect();
    StoredRound {
        snapshot: Snapshot::new(host.to_owned(), time_ms, extras.facts, samples, extras.gaps),
        report: extras.report,
    }
}

/// The value if it can be read. Otherwise it is missing in the result and logged: one damaged piece must not hide a
/// week.
fn readable<T>(position: i64, result: Result<T, impl std::fmt::Display>) -> Option<T> {
    result
        .inspect_err(|error| log::error!(position, reason:% = error; "skipped a damaged piece of the history"))
        .ok()
}

fn times(selection: &Selection) -> (i64, i64) {
    let signed = |time_ms: u64| i64::try_from(time_ms).unwrap_or(i64::MAX);
    (signed(selection.from_ms), signed(selection.to_ms))
}

fn windows(connection: &mut Connection, of: &str, selection: &Selection) -> QueryResult<Vec<(i64, i64, Vec<u8>)>> {
    use history_windows::{begin_ms, end_ms, host, id, rounds, shared, table};
    let (from, to) = times(selection);
    on!(connection, connection => table
        .filter(host.eq(of))
        .filter(end_ms.ge(from))
        .filter(begin_ms.le(to))
        .order(begin_ms)
        .select((id, rounds, shared))
        .load(connection))
}

fn extras_of(connection: &mut Connection, window: i64) -> QueryResult<Option<Vec<u8>>> {
    use history_windows::{extras, id, table};
    on!(connection, connection => table.filter(id.eq(window)).select(extras).first(connection).optional())
}

fn columns(connection: &mut Connection, series: i64, first: i64, last: i64) -> QueryResult<Vec<(i64, Vec<u8>)>> {
    use history_columns::{numbers, series_id, table, window_id};
    on!(connection, connection => table
        .filter(series_id.eq(series))
        .filter(window_id.ge(first))
        .filter(window_id.le(last))
        .order(window_id)
        .select((window_id, numbers))
        .load(connection))
}

fn columns_of(connection: &mut Connection, host: &str, window: i64) -> QueryResult<Vec<(i64, Vec<u8>)>> {
    use history_columns::{numbers, series_id, table, window_id};
    on!(connection, connection => {
        let series = history_series::table.filter(history_series::host.eq(host)).select(history_series::id);
        table
            .filter(series_id.eq_any(series))
            .filter(window_id.eq(window))
            .select((series_id, numbers))
            .load(connection)
    })
}

/// Time, numbers and extras of a round.
type WholeRound = (i64, Vec<u8>, Vec<u8>);

fn recent_rounds(connection: &mut Connection, of: &str, selection: &Selection) -> QueryResult<Vec<(i64, Vec<u8>)>> {
    use history_rounds::{host, numbers, table, time_ms};
    // A sample is older than its round, so rounds after the range may have samples of the range.
    let (from, _) = times(selection);
    on!(connection, connection => table
        .filter(host.eq(of))
        .filter(time_ms.ge(from))
        .order(time_ms)
        .select((time_ms, numbers))
        .load(connection))
}

fn whole_rounds(connection: &mut Connection, of: &str, selection: &Selection) -> QueryResult<Vec<WholeRound>> {
    use history_rounds::{extras, host, numbers, table, time_ms};
    let (from, to) = times(selection);
    on!(connection, connection => table
        .filter(host.eq(of))
        .filter(time_ms.ge(from))
        .filter(time_ms.le(to))
        .order(time_ms)
        .select((time_ms, numbers, extras))
        .load(connection))
}
