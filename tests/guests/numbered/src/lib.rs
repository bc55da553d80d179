//! A threshold rule whose name and whose schema can be changed in its bytes, so that a set can hold a hundred of them. It
//! says how many samples it was shown.

use serde::{Deserialize, Serialize};
use watchpost_rule::threshold::{Finding, Manifest, Round, Rule, Severity, Subject};
use watchpost_rule::{Plan, Problem};

/// The rule.
pub struct Numbered;

watchpost_rule::threshold!(Numbered);

/// `{}`, with room for another schema.
const SCHEMA: [u8; 4096] = {
    let mut room = [b' '; 4096];
    room[0] = b'{';
    room[4095] = b'}';
    room
};

/// What to look at.
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

impl Rule for Numbered {
    type Settings = Settings;
    type Prepared<'p> = ();

    fn describe() -> Manifest {
        Manifest {
            name: "numbered-000".to_owned(),
            version: "1".to_owned(),
            description: "Says how many samples it was shown.".to_owned(),
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
            sentence: String::new(),
        });
        Ok(counted.collect())
    }
}
