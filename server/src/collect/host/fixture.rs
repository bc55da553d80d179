//! A simulated machine for tests, made of files.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::HostOptions;
use crate::collect::probe::Reading;
use crate::metrics::catalogue::undeclared;

/// A directory that contains `proc` and `sys` and is also the root file system.
pub(super) struct Machine(TempDir);

impl Machine {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    pub(super) fn with(self, path: &str, text: impl AsRef<[u8]>) -> Self {
        self.write(path, text);
        self
    }

    pub(super) fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().expect("a file is in a directory")).expect("made");
        fs::write(path, text).expect("written");
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(super) fn options(&self) -> HostOptions {
        HostOptions {
            procfs: self.path().join("proc"),
            sysfs: self.path().join("sys"),
            rootfs: self.path().to_owned(),
            ..HostOptions::default()
        }
    }
}

/// Every sample has to be in the catalogue of metrics, except those of text files, which define their own names.
fn check_declared(reading: &Reading) {
    let of_files: HashSet<_> = reading.families.iter().map(|family| family.name.as_str()).collect();
    for sample in &reading.samples {
        if of_files.contains(sample.metric().as_str()) {
            continue;
        }
        if let Some(reason) = undeclared::reason(None, sample) {
            panic!("{reason}");
        }
    }
}

/// The value of the only sample of this metric with these label values, in the order of the label names.
pub(super) fn value(reading: &Reading, metric: &str, labels: &[&str]) -> Option<f64> {
    check_declared(reading);
    let mut found = reading.samples.iter().filter(|sample| {
        let values = sample.labels().as_slice().iter().map(|label| label.value.as_str());
        sample.metric().as_str() == metric && values.eq(labels.iter().copied())
    });
    let value = found.next().map(|sample| sample.value());
    assert!(found.next().is_none(), "{metric}{labels:?} is there twice");
    value
}

/// The number of samples of a metric.
pub(super) fn count(reading: &Reading, metric: &str) -> usize {
    check_declared(reading);
    let is_it = |sample: &&watchpost_policies::Sample| sample.metric().as_str() == metric;
    reading.samples.iter().filter(is_it).count()
}
