//! A threshold rule that reports the number of samples of each metric. Tests replace its name and its schema in the
//! compiled bytes, so that a rule set can hold a hundred of them.

use serde::{Deserialize, Serialize};
use watchpost_rule::threshold::{Finding, Manifest, Round, Rule, Severity, Subject};
use watchpost_rule::{Plan, Problem};

/// A threshold rule that reports the number of samples of each metric.
pub struct NumberedRule;

watchpost_rule::threshold!(NumberedRule);

/// `{}`, padded to 4,096 bytes so that a test can write another schema over it.
const SCHEMA: [u8; 4096] = {
    let mut room = [b' '; 4096];
    room[0] = b'{';
    room[4095] = b'}';
    room
};

/// Selects the metrics to count samples of.
#[derive(Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    metrics: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            metrics: vec!["disk".to_owned()],
        }
    }
}

impl Rule for NumberedRule {
    type Settings = Settings;
    type Prepared<'p> = ();

    fn describe() -> Manifest {
        Manifest {
            name: "numbered-000".to_owned(),
            version: "1".to_owned(),
            description: "Reports the number of samples of each metric.".to_owned(),
            settings_schema: String::from_utf8_lossy(&SCHEMA).into_owned(),
        }
    }

    fn plan(settings: Settings) -> Result<Plan, Vec<Problem>> {
        Ok(Plan::new(settings.metrics, &()))
    }

    fn judge(round: Round, (): ()) -> Result<Vec<Finding>, String> {
        let counted = round.metrics.into_iter().map(|metric| Finding {
            subject: Subject {
                metric: metric.name,
                labels: Vec::new(),
            },
            severity: Severity::Ok,
            value: Some(metric.samples.len() as f64),
            limit: None,
            message: String::new(),
        });
        Ok(counted.collect())
    }
}
