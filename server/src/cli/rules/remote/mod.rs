//! `watchpost rules` against a server: one file a command, each of them a question or two to its API, and what people
//! are told of the answer. What any of it does is the server's work.

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
use super::{Answer, CommandError, inputs, say};
use crate::cli::{DATA, SERVER_VARIABLE, USAGE};
use crate::config::Environment;

/// So much of a digest is told: more than has to be given to name a version, and a line has room for it.
const DIGITS: usize = 12;

/// What is asked of a server.
#[derive(Subcommand)]
pub(super) enum RemoteAction {
    /// Lists the rules of a server, and which are in force.
    List(list::List),
    /// Shows one rule of a server: its settings and its versions.
    Show(show::Show),
    /// Brings a component to a server, which checks it.
    Push(push::Push),
    /// Tries a version on what a server has measured, before it is put in force.
    Trial(trial::Trial),
    /// Lets a version run beside what is in force, and counts for nothing.
    Shadow(activate::Shadow),
    /// Puts a version in force.
    Activate(activate::Activate),
    /// Puts in force what was before the last change of a rule.
    Rollback(rollback::Rollback),
    /// Prints the settings of a rule, or gives it others.
    Settings(settings::Settings),
    /// Takes a rule out of what counts, or of what is compared.
    Retire(deactivate::Retire),
    /// Tells who did what to a rule.
    Log(log::Log),
}

impl RemoteAction {
    pub(super) async fn run(self, out: &mut dyn Write) -> Result<Answer, CommandError> {
        match self {
            Self::List(list) => list.run(out).await,
            Self::Show(show) => show.run(out).await,
            Self::Push(push) => push.run(out).await,
            Self::Trial(trial) => trial.run(out).await,
            Self::Shadow(shadow) => shadow.run(out).await,
            Self::Activate(activate) => activate.run(out).await,
            Self::Rollback(rollback) => rollback.run(out).await,
            Self::Settings(settings) => settings.run(out).await,
            Self::Retire(retire) => retire.run(out).await,
            Self::Log(log) => log.run(out).await,
        }
    }
}

/// Which server, as whom, and for whom it is told.
#[derive(Args)]
struct Remote {
    /// The Watchpost to ask: https://HOST:PORT; also by the variable `WATCHPOST_SERVER`.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    #[command(flatten)]
    proof: Credentials,
    /// Prints the server's own answer, which is JSON.
    #[arg(long)]
    json: bool,
}

impl Remote {
    fn peer(&self) -> Result<ApiClient, CommandError> {
        let named = || {
            let url = Environment::variable_of_process(SERVER_VARIABLE)?.into_string().ok();
            url.filter(|url| !url.is_empty())
        };
        let Some(server) = self.server.clone().or_else(named) else {
            let what = format!("which server? write --server https://HOST:PORT, or set {SERVER_VARIABLE}");
            return Err(CommandError::new(USAGE, what));
        };
        ApiClient::new(&server, &self.proof)
    }

    /// Programs get the answer as it came; people get what is made of it.
    fn tell<T: DeserializeOwned>(
        &self,
        out: &mut dyn Write,
        reply: &ApiResponse,
        for_people: impl FnOnce(T) -> String,
    ) -> Result<Answer, CommandError> {
        if self.json {
            say(out, &format!("{}\n", reply.body.trim_end()))?;
        } else {
            say(out, &for_people(reply.read()?))?;
        }
        Ok(Answer::Yes)
    }
}

/// A rule.
#[derive(Args)]
struct Named {
    /// The rule.
    #[arg(value_name = "NAME", value_parser = legal)]
    name: String,
}

impl Named {
    /// Where a server has something of it.
    fn path(&self, what: &str) -> String {
        format!("/api/v1/rules/{}{what}", self.name)
    }
}

/// A rule has such a name, so anything else would be another path.
fn legal(name: &str) -> Result<String, String> {
    let is_legal = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    if name.is_empty() || !name.bytes().all(is_legal) {
        return Err("the name of a rule has lower case letters, digits and hyphens".to_owned());
    }
    Ok(name.to_owned())
}

/// Settings that a server would read: an object.
fn object(given: Option<&str>) -> Result<Option<Map<String, Value>>, CommandError> {
    let Some(given) = given else { return Ok(None) };
    let object = serde_json::from_str(&inputs::settings(given)?);
    object.map(Some).map_err(|error| {
        let name = if given.trim_start().starts_with('{') {
            "--settings"
        } else {
            given
        };
        CommandError::new(
            DATA,
            format!("{name}: this is no JSON object, which settings are: {error}"),
        )
    })
}

/// The beginning of a digest, for people.
fn short(digest: &str) -> &str {
    digest.get(..DIGITS).unwrap_or(digest)
}

/// What stands in a cell that has nothing.
fn or_dash(text: &str) -> String {
    let text = if text.is_empty() { "-" } else { text };
    text.to_owned()
}

/// A time, as a server counts it.
fn written(time_ms: i64) -> String {
    u64::try_from(time_ms).map_or_else(|_| "-".to_owned(), crate::clock::written)
}
