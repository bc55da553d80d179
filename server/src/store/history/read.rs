//! Reads the past: single series over a long time, or whole snapshots. The series are found first and what is asked
//! for is planned then, so that whoever asks for too much is told before windows or columns are read.

use std::collections::{BTreeMap, HashMap, HashSet};

use diesel::{ExpressionMethods, OptionalExtension, QueryDsl, QueryResult, RunQueryDsl};
use watchpost_policies::{MetricName, MetricPattern, Sample, Snapshot, Unit};

use super::pack::{Point, Shared, unpack_column};
use super::round::{RoundExtras, lines, points};
use super::series::{Series, find_series};
use crate::store::connection::{Connection, on};
use crate::store::schema::{history_columns, history_rounds, history_series, history_windows};
use crate::store::{Store, StoreError};

/// A sample may be that much older than the round that tells of it: what Azure says comes late.
const MAX_LATENESS_MS: u64 = 15 * 60 * 1000;

/// Which series somebody wants, and of which time.
#[derive(Clone, Debug)]
pub struct Selection {
    /// Which metrics; all, if none is told.
    pub metric: Option<MetricPattern>,
    /// Labels that a series has to have.
    pub labels: Vec<(String, String)>,
    /// Of which machine only.
    pub host: Option<String>,
    /// From when, in milliseconds since 1970 (UTC).
    pub from_ms: u64,
    /// Until when; this moment is part of it.
    pub to_ms: u64,
}

/// What has to be read for a selection.
#[derive(Debug, Default)]
pub struct Plan {
    /// The series.
    pub series: Vec<Series>,
    windows: Vec<Window>,
    /// The points of rounds that are not packed yet, by series.
    loose: HashMap<i64, Vec<(u64, f64)>>,
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

/// A whole round of the past.
#[derive(Debug)]
pub struct Past {
    /// What was measured.
    pub snapshot: Snapshot,
    /// What the rules said of it.
    pub report: serde_json::Value,
}

impl Plan {
    /// How many points it may take to answer, at most.
    pub fn points(&self) -> usize {
        let of = |series: &Series| {
            let packed = self.windows.iter().filter(|window| window.host == series.host);
            let loose = self.loose.get(&series.id).map_or(0, Vec::len);
            packed.map(|window| window.rounds).sum::<usize>() + loose
        };
        self.series.iter().map(of).sum()
    }
}

impl Store {
    /// The series of a selection.
    pub fn find_series(&self, wanted: &Selection) -> Result<Vec<Series>, StoreError> {
        self.read(|connection| find_series(connection, wanted))
    }

