//! Colours and bars for people at a terminal. Programs that read the output get plain text.

use std::io::{self, IsTerminal};

use watchpost_policies::Severity;

use crate::config::Environment;

/// The variable that disables colours, as <https://no-color.org> defines it.
const NO_COLOR: &str = "NO_COLOR";

const BAR_CELLS: usize = 20;

/// Whether the output has colours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    has_colors: bool,
}

impl Style {
    /// Colours if standard output is a terminal and `NO_COLOR` is not set.
    pub(super) fn of_stdout() -> Self {
        let is_disabled = Environment::variable_of_process(NO_COLOR).is_some_and(|value| !value.is_empty());
        Self {
            has_colors: io::stdout().is_terminal() && !is_disabled,
        }
    }

    /// Without colours.
    #[cfg(test)]
    pub(super) fn plain() -> Self {
        Self { has_colors: false }
    }

    /// A text in the colour of a severity.
    pub(super) fn severity(self, severity: Severity, text: &str) -> String {
        let code = match severity {
            Severity::Ok => "32",
            Severity::Unknown => "35",
            Severity::Warning => "33",
            Severity::Alert => "1;31",
        };
        self.painted(code, text)
    }

    /// A heading.
    pub(super) fn heading(self, text: &str) -> String {
        self.painted("1", text)
    }

    /// A table whose first column is a severity, which gets its colour.
    pub(super) fn table(self, table: &str) -> String {
        let mut text = String::new();
        for (at, line) in table.lines().enumerate() {
            let word = line.split(' ').next().unwrap_or_default();
            let severity = [Severity::Ok, Severity::Unknown, Severity::Warning, Severity::Alert]
                .into_iter()
                .find(|severity| severity.to_string() == word);
            text += &match severity {
                _ if at == 0 => self.heading(line),
                Some(severity) => self.severity(severity, word) + &line[word.len()..],
                None => line.to_owned(),
            };
            text.push('\n');
        }
        text
    }

    fn painted(self, code: &str, text: &str) -> String {
        if self.has_colors {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// A bar for a value from 0 to 100.
pub(super) fn bar(percent: f64) -> String {
    let share = (percent / 100.0).clamp(0.0, 1.0);
    // The share is between 0 and 1, so the number of cells fits.
    let full = (share * BAR_CELLS as f64).round() as usize;
    format!("[{}{}]", "#".repeat(full), ".".repeat(BAR_CELLS - full))
}

/// A number with at most two decimals.
pub(super) fn short(number: f64) -> String {
    let text = format!("{number:.2}");
    let text = if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        &text
    };
    text.to_owned()
}

/// A duration with its two largest units: `3 d 4 h`.
pub(super) fn age(seconds: f64) -> String {
    if seconds < 1.0 {
        return format!("{:.0} ms", (seconds * 1000.0).max(0.0));
    }
    // Ages are far below the limit of 64 bits, and never negative here.
    let seconds = seconds as u64;
    let (days, hours, minutes) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min {} s", seconds % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_proportional_and_never_longer_than_its_frame() {
        let check = |percent: f64, full: usize| {
            let expected = format!("[{}{}]", "#".repeat(full), ".".repeat(BAR_CELLS - full));
            assert_eq!(bar(percent), expected, "{percent}");
        };
        check(-5.0, 0);
        check(0.0, 0);
        check(50.0, 10);
        check(100.0, BAR_CELLS);
        check(1e9, BAR_CELLS);
        check(f64::NAN, 0);
    }

    #[test]
    fn an_age_has_its_two_largest_units() {
        let check = |seconds: f64, expected: &str| assert_eq!(age(seconds), expected);
        check(-1.0, "0 ms");
        check(0.25, "250 ms");
        check(59.9, "59 s");
        check(61.0, "1 min 1 s");
        check(3661.0, "1 h 1 min");
        check(90061.0, "1 d 1 h");
    }

    #[test]
    fn a_number_keeps_its_zeros_before_the_point() {
        assert_eq!(short(100.0), "100");
        assert_eq!(short(0.5), "0.5");
        assert_eq!(short(20.256), "20.26");
    }

    #[test]
    fn colours_are_escape_sequences_around_the_severity_only() {
        let painted = Style { has_colors: true }.table("SEVERITY  SUBJECT\nalert     cpu\n-         x\n");
        assert_eq!(
            painted,
            "\x1b[1mSEVERITY  SUBJECT\x1b[0m\n\x1b[1;31malert\x1b[0m     cpu\n-         x\n"
        );
        assert_eq!(Style::plain().table("SEVERITY\nok\n"), "SEVERITY\nok\n");
    }
}
