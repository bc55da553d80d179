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
mod trial;
mod version;

use std::io::Write;

use clap::{Args, Subcommand};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::client::{ApiClient, ApiResponse};
use super::credentials::Credentials;
use super::{CheckResult, CommandError, inputs, say};
use crate::cli::healthcheck::reachable;
use crate::cli::{CONFIG, DATA, SERVER_VARIABLE, USAGE};
use crate::config::{ApiProfile, Config, Environment, Sources};

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
        }
    }
}

/// The server, the credentials and the output format.
#[derive(Args)]
pub(in crate::cli) struct Remote {
    /// The URL of the server: https://HOST:PORT; also set by the variable `WATCHPOST_SERVER`.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    #[command(flatten)]
    credentials: Credentials,
    /// Prints the server's JSON response.
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

impl Remote {
    fn client(&self) -> Result<ApiClient, CommandError> {
        let named = || {
            let url = Environment::variable_of_process(SERVER_VARIABLE)?.into_string().ok();
            url.filter(|url| !url.is_empty())
        };
        let Some(server) = self.server.clone().or_else(named) else {
            let what = format!("no server given; write --server https://HOST:PORT, or set {SERVER_VARIABLE}");
            return Err(CommandError::new(USAGE, what));
        };
        ApiClient::new(&server, &self.credentials)
    }

    /// A client for the named server, or else for the server on this machine.
    pub(in crate::cli) fn client_or_local(&self, sources: Sources) -> Result<ApiClient, CommandError> {
        let is_named = Environment::variable_of_process(SERVER_VARIABLE).is_some_and(|url| !url.is_empty());
        if self.server.is_some() || is_named {
            return self.client();
        }
        let config = Config::load(&sources).map_err(|errors| CommandError::new(CONFIG, errors.to_string()))?;
        let full = config
            .listeners
            .iter()
            .filter(|listener| listener.api == ApiProfile::Full);
        let Some(listener) = full.min_by_key(|listener| !listener.tls) else {
            let what = "no listener of the configuration serves the whole API; name a server with --server";
            return Err(CommandError::new(CONFIG, what));
        };
        if listener.address.port() == 0 {
            let what = "the configuration lets the system choose the port; name the server with --server";
            return Err(CommandError::new(CONFIG, what));
        }
        let scheme = if listener.tls { "https" } else { "http" };
        let url = format!("{scheme}://{}", reachable(listener.address));
        let folder = config.server.data_dir.join("pki");
        ApiClient::new(&url, &self.credentials.or_development(&folder))
    }

    /// Prints the response: as received for programs, or formatted for people.
    fn print<T: DeserializeOwned>(
        &self,
        out: &mut dyn Write,
        response: &ApiResponse,
        for_people: impl FnOnce(T) -> String,
    ) -> Result<CheckResult, CommandError> {
        if self.json {
            say(out, &format!("{}\n", response.body.trim_end()))?;
        } else {
            say(out, &for_people(response.read()?))?;
        }
        Ok(CheckResult::Yes)
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
