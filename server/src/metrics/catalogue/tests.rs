//! Tests of the catalogue, and that docs/METRICS.md matches it.

mod document;

use watchpost_policies::{Gap, Labels, Sample};

use super::*;

fn sample(metric: &str, labels: &[(&str, &str)], unit: &str) -> Sample {
    let labels = Labels::new(labels.iter().copied()).expect("legal labels");
    let metric = MetricName::new(metric).expect("a legal name");
    Sample::new(metric, labels, 1.0, Unit::new(unit), 1).expect("a finite value")
}

fn pattern(text: &str) -> MetricPattern {
    MetricPattern::new(text).expect("a legal pattern")
}

#[test]
fn names_are_unique_in_a_source_and_legal() {
    for source in sources() {
        let mut seen = BTreeSet::new();
        for metric in metrics_of(source.name) {
            assert!(seen.insert(metric.name), "{} twice", metric.name);
            assert!(MetricPattern::new(metric.name).is_ok(), "{}", metric.name);
            assert!(metric.labels.is_sorted(), "{}", metric.name);
        }
    }
}

#[test]
fn every_declared_metric_has_a_help_text_of_its_own() {
    for (_, metric) in declared() {
        let text = metric.help_text(metric.name);
        assert!(
            text.ends_with('.') && !text.starts_with("The metric "),
            "{}: {text}",
            metric.name
        );
    }
}

#[test]
fn a_metric_with_a_short_name_has_an_example_and_only_such_a_one() {
    for (source, metric) in declared().filter(|(source, _)| *source != "azure") {
        let is_short = !metric.name.starts_with("node_") && !metric.name.starts_with("watchpost_");
        assert_eq!(metric.example.is_some(), is_short, "{} of {source}", metric.name);
    }
}

#[test]
fn declared_names_and_prefixes_are_known() {
    for known in [
        "disk",
        "disk*",
        "node_memory_MemFree_bytes",
        "node_mem*",
        "*",
        "node_load1",
    ] {
        assert!(knows(&pattern(known)), "{known}");
    }
    for unknown in ["disc", "disks", "nodes_*", "node_load2"] {
        assert!(!knows(&pattern(unknown)), "{unknown}");
    }
}

#[test]
fn a_snapshot_knows_what_it_has_and_what_it_misses() {
    let gap = Gap {
        source: "azure".to_owned(),
        metrics: vec![pattern("requests")],
        reason: "no answer".to_owned(),
    };
    let samples = vec![sample("wind", &[], "km/h")];
    let snapshot = Snapshot::new("edge-1".to_owned(), 1, Labels::none(), samples, vec![gap]);
    for (text, known) in [
        ("wind", true),
        ("wi*", true),
        ("requests", true),
        ("rain", false),
        ("windy", false),
    ] {
        assert_eq!(measures(&snapshot, &pattern(text)), known, "{text}");
    }
}

#[test]
fn the_list_has_declared_and_measured_metrics_with_their_number_of_series() {
    let samples = vec![
        sample("disk", &[("mountpoint", "/")], "percent"),
        sample("disk", &[("mountpoint", "/home")], "percent"),
        sample("node_memory_MemFree_bytes", &[], "bytes"),
        sample("wind", &[("at", "roof")], "km/h"),
    ];
    let snapshot = Snapshot::new("edge-1".to_owned(), 1, Labels::none(), samples, Vec::new());
    let list = list(Some(&snapshot));
    let of = |name: &str| list.iter().find(|metric| metric.name == name);
    let disk = of("disk").expect("declared");
    assert_eq!(
        (disk.series, disk.source, disk.kind),
        (2, Some("host.filesystems"), "gauge")
    );
    assert_eq!(
        (disk.unit.as_str(), disk.exported.as_str()),
        ("percent", "watchpost_disk_ratio")
    );
    assert!(disk.labels.contains("mountpoint"));
    assert_eq!(of("memory").expect("declared").series, 0);
    let wind = of("wind").expect("measured");
    assert_eq!((wind.source, wind.exported.as_str()), (None, "watchpost_wind_km_h"));
    assert_eq!(wind.labels, BTreeSet::from(["at".to_owned()]));
    assert_eq!(
        of("node_memory_MemFree_bytes").expect("measured").source,
        Some("host.memory")
    );
    assert!(of("node_memory_*").is_none(), "it stands for the measured names");
    assert!(super::list(None).iter().any(|metric| metric.name == "node_memory_*"));
    assert!(list.is_sorted_by(|a, b| a.name < b.name));
}

#[test]
fn every_built_in_metric_of_azure_is_in_the_catalogue_and_the_other_way_round() {
    let mappings = watchpost_azure::resource_types().flat_map(watchpost_azure::built_in);
    let measured: BTreeSet<_> = mappings.map(|mapping| mapping.metric.as_str().to_owned()).collect();
    let declared = metrics_of(watchpost_azure::NAME).into_iter();
    let declared: BTreeSet<_> = declared.map(|metric| metric.name.to_owned()).collect();
    assert_eq!(measured, declared);
}
