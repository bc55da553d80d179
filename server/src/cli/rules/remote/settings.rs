//! `watchpost rules settings`: prints what a rule is set to, gives it others, or takes back what was given.

use std::io::Write;

use actix_web::http::Method;
use clap::Args;
use serde_json::{Value, json};

use super::super::client::ApiRequest;
use super::super::{Answer, CommandError, EXIT_FAILED_CHECK};
use super::change::{ChangeOptions, ChangeResponse};
use super::show::Whole;
use super::{Named, Remote, object};
use crate::store::rules::Mode;

/// Looks at settings, or changes them.
#[derive(Args)]
pub(in crate::cli::rules) struct Settings {
    #[command(flatten)]
    rule: Named,
    /// What to set it to: JSON, or a file with JSON in it; without it, the settings in force are printed.
    #[arg(value_name = "FILE|JSON")]
    settings: Option<String>,
    /// Takes back what was given: the settings of the configuration count again, or none.
    #[arg(long, conflicts_with = "settings")]
    default: bool,
    #[command(flatten)]
    manner: ChangeOptions,
    /// Also where nobody could change rules any more; only for those whom `rules.break_glass` names.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    remote: Remote,
}

impl Settings {
    pub(super) async fn run(self, out: &mut dyn Write) -> Result<Answer, CommandError> {
        let path = self.rule.path("/settings");
        let question = match (object(self.settings.as_deref())?, self.default) {
            (Some(settings), _) => ApiRequest::new(Method::PUT, path).json(&settings.into()),
            (None, true) => ApiRequest::new(Method::DELETE, path),
            (None, false) => return self.print(out).await,
        };
        let question = question
            .with("note", self.manner.note.as_ref())
            .with("force", self.force.then_some(true))
            .after(self.manner.if_generation);
        let reply = self.remote.peer()?.demand(question).await?;
        let name = &self.rule.name;
        self.remote
            .tell(out, &reply, |changed: ChangeResponse| changed.told(name))
    }

    /// Nothing but JSON, so that it can be changed and given back; of a rule that takes part in both ways, what counts.
    async fn print(&self, out: &mut dyn Write) -> Result<Answer, CommandError> {
        let reply = self.remote.peer()?.demand(ApiRequest::get(self.rule.path(""))).await?;
        let whole: Whole = reply.read()?;
        let name = &self.rule.name;
        let counts = |mode| whole.active.iter().find(|part| part.line.mode == mode);
        let Some(part) = counts(Mode::Active).or_else(|| counts(Mode::Shadow)) else {
            return Err(CommandError::new(
                EXIT_FAILED_CHECK,
                format!("{name} takes no part, so it has no settings in force"),
            ));
        };
        // A rule that was given none got an empty object.
        let given = Some(&part.settings).filter(|given| !given.is_null());
        let settings = given.cloned().unwrap_or_else(|| json!({}));
        self.remote.tell(out, &reply, |_: Value| format!("{settings:#}\n"))
    }
}
