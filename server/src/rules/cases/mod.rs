//! Test cases of rules in TOML: settings, rounds or requests, and the expected results. This module parses them; `run`
//! runs them against a rule, and `junit` writes the outcomes for build servers.

mod junit;
mod run;

pub use junit::junit;
pub use run::{Outcome, Runner};

use std::collections::BTreeMap;

use serde::Deserialize;
use watchpost_policies::{Action, Gap, Identity, Labels, MetricName, ProxyKind, Sample, Severity, Unit};

use super::sample::{self, NOW_MS};

/// The cases of a file.
#[derive(Clone, Debug)]
pub struct Cases(Vec<Case>);

/// Why a file of cases is rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CasesError {
    /// Invalid TOML, or an unknown or missing key.
    #[error("{0}")]
    Form(String),
    /// Without a case, any rule would pass.
    #[error("the file has no case; a case begins with [[case]]")]
    Empty,
    /// A case that cannot fail.
    #[error("the case \"{name}\" expects nothing: give it a [[case.round]], a [[case.request]], or problems")]
    Nothing {
        /// Name of the case.
        name: String,
    },
    /// A case with incompatible parts.
    #[error("the case \"{name}\" has {both}; split it")]
    Both {
        /// Name of the case.
        name: String,
        /// The incompatible parts.
        both: &'static str,
    },
}

impl Cases {
    /// Parses a file. A case that cannot fail is rejected.
    pub fn read(text: &str) -> Result<Self, CasesError> {
        let File { case: cases } = toml::from_str(text).map_err(|error| CasesError::Form(error.to_string()))?;
        if cases.is_empty() {
            return Err(CasesError::Empty);
        }
        for Case {
            name,
            round,
            request,
            problems,
            ..
        } in &cases
        {
            let name = || name.clone();
            match (round.is_empty(), request.is_empty(), problems) {
                (true, true, None) => return Err(CasesError::Nothing { name: name() }),
                (true, true, Some(places)) if places.is_empty() => return Err(CasesError::Nothing { name: name() }),
                (false, false, _) => {
                    let both = "rounds and requests";
                    return Err(CasesError::Both { name: name(), both });
                }
                (false, true, Some(_)) | (true, false, Some(_)) => {
                    let both = "both problems and rounds or requests, but settings with problems are not run";
                    return Err(CasesError::Both { name: name(), both });
                }
                _ => {}
            }
        }
        Ok(Self(cases))
    }

    /// Number of cases.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The cases whose names contain this text.
    pub fn filtered(mut self, text: &str) -> Self {
        self.0.retain(|case| case.name.contains(text));
        self
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    case: Vec<Case>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default)]
    settings: serde_json::Map<String, serde_json::Value>,
    #[serde(default)]
    round: Vec<Round>,
    #[serde(default)]
    request: Vec<RequestCase>,
    /// Expected locations of mistakes in the settings.
    problems: Option<Vec<String>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Round {
    #[serde(default)]
    samples: Vec<Measured>,
    #[serde(default)]
    gaps: Vec<Gap>,
    expect: Vec<Expected>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "MeasuredFields")]
struct Measured(Sample);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MeasuredFields {
    metric: MetricName,
    #[serde(default)]
    labels: Labels,
    value: f64,
    #[serde(default)]
    unit: Unit,
}

