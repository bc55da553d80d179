//! The same numbers under the names of `node_exporter`. They are derived from the gathered families, so there is no
//! second set of counters that could disagree.

use prometheus::proto::{Counter, LabelPair, Metric, MetricFamily, MetricType};

use super::page::Kind;

/// A family that is exported again under another name.
struct Alias {
    of: &'static str,
    name: &'static str,
    help: &'static str,
    samples: fn(&Metric) -> Option<Metric>,
}

const ALIASES: &[Alias] = &[
    Alias {
        of: "watchpost_source_success",
        name: "node_scrape_collector_success",
        help: "watchpost_source_success of the host sources under node_exporter's name.",
        samples: as_collector,
    },
    Alias {
        of: "watchpost_source_duration_seconds",
        name: "node_scrape_collector_duration_seconds",
        help: "watchpost_source_duration_seconds of the host sources under node_exporter's name.",
        samples: as_collector,
    },
];

const LOG_LINES_DROPPED: &str = "watchpost_log_lines_dropped_total";

/// The names and kinds of the derived families.
pub(super) const FAMILIES: &[(&str, Kind)] = &[
    ("node_scrape_collector_success", Kind::Gauge),
    ("node_scrape_collector_duration_seconds", Kind::Gauge),
    (LOG_LINES_DROPPED, Kind::Counter),
];

/// All families derived from `families`.
pub(super) fn derived(families: &[MetricFamily]) -> Vec<MetricFamily> {
    let of = |alias: &Alias| families.iter().find(|family| family.name() == alias.of);
    ALIASES
        .iter()
        .filter_map(|alias| Some(renamed(of(alias)?, alias)))
        .collect()
}

/// The log keeps this count itself, because it starts before the registry does.
pub(super) fn log_lines_dropped(count: u64) -> MetricFamily {
    let mut counter = Counter::default();
    counter.set_value(count as f64);
    let mut metric = Metric::default();
    metric.set_counter(counter);
    family(
        LOG_LINES_DROPPED,
        "Number of log lines that could not be written because the disk was full or the folder was missing.",
        MetricType::COUNTER,
        vec![metric],
    )
}

fn renamed(original: &MetricFamily, alias: &Alias) -> MetricFamily {
    let metrics = original.get_metric().iter().filter_map(alias.samples).collect();
    family(alias.name, alias.help, original.get_field_type(), metrics)
}

/// A family with these samples.
pub(super) fn family(name: &str, help: &str, field_type: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(field_type);
    family.set_metric(metrics);
    family
}

/// The collector `memory` is the source `host.memory`; other sources do not exist in `node_exporter`.
fn as_collector(metric: &Metric) -> Option<Metric> {
    let source = metric.get_label().iter().find(|label| label.name() == "source")?;
    let collector = source.value().strip_prefix("host.")?;
    let mut label = LabelPair::default();
    label.set_name("collector".to_owned());
    label.set_value(collector.to_owned());
    let mut renamed = metric.clone();
    renamed.set_label(vec![label]);
    Some(renamed)
}
