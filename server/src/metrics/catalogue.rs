//! The catalogue of measured metrics: the names that thresholds and history queries can use, with unit, labels and
//! source. A sample that is not declared here fails the tests of its probe. It measures nothing; sources that an operator
//! defines, such as custom metrics of Azure, add names that only a snapshot has.

mod suggestions;
mod table;

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod undeclared;

use std::collections::{BTreeMap, BTreeSet};

use watchpost_policies::{MetricName, MetricPattern, Snapshot, Unit};

use super::help::help;
use super::host_metrics::{HOST_METRICS, HostMetric, is_untyped};
use super::naming::exported;
pub use suggestions::closest;

/// A source and the metrics that it measures.
#[derive(Debug)]
pub struct DeclaredSource {
    /// The name in gaps and settings.
    pub name: &'static str,
    /// What it reads.
    pub about: &'static str,
    pub metrics: &'static [DeclaredMetric],
}

/// The declaration of a measured metric.
#[derive(Clone, Copy, Debug)]
pub struct DeclaredMetric {
    /// The name in snapshots, thresholds and the history. With `*` at its end, it stands for names that the kernel
    /// defines.
    pub name: &'static str,
    pub unit: &'static str,
    /// The labels that distinguish the series; a series may lack some of them.
    pub labels: &'static [&'static str],
    /// The fields of a threshold besides the name, as TOML; only metrics with short names have one.
    pub example: Option<&'static str>,
    help: Option<&'static str>,
}

/// A metric of the catalogue or of a snapshot.
#[derive(Clone, Debug, PartialEq)]
pub struct ListedMetric {
    pub name: String,
    pub unit: String,
    /// `counter`, `gauge`, `info` or `untyped`.
    pub kind: &'static str,
    pub labels: BTreeSet<String>,
    /// `None` for a metric that only the snapshot has.
    pub source: Option<&'static str>,
    pub help: String,
    /// The name on the metrics page.
    pub exported: String,
    /// The number of series in the snapshot.
    pub series: usize,
}

impl DeclaredMetric {
    const fn new(name: &'static str, unit: &'static str) -> Self {
        Self {
            name,
            unit,
            labels: &[],
            example: None,
            help: None,
        }
    }

    const fn labels(mut self, labels: &'static [&'static str]) -> Self {
        self.labels = labels;
        self
    }

    const fn example(mut self, threshold: &'static str) -> Self {
        self.example = Some(threshold);
        self
    }

    /// The HELP text of a metric that `help` has no text for.
    const fn help(mut self, text: &'static str) -> Self {
        self.help = Some(text);
        self
    }

    const fn of_host(metric: &HostMetric) -> Self {
        Self {
            name: metric.name,
            unit: metric.unit,
            labels: metric.labels,
            example: None,
            help: Some(metric.help),
        }
    }

    /// Whether this declaration is about that name.
    pub fn covers(&self, name: &str) -> bool {
        match self.name.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => name == self.name,
        }
    }

    fn help_text(&self, name: &str) -> String {
        match self.help {
            Some(text) => text.to_owned(),
            None => meaning(name, &Unit::new(self.unit)),
        }
    }

    fn exported(&self, name: &str) -> String {
        exported(name, self.unit).name
    }

    fn listed(&self, source: &'static str) -> ListedMetric {
        ListedMetric {
            name: self.name.to_owned(),
            unit: self.unit.to_owned(),
            kind: kind(self.name),
            labels: self.labels.iter().map(|label| (*label).to_owned()).collect(),
            source: Some(source),
            help: self.help_text(self.name),
            exported: self.exported(self.name),
            series: 0,
        }
    }
}

/// All sources with their metrics.
pub fn sources() -> &'static [DeclaredSource] {
    table::SOURCES
}

/// All declarations with their source, those of whole names first.
fn declared() -> impl Iterator<Item = (&'static str, DeclaredMetric)> {
    let of = |source: &'static DeclaredSource| source.metrics.iter().map(|metric| (source.name, *metric));
    let of_host = HOST_METRICS
        .iter()
        .map(|metric| (metric.source, DeclaredMetric::of_host(metric)));
    let all = move || table::SOURCES.iter().flat_map(of).chain(of_host.clone());
    let is_prefix = |(_, metric): &(&str, DeclaredMetric)| metric.name.ends_with('*');
    all().filter(move |one| !is_prefix(one)).chain(all().filter(is_prefix))
}

