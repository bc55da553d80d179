//! A part of the machine that keeps some of its metrics to itself, because the same names mean other machines here. It
//! is measured as always; what was not wanted is dropped afterwards.

use watchpost_policies::{MetricName, MetricPattern};

use crate::collect::probe::{Probe, Reading};

/// The same probe, without these metrics.
pub(super) fn without(probe: Box<dyn Probe>, metrics: &'static [&'static str]) -> Box<dyn Probe> {
    let unwanted: Vec<_> = metrics.iter().flat_map(|metric| MetricName::new(metric)).collect();
    match unwanted.is_empty() {
        true => probe,
        false => Box::new(Without { probe, unwanted }),
    }
}

struct Without {
    probe: Box<dyn Probe>,
    unwanted: Vec<MetricName>,
}

impl Without {
    fn keep(&self, metrics: &mut Vec<MetricPattern>) {
        let exactly: Vec<_> = self.unwanted.iter().map(MetricPattern::exactly).collect();
        metrics.retain(|metric| !exactly.contains(metric));
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
        let mut reading = self.probe.measure(now_ms)?;
        reading
            .samples
            .retain(|sample| !self.unwanted.contains(sample.metric()));
        // A gap that hid nothing else is none here.
        reading.gaps.retain_mut(|gap| {
            let named = !gap.metrics.is_empty();
            self.keep(&mut gap.metrics);
            !(named && gap.metrics.is_empty())
        });
        Ok(reading)
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
    fn what_is_measured_elsewhere_is_neither_told_nor_missed_here() {
        let mut probe = without(Box::new(Both), &["memory", "disk"]);
        assert_eq!(probe.metrics(), patterns(&["node_memory_*"]));
        let reading = probe.measure(1).expect("measured");
        let told: Vec<_> = reading.samples.iter().map(|sample| sample.metric().as_str()).collect();
        assert_eq!(told, ["node_memory_MemTotal_bytes"]);
        assert_eq!(reading.gaps.len(), 1);
        assert_eq!(reading.gaps[0].metrics, patterns(&["node_memory_*"]));
        assert_eq!(without(Box::new(Both), &[]).metrics().len(), 2);
    }
}
