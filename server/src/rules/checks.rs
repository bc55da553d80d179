//! What a rule has to pass before anybody relies on it: from its bytes to a module, and from a module to a rule that
//! answered once without a fault. It decides nothing about where the rule is kept or whether it is put in force.

use std::time::{Duration, Instant};

use watchpost_policies::{
    Action, Busy, Engine, Fault, Finding, Kind, Refusal, Request, Rule, RuleModule, SettingsRefusal, Snapshot, Stage,
};

use super::sample;
use super::schema::{SchemaError, Schemas};

/// The settings that every rule has to understand.
const DEFAULTS: &str = "{}";

/// A check that was passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// What is true now: "it compiles".
    pub check: &'static str,
    /// How long that took to find out.
    pub took: Duration,
}

/// The check that was not passed; those after it were not made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// What is not true.
    pub check: &'static str,
    /// How that was seen, as a sentence.
    pub why: String,
    /// What its author can do.
    pub advice: &'static str,
}

const CHECK_COMPONENT: &str = "it is a whole component";
const CONTRACT: &str = "it keeps the contract and imports nothing";
const COMPILES: &str = "it compiles";
const CHECK_DESCRIBE: &str = "it says who it is";
const CHECK_DEFAULT_SETTINGS: &str = "it accepts {} as settings";
const CHECK_SETTINGS: &str = "it accepts the settings that were given";
const CHECK_SCHEMA: &str = "its schema accepts the same";
const CHECK_EVALUATE: &str = "it judges sample rounds";
const DECIDES: &str = "it decides sample requests";

/// Compiles bytes and asks them who they are. `reached` hears of each check when it is passed, for compiling may take
/// long.
pub fn load(
    engine: &Engine,
    wasm: &[u8],
    mut reached: impl FnMut(Passed),
) -> Result<(RuleModule, Vec<Passed>), Failed> {
    let mut passed = Vec::new();
    let mut began = Instant::now();
    let module = RuleModule::compile_by_stages(engine, wasm, |stage| {
        let check = match stage {
            Stage::Whole => CHECK_COMPONENT,
            Stage::Contract => CONTRACT,
            Stage::Compiled => COMPILES,
            Stage::Described => CHECK_DESCRIBE,
        };
        let now = Instant::now();
        let took = now - std::mem::replace(&mut began, now);
        passed.push(Passed { check, took });
        reached(Passed { check, took });
    });
    match module {
        Ok(module) => Ok((module, passed)),
        Err(refusal) => Err(refused(&refusal)),
    }
}

/// Gives a module its settings, which its schema has to accept too, and lets it answer: each of these snapshots, or
/// requests that were made up for it. What comes back is the rule under these settings.
pub fn try_out(
    module: &RuleModule,
    settings: &str,
    snapshots: &[&Snapshot],
    schemas: &Schemas,
) -> Result<(Rule, Vec<Passed>), Failed> {
    let mut passed = Vec::new();
    let mut rule = timed(&mut passed, CHECK_DEFAULT_SETTINGS, || {
        accept(module, DEFAULTS, CHECK_DEFAULT_SETTINGS)
    })?;
    let mut given = vec![DEFAULTS];
    if settings.trim() != DEFAULTS {
        rule = timed(&mut passed, CHECK_SETTINGS, || accept(module, settings, CHECK_SETTINGS))?;
        given.push(settings);
    }
    timed(&mut passed, CHECK_SCHEMA, || fits(module, &given, schemas))?;
    match module.kind() {
        Kind::Threshold => timed(&mut passed, CHECK_EVALUATE, || judge(&rule, snapshots))?,
        Kind::Role => timed(&mut passed, DECIDES, || decide(&rule))?,
    }
    Ok((rule, passed))
}

fn timed<T>(
    passed: &mut Vec<Passed>,
    check: &'static str,
    look: impl FnOnce() -> Result<T, Failed>,
) -> Result<T, Failed> {
    let began = Instant::now();
    let found = look()?;
    let took = began.elapsed();
    passed.push(Passed { check, took });
    Ok(found)
}

