//! Finds series by metric name, machine and labels. It reads no samples.

use diesel::{EscapeExpressionMethods, ExpressionMethods, QueryDsl, QueryResult, RunQueryDsl, TextExpressionMethods};
use watchpost_policies::{Labels, MetricName};

use super::read::Selection;
use crate::store::column_types::UnknownValue;
use crate::store::connection::{Connection, on};
use crate::store::schema::history_series;

/// The escape character in LIKE patterns; metric names cannot contain it.
const ESCAPE: char = '!';

/// A series of the history.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    pub(super) id: i64,
    pub host: String,
    pub metric: String,
    /// The labels that distinguish the series.
    pub labels: Labels,
    /// The unit of its values.
    pub unit: String,
}

pub(super) fn find_series(connection: &mut Connection, selection: &Selection) -> QueryResult<Vec<Series>> {
    use history_series::{host, id, labels, metric, table, unit};
    type Row = (i64, String, String, String, String);
    let pattern = selection.metric.as_ref().map(ToString::to_string);
    let selected_host = selection.host.as_deref();
    let rows: Vec<Row> = on!(connection, connection => {
        let mut query = table.select((id, host, metric, labels, unit)).into_boxed();
        if let Some(pattern) = pattern.as_deref() {
            // An exact name uses the index.
            query = match pattern.strip_suffix('*') {
                None => query.filter(metric.eq(pattern)),
                Some("") => query,
                Some(prefix) => query.filter(metric.like(prefix_pattern(prefix)).escape(ESCAPE)),
            };
        }
        if let Some(name) = selected_host {
            query = query.filter(host.eq(name));
        }
        query.order((metric, labels, host)).load(connection)
    })?;
    let parse = |(number, machine, name, text, unit_text): Row| {
        // One damaged row must not hide all other series.
        let labels_of_series = serde_json::from_str::<Labels>(&text).inspect_err(|error| {
            let unknown = UnknownValue::json("history_series.labels", &text, error);
            log::error!(series = number; "skipped a damaged series of the history: {unknown}");
        });
        let labels_of_series = labels_of_series.ok()?;
        // SQLite's LIKE ignores case, so the pattern is matched again.
        let matches = match &selection.metric {
            Some(pattern) => MetricName::new(&name).is_ok_and(|name| pattern.covers(&name)),
            None => true,
        };
        let has = |(label, value): &(String, String)| labels_of_series.get(label) == Some(value);
        (matches && selection.labels.iter().all(has)).then_some(Series {
            id: number,
            host: machine,
            metric: name,
            labels: labels_of_series,
            unit: unit_text,
        })
    };
    Ok(rows.into_iter().filter_map(parse).collect())
}

/// The names of all metrics that the history has.
pub(super) fn stored_metrics(connection: &mut Connection) -> QueryResult<Vec<String>> {
    use history_series::{metric, table};
    on!(connection, connection => table.select(metric).distinct().order(metric).load(connection))
}

/// A LIKE pattern for this prefix.
fn prefix_pattern(prefix: &str) -> String {
    let mut pattern = String::with_capacity(prefix.len() + 2);
    for letter in prefix.chars() {
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
    fn wildcards_in_a_prefix_are_escaped() {
        assert_eq!(super::prefix_pattern("disk_used"), "disk!_used%");
        assert_eq!(super::prefix_pattern("100%!"), "100!%!!%");
    }
}
