//! `watchpost rules settings`: prints, replaces or resets the settings of a rule.

use std::io::{self, Write};

use actix_web::http::Method;
use clap::Args;
use serde_json::Value;

use super::super::client::ApiRequest;
use super::super::{CheckResult, CommandError, EXIT_FAILED_CHECK};
use super::change::{ChangeOptions, ChangeResponse};
use super::show::RuleDetail;
use super::{Named, Remote, object};
use crate::store::rules::Mode;

/// Prints or changes settings.
#[derive(Args)]
pub(in crate::cli::rules) struct Settings {
    #[command(flatten)]
    rule: Named,
    /// New settings: JSON, or a file with JSON; without them, the effective settings are printed, and the origin of each
    /// on stderr.
    #[arg(value_name = "FILE|JSON")]
    settings: Option<String>,
    /// Resets the settings to those of the configuration, or to the rule's defaults.
    #[arg(long, conflicts_with = "settings")]
    default: bool,
    #[command(flatten)]
    options: ChangeOptions,
    /// Accepts a change that removes your own permission to manage rules; only for identities in `rules.break_glass`.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    remote: Remote,
}

impl Settings {
    pub(super) async fn run(self, out: &mut dyn Write) -> Result<CheckResult, CommandError> {
        let path = self.rule.path("/settings");
        let request = match (object(self.settings.as_deref())?, self.default) {
            (Some(settings), _) => ApiRequest::new(Method::PUT, path).json(&settings.into()),
            (None, true) => ApiRequest::new(Method::DELETE, path),
            (None, false) => return self.print(out).await,
        };
        let request = request
            .with("note", self.options.note.as_ref())
            .with("force", self.force.then_some(true))
            .after(self.options.if_generation);
        let response = self.remote.client()?.send_checked(request).await?;
        let name = &self.rule.name;
        self.remote
            .print(out, &response, |changed: ChangeResponse| changed.summary(name))
    }

    /// Prints the settings that are active as JSON only, so that they can be edited and sent back, and their origins on stderr;
    /// the active version takes precedence over the shadow.
    async fn print(&self, out: &mut dyn Write) -> Result<CheckResult, CommandError> {
        let response = self
            .remote
            .client()?
            .send_checked(ApiRequest::get(self.rule.path("")))
            .await?;
        let rule: RuleDetail = response.read()?;
        let name = &self.rule.name;
        let counts = |mode| rule.active.iter().find(|part| part.line.mode == mode);
        let Some(part) = counts(Mode::Active).or_else(|| counts(Mode::Shadow)) else {
            return Err(CommandError::new(
                EXIT_FAILED_CHECK,
                format!("{name} is not in use, so it has no current settings"),
            ));
        };
        for (name, origin, _) in part.origins() {
            // If stderr is not writable, only the settings remain.
            let _ = writeln!(io::stderr(), "{name}: {origin}");
        }
        let settings = part.effective();
        self.remote.print(out, &response, |_: Value| format!("{settings:#}\n"))
    }
}
