//! Wraps a probe and drops some of its metrics, because in the mode `azure` their names mean other machines.

use watchpost_policies::{MetricName, MetricPattern};

use crate::collect::probe::{Probe, Reading};

/// The probe without these metrics.
pub(super) fn without(probe: Box<dyn Probe>, metrics: &'static [&'static str]) -> Box<dyn Probe> {
    let excluded: Vec<_> = metrics.iter().flat_map(|metric| MetricName::new(metric)).collect();
    match excluded.is_empty() {
        true => probe,
        false => Box::new(Without { probe, excluded }),
    }
}

struct Without {
    probe: Box<dyn Probe>,
    excluded: Vec<MetricName>,
}

impl Without {
    fn keep(&self, metrics: &mut Vec<MetricPattern>) {
        let exactly: Vec<_> = self.excluded.iter().map(MetricPattern::exactly).collect();
        metrics.retain(|metric| !exactly.contains(metric));
    }

    fn remaining(&self, mut reading: Reading) -> Reading {
        reading
            .samples
            .retain(|sample| !self.excluded.contains(sample.metric()));
        // A gap that concerned only excluded metrics is dropped.
        reading.gaps.retain_mut(|gap| {
            let named = !gap.metrics.is_empty();
            self.keep(&mut gap.metrics);
            !(named && gap.metrics.is_empty())
        });
        reading
    }
}

impl Probe for Without {
    fn name(&self) -> &'static str {
        self.probe.name()
    }

    fn metrics(&self) -> Vec<MetricPattern> {
        let mut metrics = self.probe.metrics();
        self.keep(&mut metrics);
        metrics
    }

    fn measure(&mut self, now_ms: u64) -> Result<Reading, String> {
        let reading = self.probe.measure(now_ms)?;
        Ok(self.remaining(reading))
    }

    fn refresh(&mut self, now_ms: u64) -> Result<Reading, String> {
        let reading = self.probe.refresh(now_ms)?;
        Ok(self.remaining(reading))
    }

    fn on_discarded(&mut self) {
        self.probe.on_discarded();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::probe::patterns;

    struct Both;

    impl Probe for Both {
        fn name(&self) -> &'static str {
            "host.both"
        }

        fn metrics(&self) -> Vec<MetricPattern> {
            patterns(&["memory", "node_memory_*"])
        }

        fn measure(&mut self, now_ms: u64) -> Result<Reading, String> {
            let mut reading = Reading::default();
            reading.add("memory", &[], 1.0, "percent", now_ms);
            reading.add("node_memory_MemTotal_bytes", &[], 1.0, "bytes", now_ms);
            reading.miss("host.both", &["memory"], "it is hidden".to_owned());
            reading.miss("host.both", &["memory", "node_memory_*"], "half is hidden".to_owned());
            Ok(reading)
        }
    }

    #[test]
    fn excluded_metrics_are_neither_samples_nor_gaps() {
        let mut probe = without(Box::new(Both), &["memory", "disk"]);
        assert_eq!(probe.metrics(), patterns(&["node_memory_*"]));
        let reading = probe.measure(1).expect("measured");
        let names: Vec<_> = reading.samples.iter().map(|sample| sample.metric().as_str()).collect();
        assert_eq!(names, ["node_memory_MemTotal_bytes"]);
        assert_eq!(reading.gaps.len(), 1);
        assert_eq!(reading.gaps[0].metrics, patterns(&["node_memory_*"]));
        let scraped = probe.refresh(2).expect("measured");
        assert_eq!((scraped.samples.len(), scraped.gaps.len()), (1, 1));
        assert_eq!(without(Box::new(Both), &[]).metrics().len(), 2);
    }
}
