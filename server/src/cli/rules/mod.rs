//! `watchpost rules`: from nothing to a rule that was tried, here and in files; and then what a server does with rules,
//! asked of its API (`remote`).

mod bench;
mod check;
mod client;
mod compile;
mod credentials;
mod inputs;
mod keygen;
mod live;
mod new;
mod pack;
mod progress;
mod remote;
mod run;
mod sign;
mod test;
mod validate;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{IO, fail};
use crate::config::Sources;

/// What was tried did not do as it should; the answer to the question was no.
const EXIT_FAILED_CHECK: u8 = 1;

/// Makes, checks and tries rules, and changes those of a server.
#[derive(Args)]
pub(super) struct RulesCommand {
    #[command(subcommand)]
    action: RulesAction,
}

#[derive(Subcommand)]
enum RulesAction {
    /// Makes a folder with a rule that builds and passes its own cases, to begin with.
    New(new::New),
    /// Makes a component of a core module.
    Pack(pack::Pack),
    /// Checks all that a server checks before it relies on a rule, and says who the rule is.
    Check(check::Check),
    /// Judges one snapshot, and tells what the rule found.
    Run(run::Run),
    /// Holds a rule against cases.
    Test(test::Test),
    /// Measures what a call costs.
    Bench(bench::Bench),
    /// What a server is asked.
    #[command(flatten)]
    Remote(remote::RemoteAction),
    /// Compiles one component for the Watchpost that starts it; nobody else can use what it writes.
    #[command(hide = true)]
    Compile(compile::Compile),
    /// Holds settings against a schema for the Watchpost that starts it.
    #[command(hide = true)]
    Validate(validate::Validate),
    /// Makes a key to sign rules with.
    Keygen(keygen::Keygen),
    /// Signs a component, so that servers know who vouches for it.
    Sign(sign::Sign),
}

impl RulesCommand {
    /// Exits with 0 if all is well, and with 1 if the rule is not as it should be.
    pub(super) fn run(self, sources: &Sources) -> ExitCode {
        let out = &mut io::stdout();
        let ended = match self.action {
            RulesAction::New(new) => new.run(out),
            RulesAction::Pack(pack) => pack.run(out),
            RulesAction::Check(check) => check.run(sources, out),
            RulesAction::Run(run) => run.run(sources, out),
            RulesAction::Test(test) => test.run(sources, out),
            RulesAction::Bench(bench) => bench.run(sources, out),
            RulesAction::Remote(action) => client::wait(action.run(out)),
            RulesAction::Compile(compile) => return compile.run(),
            RulesAction::Validate(validate) => return validate.run(),
            RulesAction::Keygen(keygen) => return keygen.run(),
            RulesAction::Sign(sign) => return sign.run(),
        };
        match ended {
            Ok(Answer::Yes) => ExitCode::SUCCESS,
            Ok(Answer::No) => ExitCode::from(EXIT_FAILED_CHECK),
            Err(stopped) => fail(stopped.code, &stopped.what),
        }
    }
}

/// How a command ended that came to its end.
enum Answer {
    Yes,
    No,
}

/// Why a command could not go on.
struct CommandError {
    code: u8,
    what: String,
}

impl CommandError {
    fn new(code: u8, what: impl Into<String>) -> Self {
        let what = what.into();
        Self { code, what }
    }
}

/// Writes what was found out.
fn say(out: &mut dyn Write, text: &str) -> Result<(), CommandError> {
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| CommandError::new(IO, format!("the answer cannot be written: {error}")))
}

/// The same, for programs.
fn say_json(out: &mut dyn Write, value: &serde_json::Value) -> Result<(), CommandError> {
    say(out, &format!("{value:#}\n"))
}
