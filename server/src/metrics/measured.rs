//! Groups the samples of a snapshot into families: which samples share a name, the kind of each family, and which
//! samples cannot be exported. `page` writes the families.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

use watchpost_policies::{Label, Sample, Snapshot, Unit};

use super::help::help;
use super::host_metrics;
use super::naming::{Exported, exported};
use super::page::Page;
use super::reserved_names::Claims;
use watchpost_source::DeclaredFamily;
use watchpost_source::Kind;

/// All families of a snapshot, sorted by name.
pub(super) struct Measured<'s> {
    families: Vec<Family<'s>>,
    left_out: usize,
}

struct Family<'s> {
    name: String,
    kind: Kind,
    help: Cow<'static, str>,
    samples: Vec<(&'s Sample, f64)>,
}

impl<'s> Measured<'s> {
    /// Groups the samples into families; a newer sample replaces that of the snapshot. A sample with a reserved name or
    /// label is omitted and counted, because a scraper rejects the whole page if a family occurs twice.
    pub(super) fn of(
        snapshot: &'s Snapshot,
        newer: impl Iterator<Item = &'s Sample>,
        declared: &[DeclaredFamily],
        mut claims: Claims,
    ) -> Self {
        let declared: HashMap<&str, &DeclaredFamily> =
            declared.iter().map(|family| (family.name.as_str(), family)).collect();
        let mut left_out = 0;
        let mut families = Vec::new();
        let samples = merged(snapshot, newer);
        for (name, group) in groups(&samples, &declared) {
            let declaration = declared.get(group.first_name()).copied();
            let offered: usize = group.metrics.iter().map(|(samples, _)| samples.len()).sum();
            let samples = group.samples();
            let kind = kind(&name, declaration, &samples);
            let free = [kind, Kind::Unknown]
                .into_iter()
                .find(|kind| claims.claim(&name, *kind));
            if let Some(kind) = free.filter(|_| !samples.is_empty()) {
                left_out += offered - samples.len();
                let help = match declaration.map(|declaration| declaration.help.as_str()) {
                    Some(help) if !help.is_empty() => Cow::Owned(help.to_owned()),
                    _ => help(&name, group.first_name(), group.unit),
                };
                families.push(Family {
                    name,
                    kind,
                    help,
                    samples,
                });
            } else {
                left_out += offered;
            }
        }
        Self { families, left_out }
    }

    /// The number of samples that are not exported.
    pub(super) fn left_out(&self) -> usize {
        self.left_out
    }

    /// The approximate size of the page in bytes.
    pub(super) fn size_hint(&self) -> usize {
        let samples: usize = self.families.iter().map(|family| family.samples.len()).sum();
        samples * 100 + self.families.len() * 150
    }

    pub(super) fn write(&self, page: &mut Page) {
        for family in &self.families {
            page.family(&family.name, family.kind, &family.help);
            for (sample, divisor) in &family.samples {
                let labels = sample.labels().as_slice().iter().map(pair);
                page.sample(&family.name, "", labels, sample.value() / divisor);
            }
        }
    }
}

/// Metrics with the same exported name; the first one gives the family its help text.
struct Group<'g, 's> {
    unit: &'s Unit,
    metrics: Vec<(&'g [&'s Sample], f64)>,
}

impl<'s> Group<'_, 's> {
    fn first_name(&self) -> &'s str {
        self.metrics
            .first()
            .map_or("", |(samples, _)| samples[0].metric().as_str())
    }

    /// The samples that fit into one family: in one unit, without duplicate series, without labels reserved by
    /// Prometheus.
    fn samples(&self) -> Vec<(&'s Sample, f64)> {
        let mut seen = HashSet::new();
        let alone = self.metrics.len() == 1;
        let all = self
            .metrics
            .iter()
            .flat_map(|(samples, divisor)| samples.iter().map(move |sample| (*sample, *divisor)));
        all.filter(|(sample, _)| is_same_unit(self.unit, sample.unit()))
            .filter(|(sample, _)| !sample.labels().as_slice().iter().any(is_reserved))
            .filter(|(sample, _)| alone || seen.insert(sample.labels()))
            .collect()
    }
}

/// All series, sorted by metric and labels, each with its newest sample.
fn merged<'s>(snapshot: &'s Snapshot, newer: impl Iterator<Item = &'s Sample>) -> Vec<&'s Sample> {
    let mut samples: Vec<_> = newer.chain(snapshot.samples()).collect();
    let series = |sample: &&'s Sample| (sample.metric(), sample.labels());
    // The sort is stable, so the first sample of a series is a newer one.
    samples.sort_by(|a, b| series(a).cmp(&series(b)));
    samples.dedup_by(|later, first| series(later) == series(first));
    samples
}

