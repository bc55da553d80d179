//! What all changes have in common: a note, the expected generation, and a message about the resulting state.

use clap::Args;
use serde::Deserialize;

use super::short;
use crate::store::rules::Mode;

/// Options of every change.
#[derive(Args)]
pub(super) struct ChangeOptions {
    /// The reason for the change, recorded in the audit log.
    #[arg(long, value_name = "TEXT")]
    pub(super) note: Option<String>,
    /// Fails if the server's current generation is another one.
    #[arg(long, value_name = "N")]
    pub(super) if_generation: Option<i64>,
}

/// The state after the change.
#[derive(Deserialize)]
pub(super) struct ChangeResponse {
    generation: i64,
    changed: bool,
    active: Vec<Line>,
    #[serde(default)]
    warnings: Vec<String>,
}

/// A rule that takes part.
#[derive(Deserialize)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) mode: Mode,
    pub(super) digest: String,
    pub(super) version: String,
}

impl ChangeResponse {
    /// A message about the current state of a rule, and the server's warnings.
    pub(super) fn summary(&self, rule: &str) -> String {
        let lines = self.active.iter().filter(|line| line.name == rule);
        let parts: Vec<_> = lines
            .map(|line| format!("{rule} {} ({}) {}", line.version, short(&line.digest), does(line.mode)))
            .collect();
        let state = match parts.is_empty() {
            true => format!("{rule} is not in use"),
            false => parts.join("; "),
        };
        let same = if self.changed { "" } else { "nothing changed: " };
        let warnings = self.warnings.iter().map(|warning| format!("warning: {warning}\n"));
        let warnings: String = warnings.collect();
        format!("{same}{state}, generation {}\n{warnings}", self.generation)
    }
}

/// A mode in words.
fn does(mode: Mode) -> &'static str {
    match mode {
        Mode::Active => "is active",
        Mode::Shadow => "runs in shadow",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_summarized_in_one_line() {
        let check = |changed: bool, modes: &[Mode], expected: &str| {
            let lines = modes.iter().map(|mode| Line {
                name: "weekend".to_owned(),
                mode: *mode,
                digest: "3fa2b1c0d4e5f6a7".to_owned(),
                version: "1.0.0".to_owned(),
            });
            let active = lines.collect();
            let change = ChangeResponse {
                generation: 7,
                changed,
                active,
                warnings: Vec::new(),
            };
            assert_eq!(change.summary("weekend"), expected);
        };
        check(
            true,
            &[Mode::Active],
            "weekend 1.0.0 (3fa2b1c0d4e5) is active, generation 7\n",
        );
        check(
            false,
            &[Mode::Shadow],
            "nothing changed: weekend 1.0.0 (3fa2b1c0d4e5) runs in shadow, generation 7\n",
        );
        check(
            true,
            &[Mode::Active, Mode::Shadow],
            "weekend 1.0.0 (3fa2b1c0d4e5) is active; weekend 1.0.0 (3fa2b1c0d4e5) runs in shadow, generation 7\n",
        );
        check(true, &[], "weekend is not in use, generation 7\n");
    }

    #[test]
    fn each_warning_of_the_server_is_a_line() {
        let change = ChangeResponse {
            generation: 7,
            changed: true,
            active: Vec::new(),
            warnings: vec!["memory is no longer evaluated".to_owned()],
        };
        let expected = "weekend is not in use, generation 7\nwarning: memory is no longer evaluated\n";
        assert_eq!(change.summary("weekend"), expected);
    }
}
