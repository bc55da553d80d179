//! A role rule that allows every request without reading it. Benchmarks use it to measure the cost of a call alone.

use serde::{Deserialize, Serialize};
use watchpost_rule::role::{Decision, Manifest, Request, Rule, Standing};
use watchpost_rule::{Plan, Problem};

/// A role rule that allows every request.
pub struct AllowAll;

watchpost_rule::role!(AllowAll);

/// There are no settings.
#[derive(Serialize, Deserialize)]
pub struct Settings {}

impl Rule for AllowAll {
    type Settings = Settings;
    type Prepared<'p> = ();

    fn describe() -> Manifest {
        Manifest {
            name: "allow-all".to_owned(),
            version: "1".to_owned(),
            description: "Allows every request.".to_owned(),
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