fn groups<'g, 's>(
    samples: &'g [&'s Sample],
    declared: &HashMap<&str, &DeclaredFamily>,
) -> BTreeMap<String, Group<'g, 's>> {
    let mut groups = BTreeMap::<String, Group<'g, 's>>::new();
    for samples in samples.chunk_by(|a, b| a.metric() == b.metric()) {
        let unit = samples[0].unit();
        let metric = samples[0].metric().as_str();
        let exported = match declared.contains_key(metric) {
            true => Exported::unchanged(metric),
            false => exported(metric, unit.as_str()),
        };
        let group = groups.entry(exported.name).or_insert_with(|| Group {
            unit,
            metrics: Vec::new(),
        });
        group.metrics.push((samples, exported.divisor));
    }
    groups
}

/// A metric without a unit may have the unit in its name already, so it is compatible with any unit.
fn is_same_unit(first: &Unit, other: &Unit) -> bool {
    first == other || first.as_str().is_empty() || other.as_str().is_empty()
}

/// A label `__name__` would let a sample pose as any other metric.
fn is_reserved(label: &Label) -> bool {
    label.name.starts_with("__")
}

/// A family with a negative value is not a counter, and one with a value other than 1 is not an info, whatever its
/// name. A counter needs its ending, because `OpenMetrics` does.
fn kind(name: &str, declaration: Option<&DeclaredFamily>, samples: &[(&Sample, f64)]) -> Kind {
    let all = |test: fn(f64) -> bool| samples.iter().all(|(sample, _)| test(sample.value()));
    let is_named_counter = name.ends_with("_total") && all(|value| value >= 0.0);
    if let Some(DeclaredFamily { kind, .. }) = declaration {
        return match kind {
            Kind::Counter if !is_named_counter => Kind::Unknown,
            kind => *kind,
        };
    }
    if host_metrics::is_untyped(name) {
        Kind::Unknown
    } else if is_named_counter {
        Kind::Counter
    } else if name.ends_with("_info") && all(|value| value == 1.0) {
        Kind::Info
    } else {
        Kind::Gauge
    }
}

fn pair(label: &Label) -> (&str, &str) {
    (&label.name, &label.value)
}

#[cfg(test)]
mod tests {
    use watchpost_policies::{Labels, MetricName};

    use super::*;
    use crate::metrics::format::Format;

    fn sample(metric: &str, labels: &[(&str, &str)], value: f64, unit: &str) -> Sample {
        let labels = Labels::new(labels.iter().copied()).expect("legal labels");
        let metric = MetricName::new(metric).expect("a legal name");
        Sample::new(metric, labels, value, Unit::new(unit), 1).expect("a finite value")
    }

    /// The lines without help texts, and the number of omitted samples.
    fn written(format: Format, samples: Vec<Sample>, claims: Claims) -> (Vec<String>, usize) {
        declared_and_written(format, samples, &[], claims)
    }

    fn declared_and_written(
        format: Format,
        samples: Vec<Sample>,
        declared: &[DeclaredFamily],
        claims: Claims,
    ) -> (Vec<String>, usize) {
        let snapshot = Snapshot::new("edge-1".to_owned(), 1, Labels::none(), samples, Vec::new());
        let measured = Measured::of(&snapshot, std::iter::empty(), declared, claims);
        let mut page = Page::new(format, measured.size_hint());
        measured.write(&mut page);
        let lines = page.into_text();
        let lines = lines.lines().filter(|line| !line.starts_with("# HELP"));
        (lines.map(str::to_owned).collect(), measured.left_out())
    }

    #[test]
    fn a_percentage_is_shown_as_a_ratio_with_its_labels() {
        let samples = vec![
            sample("disk", &[("mountpoint", "/")], 12.5, "percent"),
            sample("node_load1", &[], 0.25, ""),
        ];
        let (lines, left_out) = written(Format::OpenMetrics, samples, Claims::default());
        assert_eq!(
            lines,
            [
                "# TYPE node_load1 gauge",
                "node_load1 0.25",
                "# TYPE watchpost_disk_ratio gauge",
                "# UNIT watchpost_disk_ratio ratio",
                "watchpost_disk_ratio{mountpoint=\"/\"} 0.125",
            ]
        );
        assert_eq!(left_out, 0);
    }

    #[test]
    fn a_newer_sample_replaces_that_of_its_series_and_may_be_a_new_series() {
        let device = |name, value| sample("node_disk_read_bytes_total", &[("device", name)], value, "bytes");
        let round = vec![
            device("sda", 1.0),
            device("sdb", 2.0),
            sample("cpu", &[], 50.0, "percent"),
        ];
        let snapshot = Snapshot::new("edge-1".to_owned(), 1, Labels::none(), round, Vec::new());
        let newer = [device("sdc", 3.0), device("sda", 4.0)];
        let measured = Measured::of(&snapshot, newer.iter(), &[], Claims::default());
        let mut page = Page::new(Format::Text, measured.size_hint());
        measured.write(&mut page);
        let text = page.into_text();
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let expected = [
            "node_disk_read_bytes_total{device=\"sda\"} 4",
            "node_disk_read_bytes_total{device=\"sdb\"} 2",
            "node_disk_read_bytes_total{device=\"sdc\"} 3",
            "watchpost_cpu_ratio 0.5",
        ];
        assert_eq!(lines, expected);
        assert_eq!(measured.left_out(), 0);
    }

