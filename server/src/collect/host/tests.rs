//! All probes together, on the machine that runs the tests.

use std::collections::{BTreeMap, HashSet};

use watchpost_policies::{Labels, MetricName, Sample, Snapshot};

use super::*;
use crate::metrics::catalogue::undeclared;
use crate::metrics::{HOST_METRICS, HostMetric, Kind};

#[test]
fn probes_have_unique_names_and_legal_patterns() {
    let probes = probes(&HostOptions::default());
    let names: HashSet<_> = probes.iter().map(|probe| probe.name()).collect();
    assert_eq!(names.len(), probes.len());
    for probe in &probes {
        assert!(probe.name().starts_with("host."), "{}", probe.name());
        assert!(!probe.metrics().is_empty(), "{}", probe.name());
    }
}

#[test]
fn every_probe_measures_this_machine_and_declares_its_metrics() {
    let mut samples = Vec::new();
    for mut probe in probes(&HostOptions::default()) {
        for now_ms in [1, 2] {
            let reading = probe.measure(now_ms).expect("this machine has all files");
            for sample in &reading.samples {
                let is_declared = probe.metrics().iter().any(|pattern| pattern.covers(sample.metric()));
                assert!(is_declared, "{} does not declare {}", probe.name(), sample.metric());
                assert_eq!(sample.time_ms(), now_ms);
                assert_eq!(undeclared::reason(Some(probe.name()), sample), None);
            }
            if now_ms == 2 {
                samples.extend(reading.samples);
            }
        }
    }
    let expected = [
        "cpu",
        "memory",
        "load_per_core",
        "open_files",
        "node_uname_info",
        "node_memory_MemTotal_bytes",
    ];
    for metric in expected {
        assert!(
            samples.iter().any(|sample| sample.metric().as_str() == metric),
            "{metric}"
        );
    }
    for sample in &samples {
        let is_in_bounds = sample.unit().as_str() != "percent" || (0.0..=100.0).contains(&sample.value());
        assert!(is_in_bounds, "{} is {}", sample.metric(), sample.value());
    }
    for sample in &samples {
        check_declaration(sample);
    }
    let snapshot = Snapshot::new("here".to_owned(), 2, Labels::none(), samples, Vec::new());
    assert!(
        snapshot.gaps().is_empty(),
        "a series twice, or in two units: {:?}",
        snapshot.gaps()
    );
}

/// The declaration of a sample, if it has one, is true.
fn check_declaration(sample: &Sample) {
    let metric = sample.metric().as_str();
    let Some(declared) = HostMetric::find(metric) else {
        return;
    };
    let labels: Vec<_> = sample
        .labels()
        .as_slice()
        .iter()
        .map(|label| label.name.as_str())
        .collect();
    assert_eq!(labels, declared.labels, "{metric}");
    let is_exact = declared.name == metric;
    assert!(
        !is_exact || sample.unit().as_str() == declared.unit,
        "{metric} is in {}",
        sample.unit()
    );
    assert!(declared.kind != Kind::Counter || sample.value() >= 0.0, "{metric}");
}

#[test]
fn every_declared_metric_is_one_of_its_source() {
    let probes = probes(&HostOptions::default());
    for declared in HOST_METRICS {
        let probe = probes.iter().find(|probe| probe.name() == declared.source);
        let patterns = probe.expect(declared.source).metrics();
        let name = MetricName::new(&declared.name.replace('*', "any")).expect("a legal name");
        let is_its = patterns.iter().any(|pattern| pattern.covers(&name));
        assert!(is_its, "{} does not measure {}", declared.source, declared.name);
    }
}

#[test]
fn a_machine_without_files_gives_errors_that_name_them() {
    let machine = fixture::Machine::new();
    let mut outcomes = BTreeMap::new();
    for mut probe in probes(&machine.options()) {
        let outcome = probe.measure(1);
        if let Err(reason) = &outcome {
            assert!(reason.contains(&machine.path().display().to_string()), "{reason}");
        }
        outcomes.insert(probe.name(), outcome.is_ok());
    }
    let well: Vec<_> = outcomes
        .iter()
        .filter(|(_, is_ok)| **is_ok)
        .map(|(name, _)| *name)
        .collect();
    assert_eq!(
        well,
        [
            "host.cgroup",
            "host.conntrack",
            "host.netstat",
            "host.pressure",
            "host.sockstat",
            "host.softnet",
            "host.system",
            "host.temperature",
            "host.textfile",
            "host.time"
        ]
    );
}
