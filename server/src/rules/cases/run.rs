//! Runs test cases against a rule, in order, and compares the results with the expectations.

use std::fmt::Write;
use std::time::{Duration, Instant};

use serde::Serialize;
use watchpost_policies::{
    ComponentError, Engine, Finding, Kind, Labels, Request, Rule, RuleModule, SettingsError, Severity, Snapshot,
    Verdict,
};

use super::{Case, Cases, Expected, Part, RequestCase, Round};
use crate::rules::builtin;
use crate::rules::sample::{self, NOW_MS};

/// Time between two rounds of a case.
const INTERVAL_MS: u64 = 10_000;

/// The outcome of one case.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// Name of the case.
    pub name: String,
    /// Duration of the case.
    #[serde(rename = "seconds", serialize_with = "seconds")]
    pub duration: Duration,
    /// The differences from the expectations, in lines; `None` if the case passed.
    pub failure: Option<String>,
}

fn seconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

/// Runs cases against a rule.
pub struct Runner {
    module: RuleModule,
    /// Evaluates the machine, for a role rule.
    thresholds: Option<Rule>,
}

impl Runner {
    /// A runner for a rule. A role rule gets the findings of the built-in threshold rule.
    pub fn new(engine: &Engine, module: RuleModule) -> Result<Self, ComponentError> {
        let thresholds = match module.kind() {
            Kind::Threshold => None,
            Kind::Role => {
                let builtin_rule = RuleModule::compile(engine, builtin::THRESHOLD)?;
                Some(builtin_rule.with_settings("{}").expect("the defaults are valid"))
            }
        };
        Ok(Self { module, thresholds })
    }

    /// Runs all cases, in their order.
    pub fn run(&self, cases: &Cases) -> Vec<Outcome> {
        let outcome = |case: &Case| {
            let began = Instant::now();
            let failure = self.check(case).err();
            Outcome {
                name: case.name.clone(),
                duration: began.elapsed(),
                failure,
            }
        };
        cases.0.iter().map(outcome).collect()
    }

    fn check(&self, case: &Case) -> Result<(), String> {
        let settings = serde_json::to_string(&case.settings).map_err(|error| error.to_string())?;
        let rule = match (self.module.with_settings(&settings), &case.problems) {
            (Ok(rule), None) => rule,
            (Ok(_), Some(places)) => {
                return Err(format!(
                    "the settings are accepted, but mistakes are expected at {}",
                    places.join(" and ")
                ));
            }
            (Err(SettingsError::Problems { problems }), Some(places)) => {
                let is_named =
                    |place: &&String| problems.iter().any(|problem| problem.path.starts_with(place.as_str()));
                return match places.iter().find(|place| !is_named(place)) {
                    Some(place) => {
                        let refusal = SettingsError::Problems { problems };
                        Err(format!("no mistake is reported at {place}: {refusal}"))
                    }
                    None => Ok(()),
                };
            }
            (Err(refusal), _) => return Err(refusal.to_string()),
        };
        match &self.thresholds {
            None if !case.request.is_empty() => Err(format!("{} is a threshold rule and has no requests", rule.name())),
            None => judge(&rule, &case.round),
            Some(_) if !case.round.is_empty() => Err(format!("{} is a role rule and has no rounds", rule.name())),
            Some(thresholds) => decide(&rule, thresholds, &case.request),
        }
    }
}

fn judge(rule: &Rule, rounds: &[Round]) -> Result<(), String> {
    let mut last = Vec::new();
    for (at, round) in rounds.iter().enumerate() {
        let samples = round.samples.iter().map(|measured| measured.0.clone());
        let time_ms = NOW_MS + INTERVAL_MS * at as u64;
        let gaps = round.gaps.clone();
        let snapshot = Snapshot::new("edge-1".to_owned(), time_ms, Labels::none(), samples.collect(), gaps);
        let in_round = |what: String| format!("round {}: {what}", at + 1);
        let (found, _) = rule
            .judge_alone(&snapshot, &last)
            .map_err(|fault| in_round(fault.to_string()))?;
        compare(&found, &round.expect).map_err(in_round)?;
        last = found;
    }
    Ok(())
}

