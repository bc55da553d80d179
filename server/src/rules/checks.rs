//! The checks that a rule has to pass before it is accepted: from bytes to a module, and from a module to a rule that
//! evaluated sample data without a fault. Storing and activating the rule is not part of it.

use std::time::{Duration, Instant};

use watchpost_policies::{
    Action, Busy, ComponentError, Engine, Fault, Finding, Kind, Request, Rule, RuleModule, SettingsError, Snapshot,
    Stage,
};

use super::sample;
use super::schema::{SchemaError, Schemas};

/// The default settings, which every rule has to accept.
const DEFAULTS: &str = "{}";

/// A passed check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// The name of the check, as in "component compiles".
    pub check: &'static str,
    /// The duration of the check.
    pub duration: Duration,
}

/// The failed check; later checks are not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// The name of the check.
    pub check: &'static str,
    /// The reason, as a message.
    pub reason: String,
    /// The remedy for the author of the rule.
    pub advice: &'static str,
}

const CHECK_COMPONENT: &str = "component is complete";
const CONTRACT: &str = "implements the contract without imports";
const COMPILES: &str = "component compiles";
const CHECK_DESCRIBE: &str = "describe() succeeds";
const CHECK_DEFAULT_SETTINGS: &str = "accepts {} as settings";
const CHECK_SETTINGS: &str = "accepts the given settings";
const CHECK_SCHEMA: &str = "schema agrees with check-settings";
const CHECK_EVALUATE: &str = "evaluates sample rounds";
const DECIDES: &str = "decides sample requests";

/// Compiles a component and calls its `describe()`. `reached` is called for each passed check at once, because compiling
/// may take long.
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
        let duration = now - std::mem::replace(&mut began, now);
        passed.push(Passed { check, duration });
        reached(Passed { check, duration });
    });
    match module {
        Ok(module) => Ok((module, passed)),
        Err(refusal) => Err(refused(&refusal)),
    }
}

/// Configures a module, validates the settings against its schema, and evaluates the snapshots, or sample requests for
/// a role rule. Returns the configured rule.
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
    let mut all_settings = vec![DEFAULTS];
    if settings.trim() != DEFAULTS {
        rule = timed(&mut passed, CHECK_SETTINGS, || accept(module, settings, CHECK_SETTINGS))?;
        all_settings.push(settings);
    }
    timed(&mut passed, CHECK_SCHEMA, || {
        check_schema(module, &all_settings, schemas)
    })?;
    match module.kind() {
        Kind::Threshold => timed(&mut passed, CHECK_EVALUATE, || judge(&rule, snapshots))?,
        Kind::Role => timed(&mut passed, DECIDES, || decide(&rule))?,
    }
    Ok((rule, passed))
}

fn timed<T>(
    passed: &mut Vec<Passed>,
    check: &'static str,
    run: impl FnOnce() -> Result<T, Failed>,
) -> Result<T, Failed> {
    let began = Instant::now();
    let found = run()?;
    let duration = began.elapsed();
    passed.push(Passed { check, duration });
    Ok(found)
}

fn accept(module: &RuleModule, settings: &str, check: &'static str) -> Result<Rule, Failed> {
    module.with_settings(settings).map_err(|refusal| Failed {
        check,
        advice: match &refusal {
            SettingsError::Problems { .. } if check == CHECK_DEFAULT_SETTINGS => {
                "give every setting a default: a rule has to work without any settings"
            }
            SettingsError::Problems { .. } => "correct the settings",
            SettingsError::Fault { .. } => FAULT_ADVICE,
        },
        reason: refusal.to_string(),
    })
}

/// Whether the schema accepts the settings that the rule accepts.
fn check_schema(module: &RuleModule, all_settings: &[&str], schemas: &Schemas) -> Result<(), Failed> {
    let failed = |reason, advice| Failed {
        check: CHECK_SCHEMA,
        reason,
        advice,
    };
    let parsed: Result<_, _> = all_settings
        .iter()
        .map(|settings| serde_json::from_str(settings))
        .collect();
    let parsed =
        parsed.map_err(|error| failed(format!("the settings are not JSON: {error}"), "write a JSON object"))?;
    let found = schemas.problems(&module.manifest().settings_schema, parsed);
    let problems = found.map_err(|error| {
        let advice = match error {
            SchemaError::Wrong(_) | SchemaError::TooMuch => "correct the settings schema of the rule",
            SchemaError::TimedOut(_) | SchemaError::Busy | SchemaError::Broken(_) => {
                "try again when the machine is less busy"
            }
        };
        failed(error.to_string(), advice)
    })?;
    match problems.is_empty() {
        true => Ok(()),
        false => Err(failed(
            SettingsError::Problems { problems }.to_string(),
            "correct the settings, or the settings schema of the rule",
        )),
    }
}