impl TryFrom<MeasuredFields> for Measured {
    type Error = watchpost_policies::MeasureError;
    fn try_from(fields: MeasuredFields) -> Result<Self, Self::Error> {
        Sample::new(fields.metric, fields.labels, fields.value, fields.unit, NOW_MS).map(Self)
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    metric: String,
    #[serde(default)]
    labels: Labels,
    severity: Severity,
    value: Option<f64>,
    limit: Option<f64>,
    /// Expected part of the message.
    message: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestCase {
    identity: IdentityCase,
    action: Action,
    /// Percentages evaluated by the default thresholds; without a value, the part is ok.
    #[serde(default)]
    machine: BTreeMap<Part, f64>,
    /// `allow`, or a part of the reason for the denial.
    expect: String,
    roles: Option<Vec<String>>,
}

/// The parts of the machine that a case can set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Part {
    Disk,
    Memory,
    Cpu,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "an identity is \"anonymous\", { token = \"…\", roles = […] }, or { subject = […], issuer = […], roles = […] }"
)]
enum IdentityCase {
    Anonymous(Anonymous),
    Token {
        token: String,
        /// The roles that the server's configuration assigns.
        #[serde(default)]
        roles: Vec<String>,
    },
    Certificate {
        subject: Vec<(String, String)>,
        issuer: Vec<(String, String)>,
        /// The roles that the server assigns to certificates of its development authority.
        #[serde(default)]
        roles: Vec<String>,
        /// The kind of proxy certificate by which the client acts for the owner.
        proxy: Option<ProxyCase>,
    },
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ProxyCase {
    Full,
    Limited,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Anonymous {
    Anonymous,
}

impl IdentityCase {
    fn identity(&self) -> Identity {
        fn pairs(name: &[(String, String)]) -> Vec<(&str, &str)> {
            name.iter()
                .map(|(kind, value)| (kind.as_str(), value.as_str()))
                .collect()
        }
        match self {
            Self::Anonymous(Anonymous::Anonymous) => Identity::anonymous(),
            Self::Token { token, roles } => {
                Identity::of_token(token).with_assigned_roles(roles.iter().map(String::as_str))
            }
            Self::Certificate {
                subject,
                issuer,
                roles,
                proxy,
            } => {
                let owner = sample::of_certificate(&pairs(subject), &pairs(issuer));
                let identity = owner.with_assigned_roles(roles.iter().map(String::as_str));
                match proxy {
                    None => identity,
                    Some(ProxyCase::Full) => identity.with_proxy(ProxyKind::Full),
                    Some(ProxyCase::Limited) => identity.with_proxy(ProxyKind::Limited),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        Cases::read(text).expect_err("refused").to_string()
    }

    #[test]
    fn a_case_that_cannot_fail_is_rejected() {
        assert_eq!(Cases::read("").expect_err("refused"), CasesError::Empty);
        for empty in ["", "problems = []", "settings.level = 5"] {
            let message = refusal(&format!("[[case]]\nname = \"empty\"\n{empty}"));
            assert!(message.contains("\"empty\" expects nothing"), "{message}");
        }
        let problems = Cases::read("[[case]]\nname = \"wrong\"\nproblems = [\"/level\"]");
        assert_eq!(problems.expect("it can fail").count(), 1);
    }

    #[test]
    fn the_cases_in_the_documentation_are_valid() {
        let page = include_str!("../../../../docs/WRITING-RULES.md");
        let begin = page.find("```toml\n[[case]]").expect("the page has cases");
        let cases = page[begin..].split("```").nth(1).expect("the block ends");
        let cases = Cases::read(cases.trim_start_matches("toml"));
        assert_eq!(cases.expect("they are valid").count(), 2);
    }

    #[test]
    fn a_case_has_either_rounds_or_requests_or_problems() {
        let (round, request) = (
            "[[case.round]]\nexpect = []",
            "[[case.request]]\nidentity = \"anonymous\"\naction = \"health.read\"\nexpect = \"allow\"",
        );
        let message = refusal(&format!("[[case]]\nname = \"two\"\n{round}\n{request}"));
        assert!(message.contains("rounds and requests"), "{message}");
        for doing in [round, request] {
            assert!(Cases::read(&format!("[[case]]\nname = \"one\"\n{doing}")).is_ok());
            let message = refusal(&format!("[[case]]\nname = \"two\"\nproblems = [\"/a\"]\n{doing}"));
            assert!(message.contains("are not run"), "{message}");
        }
    }

    #[test]
    fn a_misspelt_key_is_named_with_its_line() {
        let check = |text: &str, part: &str| {
            let message = refusal(text);
            assert!(message.contains(part), "{message}");
        };
        check("[[case]]\nname = \"a\"\nrounds = []", "rounds");
        check("[[case]]\nname = \"a\"\nrounds = []", "line 3");
        let round = |round: &str| format!("[[case]]\nname = \"a\"\n[[case.round]]\n{round}");
        check(
            &round("samples = [{ metric = \"a b\", value = 1 }]\nexpect = []"),
            "is not a metric name",
        );
        check(
            &round("samples = [{ metric = \"a\", value = inf }]\nexpect = []"),
            "finite",
        );
        check(&round("expect = [{ metric = \"a\", severity = \"bad\" }]"), "bad");
        let request_of = |identity: &str| {
            format!(
                "[[case]]\nname = \"a\"\n[[case.request]]\nidentity = {identity}\naction = \"health.read\"\nexpect = \"\""
            )
        };
        check(&request_of("\"unknown\""), "an identity is");
        check(&request_of("{ token = \"a\", subject = [] }"), "an identity is");
        check(&request_of("\"anonymous\"\nmachine = { disc = 5 }"), "disc");
    }
}
