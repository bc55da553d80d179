//! `watchpost check`: validates the configuration and prints the effective settings, or all errors.

use std::process::ExitCode;

use super::{CONFIG, fail, printed};
use crate::config::{Config, Sources};
use crate::rules::Rules;

/// Reports every error, including those that only the rules can detect.
pub(super) fn run(sources: Sources) -> ExitCode {
    let config = match Config::load(&sources) {
        Ok(config) => config,
        Err(errors) => return fail(CONFIG, &errors.to_string()),
    };
    if let Err(error) = Rules::load(config.rules.limits.limits(), &config.rules.settings(), None) {
        return fail(CONFIG, &crate::error_chain::error_chain(&error));
    }
    printed(config.show().as_bytes())
}
