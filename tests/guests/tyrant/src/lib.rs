//! A role rule that misbehaves as its settings tell it. Whatever it does, nobody may get in by it.

use serde::{Deserialize, Serialize};
use watchpost_rule::role::{Decision, Identity, Label, Manifest, Request, Rule, Standing};
use watchpost_rule::{Plan, Problem};

/// The rule.
pub struct Tyrant;

watchpost_rule::role!(Tyrant);

/// What to do.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// In `decide`.
    #[serde(rename = "do")]
    way: Way,
    /// The metrics whose standings it wants to see.
    metrics: Vec<String>,
    /// Whom it misbehaves to, by their common name; to all, if nobody is named.
    to: String,
}

/// The ways to misbehave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// Behave: allow.
    #[default]
    Well,
    /// Never come back.
    Loop,
    /// Ask for memory until there is none.
    Grow,
    /// Panic with a message.
    Panic,
    /// Return an error.
    GiveUp,
    /// Deny without a reason.
    Silent,
    /// Deny with a reason of nothing that can be seen.
    Invisible,
    /// Allow, with a role whose name is longer than any.
    LongRole,
    /// Allow, with roles whose names are no plain text.
    RudeRoles,
    /// Allow, with more roles than anyone has.
    ManyRoles,
    /// Allow, with a reason that never ends.
    LongReason,
    /// Deny, and say what was shown.
    Tell,
}

impl Settings {
    /// Whether this is one to misbehave to.
    fn means(&self, request: &Request) -> bool {
        let is_it = |label: &Label| label.name == "CN" && label.value == self.to;
        self.to.is_empty()
            || matches!(&request.identity, Identity::Certificate(its) if its.subject_attributes.iter().any(is_it))
    }
}

impl Rule for Tyrant {
    type Settings = Settings;
    type Prepared<'p> = Settings;

    fn describe() -> Manifest {
        Manifest {
            name: "tyrant".to_owned(),
            version: "1".to_owned(),
            description: "Misbehaves as it is told.".to_owned(),
            settings_schema: "{}".to_owned(),
        }
    }

    fn plan(settings: Settings, _: &[String]) -> Result<Plan, Vec<Problem>> {
        Ok(Plan::new(settings.metrics.clone(), &settings))
    }

    fn decide(request: Request, standings: Vec<Standing>, settings: Settings) -> Result<Decision, String> {
        let way = match settings.means(&request) {
            true => settings.way,
            false => Way::Well,
        };
        let mut decision = Decision {
            allowed: true,
            roles: Vec::new(),
            reason: String::new(),
        };
        match way {
            Way::Well => {}
            Way::Loop => loop {
                std::hint::black_box(0);
            },
            Way::Grow => {
                let mut hoard = Vec::new();
                loop {
                    hoard.push(std::hint::black_box(vec![1u8; 1 << 20]));
                }
            }
            Way::Panic => panic!("who is {}?", request.resource),
            Way::GiveUp => return Err("not today".to_owned()),
            Way::Silent => decision.allowed = false,
            Way::Invisible => {
                decision.allowed = false;
                decision.reason = "\u{1}\n".to_owned();
            }
            Way::LongRole => decision.roles = vec!["x".repeat(65)],
            Way::RudeRoles => decision.roles = vec!["ad\nmin\u{1b}".to_owned(), "\u{1}".to_owned()],
            Way::ManyRoles => decision.roles = vec!["admin".to_owned(); 1000],
            Way::LongReason => decision.reason = "because ".repeat(10_000),
            Way::Tell => {
                decision.allowed = false;
                decision.reason = format!("{request:?} {standings:?}");
            }
        }
        Ok(decision)
    }
}
