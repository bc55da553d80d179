//! `watchpost check`: validates the configuration and prints the effective settings, or all errors.

use std::process::ExitCode;

use super::{CONFIG, fail, printed, warn};
use crate::config::{Config, Sources};
use crate::rules::Rules;
use crate::rules::coverage::nothing_evaluated;

/// Reports every error, including those that only the rules can detect.
pub(super) fn run(sources: Sources) -> ExitCode {
    let config = match Config::load(&sources) {
        Ok(config) => config,
        Err(errors) => return fail(CONFIG, &errors.to_string()),
    };
    match Rules::load(config.rules.limits.limits(), &config.rules.settings(), None) {
        Err(error) => return fail(CONFIG, &crate::error_chain::error_chain(&error)),
        Ok(rules) => {
            if let Some(warning) = nothing_evaluated(&rules.current().set) {
                warn(&warning);
            }
        }
    }
    printed(config.show().as_bytes())
}