/// Describes the differences; findings that match are only counted.
fn compare(found: &[Finding], expected: &[Expected]) -> Result<(), String> {
    let agrees = |found: &Finding, expected: &Expected| {
        let Expected {
            severity,
            value,
            limit,
            message,
            ..
        } = expected;
        let has_sentence = message.as_ref().is_none_or(|part| found.message.contains(part));
        found.severity == *severity && found.value == *value && found.limit == *limit && has_sentence
    };
    let about = |expected: &Expected, found: &Finding| {
        found.subject.metric == expected.metric && found.subject.labels == expected.labels
    };
    let mut difference = String::new();
    let mut agreed = 0;
    for expectation in expected {
        match found.iter().find(|found| about(expectation, found)) {
            Some(found) if agrees(found, expectation) => agreed += 1,
            Some(found) => {
                let _ = write!(
                    difference,
                    "\n  expected  {}\n  found     {}",
                    expected_line(expectation),
                    found_line(found)
                );
            }
            None => {
                let _ = write!(
                    difference,
                    "\n  expected  {}\n  found     no finding",
                    expected_line(expectation)
                );
            }
        }
    }
    let beyond = |found: &&Finding| !expected.iter().any(|expectation| about(expectation, found));
    for found in found.iter().filter(beyond) {
        let _ = write!(
            difference,
            "\n  expected  no finding\n  found     {}",
            found_line(found)
        );
    }
    match (difference.is_empty(), found.len() == expected.len()) {
        (true, true) => Ok(()),
        (true, false) => Err("a subject is expected twice; a rule has one finding per subject".to_owned()),
        (false, _) if agreed > 0 => Err(format!("findings differ, {agreed} match{difference}")),
        (false, _) => Err(format!("findings differ{difference}")),
    }
}

fn expected_line(expected: &Expected) -> String {
    let subject = watchpost_policies::Subject {
        metric: expected.metric.clone(),
        labels: expected.labels.clone(),
    };
    let Expected {
        severity,
        value,
        limit,
        message,
        ..
    } = expected;
    let sentence_part = message.as_ref().map(|part| format!(", with \"{part}\" in its message"));
    line(&subject, *severity, *value, *limit) + &sentence_part.unwrap_or_default()
}

fn found_line(found: &Finding) -> String {
    let Finding {
        subject,
        severity,
        value,
        limit,
        message,
        ..
    } = found;
    line(subject, *severity, *value, *limit) + &format!(": \"{message}\"")
}

fn line(subject: &watchpost_policies::Subject, severity: Severity, value: Option<f64>, limit: Option<f64>) -> String {
    let number = |name: &str, number: Option<f64>| match number {
        Some(number) => format!(", {name} {number}"),
        None => format!(", no {name}"),
    };
    format!(
        "{subject} {severity}{}{}",
        number("value", value),
        number("limit", limit)
    )
}

fn decide(role: &Rule, thresholds: &Rule, requests: &[RequestCase]) -> Result<(), String> {
    for (at, case) in requests.iter().enumerate() {
        let percent = |part| case.machine.get(&part).copied().unwrap_or(0.0);
        let machine = sample::machine(percent(Part::Disk), percent(Part::Memory), percent(Part::Cpu));
        let (standings, _) = thresholds
            .judge_alone(&machine, &[])
            .map_err(|fault| fault.to_string())?;
        let identity = case.identity.identity();
        let request = Request::new(&identity, case.action);
        let in_request = |what: String| format!("request {}: {} by {identity}: {what}", at + 1, case.action);
        let answer = role
            .decide_alone(&request, &standings)
            .map_err(|busy| busy.to_string())?;
        let (decision, _) = answer.map_err(|fault| in_request(fault.to_string()))?;
        let as_expected = match &decision.verdict {
            Verdict::Allow => case.expect == "allow",
            Verdict::Deny { reason } => case.expect != "allow" && reason.contains(&case.expect),
            Verdict::Fault { .. } => false,
        };
        let expected_roles = case.roles.as_ref().filter(|roles| **roles != decision.roles);
        if as_expected && expected_roles.is_none() {
            continue;
        }
        let expectation = match case.expect.as_str() {
            "allow" => "allowed".to_owned(),
            part => format!("denied, with \"{part}\" in the reason"),
        };
        let found = match &decision.verdict {
            Verdict::Deny { reason } => format!("denied: \"{reason}\""),
            _ => "allowed".to_owned(),
        };
        let roles = |roles: &[String]| format!(", with the roles {}", roles.join(", "));
        let (wanted_roles, found_roles) = match &case.roles {
            Some(expectation) => (roles(expectation), roles(&decision.roles)),
            None => Default::default(),
        };
        return Err(in_request(format!(
            "\n  expected  {expectation}{wanted_roles}\n  found     {found}{found_roles}"
        )));
    }
    Ok(())
}
