//! `watchpost rules`: develops and tests rules locally, and manages the rules of a server over its API (`remote`).

mod bench;
mod check;
mod compile;
mod inputs;
mod keygen;
mod live;
mod new;
mod pack;
mod probe_sandbox;
mod remote;
mod restore_access;
mod run;
mod sign;
mod test;
mod validate;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::client::wait;
use super::{CheckResult, CommandError, EXIT_FAILED_CHECK, fail, say};
use crate::config::Sources;

/// Creates, checks and tests rules, and manages the rules of a server.
#[derive(Args)]
pub(super) struct RulesCommand {
    #[command(subcommand)]
    action: RulesAction,
}

#[derive(Subcommand)]
enum RulesAction {
    /// Creates a project with a rule that builds and passes its test cases.
    New(new::New),
    /// Packs a core module into a component.
    Pack(pack::Pack),
    /// Runs all checks that a server runs on upload, and describes the rule.
    Check(check::Check),
    /// Evaluates a rule on one snapshot, and prints its findings.
    Run(run::Run),
    /// Runs a rule's test cases.
    Test(test::Test),
    /// Measures the cost of a rule's calls.
    Bench(bench::Bench),
    /// Commands that talk to a server.
    #[command(flatten)]
    Remote(remote::RemoteAction),
    /// Compiles one component for the server that started it; no other program can use the output.
    #[command(hide = true)]
    Compile(compile::Compile),
    /// Validates settings against a schema, for the server that started it.
    #[command(hide = true)]
    Validate(validate::Validate),
    /// Tries what a sandboxed process must not do, for the server that started it.
    #[command(hide = true)]
    ProbeSandbox(probe_sandbox::ProbeSandbox),
    /// Creates a key pair to sign rules with.
    Keygen(keygen::Keygen),
    /// Signs a component, so that servers can verify who approved it.
    Sign(sign::Sign),
    /// Activates the configured role rule in the database, after access was closed; needs no server.
    RestoreAccess(restore_access::RestoreAccess),
}

impl RulesCommand {
    /// Exits with 0 if all checks pass, and with 1 if the rule fails one.
    pub(super) fn run(self, sources: &Sources) -> ExitCode {
        let out = &mut io::stdout();
        let ended = match self.action {
            RulesAction::New(new) => new.run(out),
            RulesAction::Pack(pack) => pack.run(out),
            RulesAction::Check(check) => check.run(sources, out),
            RulesAction::Run(run) => run.run(sources, out),
            RulesAction::Test(test) => test.run(sources, out),
            RulesAction::Bench(bench) => bench.run(sources, out),
            RulesAction::Remote(action) => wait(action.run(out)),
            RulesAction::Compile(compile) => return compile.run(),
            RulesAction::Validate(validate) => return validate.run(),
            RulesAction::ProbeSandbox(probe) => return probe.run(),
            RulesAction::Keygen(keygen) => return keygen.run(),
            RulesAction::Sign(sign) => return sign.run(),
            RulesAction::RestoreAccess(restore) => restore.run(sources, out),
        };
        match ended {
            Ok(CheckResult::Yes) => ExitCode::SUCCESS,
            Ok(CheckResult::No) => ExitCode::from(EXIT_FAILED_CHECK),
            Err(stopped) => fail(stopped.code, &stopped.what),
        }
    }
}

/// Writes a command's output as JSON.
pub(super) fn say_json(out: &mut dyn Write, value: &serde_json::Value) -> Result<(), CommandError> {
    say(out, &format!("{value:#}\n"))
}
