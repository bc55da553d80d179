//! Writes rounds, several in one transaction if several wait. It caches the ids of series, so that a round costs one
//! row.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use diesel::{ExpressionMethods, OptionalExtension, QueryDsl, QueryResult, RunQueryDsl, insert_into};
use watchpost_policies::{Report, Sample, Snapshot};

use super::round::{RoundExtras, compress_line, numbers};
use crate::store::connection::{Connection, on};
use crate::store::schema::{history_rounds, history_series};
use crate::store::{Store, StoreError};
use watchpost_history_codec::Point;

/// Writes rounds, and caches the ids of the series of each machine whose rounds it wrote.
pub struct RoundWriter {
    store: Store,
    series_ids: HashMap<String, SeriesIds>,
}

/// The ids of the series of one machine.
type SeriesIds = HashMap<SeriesKey, i64>;

/// The columns that identify a series of a machine, as text in the table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct SeriesKey {
    metric: String,
    labels: String,
    unit: String,
}

impl RoundWriter {
    /// A writer to this store.
    pub fn new(store: Store) -> Self {
        Self {
            store,
            series_ids: HashMap::new(),
        }
    }

    /// The store that it writes to.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Writes all of these rounds or none. A round that exists already is not changed.
    pub fn write(&mut self, rounds: &[(Arc<Snapshot>, Arc<Report>)]) -> Result<(), StoreError> {
        let cached = &self.series_ids;
        // Ids that were assigned in a failed transaction are invalid, so they are cached only after the commit.
        let fresh = self.store.write(|connection| {
            let mut fresh: HashMap<String, SeriesIds> = HashMap::new();
            for (snapshot, report) in rounds {
                let host = snapshot.host();
                let cached = cached.get(host);
                let fresh = match fresh.entry(host.to_owned()) {
                    Entry::Occupied(fresh) => fresh.into_mut(),
                    // All ids at once: one query per series could exceed the timeout over a slow network.
                    Entry::Vacant(fresh) if cached.is_none() => fresh.insert(ids_of_host(connection, host)?),
                    Entry::Vacant(fresh) => fresh.insert(SeriesIds::new()),
                };
                let mut points = Vec::with_capacity(snapshot.samples().len());
                for sample in snapshot.samples() {
                    let key = SeriesKey::of(sample).map_err(unencodable)?;
                    let id = match cached.and_then(|cached| cached.get(&key)).or_else(|| fresh.get(&key)) {
                        Some(id) => *id,
                        None => {
                            let id = id_of(connection, host, &key)?;
                            fresh.insert(key, id);
                            id
                        }
                    };
                    points.push(Point {
                        series: id,
                        time_ms: sample.time_ms(),
                        value: sample.value(),
                    });
                }
                let extras = RoundExtras::of(snapshot, serde_json::to_value(&**report).map_err(unencodable)?);
                let line = extras.line().map_err(unencodable)?;
                write_round(connection, snapshot, &numbers(&points), &compress_line(&line))?;
            }
            Ok(fresh)
        })?;
        for (host, fresh) in fresh {
            self.series_ids.entry(host).or_default().extend(fresh);
        }
        Ok(())
    }

    /// Clears the cached ids, because some of the series may be deleted.
    pub(super) fn clear_cache(&mut self) {
        self.series_ids.clear();
    }
}

impl Store {
    /// The times of the newest rounds of a machine that are not compacted, at most `limit` and none before `from_ms`.
    pub fn newest_rounds(&self, of: &str, from_ms: u64, limit: i64) -> Result<Vec<u64>, StoreError> {
        use history_rounds::{host, table, time_ms};
        let from_ms = i64::try_from(from_ms).unwrap_or(i64::MAX);
        let times: Vec<i64> = self.read(|connection| {
            on!(connection, connection => table
                .filter(host.eq(of))
                .filter(time_ms.ge(from_ms))
                .order(time_ms.desc())
                .limit(limit)
                .select(time_ms)
                .load(connection))
        })?;
        Ok(times.into_iter().filter_map(|at| u64::try_from(at).ok()).collect())
    }
}

impl SeriesKey {
    fn of(sample: &Sample) -> serde_json::Result<Self> {
        Ok(Self {
            metric: sample.metric().to_string(),
            labels: serde_json::to_string(sample.labels())?,
            unit: sample.unit().as_str().to_owned(),
        })
    }
}

