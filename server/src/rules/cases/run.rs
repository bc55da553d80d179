//! Holds a rule against cases: one after the other, each from its settings to what came of it. What is expected of a
//! rule is in the cases; here is only what it means to agree with them.

use std::fmt::Write;
use std::time::{Duration, Instant};

use serde::Serialize;
use watchpost_policies::{
    Engine, Finding, Kind, Labels, Refusal, Request, Rule, RuleModule, SettingsRefusal, Severity, Snapshot, Verdict,
};

use super::{Asked, Case, Cases, Expected, Part, Round};
use crate::rules::builtin;
use crate::rules::sample::{self, NOW_MS};

/// The rounds of a case are so far apart.
const INTERVAL_MS: u64 = 10_000;

/// What came of one case.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// The case.
    pub name: String,
    /// How long it took.
    #[serde(rename = "seconds", serialize_with = "seconds")]
    pub took: Duration,
    /// What was not as expected, in lines; nothing, where it passed.
    pub failure: Option<String>,
}

fn seconds<S: serde::Serializer>(took: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(took.as_secs_f64())
}

/// A rule to be held against cases.
pub struct Runner {
    module: RuleModule,
    /// What judges the machine, for a rule that is asked who may do what meanwhile.
    thresholds: Option<Rule>,
}

impl Runner {
    /// A role rule is asked beside the thresholds that Watchpost brings.
    pub fn new(engine: &Engine, module: RuleModule) -> Result<Self, Refusal> {
        let thresholds = match module.kind() {
            Kind::Threshold => None,
            Kind::Role => {
                let ours = RuleModule::compile(engine, builtin::THRESHOLD)?;
                Some(ours.with_settings("{}").expect("our own defaults are taken"))
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
                took: began.elapsed(),
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
                    "the settings are taken, with mistakes at {}",
                    places.join(" and ")
                ));
            }
            (Err(SettingsRefusal::Problems { problems }), Some(places)) => {
                let is_named = |place: &&String| problems.iter().any(|problem| problem.at.starts_with(place.as_str()));
                return match places.iter().find(|place| !is_named(place)) {
                    Some(place) => {
                        let refusal = SettingsRefusal::Problems { problems };
                        Err(format!("no problem is named at {place}: {refusal}"))
                    }
                    None => Ok(()),
                };
            }
            (Err(refusal), _) => return Err(refusal.to_string()),
        };
        match &self.thresholds {
            None if !case.request.is_empty() => Err(format!("{} is a threshold rule: it decides nothing", rule.name())),
            None => judge(&rule, &case.round),
            Some(_) if !case.round.is_empty() => Err(format!("{} is a role rule: it judges nothing", rule.name())),
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

/// What agrees is not told, but for how much it is.
fn compare(found: &[Finding], expected: &[Expected]) -> Result<(), String> {
    let agrees = |found: &Finding, expected: &Expected| {
        let Expected {
            severity,
            value,
            limit,
            sentence,
            ..
        } = expected;
        let is_said = sentence.as_ref().is_none_or(|part| found.sentence.contains(part));
        found.severity == *severity && found.value == *value && found.limit == *limit && is_said
    };
    let about = |expected: &Expected, found: &Finding| {
        found.subject.metric == expected.metric && found.subject.labels == expected.labels
    };
    let mut difference = String::new();
    let mut agreed = 0;
    for wanted in expected {
        match found.iter().find(|found| about(wanted, found)) {
            Some(found) if agrees(found, wanted) => agreed += 1,
            Some(found) => {
                let _ = write!(
                    difference,
                    "\n  expected  {}\n  found     {}",
                    told(wanted),
                    described(found)
                );
            }
            None => {
                let _ = write!(
                    difference,
                    "\n  expected  {}\n  found     nothing about it",
                    told(wanted)
                );
            }
        }
    }
    let beyond = |found: &&Finding| !expected.iter().any(|wanted| about(wanted, found));
    for found in found.iter().filter(beyond) {
        let _ = write!(difference, "\n  expected  nothing\n  found     {}", described(found));
    }
    match (difference.is_empty(), found.len() == expected.len()) {
        (true, true) => Ok(()),
        (true, false) => Err("something is expected twice; one finding a subject".to_owned()),
        (false, _) if agreed > 0 => Err(format!("it found something else, and {agreed} as expected{difference}")),
        (false, _) => Err(format!("it found something else{difference}")),
    }
}

fn told(expected: &Expected) -> String {
    let subject = watchpost_policies::Subject {
        metric: expected.metric.clone(),
        labels: expected.labels.clone(),
    };
    let Expected {
        severity,
        value,
        limit,
        sentence,
        ..
    } = expected;
    let said = sentence
        .as_ref()
        .map(|part| format!(", with \"{part}\" in its sentence"));
    line(&subject, *severity, *value, *limit) + &said.unwrap_or_default()
}

fn described(found: &Finding) -> String {
    let Finding {
        subject,
        severity,
        value,
        limit,
        sentence,
        ..
    } = found;
    line(subject, *severity, *value, *limit) + &format!(": \"{sentence}\"")
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

fn decide(role: &Rule, thresholds: &Rule, requests: &[Asked]) -> Result<(), String> {
    for (at, asked) in requests.iter().enumerate() {
        let percent = |part| asked.machine.get(&part).copied().unwrap_or(0.0);
        let machine = sample::machine(percent(Part::Disk), percent(Part::Memory), percent(Part::Cpu));
        let (standings, _) = thresholds
            .judge_alone(&machine, &[])
            .map_err(|fault| fault.to_string())?;
        let identity = asked.identity.identity();
        let request = Request::new(&identity, asked.action);
        let in_request = |what: String| format!("request {}: {} by {identity}: {what}", at + 1, asked.action);
        let answer = role
            .decide_alone(&request, &standings)
            .map_err(|busy| busy.to_string())?;
        let (decision, _) = answer.map_err(|fault| in_request(fault.to_string()))?;
        let as_expected = match &decision.verdict {
            Verdict::Allow => asked.expect == "allow",
            Verdict::Deny { reason } => asked.expect != "allow" && reason.contains(&asked.expect),
            Verdict::Fault { .. } => false,
        };
        let expected_roles = asked.roles.as_ref().filter(|roles| **roles != decision.roles);
        if as_expected && expected_roles.is_none() {
            continue;
        }
        let wanted = match asked.expect.as_str() {
            "allow" => "it is allowed".to_owned(),
            part => format!("it is denied, with \"{part}\" in the reason"),
        };
        let found = match &decision.verdict {
            Verdict::Deny { reason } => format!("it is denied: \"{reason}\""),
            _ => "it is allowed".to_owned(),
        };
        let roles = |roles: &[String]| format!(", with the roles {}", roles.join(", "));
        let (wanted_roles, found_roles) = match &asked.roles {
            Some(wanted) => (roles(wanted), roles(&decision.roles)),
            None => Default::default(),
        };
        return Err(in_request(format!(
            "\n  expected  {wanted}{wanted_roles}\n  found     {found}{found_roles}"
        )));
    }
    Ok(())
}
