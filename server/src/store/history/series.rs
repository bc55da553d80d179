//! Which series there are: found by the names of their metrics, by machine and by labels. What they measured is not
//! read here.

use diesel::{EscapeExpressionMethods, ExpressionMethods, QueryDsl, QueryResult, RunQueryDsl, TextExpressionMethods};
use watchpost_policies::{Labels, MetricName};

use super::read::Selection;
use crate::store::column_types::UnknownValue;
use crate::store::connection::{Connection, on};
use crate::store::schema::history_series;

/// Stands before what has a meaning of its own in a pattern of SQL; no name of a metric has one in it.
const ESCAPE: char = '!';

/// One series of the past.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    pub(super) id: i64,
    /// The machine.
    pub host: String,
    /// The metric.
    pub metric: String,
    /// What tells it from its like.
    pub labels: Labels,
    /// What it counts.
    pub unit: String,
}

pub(super) fn find_series(connection: &mut Connection, wanted: &Selection) -> QueryResult<Vec<Series>> {
    use history_series::{host, id, labels, metric, table, unit};
    type Row = (i64, String, String, String, String);
    let pattern = wanted.metric.as_ref().map(ToString::to_string);
    let of_host = wanted.host.as_deref();
    let rows: Vec<Row> = on!(connection, connection => {
        let mut query = table.select((id, host, metric, labels, unit)).into_boxed();
        if let Some(pattern) = pattern.as_deref() {
            // A whole name is found by the index.
            query = match pattern.strip_suffix('*') {
                None => query.filter(metric.eq(pattern)),
                Some("") => query,
                Some(beginning) => query.filter(metric.like(begins_with(beginning)).escape(ESCAPE)),
            };
        }
        if let Some(name) = of_host {
            query = query.filter(host.eq(name));
        }
        query.order((metric, labels, host)).load(connection)
    })?;
    let read = |(number, machine, name, text, counted): Row| {
        // One bad spot shall not hide all other series.
        let known = serde_json::from_str::<Labels>(&text).inspect_err(|error| {
            let unknown = UnknownValue::json("history_series.labels", &text, error);
            log::error!(series = number; "a series of the history is left out: {unknown}");
        });
        let known = known.ok()?;
        // SQLite takes capitals for small letters, so the pattern itself has the last word.
        let covered = match &wanted.metric {
            Some(pattern) => MetricName::new(&name).is_ok_and(|name| pattern.covers(&name)),
            None => true,
        };
        let has = |(label, value): &(String, String)| known.get(label) == Some(value);
        (covered && wanted.labels.iter().all(has)).then_some(Series {
            id: number,
            host: machine,
            metric: name,
            labels: known,
            unit: counted,
        })
    };
    Ok(rows.into_iter().filter_map(read).collect())
}

/// What begins so, and nothing else, as SQL's LIKE has it.
fn begins_with(beginning: &str) -> String {
    let mut pattern = String::with_capacity(beginning.len() + 2);
    for letter in beginning.chars() {
        if ['%', '_', ESCAPE].contains(&letter) {
            pattern.push(ESCAPE);
        }
        pattern.push(letter);
    }
    pattern.push('%');
    pattern
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_sql_takes_for_more_than_a_letter_is_one_again() {
        assert_eq!(super::begins_with("disk_used"), "disk!_used%");
        assert_eq!(super::begins_with("100%!"), "100!%!!%");
    }
}
