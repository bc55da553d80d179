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
                metrics: Vec::new(),
                reason: error.to_string(),
            }),
        }
    }
}

fn sample(metric: &str, labels: &[(&str, &str)], value: f64, unit: &str, time_ms: u64) -> Result<Sample, MeasureError> {
    let labels = Labels::new(labels.iter().copied())?;
    Sample::new(MetricName::new(metric)?, labels, value, Unit::new(unit), time_ms)
}
