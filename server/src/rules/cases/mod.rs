//! What a rule has to do, as cases: settings, rounds or requests, and what is expected. Here is how they are written
//! down, in TOML; `run` holds a rule against them, and `junit` tells the outcome to machines.

mod junit;
mod run;

pub use junit::junit;
pub use run::{Outcome, Runner};

use std::collections::BTreeMap;

use serde::Deserialize;
use watchpost_policies::{Action, Gap, Identity, Labels, MetricName, Sample, Severity, Unit};

use super::sample::{self, NOW_MS};

/// A file of cases that can all be run.
#[derive(Clone, Debug)]
pub struct Cases(Vec<Case>);

/// Why a file is no file of cases.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CasesError {
    /// Not TOML, or not in this form.
    #[error("{0}")]
    Form(String),
    /// A file without a case would pass any rule.
    #[error("there is no case in it; a case begins with [[case]]")]
    Empty,
    /// A case that could not fail.
    #[error("the case \"{name}\" expects nothing: give it a [[case.round]], a [[case.request]], or problems")]
    Nothing {
        /// The case.
        name: String,
    },
    /// A case that is about both kinds of rules at once.
    #[error("the case \"{name}\" has {both}; split it")]
    Both {
        /// The case.
        name: String,
        /// Two things that do not go together.
        both: &'static str,
    },
}

impl Cases {
    /// Reads them. A case that could not fail is refused.
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
                    let both = "problems and something to do, and settings with problems are not run";
                    return Err(CasesError::Both { name: name(), both });
                }
                _ => {}
            }
        }
        Ok(Self(cases))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Those whose names have this text in them.
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
    request: Vec<Asked>,
    /// Where the settings are wrong.
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
    /// A part of the sentence.
    sentence: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    identity: Who,
    action: Action,
    /// Percentages that the default thresholds judge; what is not given is fine.
    #[serde(default)]
    machine: BTreeMap<Part, f64>,
    /// `allow`, or a part of the reason to deny.
    expect: String,
    roles: Option<Vec<String>>,
}

/// What a case may say of the machine.
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
    expecting = "an identity is \"anonymous\", { token = \"…\" }, or { subject = […], issuer = […] }"
)]
enum Who {
    Anonymous(Anonymous),
    Token {
        token: String,
    },
    Certificate {
        subject: Vec<(String, String)>,
        issuer: Vec<(String, String)>,
    },
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Anonymous {
    Anonymous,
}

impl Who {
    fn identity(&self) -> Identity {
        fn pairs(name: &[(String, String)]) -> Vec<(&str, &str)> {
            name.iter()
                .map(|(kind, value)| (kind.as_str(), value.as_str()))
                .collect()
        }
        match self {
            Self::Anonymous(Anonymous::Anonymous) => Identity::anonymous(),
            Self::Token { token } => Identity::of_token(token),
            Self::Certificate { subject, issuer } => sample::of_certificate(&pairs(subject), &pairs(issuer)),
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
    fn a_case_that_could_not_fail_is_refused() {
        assert_eq!(Cases::read("").expect_err("refused"), CasesError::Empty);
        for idle in ["", "problems = []", "settings.level = 5"] {
            let said = refusal(&format!("[[case]]\nname = \"idle\"\n{idle}"));
            assert!(said.contains("\"idle\" expects nothing"), "{said}");
        }
        let problems = Cases::read("[[case]]\nname = \"wrong\"\nproblems = [\"/level\"]");
        assert_eq!(problems.expect("it can fail").count(), 1);
    }

    #[test]
    fn the_cases_on_the_page_can_be_read() {
        let page = include_str!("../../../../docs/RULES.md");
        let begin = page.find("```toml\n[[case]]").expect("there are cases on the page");
        let cases = page[begin..].split("```").nth(1).expect("the block has an end");
        let cases = Cases::read(cases.trim_start_matches("toml"));
        assert_eq!(cases.expect("they are legal").count(), 2);
    }

    #[test]
    fn a_case_is_about_one_thing() {
        let (round, request) = (
            "[[case.round]]\nexpect = []",
            "[[case.request]]\nidentity = \"anonymous\"\naction = \"health.read\"\nexpect = \"allow\"",
        );
        let said = refusal(&format!("[[case]]\nname = \"two\"\n{round}\n{request}"));
        assert!(said.contains("rounds and requests"), "{said}");
        for doing in [round, request] {
            assert!(Cases::read(&format!("[[case]]\nname = \"one\"\n{doing}")).is_ok());
            let said = refusal(&format!("[[case]]\nname = \"two\"\nproblems = [\"/a\"]\n{doing}"));
            assert!(said.contains("are not run"), "{said}");
        }
    }

    #[test]
    fn what_is_misspelt_is_named_with_its_line() {
        let check = |text: &str, part: &str| {
            let said = refusal(text);
            assert!(said.contains(part), "{said}");
        };
        check("[[case]]\nname = \"a\"\nrounds = []", "rounds");
        check("[[case]]\nname = \"a\"\nrounds = []", "line 3");
        let round = |round: &str| format!("[[case]]\nname = \"a\"\n[[case.round]]\n{round}");
        check(
            &round("samples = [{ metric = \"a b\", value = 1 }]\nexpect = []"),
            "is not a valid metric name",
        );
        check(
            &round("samples = [{ metric = \"a\", value = inf }]\nexpect = []"),
            "finite",
        );
        check(&round("expect = [{ metric = \"a\", severity = \"bad\" }]"), "bad");
        let asked = |who: &str| {
            format!(
                "[[case]]\nname = \"a\"\n[[case.request]]\nidentity = {who}\naction = \"health.read\"\nexpect = \"\""
            )
        };
        check(&asked("\"nobody\""), "an identity is");
        check(&asked("{ token = \"a\", subject = [] }"), "an identity is");
        check(&asked("\"anonymous\"\nmachine = { disc = 5 }"), "disc");
    }
}