fn accept(module: &RuleModule, settings: &str, check: &'static str) -> Result<Rule, Failed> {
    module.with_settings(settings).map_err(|refusal| Failed {
        check,
        advice: match &refusal {
            SettingsRefusal::Problems { .. } if check == CHECK_DEFAULT_SETTINGS => {
                "give every setting a default: a rule has to work before anybody has set anything"
            }
            SettingsRefusal::Problems { .. } => "correct the settings where they are wrong",
            SettingsRefusal::Fault { .. } => FAULT_ADVICE,
        },
        why: refusal.to_string(),
    })
}

/// Whether what the rule takes is what it tells people to write.
fn fits(module: &RuleModule, given: &[&str], schemas: &Schemas) -> Result<(), Failed> {
    let failed = |why, advice| Failed {
        check: CHECK_SCHEMA,
        why,
        advice,
    };
    let given: Result<_, _> = given.iter().map(|settings| serde_json::from_str(settings)).collect();
    let given = given.map_err(|error| failed(format!("the settings are no JSON: {error}"), "write a JSON object"))?;
    let found = schemas.problems(&module.manifest().settings_schema, given);
    let problems = found.map_err(|error| {
        let advice = match error {
            SchemaError::Wrong(_) | SchemaError::TooMuch => "correct the schema that the rule gives",
            SchemaError::TimedOut(_) | SchemaError::Broken(_) => "try again when the machine is less busy",
        };
        failed(error.to_string(), advice)
    })?;
    match problems.is_empty() {
        true => Ok(()),
        false => Err(failed(
            SettingsRefusal::Problems { problems }.to_string(),
            "correct the settings where they are wrong, or the schema that the rule gives",
        )),
    }
}

/// Each twice, for the second time it is shown what it found the first time.
fn judge(rule: &Rule, snapshots: &[&Snapshot]) -> Result<(), Failed> {
    for snapshot in snapshots {
        let mut last: Vec<Finding> = Vec::new();
        for _ in 0..2 {
            let judged = rule.judge_alone(snapshot, &last);
            (last, _) = judged.map_err(|fault| misbehaved(CHECK_EVALUATE, &fault))?;
        }
    }
    Ok(())
}

/// Everybody and everything, on a good day and on a bad one.
fn decide(rule: &Rule) -> Result<(), Failed> {
    let identities = sample::identities();
    for standings in [&[][..], &sample::standings()] {
        for identity in &identities {
            for action in Action::ALL {
                let answer = rule.decide_alone(&Request::new(identity, *action), standings);
                let decided = answer.map_err(|Busy| Failed {
                    check: DECIDES,
                    why: Busy.to_string(),
                    advice: "try again when the machine has less to do",
                })?;
                decided.map_err(|fault| misbehaved(DECIDES, &fault))?;
            }
        }
    }
    Ok(())
}

const FAULT_ADVICE: &str = "docs/RULES.md tells of each fault what to do, under Faults";

fn misbehaved(check: &'static str, fault: &Fault) -> Failed {
    Failed {
        check,
        why: fault.to_string(),
        advice: FAULT_ADVICE,
    }
}

