//! A problem that `watchpost check` reports: its severity, where it is, what is wrong, and the remedy. An error is exactly
//! what makes the start fail; after a warning, the server starts.

use std::fmt;

use serde::Serialize;

use super::StartError;
use crate::config::ConfigErrors;

/// The severity of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProblemSeverity {
    /// The server does not start.
    Error,
    /// The server starts, and something does not work or will soon not work.
    Warning,
    /// Nothing is wrong.
    Note,
}

/// A problem.
#[derive(Debug, Serialize)]
pub struct Problem {
    /// The severity.
    pub severity: ProblemSeverity,
    /// The file, variable or flag with the key, or the path.
    #[serde(rename = "where")]
    pub place: String,
    /// What is wrong.
    pub message: String,
    /// What to do; empty for a note.
    pub remedy: String,
    /// The error of the start.
    #[serde(skip)]
    pub error: Option<StartError>,
}

impl Problem {
    /// The start fails with this error.
    pub(super) fn error(place: String, error: StartError) -> Self {
        let (message, remedy) = error.message_and_remedy();
        Self {
            severity: ProblemSeverity::Error,
            place,
            message,
            remedy,
            error: Some(error),
        }
    }

    /// The server starts, in spite of this. The text is written like that of an error: `what is wrong; the remedy`.
    pub(super) fn warning(place: String, text: &str) -> Self {
        Self::without_error(ProblemSeverity::Warning, place, text)
    }

    /// Nothing is wrong.
    pub(super) fn note(place: String, text: &str) -> Self {
        Self::without_error(ProblemSeverity::Note, place, text)
    }

    fn without_error(severity: ProblemSeverity, place: String, text: &str) -> Self {
        let (message, remedy) = match severity {
            ProblemSeverity::Note => (text.to_owned(), String::new()),
            _ => split(text),
        };
        Self {
            severity,
            place,
            message,
            remedy,
            error: None,
        }
    }

    /// A client without access, or a setting about access that has no effect.
    pub(super) fn of_access(warning: &crate::config::Warning) -> Self {
        Self {
            severity: ProblemSeverity::Warning,
            place: format!("{}: {}", warning.origin, warning.key),
            message: warning.message.clone(),
            remedy: warning.remedy.clone(),
            error: None,
        }
    }

    /// The errors of the settings.
    pub fn of_settings(errors: &ConfigErrors) -> Vec<Self> {
        let problem = |error: &crate::config::ConfigError| {
            let (message, remedy) = split(&error.remedy);
            let key = if error.key.is_empty() {
                String::new()
            } else {
                format!(": {}", error.key)
            };
            Self {
                severity: ProblemSeverity::Error,
                place: format!("{}{key}", error.origin),
                message,
                remedy,
                error: None,
            }
        };
        errors.iter().map(problem).collect()
    }
}

/// Messages are written `what is wrong; the remedy`.
pub(super) fn split(text: &str) -> (String, String) {
    match text.rsplit_once("; ") {
        Some((message, remedy)) => (message.to_owned(), remedy.to_owned()),
        None => (text.to_owned(), String::new()),
    }
}

/// `place: message; remedy`.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)?;
        if !self.remedy.is_empty() {
            write!(f, "; {}", self.remedy)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Sources};

    #[test]
    fn an_error_has_a_message_and_a_remedy() {
        let error = StartError::DataDirInUse {
            path: "/data".into(),
            pid: Some(7),
        };
        let text = error.line();
        let problem = Problem::error("server.data_dir".to_owned(), error);
        assert!(
            problem.message.contains("/data") && problem.message.contains('7'),
            "{problem}"
        );
        assert!(problem.remedy.contains("--data-dir"), "{problem}");
        assert_eq!(problem.to_string(), format!("server.data_dir: {text}"));
    }

    #[test]
    fn a_cause_is_a_part_of_the_message_and_not_of_the_remedy() {
        let error = StartError::Log(crate::telemetry::LogError::File {
            path: "/logs/x.log".into(),
            source: std::io::ErrorKind::PermissionDenied.into(),
        });
        let problem = Problem::error("log.file".to_owned(), error);
        assert_eq!(
            problem.message,
            "cannot open the log file /logs/x.log: permission denied"
        );
        assert!(problem.remedy.starts_with("create its folder"), "{problem}");
    }

    #[test]
    fn the_errors_of_settings_keep_their_place_and_their_text() {
        let sources = Sources {
            flags: vec![("log.levle".to_owned(), "info".to_owned())],
            ..Sources::default()
        };
        let errors = Config::load(&sources).expect_err("a typo");
        let [problem] = &Problem::of_settings(&errors)[..] else {
            panic!("one problem");
        };
        assert_eq!(problem.to_string(), errors.to_string());
        assert_eq!(problem.remedy, "did you mean log.level?");
    }
}
