//! A role rule that misbehaves as its settings say. No misbehaviour may grant a client access.

use serde::{Deserialize, Serialize};
use watchpost_rule::role::{Decision, Identity, Label, Manifest, Request, Rule, Standing};
use watchpost_rule::{Plan, Problem};

/// A role rule that allows every request, unless its settings select a misbehaviour.
pub struct LockoutRule;

watchpost_rule::role!(LockoutRule);

/// Selects the misbehaviour and the clients that it applies to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// The misbehaviour of `decide`.
    #[serde(rename = "do")]
    way: Way,
    /// The metrics whose standings the rule requests in its plan.
    metrics: Vec<String>,
    /// The common names of the clients that the misbehaviour applies to, separated by commas; empty for all clients.
    to: String,
}

/// The ways to misbehave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// Behave: allow.
    #[default]
    Well,
    /// Loop forever.
    Loop,
    /// Allocate memory until the limit is reached.
    Grow,
    /// Panic with a message.
    Panic,
    /// Return an error.
    GiveUp,
    /// Deny without a reason.
    Silent,
    /// Deny with a reason of control characters and white space only.
    Invisible,
    /// Allow, with a role name of 65 bytes, one more than the host accepts.
    LongRole,
    /// Allow, with control characters in the role names.
    RudeRoles,
    /// Allow, with 1,000 roles, more than the host accepts.
    ManyRoles,
    /// Allow, with a reason longer than the host accepts.
    LongReason,
    /// Deny, with the request and the standings as the reason.
    Echo,
}

impl Settings {
    /// Whether the misbehaviour applies to this request.
    fn apply_to(&self, request: &Request) -> bool {
        let is_named = |label: &Label| label.name == "CN" && self.to.split(',').any(|name| name == label.value);
        self.to.is_empty()
            || matches!(&request.identity, Identity::Certificate(certificate) if certificate.subject_attributes.iter().any(is_named))
    }
}

impl Rule for LockoutRule {
    type Settings = Settings;
    type Prepared<'p> = Settings;

    fn describe() -> Manifest {
        Manifest {
            name: "lockout".to_owned(),
            version: "1".to_owned(),
            description: "Misbehaves as its settings say.".to_owned(),
            settings_schema: "{}".to_owned(),
        }
    }

    fn plan(settings: Settings, _: &[String]) -> Result<Plan, Vec<Problem>> {
        Ok(Plan::new(settings.metrics.clone(), &settings))
    }

    fn decide(request: Request, standings: Vec<Standing>, settings: Settings) -> Result<Decision, String> {
        let way = if settings.apply_to(&request) {
            settings.way
        } else {
            Way::Well
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
            Way::Echo => {
                decision.allowed = false;
                decision.reason = format!("{request:?} {standings:?}");
            }
        }
        Ok(decision)
    }
}
