//! What a part of the machine has to say when it is asked. It blocks, it is asked by one thread at a time, and it
//! does not know who asks or how often.

use watchpost_policies::{Gap, Labels, MeasureError, MetricName, MetricPattern, Sample, Unit};

/// One part of the machine that can be measured.
pub trait Probe: Send + 'static {
    /// What gaps and metrics call it: `host.memory`.
    fn name(&self) -> &'static str;

    /// The metrics that are missing when it does not answer.
    fn metrics(&self) -> Vec<MetricPattern>;

    /// Measures. An error is a sentence that says why nothing could be measured; what is missing of an answer
    /// is a gap in it.
    fn measure(&mut self, now_ms: u64) -> Result<Reading, String>;

    /// Its last answer came too late, and nobody heard it. Who counts from one answer to the next has to tell the same
    /// once more.
    fn on_discarded(&mut self) {}
}

/// What was measured, and what was not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// What was measured.
    pub samples: Vec<Sample>,
    /// What was not.
    pub gaps: Vec<Gap>,
}

impl Reading {
    /// Adds a number. One that is not finite is dropped and becomes a gap, for some kernel counted wrongly.
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

    /// Says what could not be measured. The reason is a sentence.
    pub fn miss(&mut self, source: &str, metrics: &[&str], reason: String) {
        self.gaps.push(Gap {
            source: source.to_owned(),
            metrics: patterns(metrics),
            reason,
        });
    }
}

/// The patterns that a probe is written with.
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
    fn a_number_that_is_none_becomes_a_gap_that_names_its_metric() {
        let mut reading = Reading::default();
        reading.add("disk", &[], f64::NAN, "percent", 1);
        reading.add("disk", &[("device", "sda")], 1.0, "percent", 1);
        assert_eq!(reading.samples.len(), 1);
        assert_eq!(reading.gaps[0].metrics, patterns(&["disk"]));
    }
}