/// Evaluates each snapshot twice; the second time with the findings of the first.
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

/// Decides every action for each sample identity, without and with findings.
fn decide(rule: &Rule) -> Result<(), Failed> {
    let identities = sample::identities();
    for standings in [&[][..], &sample::standings()] {
        for identity in &identities {
            for action in Action::ALL {
                let answer = rule.decide_alone(&Request::new(identity, *action), standings);
                let decided = answer.map_err(|Busy| Failed {
                    check: DECIDES,
                    reason: Busy.to_string(),
                    advice: "try again when the machine is less busy",
                })?;
                decided.map_err(|fault| misbehaved(DECIDES, &fault))?;
            }
        }
    }
    Ok(())
}

const FAULT_ADVICE: &str = "see the section Faults in docs/WRITING-RULES.md";

fn misbehaved(check: &'static str, fault: &Fault) -> Failed {
    Failed {
        check,
        reason: fault.to_string(),
        advice: FAULT_ADVICE,
    }
}

fn refused(refusal: &ComponentError) -> Failed {
    let (check, advice) = match refusal {
        ComponentError::TooLarge { .. } => (
            CHECK_COMPONENT,
            "remove unused code, or raise rules.limits.component_bytes",
        ),
        ComponentError::NotWebAssembly => (CHECK_COMPONENT, "use the component that the build made: rule.wasm"),
        ComponentError::CoreModule { .. } => (CHECK_COMPONENT, "watchpost rules pack CORE.wasm -o rule.wasm"),
        ComponentError::UnknownEncoding => (CHECK_COMPONENT, "rebuild the component with current tools"),
        ComponentError::Truncated => (CHECK_COMPONENT, "copy the file again, or rebuild the component"),
        ComponentError::Invalid { .. } => (
            COMPILES,
            "rebuild the component; experimental WebAssembly features are disabled",
        ),
        ComponentError::Import { .. } => (
            CONTRACT,
            "remove the code that imports it; a rule gets all its input as arguments",
        ),
        ComponentError::WrongExports { .. } => (
            CONTRACT,
            "build the component for the world `threshold` or `role` of rules.wit",
        ),
        ComponentError::WrongVersion { .. } => {
            (CONTRACT, "use the rules.wit of a project made by `watchpost rules new`")
        }
        ComponentError::WrongTypes { .. } => (
            CHECK_DESCRIBE,
            "regenerate the bindings from the rules.wit of this Watchpost",
        ),
        ComponentError::Fault { .. } => (CHECK_DESCRIBE, FAULT_ADVICE),
    };
    Failed {
        check,
        reason: refusal.to_string(),
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
        let (module, passed) = load(&engine, wasm, |check| reached.push(check)).expect("it loads");
        assert_eq!(passed, reached, "each check is reported when it passes");
        assert_eq!(checks(&passed), [CHECK_COMPONENT, CONTRACT, COMPILES, CHECK_DESCRIBE]);
        module
    }

    fn checks(passed: &[Passed]) -> Vec<&'static str> {
        passed.iter().map(|passed| passed.check).collect()
    }

    #[test]
    fn a_rule_is_checked_with_the_given_settings_and_the_defaults() {
        let module = module(builtin::THRESHOLD);
        let settings = r#"{"thresholds": [{"metric": "cpu", "alert": 50}]}"#;
        let (rule, passed) = try_out(&module, settings, &[&sample::round()], &Schemas::InProcess).expect("it passes");
        assert_eq!(rule.settings(), settings);
        assert_eq!(
            checks(&passed),
            [CHECK_DEFAULT_SETTINGS, CHECK_SETTINGS, CHECK_SCHEMA, CHECK_EVALUATE]
        );
        let (_, passed) = try_out(&module, " {} ", &[], &Schemas::InProcess).expect("it passes");
        assert_eq!(checks(&passed), [CHECK_DEFAULT_SETTINGS, CHECK_SCHEMA, CHECK_EVALUATE]);

        let failed = try_out(&module, r#"{"thresholds": 5}"#, &[], &Schemas::InProcess).expect_err("refused");
        assert_eq!(failed.check, CHECK_SETTINGS);
        assert!(failed.reason.contains("invalid settings"), "{}", failed.reason);
    }

    #[test]
    fn a_role_rule_decides_all_sample_requests() {
        let (_, passed) = try_out(&module(builtin::ROLE), "{}", &[], &Schemas::InProcess).expect("it passes");
        assert_eq!(checks(&passed), [CHECK_DEFAULT_SETTINGS, CHECK_SCHEMA, DECIDES]);
    }

    #[test]
    fn an_invalid_component_fails_the_first_check_that_detects_it() {
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
