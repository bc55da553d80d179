//! The textfile collector: metrics that other programs write into `*.prom` files of a directory, in the text format of
//! Prometheus. An invalid file costs only itself. Files are replaced by renaming, so a program never writes into a file
//! that is read here. The programs may have fewer permissions than Watchpost, so a symbolic link is not followed, and no
//! error quotes what is in a file.

mod parse;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;
use watchpost_policies::{Gap, Labels, MetricName, MetricPattern, Sample, Unit};

use self::parse::{Parsed, parse};
use super::HostOptions;
use crate::collect::probe::{Probe, Reading, patterns};

/// A megabyte is some ten thousand lines, which is more than all series that are allowed.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Series of all files. They cost a scrape and the history as much as measured ones, of which a machine has some
/// hundred.
const MAX_SERIES: usize = 2000;

const MAX_FILES: usize = 100;

/// Metrics of other sources, and names that Watchpost or Prometheus uses for itself.
const RESERVED: [&str; 10] = [
    "active_chunks",
    "chunks",
    "chunks_*",
    "node_exporter_build_info",
    "node_scrape_collector_*",
    "process_*",
    "rules_behind",
    "rules_quarantined",
    "up",
    "watchpost_*",
];

const OWN: [&str; 2] = ["node_textfile_mtime_seconds", "node_textfile_scrape_error"];

pub(super) struct Textfile {
    directory: Option<PathBuf>,
    /// The names that no file may use.
    reserved: Vec<MetricPattern>,
    /// The state of each file after the last measurement.
    files: BTreeMap<String, FileState>,
    /// Why the directory could not be read in the last measurement.
    directory_error: Option<String>,
    /// How many files were too many in the last measurement.
    left_out: usize,
}

#[derive(Default)]
struct FileState {
    /// The metrics of the last valid content, which are missing while the file is invalid.
    metrics: BTreeSet<MetricName>,
    error: Option<String>,
}

impl Textfile {
    /// `measured` are the metrics of all other probes.
    pub(super) fn new(options: &HostOptions, measured: Vec<MetricPattern>) -> Self {
        let mut reserved = measured;
        reserved.extend(patterns(&RESERVED).into_iter().chain(patterns(&OWN)));
        Self {
            directory: options.textfile_dir.clone(),
            reserved,
            files: BTreeMap::new(),
            directory_error: None,
            left_out: 0,
        }
    }

    /// Adds all valid files in the order of their names; returns whether there was an error.
    fn add_files(&mut self, directory: &Path, now_ms: u64, reading: &mut Reading) -> bool {
        let (names, left_out) = match files(directory) {
            Ok(found) => found,
            Err(reason) => {
                if self.directory_error.as_ref() != Some(&reason) {
                    log::warn!(reason = reason.as_str(); "cannot read the directory of text files");
                }
                let metrics = self.files.values().flat_map(|file| &file.metrics);
                reading.gaps.push(gap(metrics, reason.clone()));
                self.directory_error = Some(reason);
                return true;
            }
        };
        self.directory_error = None;
        if left_out > 0 {
            let reason = format!(
                "{} has more than {MAX_FILES} .prom files; the last {left_out} by name are not read",
                directory.display()
            );
            if self.left_out == 0 {
                log::warn!(reason = reason.as_str(); "there are too many text files with metrics");
            }
            reading.gaps.push(gap([], reason));
        }
        self.left_out = left_out;
        let mut all = Accepted::default();
        let mut files = BTreeMap::new();
        for name in names {
            let before = self.files.remove(&name).unwrap_or_default();
            let path = directory.join(&name);
            let outcome = self
                .read_file(&path, MAX_SERIES - all.series.len())
                .and_then(|(parsed, mtime)| all.add(parsed, &path, mtime, now_ms));
            let state = outcome.map_or_else(
                |error| FileState {
                    metrics: before.metrics.clone(),
                    error: Some(error),
                },
                |metrics| FileState { metrics, error: None },
            );
            report(&path, before.error.as_deref(), state.error.as_deref());
            if let Some(error) = &state.error {
                reading
                    .gaps
                    .push(gap(&state.metrics, format!("{}: {error}", path.display())));
            }
            files.insert(name, state);
        }
        self.files = files;
        let has_error = left_out > 0 || self.files.values().any(|file| file.error.is_some());
        all.write(reading);
        has_error
    }

    /// The content of a file, which may have so many series, and its time of modification in seconds.
    fn read_file(&self, path: &Path, max_series: usize) -> Result<(Parsed, f64), String> {
        let (text, mtime) = content(path)?;
        let parsed = parse(&text, max_series)?;
        for sample in &parsed.samples {
            if let Some(pattern) = self.reserved.iter().find(|pattern| pattern.covers(&sample.metric)) {
                return Err(format!(
                    "line {}: Watchpost itself measures or reserves {pattern}; use another name",
                    sample.line
                ));
            }
        }
        Ok((parsed, mtime))
    }
}

