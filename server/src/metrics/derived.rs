//! The same numbers under the names of `node_exporter`. They are derived from the gathered families, so there is no
//! second set of counters that could disagree.

use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

use watchpost_source::Kind;

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
    Alias {
        of: "watchpost_build_info",
        name: "node_exporter_build_info",
        help: "Version and commit of Watchpost, under the name that dashboards of node_exporter read.",
        samples: as_exporter,
    },
];

const MAX_VIRTUAL_MEMORY: &str = "process_virtual_memory_max_bytes";

const LOG_LINES_DROPPED: &str = "watchpost_log_lines_dropped_total";

/// The names and kinds of the derived families.
pub(super) const FAMILIES: &[(&str, Kind)] = &[
    ("node_scrape_collector_success", Kind::Gauge),
    ("node_scrape_collector_duration_seconds", Kind::Gauge),
    ("node_exporter_build_info", Kind::Info),
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

/// The limit of this process's address space. Like other exporters, it shows no limit as the largest number.
pub(super) fn max_virtual_memory() -> MetricFamily {
    let limit = rustix::process::getrlimit(rustix::process::Resource::As).current;
    let mut gauge = Gauge::default();
    gauge.set_value(limit.unwrap_or(u64::MAX) as f64);
    let mut metric = Metric::default();
    metric.set_gauge(gauge);
    family(
        MAX_VIRTUAL_MEMORY,
        "Maximum amount of virtual memory available in bytes.",
        MetricType::GAUGE,
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

/// The commit is the revision; the other labels of `node_exporter` are about Go.
fn as_exporter(metric: &Metric) -> Option<Metric> {
    let of = |name: &str| metric.get_label().iter().find(|label| label.name() == name);
    let (version, commit) = (of("version")?, of("commit")?);
    let mut revision = commit.clone();
    revision.set_name("revision".to_owned());
    let mut renamed = metric.clone();
    renamed.set_label(vec![revision, version.clone()]);
    Some(renamed)
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