fn refused(refusal: &Refusal) -> Failed {
    let (check, advice) = match refusal {
        Refusal::TooLarge { .. } => (
            CHECK_COMPONENT,
            "leave out what it does not need, or raise rules.limits.component_bytes",
        ),
        Refusal::NotWebAssembly => (CHECK_COMPONENT, "give the file that the build made: rule.wasm"),
        Refusal::CoreModule { .. } => (CHECK_COMPONENT, "watchpost rules pack CORE.wasm -o rule.wasm"),
        Refusal::UnknownEncoding => (CHECK_COMPONENT, "build it anew, with tools of this year"),
        Refusal::Truncated => (CHECK_COMPONENT, "copy it again, or build it anew"),
        Refusal::Invalid { .. } => (
            COMPILES,
            "build it anew; what is experimental in WebAssembly is off here",
        ),
        Refusal::Import { .. } => (
            CONTRACT,
            "leave out what imports it; a rule gets all that it needs as arguments",
        ),
        Refusal::WrongWorld { .. } => (CONTRACT, "build it for the world `threshold` or `role` of rules.wit"),
        Refusal::WrongVersion { .. } => (CONTRACT, "take rules.wit from a project of `watchpost rules new`"),
        Refusal::WrongShape { .. } => (
            CHECK_DESCRIBE,
            "make its bindings anew from the rules.wit of this Watchpost",
        ),
        Refusal::Fault { .. } => (CHECK_DESCRIBE, FAULT_ADVICE),
    };
    Failed {
        check,
        why: refusal.to_string(),
        advice,
    }
}

#[cfg(test)]
mod tests {
    use watchpost_policies::Limits;

    use super::*;
    use crate::rules::builtin;

    fn module(wasm: &[u8]) -> RuleModule {
        let engine = Engine::new(Limits::default()).expect("an engine starts");
        let mut reached = Vec::new();
        let (module, passed) = load(&engine, wasm, |check| reached.push(check)).expect("it is taken");
        assert_eq!(passed, reached, "each check is told when it is passed");
        assert_eq!(checks(&passed), [CHECK_COMPONENT, CONTRACT, COMPILES, CHECK_DESCRIBE]);
        module
    }

    fn checks(passed: &[Passed]) -> Vec<&'static str> {
        passed.iter().map(|passed| passed.check).collect()
    }

    #[test]
    fn a_rule_is_tried_with_its_own_settings_besides_the_defaults() {
        let module = module(builtin::THRESHOLD);
        let settings = r#"{"thresholds": [{"metric": "cpu", "alert": 50}]}"#;
        let (rule, passed) = try_out(&module, settings, &[&sample::round()], &Schemas::Here).expect("it passes");
        assert_eq!(rule.settings(), settings);
        assert_eq!(
            checks(&passed),
            [CHECK_DEFAULT_SETTINGS, CHECK_SETTINGS, CHECK_SCHEMA, CHECK_EVALUATE]
        );
        let (_, passed) = try_out(&module, " {} ", &[], &Schemas::Here).expect("it passes");
        assert_eq!(checks(&passed), [CHECK_DEFAULT_SETTINGS, CHECK_SCHEMA, CHECK_EVALUATE]);

        let failed = try_out(&module, r#"{"thresholds": 5}"#, &[], &Schemas::Here).expect_err("refused");
        assert_eq!(failed.check, CHECK_SETTINGS);
        assert!(failed.why.contains("the settings will not do"), "{}", failed.why);
    }

    #[test]
    fn a_role_rule_decides_for_everybody_on_a_good_day_and_on_a_bad_one() {
        let (_, passed) = try_out(&module(builtin::ROLE), "{}", &[], &Schemas::Here).expect("it passes");
        assert_eq!(checks(&passed), [CHECK_DEFAULT_SETTINGS, CHECK_SCHEMA, DECIDES]);
    }

    #[test]
    fn what_cannot_be_a_rule_fails_the_check_that_sees_it() {
        let engine = Engine::new(Limits::default()).expect("an engine starts");
        let failed = load(&engine, b"\0asm\x01\0\0\0", |_| {}).expect_err("refused");
        assert_eq!(
            (failed.check, failed.advice),
            (CHECK_COMPONENT, "watchpost rules pack CORE.wasm -o rule.wasm")
        );
        let empty = b"\0asm\x0d\0\x01\0";
        let mut reached = Vec::new();
        let failed = load(&engine, empty, |passed| reached.push(passed.check)).expect_err("refused");
        assert_eq!((failed.check, reached), (CONTRACT, vec![CHECK_COMPONENT]));
    }
}