impl Probe for Textfile {
    fn name(&self) -> &'static str {
        "host.textfile"
    }

    fn metrics(&self) -> Vec<MetricPattern> {
        patterns(&OWN)
    }

    fn measure(&mut self, now_ms: u64) -> Result<Reading, String> {
        let mut reading = Reading::default();
        let has_error = match self.directory.clone() {
            Some(directory) => self.add_files(&directory, now_ms, &mut reading),
            None => false,
        };
        let error = if has_error { 1.0 } else { 0.0 };
        reading.add("node_textfile_scrape_error", &[], error, "", now_ms);
        Ok(reading)
    }
}

/// What is accepted from the files that were read so far.
#[derive(Default)]
struct Accepted {
    reading: Reading,
    series: HashSet<(MetricName, Labels)>,
    families: HashSet<String>,
}

impl Accepted {
    /// Adds the content of a file, all or nothing. Returns its metrics.
    fn add(&mut self, parsed: Parsed, path: &Path, mtime: f64, now_ms: u64) -> Result<BTreeSet<MetricName>, String> {
        let series = |sample: &parse::ParsedSample| (sample.metric.clone(), sample.labels.clone());
        if let Some(sample) = parsed
            .samples
            .iter()
            .find(|sample| self.series.contains(&series(sample)))
        {
            return Err(format!(
                "line {}: another file has the same series; write each series into one file",
                sample.line
            ));
        }
        let mut metrics = BTreeSet::new();
        for sample in parsed.samples {
            self.series.insert(series(&sample));
            metrics.insert(sample.metric.clone());
            let metric = sample.metric.clone();
            match Sample::new(sample.metric, sample.labels, sample.value, Unit::default(), now_ms) {
                Ok(sample) => self.reading.samples.push(sample),
                Err(error) => self
                    .reading
                    .gaps
                    .push(gap([&metric], format!("{}: {error}", path.display()))),
            }
        }
        for family in parsed.families {
            if self.families.insert(family.name.clone()) {
                self.reading.families.push(family);
            }
        }
        let file = path.to_string_lossy();
        self.reading.add(OWN[0], &[("file", &file)], mtime, "seconds", now_ms);
        Ok(metrics)
    }

    fn write(self, reading: &mut Reading) {
        reading.samples.extend(self.reading.samples);
        reading.gaps.extend(self.reading.gaps);
        reading.families.extend(self.reading.families);
    }
}

/// The first names of the `.prom` files in a directory, which must exist, and the number of those that are too many.
fn files(directory: &Path) -> Result<(BTreeSet<String>, usize), String> {
    if !directory.is_dir() {
        return Err(format!(
            "{} is not a directory; create it or change collector.textfile_dir",
            directory.display()
        ));
    }
    let entries = fs::read_dir(directory).map_err(|error| format!("cannot read {}: {error}", directory.display()))?;
    let (mut names, mut left_out) = (BTreeSet::new(), 0);
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".prom") {
            names.insert(name);
        }
        if names.len() > MAX_FILES {
            names.pop_last();
            left_out += 1;
        }
    }
    Ok((names, left_out))
}

/// The text of a file and its time of modification in seconds. A pipe or a device is not opened for reading, which
/// could wait forever.
fn content(path: &Path) -> Result<(String, f64), String> {
    let cannot = |error: std::io::Error| format!("it cannot be read: {error}");
    let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits().cast_signed();
    let file: File = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .map_err(|error| match error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) {
            true => "it is a symbolic link, which is not followed; write the metrics into the file itself".to_owned(),
            false => cannot(error),
        })?;
    let metadata = file.metadata().map_err(cannot)?;
    if !metadata.is_file() {
        return Err("it is not a regular file; remove it or rename it".to_owned());
    }
    let too_large = || format!("it is larger than {MAX_FILE_BYTES} bytes; write fewer metrics");
    if metadata.len() > MAX_FILE_BYTES {
        return Err(too_large());
    }
    // It may have grown since.
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(too_large());
    }
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())?;
    Ok((text, metadata.mtime() as f64 + metadata.mtime_nsec() as f64 / 1e9))
}

fn gap<'m>(metrics: impl IntoIterator<Item = &'m MetricName>, reason: String) -> Gap {
    Gap {
        source: "host.textfile".to_owned(),
        metrics: metrics.into_iter().map(MetricPattern::exactly).collect(),
        reason,
    }
}

/// Logs a file that became invalid, or valid again.
fn report(path: &Path, before: Option<&str>, now: Option<&str>) {
    let file = path.display().to_string();
    match (before, now) {
        (before, Some(reason)) if before != now => {
            log::warn!(file = file.as_str(), reason; "a text file with metrics is invalid");
        }
        (Some(_), None) => log::info!(file = file.as_str(); "a text file with metrics is valid again"),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
