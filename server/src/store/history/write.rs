//! Writes rounds as they come, many in one transaction if many wait. It knows the numbers of the series that it has
//! seen, so that a round costs one row.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use diesel::{ExpressionMethods, OptionalExtension, QueryDsl, QueryResult, RunQueryDsl, insert_into};
use watchpost_policies::{Report, Sample, Snapshot};

use super::pack::Point;
use super::round::{RoundExtras, numbers, text};
use crate::store::connection::{Connection, on};
use crate::store::schema::{history_rounds, history_series};
use crate::store::{Store, StoreError};

/// Writes rounds, and knows the numbers of the series of each machine whose rounds it wrote.
pub struct Keeper {
    store: Store,
    numbers: HashMap<String, Numbers>,
}

/// The numbers of the series of one machine.
type Numbers = HashMap<Key, i64>;

/// What tells one series of a machine from the others, as the table has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    metric: String,
    labels: String,
    unit: String,
}

impl Keeper {
    /// Into this store.
    pub fn new(store: Store) -> Self {
        Self {
            store,
            numbers: HashMap::new(),
        }
    }

    /// Where it writes.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Keeps all of these rounds or none. One that is there already stays as it is.
    pub fn keep(&mut self, rounds: &[(Arc<Snapshot>, Arc<Report>)]) -> Result<(), StoreError> {
        let known = &self.numbers;
        // Numbers that were given in a transaction that failed mean nothing.
        let fresh = self.store.write(|connection| {
            let mut fresh: HashMap<String, Numbers> = HashMap::new();
            for (snapshot, report) in rounds {
                let host = snapshot.host();
                let known = known.get(host);
                let fresh = match fresh.entry(host.to_owned()) {
                    Entry::Occupied(fresh) => fresh.into_mut(),
                    // At once, where one by one would take a slow wire longer than a write may take.
                    Entry::Vacant(fresh) if known.is_none() => fresh.insert(numbers_of_all(connection, host)?),
                    Entry::Vacant(fresh) => fresh.insert(Numbers::new()),
                };
                let mut points = Vec::with_capacity(snapshot.samples().len());
                for sample in snapshot.samples() {
                    let key = Key::of(sample).map_err(unencodable)?;
                    let number = match known.and_then(|known| known.get(&key)).or_else(|| fresh.get(&key)) {
                        Some(number) => *number,
                        None => {
                            let number = number_of(connection, host, &key)?;
                            fresh.insert(key, number);
                            number
                        }
                    };
                    points.push(Point {
                        series: number,
                        time_ms: sample.time_ms(),
                        value: sample.value(),
                    });
                }
                let told = RoundExtras::of(snapshot, serde_json::to_value(&**report).map_err(unencodable)?);
                let line = told.line().map_err(unencodable)?;
                write_round(connection, snapshot, &numbers(&points), &text(&line))?;
            }
            Ok(fresh)
        })?;
        for (host, fresh) in fresh {
            self.numbers.entry(host).or_default().extend(fresh);
        }
        Ok(())
    }

    /// Forgets the numbers that it knows, for some of them may have been given up.
    pub(super) fn forget_numbers(&mut self) {
        self.numbers.clear();
    }
}

impl Store {
    /// When the newest rounds of a machine were measured that are not packed, at most so many and none from before.
    pub fn newest_rounds(&self, of: &str, from_ms: u64, most: i64) -> Result<Vec<u64>, StoreError> {
        use history_rounds::{host, table, time_ms};
        let from_ms = i64::try_from(from_ms).unwrap_or(i64::MAX);
        let times: Vec<i64> = self.read(|connection| {
            on!(connection, connection => table
                .filter(host.eq(of))
                .filter(time_ms.ge(from_ms))
                .order(time_ms.desc())
                .limit(most)
                .select(time_ms)
                .load(connection))
        })?;
        Ok(times.into_iter().filter_map(|at| u64::try_from(at).ok()).collect())
    }
}

impl Key {
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

fn write_round(connection: &mut Connection, snapshot: &Snapshot, numbers: &[u8], told: &[u8]) -> QueryResult<usize> {
    use history_rounds as columns;
    let time_ms = i64::try_from(snapshot.time_ms()).unwrap_or(i64::MAX);
    on!(connection, connection => insert_into(columns::table)
        .values((
            columns::host.eq(snapshot.host()),
            columns::time_ms.eq(time_ms),
            columns::numbers.eq(numbers),
            columns::told.eq(told),
        ))
        .on_conflict_do_nothing()
        .execute(connection))
}

/// The numbers of all series of a machine.
fn numbers_of_all(connection: &mut Connection, of: &str) -> QueryResult<Numbers> {
    use history_series::{host, id, labels, metric, table, unit};
    type Row = (i64, String, String, String);
    let rows: Vec<Row> = on!(connection, connection => table
        .filter(host.eq(of))
        .select((id, metric, labels, unit))
        .load(connection))?;
    let keyed = |row: Row| {
        let key = Key {
            metric: row.1,
            labels: row.2,
            unit: row.3,
        };
        (key, row.0)
    };
    Ok(rows.into_iter().map(keyed).collect())
}

/// The number of a series, a new one if it is new.
fn number_of(connection: &mut Connection, host: &str, key: &Key) -> QueryResult<i64> {
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
    if let Some(number) = find(connection)? {
        return Ok(number);
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
    fn one_keeper_keeps_the_series_of_two_hosts_apart() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = DatabaseAddress::parse("sqlite:watchpost.db", folder.path(), false).expect("an address");
        let store = Store::open(place, 1).expect("it opens");
        let rules = by_default();
        let round = |host: &str, time_ms, percent| {
            let metric = MetricName::new("disk").expect("legal");
            let disk = Sample::new(metric, Labels::none(), percent, Unit::new("%"), time_ms).expect("finite");
            let snapshot = Snapshot::new(host.to_owned(), time_ms, Labels::none(), vec![disk], Vec::new());
            let report = rules.judge(&snapshot, None);
            (Arc::new(snapshot), Arc::new(report))
        };
        let mut keeper = Keeper::new(store.clone());
        // Of the same time, in one transaction; and once more, when the numbers of both are known.
        for (time_ms, of_one, of_other) in [(1000, 1.0, 2.0), (2000, 3.0, 4.0)] {
            let both = [round("edge-1", time_ms, of_one), round("edge-2", time_ms, of_other)];
            keeper.keep(&both).expect("written");
        }
        let points = |host: &str| {
            let wanted = Selection {
                metric: Some(MetricPattern::new("disk").expect("legal")),
                labels: Vec::new(),
                host: Some(host.to_owned()),
                from_ms: 0,
                to_ms: 3000,
            };
            let series = store.find_series(&wanted).expect("found");
            let plan = store.plan_history(&wanted, series).expect("planned");
            assert_eq!(plan.series.len(), 1, "{host}");
            store.points(&plan, &plan.series[0]).expect("read")
        };
        assert_eq!(points("edge-1"), [(1000, 1.0), (2000, 3.0)]);
        assert_eq!(points("edge-2"), [(1000, 2.0), (2000, 4.0)]);
    }
}