fn unencodable(error: serde_json::Error) -> diesel::result::Error {
    diesel::result::Error::SerializationError(error.into())
}

fn write_round(connection: &mut Connection, snapshot: &Snapshot, numbers: &[u8], extras: &[u8]) -> QueryResult<usize> {
    use history_rounds as columns;
    let time_ms = i64::try_from(snapshot.time_ms()).unwrap_or(i64::MAX);
    on!(connection, connection => insert_into(columns::table)
        .values((
            columns::host.eq(snapshot.host()),
            columns::time_ms.eq(time_ms),
            columns::numbers.eq(numbers),
            columns::extras.eq(extras),
        ))
        .on_conflict_do_nothing()
        .execute(connection))
}

/// The ids of all series of a machine.
fn ids_of_host(connection: &mut Connection, of: &str) -> QueryResult<SeriesIds> {
    use history_series::{host, id, labels, metric, table, unit};
    type Row = (i64, String, String, String);
    let rows: Vec<Row> = on!(connection, connection => table
        .filter(host.eq(of))
        .select((id, metric, labels, unit))
        .load(connection))?;
    let entry = |row: Row| {
        let key = SeriesKey {
            metric: row.1,
            labels: row.2,
            unit: row.3,
        };
        (key, row.0)
    };
    Ok(rows.into_iter().map(entry).collect())
}

/// The id of a series, which is created if it is new.
fn id_of(connection: &mut Connection, host: &str, key: &SeriesKey) -> QueryResult<i64> {
    use history_series as columns;
    let find = |connection: &mut Connection| -> QueryResult<Option<i64>> {
        on!(connection, connection => columns::table
            .filter(columns::host.eq(host))
            .filter(columns::metric.eq(&key.metric))
            .filter(columns::labels.eq(&key.labels))
            .filter(columns::unit.eq(&key.unit))
            .select(columns::id)
            .first(connection)
            .optional())
    };
    if let Some(id) = find(connection)? {
        return Ok(id);
    }
    on!(connection, connection => insert_into(columns::table)
        .values((
            columns::host.eq(host),
            columns::metric.eq(&key.metric),
            columns::labels.eq(&key.labels),
            columns::unit.eq(&key.unit),
        ))
        .on_conflict_do_nothing()
        .execute(connection))?;
    find(connection)?.ok_or(diesel::result::Error::NotFound)
}

#[cfg(test)]
mod tests {
    use watchpost_policies::{Labels, MetricName, MetricPattern, Unit};

    use super::*;
    use crate::rules::by_default;
    use crate::store::DatabaseAddress;
    use crate::store::history::Selection;

    #[test]
    fn one_writer_separates_the_series_of_two_hosts() {
        let folder = tempfile::tempdir().expect("a folder");
        let address = DatabaseAddress::parse("sqlite:watchpost.db", folder.path(), false).expect("an address");
        let store = Store::open(address, 1).expect("it opens");
        let rules = by_default();
        let round = |host: &str, time_ms, percent| {
            let metric = MetricName::new("disk").expect("legal");
            let disk = Sample::new(metric, Labels::none(), percent, Unit::new("%"), time_ms).expect("finite");
            let snapshot = Snapshot::new(host.to_owned(), time_ms, Labels::none(), vec![disk], Vec::new());
            let report = rules.judge(&snapshot, None);
            (Arc::new(snapshot), Arc::new(report))
        };
        let mut writer = RoundWriter::new(store.clone());
        // Rounds of the same time in one transaction; and again with cached ids.
        for (time_ms, of_one, of_other) in [(1000, 1.0, 2.0), (2000, 3.0, 4.0)] {
            let both = [round("edge-1", time_ms, of_one), round("edge-2", time_ms, of_other)];
            writer.write(&both).expect("written");
        }
        let points = |host: &str| {
            let selection = Selection {
                metric: Some(MetricPattern::new("disk").expect("legal")),
                labels: Vec::new(),
                host: Some(host.to_owned()),
                from_ms: 0,
                to_ms: 3000,
            };
            let series = store.find_series(&selection).expect("found");
            let plan = store.plan_history(&selection, series).expect("planned");
            assert_eq!(plan.series.len(), 1, "{host}");
            store.points(&plan, &plan.series[0]).expect("read")
        };
        assert_eq!(points("edge-1"), [(1000, 1.0), (2000, 3.0)]);
        assert_eq!(points("edge-2"), [(1000, 2.0), (2000, 4.0)]);
    }
}
