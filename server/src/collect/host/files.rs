//! Open files of the whole machine, and available entropy.

use std::path::PathBuf;

use watchpost_policies::MetricPattern;

use super::{HostOptions, read};
use crate::collect::probe::{Probe, Reading, patterns};

pub(super) struct Files {
    open: PathBuf,
    random: PathBuf,
}

impl Files {
    pub(super) fn new(options: &HostOptions) -> Self {
        Self {
            open: options.procfs.join("sys/fs/file-nr"),
            random: options.procfs.join("sys/kernel/random"),
        }
    }
}

impl Probe for Files {
    fn name(&self) -> &'static str {
        "host.files"
    }

    fn metrics(&self) -> Vec<MetricPattern> {
        patterns(&["open_files", "node_filefd_*", "node_entropy_*"])
    }

    fn measure(&mut self, now_ms: u64) -> Result<Reading, String> {
        let mut reading = Reading::default();
        let entropy = [
            ("node_entropy_available_bits", "entropy_avail"),
            ("node_entropy_pool_size_bits", "poolsize"),
        ];
        for (metric, file) in entropy {
            // Sandboxed kernels may lack these files, which is not an error.
            if let Some(bits) = read::number(&self.random.join(file)) {
                reading.add(metric, &[], bits, "", now_ms);
            }
        }
        let text = read::text(&self.open)?;
        let (open, max) =
            parse(&text).ok_or_else(|| format!("{} does not contain three numbers", self.open.display()))?;
        reading.add("node_filefd_allocated", &[], open, "", now_ms);
        reading.add("node_filefd_maximum", &[], max, "", now_ms);
        if let Some(percent) = read::percent(open, max) {
            reading.add("open_files", &[], percent, "percent", now_ms);
        }
        Ok(reading)
    }
}

/// Allocated, unused (always 0 since Linux 2.6) and maximum.
fn parse(text: &str) -> Option<(f64, f64)> {
    let mut words = text.split_ascii_whitespace().map(str::parse::<u64>);
    let open = words.next()?.ok()?;
    let max = words.nth(1)?.ok()?;
    Some((open as f64, max as f64))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Machine, count, value};
    use super::*;

    #[test]
    fn open_files_are_a_percentage_of_the_maximum() {
        let machine = Machine::new()
            .with("proc/sys/fs/file-nr", "250\t0\t1000\n")
            .with("proc/sys/kernel/random/entropy_avail", "256\n");
        let reading = Files::new(&machine.options()).measure(1).expect("measured");
        assert_eq!(value(&reading, "open_files", &[]), Some(25.0));
        assert_eq!(value(&reading, "node_filefd_allocated", &[]), Some(250.0));
        assert_eq!(value(&reading, "node_filefd_maximum", &[]), Some(1000.0));
        assert_eq!(value(&reading, "node_entropy_available_bits", &[]), Some(256.0));
    }

    #[test]
    fn invalid_numbers_are_an_error_and_missing_entropy_is_not() {
        for odd in ["", "1", "1 2", "1 2 x", "-1 0 5"] {
            assert_eq!(parse(odd), None, "{odd}");
        }
        let machine = Machine::new().with("proc/sys/fs/file-nr", "1 0 9223372036854775807\n");
        let reading = Files::new(&machine.options()).measure(1).expect("measured");
        assert_eq!(
            (reading.gaps.len(), count(&reading, "node_entropy_available_bits")),
            (0, 0)
        );
        assert!(Files::new(&Machine::new().options()).measure(1).is_err());
    }
}
