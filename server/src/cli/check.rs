//! `watchpost check`: validates the configuration and prints the effective settings, or all errors.

use std::io::{self, Write};
use std::process::ExitCode;

use super::{CONFIG, fail, printed};
use crate::app::unknown_metrics;
use crate::config::{Config, Sources};
use crate::rules::Rules;

/// Reports every error, including those that only the rules can detect.
pub(super) fn run(sources: Sources) -> ExitCode {
    let config = match Config::load(&sources) {
        Ok(config) => config,
        Err(errors) => return fail(CONFIG, &errors.to_string()),
    };
    let rules = match Rules::load(config.rules.limits.limits(), &config.rules.settings(), None) {
        Ok(rules) => rules,
        Err(error) => return fail(CONFIG, &crate::error_chain::error_chain(&error)),
    };
    for unknown in unknown_metrics(&config, &rules) {
        // If stderr is not writable, the settings are still printed.
        let _ = writeln!(io::stderr(), "watchpost: warning: {unknown}");
    }
    printed(config.show().as_bytes())
}