/// The declarations of a source, by name.
pub fn metrics_of(source: &str) -> Vec<DeclaredMetric> {
    let of_source = declared().filter(|(name, _)| *name == source);
    let mut metrics: Vec<_> = of_source.map(|(_, metric)| metric).collect();
    metrics.sort_unstable_by_key(|metric| metric.name);
    metrics
}

/// All declarations about a name; an Azure metric may have the name of one of the host.
fn find(name: &str) -> impl Iterator<Item = (&'static str, DeclaredMetric)> {
    declared().filter(move |(_, metric)| metric.covers(name))
}

/// All declared names; those that end in `*` stand for several.
pub fn names() -> impl Iterator<Item = &'static str> {
    declared().map(|(_, metric)| metric.name)
}

/// Whether a pattern can match a declared metric.
pub fn knows(pattern: &MetricPattern) -> bool {
    declared().any(|(_, metric)| selects(pattern, metric.name))
}

/// Whether a pattern can match this name; one that ends in `*` stands for several.
pub fn selects(pattern: &MetricPattern, name: &str) -> bool {
    let text = pattern.to_string();
    match (text.strip_suffix('*'), name.strip_suffix('*')) {
        (Some(wanted), Some(prefix)) => wanted.starts_with(prefix) || prefix.starts_with(wanted),
        (Some(wanted), None) => name.starts_with(wanted),
        (None, Some(prefix)) => text.starts_with(prefix),
        (None, None) => text == name,
    }
}

/// Whether a pattern matches a metric of a snapshot, or one that a source of it failed to measure.
pub fn measures(snapshot: &Snapshot, pattern: &MetricPattern) -> bool {
    let measured = snapshot.samples().iter().any(|sample| pattern.covers(sample.metric()));
    let missing = snapshot.gaps().iter().flat_map(|gap| &gap.metrics);
    measured || missing.into_iter().any(|metric| metric == pattern)
}

/// All metrics of the catalogue and of a snapshot, by name. A declared prefix is listed only if the snapshot has no
/// metric with it.
pub fn list(snapshot: Option<&Snapshot>) -> Vec<ListedMetric> {
    let mut listed = BTreeMap::<String, ListedMetric>::new();
    for (source, metric) in declared() {
        let entry = listed.entry(metric.name.to_owned());
        let entry = entry.or_insert_with(|| metric.listed(source));
        entry
            .labels
            .extend(metric.labels.iter().map(|label| (*label).to_owned()));
    }
    for samples in snapshot.into_iter().flat_map(|snapshot| snapshot.select(None)) {
        let name = samples[0].metric();
        let entry = listed
            .entry(name.to_string())
            .or_insert_with(|| measured(name, samples[0].unit()));
        entry.series += samples.len();
        // The unit of the measurement counts: Azure may report another than the host.
        entry.unit = samples[0].unit().as_str().to_owned();
        entry.exported = exported(&entry.name, &entry.unit).name;
        let labels = samples.iter().flat_map(|sample| sample.labels().as_slice());
        entry.labels.extend(labels.map(|label| label.name.clone()));
    }
    let measured: Vec<String> = listed
        .values()
        .filter(|metric| metric.series > 0)
        .map(|metric| metric.name.clone())
        .collect();
    listed.retain(|name, _| match name.strip_suffix('*') {
        Some(prefix) => !measured.iter().any(|name| name.starts_with(prefix)),
        None => true,
    });
    listed.into_values().collect()
}

/// A metric that is not declared by its whole name.
fn measured(name: &MetricName, unit: &Unit) -> ListedMetric {
    let declaration = find(name.as_str()).next();
    let exported = exported(name.as_str(), unit.as_str()).name;
    ListedMetric {
        name: name.to_string(),
        unit: unit.as_str().to_owned(),
        kind: kind(name.as_str()),
        labels: BTreeSet::new(),
        source: declaration.map(|(source, _)| source),
        help: meaning(name.as_str(), unit),
        exported,
        series: 0,
    }
}

/// The HELP text of the exported family, in the metric's own unit: a percentage is exported as a ratio.
fn meaning(name: &str, unit: &Unit) -> String {
    let text = help(&exported(name, unit.as_str()).name, name, unit);
    match unit.as_str() {
        "percent" => text.replace(", from 0 to 1", ""),
        _ => text.into_owned(),
    }
}

/// The type follows from the name, as on the metrics page.
fn kind(name: &str) -> &'static str {
    if is_untyped(name) {
        "untyped"
    } else if name.ends_with("_total") {
        "counter"
    } else if name.ends_with("_info") {
        "info"
    } else {
        "gauge"
    }
}
