//! `watchpost rules check`: runs the checks of `rules::checks`, prints a line for each, and describes the rule.

use std::io::Write;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use watchpost_policies::{Kind, RuleModule};

use super::inputs::{Inputs, component, engine};
use super::{CheckResult, CommandError, say, say_json};
use crate::cli::progress::Progress;
use crate::config::Sources;
use crate::rules::checks::{self, Failed, Passed};
use crate::rules::sample;
use crate::rules::schema::Schemas;

/// Checks a rule.
#[derive(Args)]
pub(super) struct Check {
    #[command(flatten)]
    given: Inputs,
    /// Prints JSON, for programs.
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(super) fn run(self, sources: &Sources, out: &mut dyn Write) -> Result<CheckResult, CommandError> {
        let settings = self.given.settings()?;
        let engine = engine(sources)?;
        let wasm = component(&engine, &self.given.file)?;
        let progress = Progress::show(&format!("compiling {}", self.given.file.display()));
        let mut passed = Vec::new();
        let loaded = checks::load(&engine, &wasm, |check| passed.push(check));
        drop(progress);
        let tried = loaded.and_then(|(module, _)| {
            let (_, more) = checks::try_out(&module, &settings, &[&sample::round()], &Schemas::InProcess)?;
            passed.extend(more);
            Ok(module)
        });
        if self.json {
            say_json(out, &as_json(&passed, &tried, wasm.len()))?;
        } else {
            say(out, &as_lines(&passed, &tried, wasm.len()))?;
        }
        Ok(if tried.is_ok() {
            CheckResult::Yes
        } else {
            CheckResult::No
        })
    }
}

fn as_lines(passed: &[Passed], tried: &Result<RuleModule, Failed>, bytes: usize) -> String {
    let mut lines = String::new();
    for Passed { check, duration } in passed {
        lines += &format!("ok      {:>8}  {check}\n", written(*duration));
    }
    match tried {
        Err(Failed { check, reason, advice }) => {
            lines += &format!("FAILED            {check}\n\n{reason}\n  {advice}\n")
        }
        Ok(module) => {
            let manifest = module.manifest();
            lines += &format!(
                "\n{} {}, a {} rule of {bytes} bytes\nsha256:{}\n{}\n",
                manifest.name,
                manifest.version,
                word(module.kind()),
                module.digest(),
                manifest.description
            );
        }
    }
    lines
}

fn as_json(passed: &[Passed], tried: &Result<RuleModule, Failed>, bytes: usize) -> Value {
    let passed: Vec<_> = passed
        .iter()
        .map(|Passed { check, duration }| json!({ "check": check, "seconds": duration.as_secs_f64() }))
        .collect();
    let (rule, failed) = match tried {
        Ok(module) => {
            let manifest = module.manifest();
            let rule = json!({
                "name": manifest.name,
                "version": manifest.version,
                "kind": module.kind(),
                "digest": module.digest(),
                "bytes": bytes,
                "description": manifest.description,
                "settings_schema": manifest.settings_schema,
            });
            (rule, Value::Null)
        }
        Err(Failed { check, reason, advice }) => (
            Value::Null,
            json!({ "check": check, "reason": reason, "advice": advice }),
        ),
    };
    json!({ "passed": passed, "failed": failed, "rule": rule })
}

/// A duration for people, with about three digits.
pub(super) fn written(duration: Duration) -> String {
    let micros = duration.as_secs_f64() * 1e6;
    if micros < 1000.0 {
        format!("{micros:.0} µs")
    } else if micros < 10_000.0 {
        format!("{:.1} ms", micros / 1e3)
    } else if micros < 1e6 {
        format!("{:.0} ms", micros / 1e3)
    } else {
        format!("{:.1} s", micros / 1e6)
    }
}

pub(super) fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Threshold => "threshold",
        Kind::Role => "role",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_about_three_digits() {
        let check = |micros: u64, expected: &str| assert_eq!(written(Duration::from_micros(micros)), expected);
        check(0, "0 µs");
        check(999, "999 µs");
        check(1_234, "1.2 ms");
        check(56_789, "57 ms");
        check(1_234_567, "1.2 s");
    }
}
