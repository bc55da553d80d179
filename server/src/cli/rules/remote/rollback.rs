//! `watchpost rules rollback`: what a rule was before its last change. Two of them are as if nothing had been.

use std::io::Write;

use actix_web::http::Method;
use clap::Args;
use serde_json::json;

use super::super::peer::Question;
use super::super::{Answer, Stopped};
use super::change::{Changed, Manner};
use super::{Named, Remote};

/// Takes the last change back.
#[derive(Args)]
pub(in crate::cli::rules) struct Rollback {
    #[command(flatten)]
    rule: Named,
    #[command(flatten)]
    manner: Manner,
    /// Also where nobody could change rules any more; only for those whom `rules.break_glass` names.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    remote: Remote,
}

impl Rollback {
    pub(super) async fn run(self, out: &mut dyn Write) -> Result<Answer, Stopped> {
        let note = self.manner.note.as_deref().unwrap_or_default();
        let question = Question::new(Method::POST, self.rule.path("/rollback"))
            .json(&json!({ "note": note, "force": self.force }))
            .after(self.manner.if_generation);
        let reply = self.remote.peer()?.demand(question).await?;
        let name = &self.rule.name;
        self.remote.tell(out, &reply, |changed: Changed| changed.told(name))
    }
}
