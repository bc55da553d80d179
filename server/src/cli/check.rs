//! `watchpost check`: reports everything that a start would report, and prints the effective settings.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;

use super::{CONFIG, SOFTWARE, fail, printed};
use crate::app::{self, Problem, ProblemSeverity};
use crate::config::{Config, Sources};

/// Checks everything that a start needs.
///
/// It checks the settings, opens the certificates, keys, directories and databases that they name, binds the addresses,
/// and has the rules check their settings. Nothing is changed. An error is what would make a start fail; after a
/// warning, the server starts, and something does not work. Files are opened only if all settings are valid.
#[derive(Args)]
pub(super) struct Check {
    /// Prints the problems as JSON: a list of objects with `severity`, `where`, `message` and `remedy`.
    #[arg(long)]
    json: bool,
}

impl Check {
    /// Exits with 78 if there is an error, and with 0 otherwise.
    pub(super) fn run(&self, sources: Sources) -> ExitCode {
        let (settings, problems) = match Config::load(&sources) {
            Ok(config) => (Some(config.show()), app::check(&config)),
            Err(errors) => (None, Problem::of_settings(&errors)),
        };
        let is_error = |problem: &Problem| problem.severity == ProblemSeverity::Error;
        let code = ExitCode::from(if problems.iter().any(is_error) { CONFIG } else { 0 });
        let output = if self.json {
            match serde_json::to_string_pretty(&problems) {
                Ok(json) => json + "\n",
                Err(error) => return fail(SOFTWARE, &error.to_string()),
            }
        } else {
            for problem in &problems {
                // If stderr is not writable, only the code remains.
                let _ = writeln!(io::stderr(), "watchpost: {}: {problem}", named(problem.severity));
            }
            settings.filter(|_| code == ExitCode::SUCCESS).unwrap_or_default()
        };
        let written = printed(output.as_bytes());
        if written == ExitCode::SUCCESS { code } else { written }
    }
}

fn named(severity: ProblemSeverity) -> &'static str {
    match severity {
        ProblemSeverity::Error => "error",
        ProblemSeverity::Warning => "warning",
        ProblemSeverity::Note => "note",
    }
}
