//! `watchpost rules deactivate`: deactivates a rule. Its versions stay stored.

use std::io::Write;

use actix_web::http::Method;
use clap::Args;

use super::super::{CheckResult, CommandError};
use super::change::{ChangeOptions, ChangeResponse};
use super::{Named, Remote};
use crate::cli::client::ApiRequest;

/// Deactivates a rule.
#[derive(Args)]
pub(in crate::cli::rules) struct Deactivate {
    #[command(flatten)]
    rule: Named,
    /// Only ends the rule's shadow; the active version stays active.
    #[arg(long)]
    shadow: bool,
    #[command(flatten)]
    options: ChangeOptions,
    #[command(flatten)]
    remote: Remote,
}

impl Deactivate {
    pub(super) async fn run(self, out: &mut dyn Write) -> Result<CheckResult, CommandError> {
        let part = if self.shadow { "/shadow" } else { "/active" };
        let request = ApiRequest::new(Method::DELETE, self.rule.path(part))
            .with("note", self.options.note.as_ref())
            .after(self.options.if_generation);
        let response = self.remote.client()?.send_checked(request).await?;
        let name = &self.rule.name;
        self.remote
            .print(out, &response, |changed: ChangeResponse| changed.summary(name))
    }
}
