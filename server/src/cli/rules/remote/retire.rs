//! `watchpost rules retire`: a rule takes no part any more. Its versions stay.

use std::io::Write;

use actix_web::http::Method;
use clap::Args;

use super::super::peer::Question;
use super::super::{Answer, Stopped};
use super::change::{Changed, Manner};
use super::{Named, Remote};

/// Takes a rule out.
#[derive(Args)]
pub(in crate::cli::rules) struct Retire {
    #[command(flatten)]
    rule: Named,
    /// Only ends the comparing; what is in force stays.
    #[arg(long)]
    shadow: bool,
    #[command(flatten)]
    manner: Manner,
    #[command(flatten)]
    remote: Remote,
}

impl Retire {
    pub(super) async fn run(self, out: &mut dyn Write) -> Result<Answer, Stopped> {
        let part = if self.shadow { "/shadow" } else { "/active" };
        let question = Question::new(Method::DELETE, self.rule.path(part))
            .with("note", self.manner.note.as_ref())
            .after(self.manner.if_generation);
        let reply = self.remote.peer()?.demand(question).await?;
        let name = &self.rule.name;
        self.remote.tell(out, &reply, |changed: Changed| changed.told(name))
    }
}
