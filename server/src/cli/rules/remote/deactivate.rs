//! `watchpost rules retire`: deactivates a rule. Its versions stay stored.

use std::io::Write;

use actix_web::http::Method;
use clap::Args;

use super::super::client::ApiRequest;
use super::super::{Answer, CommandError};
use super::change::{ChangeOptions, ChangeResponse};
use super::{Named, Remote};

/// Deactivates a rule.
#[derive(Args)]
pub(in crate::cli::rules) struct Retire {
    #[command(flatten)]
    rule: Named,
    /// Only ends the rule's shadow; the active version stays active.
    #[arg(long)]
    shadow: bool,
    #[command(flatten)]
    manner: ChangeOptions,
    #[command(flatten)]
    remote: Remote,
}

impl Retire {
    pub(super) async fn run(self, out: &mut dyn Write) -> Result<Answer, CommandError> {
        let part = if self.shadow { "/shadow" } else { "/active" };
        let question = ApiRequest::new(Method::DELETE, self.rule.path(part))
            .with("note", self.manner.note.as_ref())
            .after(self.manner.if_generation);
        let reply = self.remote.peer()?.demand(question).await?;
        let name = &self.rule.name;
        self.remote
            .tell(out, &reply, |changed: ChangeResponse| changed.told(name))
    }
}
