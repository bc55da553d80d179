//! `watchpost rules` commands for a server: one file for each command. A command sends one or two API requests and
//! prints the response; the server does the work.

mod activate;
mod change;
mod deactivate;
mod list;
mod log;
mod push;
mod rollback;
mod settings;
mod show;
mod sign_generation;
mod trial;
mod version;

use std::io::Write;

use clap::{Args, Subcommand};
use serde_json::{Map, Value};

use super::{CheckResult, CommandError, inputs};
use crate::cli::DATA;
use crate::cli::client::remote::Remote;

/// Number of printed digits of a digest: more than needed to select a version, and short enough for a table.
const DIGITS: usize = 12;

/// The commands for a server.
#[derive(Subcommand)]
pub(super) enum RemoteAction {
    /// Lists the rules of a server, and their active versions.
    List(list::List),
    /// Shows one rule of a server: its settings and its versions.
    Show(show::Show),
    /// Uploads a rule to a server, which checks it.
    Push(push::Push),
    /// Evaluates a version on a server's recorded history before activation.
    Trial(trial::Trial),
    /// Runs a version in shadow mode: it is evaluated but its results are ignored.
    Shadow(activate::Shadow),
    /// Activates a version.
    Activate(activate::Activate),
    /// Rolls back the last change of a rule.
    Rollback(rollback::Rollback),
    /// Prints or replaces the settings of a rule.
    Settings(settings::Settings),
    /// Deactivates a rule or ends its shadow.
    Deactivate(deactivate::Deactivate),
    /// Prints the audit log of a rule.
    Log(log::Log),
    /// Signs the rules of a server as a whole, with their settings.
    SignGeneration(sign_generation::SignGeneration),
}

impl RemoteAction {
    pub(super) async fn run(self, out: &mut dyn Write) -> Result<CheckResult, CommandError> {
        match self {
            Self::List(list) => list.run(out).await,
            Self::Show(show) => show.run(out).await,
            Self::Push(push) => push.run(out).await,
            Self::Trial(trial) => trial.run(out).await,
            Self::Shadow(shadow) => shadow.run(out).await,
            Self::Activate(activate) => activate.run(out).await,
            Self::Rollback(rollback) => rollback.run(out).await,
            Self::Settings(settings) => settings.run(out).await,
            Self::Deactivate(deactivate) => deactivate.run(out).await,
            Self::Log(log) => log.run(out).await,
            Self::SignGeneration(sign) => sign.run(out).await,
        }
    }
}

/// Selects a rule.
#[derive(Args)]
struct Named {
    /// The name of the rule.
    #[arg(value_name = "NAME", value_parser = legal)]
    name: String,
}

impl Named {
    /// The path of the rule, with this suffix, on the server.
    fn path(&self, what: &str) -> String {
        format!("/api/v1/rules/{}{what}", self.name)
    }
}

/// Rejects other characters, which would change the path.
fn legal(name: &str) -> Result<String, String> {
    let is_legal = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    if name.is_empty() || !name.bytes().all(is_legal) {
        return Err("the name of a rule can have lower case letters, digits and hyphens only".to_owned());
    }
    Ok(name.to_owned())
}

/// Settings from a file or from the argument; they must be an object.
fn object(given: Option<&str>) -> Result<Option<Map<String, Value>>, CommandError> {
    let Some(given) = given else { return Ok(None) };
    let object = serde_json::from_str(&inputs::settings(given)?);
    object.map(Some).map_err(|error| {
        let name = if given.trim_start().starts_with('{') {
            "--settings"
        } else {
            given
        };
        CommandError::new(DATA, format!("{name}: settings must be a JSON object: {error}"))
    })
}

/// The first digits of a digest, for people.
fn short(digest: &str) -> &str {
    digest.get(..DIGITS).unwrap_or(digest)
}

/// The text of a table cell; a dash if it is empty.
fn or_dash(text: &str) -> String {
    let text = if text.is_empty() { "-" } else { text };
    text.to_owned()
}

/// Formats a server's time for people.
fn written(time_ms: i64) -> String {
    u64::try_from(time_ms).map_or_else(|_| "-".to_owned(), crate::clock::written)
}
