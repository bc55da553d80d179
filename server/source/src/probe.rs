//! The trait of a probe: a blocking measurement of one part of the machine. One thread at a time calls it; it
//! does not know the schedule.

use watchpost_policies::{Gap, Labels, MeasureError, MetricName, MetricPattern, Sample, Unit};

use crate::family::DeclaredFamily;

/// A part of the machine that can be measured.
pub trait Probe: Send + 'static {
    /// The name in gaps and metrics: `host.memory`.
    fn name(&self) -> &'static str;

    /// The metrics that are missing if the probe fails.
    fn metrics(&self) -> Vec<MetricPattern>;

    /// Measures. The error says why nothing could be measured; partial failures are gaps in the reading.
    fn measure(&mut self, now_ms: u64) -> Result<Reading, String>;

    /// Measures between two rounds, for a scrape. A probe with metrics that cover the time since its last measurement
    /// leaves them out here, and remembers nothing of this for them: rounds do not depend on scrapes.
    fn refresh(&mut self, now_ms: u64) -> Result<Reading, String> {
        self.measure(now_ms)
    }

    /// The last result arrived after the timeout and was discarded. A probe that counts events since the last
    /// result must report them again.
    fn on_discarded(&mut self) {}
}

/// The result of a measurement.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    pub samples: Vec<Sample>,
    /// What could not be measured.
    pub gaps: Vec<Gap>,
    /// The families of samples whose types and help texts come with them. Most samples have none.
    pub families: Vec<DeclaredFamily>,
}

impl Reading {
    /// Adds a sample. A value that is not finite becomes a gap, because a broken kernel counter must not stop
    /// the others.
    pub fn add(&mut self, metric: &str, labels: &[(&str, &str)], value: f64, unit: &str, time_ms: u64) {
        let made = sample(metric, labels, value, unit, time_ms);
        match made {
            Ok(sample) => self.samples.push(sample),
            Err(error) => self.gaps.push(Gap {
                source: "host".to_owned(),
                metrics: MetricName::new(metric).iter().map(MetricPattern::exactly).collect(),
                reason: error.to_string(),
            }),
        }
    }

    /// Adds a gap with its reason.
    pub fn miss(&mut self, source: &str, metrics: &[&str], reason: String) {
        self.gaps.push(Gap {
            source: source.to_owned(),
            metrics: patterns(metrics),
            reason,
        });
    }
}

/// The patterns of a probe's metrics.
pub fn patterns(metrics: &[&str]) -> Vec<MetricPattern> {
    let pattern =
        |metric: &&str| MetricPattern::new(metric).expect("a probe writes legal patterns, and a test reads all");
    metrics.iter().map(pattern).collect()
}

fn sample(metric: &str, labels: &[(&str, &str)], value: f64, unit: &str, time_ms: u64) -> Result<Sample, MeasureError> {
    let labels = Labels::new(labels.iter().copied())?;
    Sample::new(MetricName::new(metric)?, labels, value, Unit::new(unit), time_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_is_not_finite_becomes_a_gap() {
        let mut reading = Reading::default();
        reading.add("disk", &[], f64::NAN, "percent", 1);
        reading.add("disk", &[("device", "sda")], 1.0, "percent", 1);
        assert_eq!(reading.samples.len(), 1);
        assert_eq!(reading.gaps[0].metrics, patterns(&["disk"]));
    }
}