    #[test]
    fn metrics_with_the_same_exported_name_are_one_family_without_duplicate_series() {
        let samples = vec![
            sample("cpu", &[("core", "0")], 50.0, "percent"),
            sample("cpu_ratio", &[("core", "0")], 0.75, ""),
            sample("cpu_ratio", &[("core", "1")], 0.25, ""),
            sample("wind", &[("at", "roof")], 3.0, "km/h"),
            sample("wind_km_h", &[("at", "door")], 1.0, "km h"),
        ];
        let (lines, left_out) = written(Format::Text, samples, Claims::default());
        assert_eq!(
            lines,
            [
                "# TYPE watchpost_cpu_ratio gauge",
                "watchpost_cpu_ratio{core=\"0\"} 0.5",
                "watchpost_cpu_ratio{core=\"1\"} 0.25",
                "# TYPE watchpost_wind_km_h gauge",
                "watchpost_wind_km_h{at=\"roof\"} 3",
            ]
        );
        assert_eq!(left_out, 2);
    }

    #[test]
    fn negative_values_are_no_counters_and_only_ones_are_infos() {
        let check = |metric: &str, value: f64, expected: &str| {
            let (lines, _) = written(
                Format::OpenMetrics,
                vec![sample(metric, &[], value, "")],
                Claims::default(),
            );
            assert_eq!(lines[0], expected);
        };
        check("node_forks_total", 7.0, "# TYPE node_forks counter");
        check("node_forks_total", -7.0, "# TYPE node_forks_total gauge");
        check("node_os_info", 1.0, "# TYPE node_os info");
        check("node_os_info", 2.0, "# TYPE node_os_info gauge");
    }

    #[test]
    fn a_declared_family_keeps_its_name_and_its_type() {
        let family = |name: &str, kind: Kind| DeclaredFamily {
            name: name.to_owned(),
            kind,
            help: String::new(),
        };
        let declared = [
            family("apt_upgrades", Kind::Gauge),
            family("backups_total", Kind::Counter),
            family("errors", Kind::Counter),
            family("odd_total", Kind::Gauge),
        ];
        let samples = declared.iter().map(|family| sample(&family.name, &[], 3.0, ""));
        let samples = samples.chain([sample("birds", &[], 1.0, "")]).collect();
        let (lines, left_out) = declared_and_written(Format::Text, samples, &declared, Claims::default());
        let expected = [
            "# TYPE apt_upgrades gauge",
            "apt_upgrades 3",
            "# TYPE backups_total counter",
            "backups_total 3",
            "# TYPE errors untyped",
            "errors 3",
            "# TYPE odd_total gauge",
            "odd_total 3",
            "# TYPE watchpost_birds gauge",
            "watchpost_birds 1",
        ];
        assert_eq!(lines, expected);
        assert_eq!(left_out, 0);
    }

    #[test]
    fn the_kernel_s_counters_without_an_ending_are_untyped() {
        let samples = vec![
            sample("node_netstat_Tcp_InSegs", &[], 1.0, ""),
            sample("node_vmstat_pgfault", &[], 1.0, ""),
        ];
        let (lines, _) = written(Format::Text, samples, Claims::default());
        assert_eq!(lines[0], "# TYPE node_netstat_Tcp_InSegs untyped");
        assert_eq!(lines[2], "# TYPE node_vmstat_pgfault untyped");
    }

    #[test]
    fn a_counter_next_to_a_gauge_of_its_name_is_of_unknown_kind() {
        let samples = vec![sample("node_x", &[], 1.0, ""), sample("node_x_total", &[], 2.0, "")];
        let (lines, left_out) = written(Format::OpenMetrics, samples, Claims::default());
        let expected = [
            "# TYPE node_x gauge",
            "node_x 1",
            "# TYPE node_x_total unknown",
            "node_x_total 2",
        ];
        assert_eq!(lines, expected);
        assert_eq!(left_out, 0);
    }

    #[test]
    fn samples_cannot_use_reserved_names_or_labels() {
        let mut claims = Claims::default();
        assert!(claims.claim("watchpost_http_requests_total", Kind::Counter));
        let samples = vec![
            sample("http_requests_total", &[], 9.0, ""),
            sample("watchpost_http_requests", &[], 9.0, ""),
            sample("innocent", &[("__name__", "up")], 0.0, ""),
        ];
        assert_eq!(written(Format::Text, samples, claims), (Vec::new(), 3));
    }
}
