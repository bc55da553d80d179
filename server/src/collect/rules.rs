//! The rules themselves as a source: whether one was put aside, and whether the latest generation is in force here. So
//! a person is warned of it like of anything else.

use watchpost_policies::MetricPattern;

use super::probe::{Probe, Reading, patterns};
use crate::rules::registry::Registry;

/// What gaps call it.
pub const NAME: &str = "rules";

/// Looks at the registry.
pub struct Rules(Registry);

impl Rules {
    /// At this one.
    pub fn new(registry: Registry) -> Self {
        Self(registry)
    }
}

impl Probe for Rules {
    fn name(&self) -> &'static str {
        NAME
    }

    fn metrics(&self) -> Vec<MetricPattern> {
        patterns(&["rules_behind", "rules_put_aside"])
    }

    fn measure(&mut self, now_ms: u64) -> Result<Reading, String> {
        let mut reading = Reading::default();
        let behind = f64::from(u8::from(self.0.behind().is_some()));
        reading.add("rules_behind", &[], behind, "", now_ms);
        reading.add("rules_put_aside", &[], self.0.aside().len() as f64, "", now_ms);
        Ok(reading)
    }
}
