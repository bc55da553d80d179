//! `watchpost check`: validates the configuration and prints the effective settings, or all errors.

use std::io::Write;
use std::process::ExitCode;

use super::{CONFIG, fail, printed};
use crate::config::{Config, Sources, access_warnings};
use crate::error_chain::error_chain;
use crate::rules::Rules;

/// Reports every error and warning, including those that only the rules can detect.
pub(super) fn run(sources: Sources) -> ExitCode {
    let config = match Config::load(&sources) {
        Ok(config) => config,
        Err(errors) => return fail(CONFIG, &errors.to_string()),
    };
    let rules = match Rules::load(config.rules.limits.limits(), &config.rules.settings(), None) {
        Ok(rules) => rules,
        Err(error) => {
            let located = config.rule_settings_errors(&error).map(|errors| errors.to_string());
            return fail(CONFIG, &located.unwrap_or_else(|| error_chain(&error)));
        }
    };
    // The settings on stdout can be read by a program, so the warnings are on stderr.
    for warning in access_warnings(&config, rules.current().set.role(), config.accepts_development_ca()) {
        let _ = writeln!(std::io::stderr(), "watchpost: warning: {warning}");
    }
    printed(config.show().as_bytes())
}
