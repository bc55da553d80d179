//! A role rule that says yes without looking: what a call costs by itself. The yardstick of the benchmarks.

use serde::{Deserialize, Serialize};
use watchpost_rule::role::{Decision, Manifest, Request, Rule, Standing};
use watchpost_rule::{Plan, Problem};

/// The rule.
pub struct Yes;

watchpost_rule::role!(Yes);

/// Nothing to set.
#[derive(Serialize, Deserialize)]
pub struct Settings {}

impl Rule for Yes {
    type Settings = Settings;
    type Prepared<'p> = ();

    fn describe() -> Manifest {
        Manifest {
            name: "yes".to_owned(),
            version: "1".to_owned(),
            description: "Says yes without looking.".to_owned(),
            settings_schema: "{}".to_owned(),
        }
    }

    fn plan(_: Settings, _: &[String]) -> Result<Plan, Vec<Problem>> {
        Ok(Plan::new([""; 0], &()))
    }

    fn decide(_: Request, _: Vec<Standing>, (): ()) -> Result<Decision, String> {
        Ok(Decision {
            allowed: true,
            roles: Vec::new(),
            reason: String::new(),
        })
    }
}