    /// Finds out what a selection takes, whose series are these.
    pub fn plan_history(&self, wanted: &Selection, series: Vec<Series>) -> Result<Plan, StoreError> {
        let mut hosts: Vec<&str> = series.iter().map(|series| series.host.as_str()).collect();
        hosts.sort_unstable();
        hosts.dedup();
        let mut plan = Plan {
            from_ms: wanted.from_ms,
            to_ms: wanted.to_ms,
            ..Plan::default()
        };
        let of_interest: HashSet<i64> = series.iter().map(|series| series.id).collect();
        for host in hosts {
            let later = Selection {
                to_ms: wanted.to_ms.saturating_add(MAX_LATENESS_MS),
                ..wanted.clone()
            };
            // Rounds first: those that are packed meanwhile are found twice then, and not missed.
            let loose = self.read(|connection| loose_rounds(connection, host, wanted))?;
            for (id, rounds, shared) in self.read(|connection| windows(connection, host, &later))? {
                let Some(shared) = sound(id, Shared::unpack(&shared)) else {
                    continue;
                };
                plan.windows.push(Window {
                    id,
                    host: host.to_owned(),
                    rounds: usize::try_from(rounds).unwrap_or(0),
                    shared,
                });
            }
            for (time_ms, numbers) in loose {
                for point in sound(time_ms, points(&numbers)).unwrap_or_default() {
                    if of_interest.contains(&point.series) {
                        plan.loose
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

    /// The points of one series, in the order of their times.
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
                let kept = sound(id, unpack_column(&window.shared, &numbers)).unwrap_or_default();
                found.extend(
                    kept.iter()
                        .filter(|kept| within(kept.time_ms))
                        .map(|kept| (kept.time_ms, kept.value)),
                );
            }
        }
        let loose = plan.loose.get(&series.id).into_iter().flatten();
        found.extend(loose.filter(|(time_ms, _)| within(*time_ms)));
        // A source that had nothing newer was told again and again, with the time when it was true.
        found.sort_by_key(|(time_ms, _)| *time_ms);
        found.dedup_by_key(|(time_ms, _)| *time_ms);
        Ok(found)
    }

    /// How many samples all snapshots of a machine and this time have; rounds that are not packed are not many.
    pub fn count_snapshots(&self, of: &str, wanted: &Selection) -> Result<i64, StoreError> {
        use history_windows::{begin_ms, end_ms, host, samples, table};
        let (from, to) = times(wanted);
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

    /// Whole rounds of a machine, window after window. It ends when `take` says so.
    pub fn past(&self, host: &str, wanted: &Selection, mut take: impl FnMut(Past) -> bool) -> Result<(), StoreError> {
        let series = self.read(|connection| {
            let all = Selection {
                metric: None,
                labels: Vec::new(),
                host: Some(host.to_owned()),
                ..wanted.clone()
            };
            find_series(connection, &all)
        })?;
        let series: HashMap<i64, Series> = series.into_iter().map(|series| (series.id, series)).collect();
        let within = |time_ms: u64| (wanted.from_ms..=wanted.to_ms).contains(&time_ms);
        // As in a plan, rounds first.
        let loose = self.read(|connection| whole_rounds(connection, host, wanted))?;
        let mut seen = HashSet::new();
        for (id, _, shared) in self.read(|connection| windows(connection, host, wanted))? {
            // It may have been let go a moment ago.
            let Some(told) = self.read(|connection| told_of(connection, id))? else {
                continue;
            };
            let both = sound(id, Shared::unpack(&shared)).zip(sound(id, lines(&told)));
            let Some((shared, told)) = both else { continue };
            let mut rounds: Vec<Vec<Point>> = vec![Vec::new(); shared.round_times().len()];
            for (number, numbers) in self.read(|connection| columns_of(connection, host, id))? {
                for kept in sound(id, unpack_column(&shared, &numbers)).unwrap_or_default() {
                    rounds[kept.round].push(Point {
                        series: number,
                        time_ms: kept.time_ms,
                        value: kept.value,
                    });
                }
            }
            for ((time_ms, points), line) in shared.round_times().iter().zip(rounds).zip(&told) {
                let past =
                    sound(id, RoundExtras::of_line(line)).map(|told| past(host, *time_ms, &points, told, &series));
                if let Some(past) = past.filter(|_| within(*time_ms) && seen.insert(*time_ms))
                    && !take(past)
                {
                    return Ok(());
                }
            }
        }
        for (at, numbers, told) in loose {
            let time_ms = u64::try_from(at).unwrap_or(0);
            let told = lines(&told).and_then(|lines| RoundExtras::of_line(&lines.join("")));
            let both = sound(at, points(&numbers)).zip(sound(at, told));
            let past = both.map(|(points, told)| past(host, time_ms, &points, told, &series));
            if let Some(past) = past.filter(|_| seen.insert(time_ms))
                && !take(past)
            {
                return Ok(());
            }
        }
        Ok(())
    }
}

fn past(host: &str, time_ms: u64, points: &[Point], told: RoundExtras, series: &HashMap<i64, Series>) -> Past {
    let sample = |point: &Point| {
        let series = series.get(&point.series)?;
        let metric = MetricName::new(&series.metric).ok()?;
        let (labels, unit) = (series.labels.clone(), Unit::new(&series.unit));
        Sample::new(metric, labels, point.value, unit, point.time_ms).ok()
    };
    let samples = points.iter().filter_map(sample).collect();
    Past {
        snapshot: Snapshot::new(host.to_owned(), time_ms, told.facts, samples, told.gaps),
        report: told.report,
    }
}

/// What can be read. The rest is missing in the answer, and named in the log: one bad spot shall not hide a week.
fn sound<T>(place: i64, read: Result<T, impl std::fmt::Display>) -> Option<T> {
    read.inspect_err(|error| log::error!(place, reason:% = error; "a piece of the history is left out"))
        .ok()
}

fn times(wanted: &Selection) -> (i64, i64) {
    let signed = |time_ms: u64| i64::try_from(time_ms).unwrap_or(i64::MAX);
    (signed(wanted.from_ms), signed(wanted.to_ms))
}

fn windows(connection: &mut Connection, of: &str, wanted: &Selection) -> QueryResult<Vec<(i64, i64, Vec<u8>)>> {
    use history_windows::{begin_ms, end_ms, host, id, rounds, shared, table};
    let (from, to) = times(wanted);
    on!(connection, connection => table
        .filter(host.eq(of))
        .filter(end_ms.ge(from))
        .filter(begin_ms.le(to))
        .order(begin_ms)
        .select((id, rounds, shared))
        .load(connection))
}

fn told_of(connection: &mut Connection, window: i64) -> QueryResult<Option<Vec<u8>>> {
    use history_windows::{id, table, told};
    on!(connection, connection => table.filter(id.eq(window)).select(told).first(connection).optional())
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

/// When, its numbers, and what else there is to tell.
type WholeRound = (i64, Vec<u8>, Vec<u8>);

fn loose_rounds(connection: &mut Connection, of: &str, wanted: &Selection) -> QueryResult<Vec<(i64, Vec<u8>)>> {
    use history_rounds::{host, numbers, table, time_ms};
    // A sample is older than its round, so the first round after may still have some of this time.
    let (from, _) = times(wanted);
    on!(connection, connection => table
        .filter(host.eq(of))
        .filter(time_ms.ge(from))
        .order(time_ms)
        .select((time_ms, numbers))
        .load(connection))
}

fn whole_rounds(connection: &mut Connection, of: &str, wanted: &Selection) -> QueryResult<Vec<WholeRound>> {
    use history_rounds::{host, numbers, table, time_ms, told};
    let (from, to) = times(wanted);
    on!(connection, connection => table
        .filter(host.eq(of))
        .filter(time_ms.ge(from))
        .filter(time_ms.le(to))
        .order(time_ms)
        .select((time_ms, numbers, told))
        .load(connection))
}
