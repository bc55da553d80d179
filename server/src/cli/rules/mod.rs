//! `watchpost rules`: what can be done with rules without a server.

mod compile;
mod keygen;
mod sign;

use std::process::ExitCode;

use clap::Subcommand;

/// What to do with rules.
#[derive(Subcommand)]
pub(super) enum RulesCommand {
    /// Compiles one component for the Watchpost that starts it; nobody else can use what it writes.
    #[command(hide = true)]
    Compile(compile::Compile),
    /// Makes a key to sign rules with.
    Keygen(keygen::Keygen),
    /// Signs a component, so that servers know who vouches for it.
    Sign(sign::Sign),
}

impl RulesCommand {
    pub(super) fn run(self) -> ExitCode {
        match self {
            Self::Compile(compile) => compile.run(),
            Self::Keygen(keygen) => keygen.run(),
            Self::Sign(sign) => sign.run(),
        }
    }
}
