//! `watchpost rules`: what can be done with rules without a server.

mod compile;

use std::process::ExitCode;

use clap::Subcommand;

/// What to do with rules.
#[derive(Subcommand)]
pub(super) enum RulesCommand {
    /// Compiles one component for the Watchpost that starts it; nobody else can use what it writes.
    #[command(hide = true)]
    Compile(compile::Compile),
}

impl RulesCommand {
    pub(super) fn run(self) -> ExitCode {
        match self {
            Self::Compile(compile) => compile.run(),
        }
    }
}
