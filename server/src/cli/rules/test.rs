//! `watchpost rules test`: runs a rule's test cases, with output for people, for programs (JSON) and for CI (JUnit).

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::check::written;
use super::inputs::{engine, module, text};
use super::{CheckResult, CommandError, say, say_json};
use crate::cli::{DATA, IO, SOFTWARE, USAGE};
use crate::config::Sources;
use crate::rules::cases::{Cases, Outcome, Runner, junit};

/// Runs test cases.
#[derive(Args)]
pub(super) struct Test {
    /// The component.
    #[arg(value_name = "RULE.wasm")]
    file: PathBuf,
    /// The test cases, in the format of docs/WRITING-RULES.md.
    #[arg(long, value_name = "FILE", default_value = "cases.toml")]
    cases: PathBuf,
    /// Only the cases whose name contains this text.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Also writes the results as JUnit XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Prints JSON, for programs.
    #[arg(long)]
    json: bool,
}

impl Test {
    pub(super) fn run(self, sources: &Sources, out: &mut dyn Write) -> Result<CheckResult, CommandError> {
        let cases = self.cases()?;
        let engine = engine(sources)?;
        let module = module(&engine, &self.file)?;
        let name = module.manifest().name.clone();
        let runner =
            Runner::new(&engine, module).map_err(|refusal| CommandError::new(SOFTWARE, refusal.to_string()))?;
        let outcomes = runner.run(&cases);
        if let Some(file) = &self.junit {
            std::fs::write(file, junit(&name, &outcomes))
                .map_err(|error| CommandError::new(IO, format!("cannot write {}: {error}", file.display())))?;
        }
        let failed = outcomes.iter().filter(|outcome| outcome.failure.is_some()).count();
        let passed = outcomes.len() - failed;
        if self.json {
            say_json(
                out,
                &json!({ "rule": name, "passed": passed, "failed": failed, "cases": outcomes }),
            )?;
        } else {
            say(out, &as_lines(&outcomes, passed, failed))?;
        }
        Ok(if failed == 0 { CheckResult::Yes } else { CheckResult::No })
    }

    fn cases(&self) -> Result<Cases, CommandError> {
        let file = self.cases.display();
        let cases = Cases::read(&text(&self.cases)?)
            .map_err(|error| CommandError::new(DATA, format!("cannot use {file}: {error}")))?;
        let Some(part) = &self.filter else { return Ok(cases) };
        let chosen = cases.filtered(part);
        // No case was run, which must not count as "all passed".
        if chosen.count() == 0 {
            return Err(CommandError::new(
                USAGE,
                format!("no case in {file} has a name that contains \"{part}\""),
            ));
        }
        Ok(chosen)
    }
}

fn as_lines(outcomes: &[Outcome], passed: usize, failed: usize) -> String {
    let mut lines = String::new();
    for Outcome {
        name,
        duration,
        failure,
    } in outcomes
    {
        let mark = if failure.is_some() { "FAILED" } else { "ok" };
        lines += &format!("{mark:<6}  {:>8}  {name}\n", written(*duration));
        for line in failure.iter().flat_map(|failure| failure.lines()) {
            lines += &format!("                  {line}\n");
        }
    }
    let cases = if outcomes.len() == 1 { "case" } else { "cases" };
    lines + &format!("\n{} {cases}: {passed} passed, {failed} failed\n", outcomes.len())
}
