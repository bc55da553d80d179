//! Warns when too little is left on a disk for a weekend of ordinary work.

use serde::{Deserialize, Serialize};
use watchpost_rule::{Plan, Problem};
use watchpost_rule::threshold::{Finding, Manifest, Round, Rule, Severity, Subject};

struct Weekend;
watchpost_rule::threshold!(Weekend);

#[derive(Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    percent_a_day: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { percent_a_day: 4.0 }
    }
}

impl Rule for Weekend {
    type Settings = Settings;
    type Prepared<'p> = Settings;

    fn describe() -> Manifest {
        Manifest {
            name: "weekend".to_owned(),
            version: "1.0.0".to_owned(),
            description: "Warns when too little is left on a disk for a weekend.".to_owned(),
            settings_schema: r#"{"properties": {"percent_a_day": {"type": "number", "default": 4}}}"#.to_owned(),
        }
    }

    fn plan(settings: Settings) -> Result<Plan, Vec<Problem>> {
        if settings.percent_a_day <= 0.0 {
            return Err(vec![Problem::new("/percent_a_day", "a disk fills by more than 0 percent a day")]);
        }
        Ok(Plan::new(["disk"], &settings).with_effective_settings(&settings))
    }

    fn judge(round: Round, settings: Settings) -> Result<Vec<Finding>, String> {
        let limit = 100.0 - 2.5 * settings.percent_a_day;
        let samples = round.metrics.into_iter().flat_map(|metric| metric.samples);
        let findings = samples.map(|sample| {
            let full = sample.value >= limit;
            Finding {
                severity: if full { Severity::Warning } else { Severity::Ok },
                value: Some(sample.value),
                limit: Some(limit),
                message: if full { "it will be full before Monday".to_owned() } else { String::new() },
                subject: Subject {
                    metric: "disk".to_owned(),
                    labels: sample.labels,
                },
            }
        });
        Ok(findings.collect())
    }
}
