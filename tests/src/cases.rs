//! Runs conformance cases against a rule in any language: settings, rounds or requests, and what is expected.
//! The cases themselves are files in `wasm-rules/conformance`.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Deserialize;
use watchpost_policies::{
    Action, Engine, Finding, Gap, Identity, Kind, Labels, MetricName, Report, Request, Rule, RuleModule, RuleSet,
    Sample, SettingsRefusal, Severity, Snapshot, Unit, Verdict,
};

use crate::guests::{ROLE, THRESHOLD, rule};
use crate::sample::{self, NOW_MS};

/// A file of cases.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cases {
    case: Vec<Case>,
}

#[derive(Deserialize)]
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Round {
    #[serde(default)]
    samples: Vec<Measured>,
    #[serde(default)]
    gaps: Vec<Gap>,
    expect: Vec<Expected>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Measured {
    metric: MetricName,
    #[serde(default)]
    labels: Labels,
    value: f64,
    #[serde(default)]
    unit: Unit,
}

#[derive(Deserialize)]
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    identity: Who,
    action: Action,
    /// Percentages that the default thresholds judge; what is not given is fine.
    #[serde(default)]
    machine: BTreeMap<String, f64>,
    /// `allow`, or a part of the reason to deny.
    expect: String,
    roles: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Who {
    Anonymous(String),
    Token {
        token: String,
    },
    Certificate {
        subject: Vec<(String, String)>,
        issuer: Vec<(String, String)>,
    },
}

/// Runs all cases of a file against a component and says which of them it fails, and how.
pub fn failures(engine: &Engine, wasm: &[u8], cases: &str) -> Vec<String> {
    let cases: Cases = toml::from_str(cases).expect("the cases can be read");
    let module = match RuleModule::compile(engine, wasm) {
        Ok(module) => module,
        Err(refusal) => return vec![format!("it is refused: {refusal}")],
    };
    let run = |case: &Case| {
        let failed = check(engine, &module, case).err()?;
        Some(format!("{}: {failed}", case.name))
    };
    cases.case.iter().filter_map(run).collect()
}

fn check(engine: &Engine, module: &RuleModule, case: &Case) -> Result<(), String> {
    let settings = serde_json::to_string(&case.settings).map_err(|error| error.to_string())?;
    let rule = match (module.with_settings(&settings), &case.problems) {
        (Ok(rule), None) => rule,
        (Ok(_), Some(places)) => return Err(format!("the settings are taken, with mistakes at {places:?}")),
        (Err(SettingsRefusal::Problems { problems }), Some(places)) => {
            let named = |place: &&String| !problems.iter().any(|problem| problem.at.starts_with(place.as_str()));
            return match places.iter().find(named) {
                Some(place) => Err(format!("no problem is named at {place}: {problems:?}")),
                None => Ok(()),
            };
        }
        (Err(refusal), _) => return Err(refusal.to_string()),
    };
    match module.kind() {
        Kind::Threshold => judge(engine, rule, &case.round),
        Kind::Role => decide(engine, rule, &case.request),
    }
}

fn judge(engine: &Engine, threshold: Rule, rounds: &[Round]) -> Result<(), String> {
    let rules = RuleSet::new(1, vec![threshold], rule(engine, ROLE, "{}")).map_err(|error| error.to_string())?;
    let mut last: Option<Report> = None;
    for (at, round) in rounds.iter().enumerate() {
        let samples = round.samples.iter().map(|measured| {
            let Measured {
                metric,
                labels,
                value,
                unit,
            } = measured;
            Sample::new(metric.clone(), labels.clone(), *value, unit.clone(), NOW_MS).expect("cases are finite")
        });
        let time_ms = NOW_MS + 10_000 * at as u64;
        let gaps = round.gaps.clone();
        let snapshot = Snapshot::new("edge-1".to_owned(), time_ms, Labels::none(), samples.collect(), gaps);
        let report = rules.judge(&snapshot, last.as_ref());
        if let Some(fault) = report.faults().first() {
            return Err(format!("round {}: {fault}", at + 1));
        }
        compare(report.findings(), &round.expect).map_err(|difference| format!("round {}: {difference}", at + 1))?;
        last = Some(report);
    }
    Ok(())
}

/// Both lists are sorted by subject.
fn compare(found: &[Finding], expected: &[Expected]) -> Result<(), String> {
    let agrees = |(found, expected): (&Finding, &Expected)| {
        found.subject.metric == expected.metric
            && found.subject.labels == expected.labels
            && found.severity == expected.severity
            && found.value == expected.value
            && found.limit == expected.limit
            && expected
                .sentence
                .as_ref()
                .is_none_or(|part| found.sentence.contains(part))
    };
    if found.len() == expected.len() && found.iter().zip(expected).all(agrees) {
        return Ok(());
    }
    let mut difference = "it found".to_owned();
    for finding in found {
        let Finding {
            subject,
            severity,
            value,
            limit,
            sentence,
            ..
        } = finding;
        let _ = write!(
            difference,
            "\n    {subject} {severity} {value:?} {limit:?} \"{sentence}\""
        );
    }
    difference.push_str("\n  where these were expected:");
    for wanted in expected {
        let Expected {
            metric,
            labels,
            severity,
            value,
            limit,
            ..
        } = wanted;
        let _ = write!(difference, "\n    {metric} {labels:?} {severity} {value:?} {limit:?}");
    }
    Err(difference)
}

fn decide(engine: &Engine, role: Rule, requests: &[Asked]) -> Result<(), String> {
    let rules = RuleSet::new(1, vec![rule(engine, THRESHOLD, "{}")], role).map_err(|error| error.to_string())?;
    for (at, asked) in requests.iter().enumerate() {
        let percent = |metric| asked.machine.get(metric).copied().unwrap_or(0.0);
        let snapshot = sample::machine(percent("disk"), percent("memory"), percent("cpu"));
        let report = rules.judge(&snapshot, None);
        let identity = asked.identity.identity();
        let request = Request::new(&identity, asked.action);
        let decision = rules.decide(&request, &report).map_err(|busy| busy.to_string())?;
        let as_expected = match &decision.verdict {
            Verdict::Allow => asked.expect == "allow",
            Verdict::Deny { reason } => asked.expect != "allow" && reason.contains(&asked.expect),
            Verdict::Fault { .. } => false,
        };
        let roles_differ = asked.roles.as_ref().is_some_and(|roles| *roles != decision.roles);
        if !as_expected || roles_differ {
            let (verdict, roles) = (&decision.verdict, &decision.roles);
            return Err(format!(
                "request {}: {verdict:?} with the roles {roles:?}; expected {}",
                at + 1,
                asked.expect
            ));
        }
    }
    Ok(())
}

impl Who {
    fn identity(&self) -> Identity {
        fn pairs(name: &[(String, String)]) -> Vec<(&str, &str)> {
            name.iter()
                .map(|(kind, value)| (kind.as_str(), value.as_str()))
                .collect()
        }
        match self {
            Self::Anonymous(word) => {
                assert_eq!(word, "anonymous", "an identity is anonymous, a token or a certificate");
                Identity::anonymous()
            }
            Self::Token { token } => Identity::of_token(token),
            Self::Certificate { subject, issuer } => sample::of_certificate(&pairs(subject), &pairs(issuer)),
        }
    }
}
