//! `watchpost rules activate` and `shadow`: a version in force, or beside what is.

use std::io::Write;

use actix_web::http::Method;
use clap::Args;
use serde_json::json;

use super::super::client::{ApiClient, ApiRequest, ApiResponse};
use super::super::{Answer, CommandError};
use super::change::{ChangeOptions, ChangeResponse};
use super::version::SelectedVersion;
use super::{Remote, object};
use crate::store::rules::Mode;

/// Puts a version in force.
#[derive(Args)]
pub(in crate::cli::rules) struct Activate {
    #[command(flatten)]
    part: Part,
}

/// Puts a version beside what is in force.
#[derive(Args)]
pub(in crate::cli::rules) struct Shadow {
    #[command(flatten)]
    part: Part,
}

#[derive(Args)]
struct Part {
    #[command(flatten)]
    chosen: SelectedVersion,
    /// With these settings: JSON, or a file with JSON in it; without them with those that it has.
    #[arg(long, value_name = "FILE|JSON")]
    settings: Option<String>,
    #[command(flatten)]
    manner: ChangeOptions,
    /// Also where nobody could change rules any more; only for those whom `rules.break_glass` names.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    remote: Remote,
}

impl Activate {
    pub(super) async fn run(self, out: &mut dyn Write) -> Result<Answer, CommandError> {
        self.part.run(Mode::Active, out).await
    }
}

impl Shadow {
    pub(super) async fn run(self, out: &mut dyn Write) -> Result<Answer, CommandError> {
        self.part.run(Mode::Shadow, out).await
    }
}

impl Part {
    async fn run(self, mode: Mode, out: &mut dyn Write) -> Result<Answer, CommandError> {
        let settings = object(self.settings.as_deref())?;
        let peer = self.remote.peer()?;
        let mut wanted = json!({ "digest": self.chosen.digest(&peer).await?, "mode": mode, "force": self.force });
        if let Some(settings) = settings {
            wanted["settings"] = settings.into();
        }
        let name = &self.chosen.rule.name;
        let reply = put(&peer, name, wanted, &self.manner).await?;
        self.remote
            .tell(out, &reply, |changed: ChangeResponse| changed.told(name))
    }
}

/// Asks for a version to take part, as `wanted` says.
pub(super) async fn put(
    peer: &ApiClient,
    rule: &str,
    mut wanted: serde_json::Value,
    manner: &ChangeOptions,
) -> Result<ApiResponse, CommandError> {
    wanted["note"] = manner.note.clone().unwrap_or_default().into();
    let question = ApiRequest::new(Method::PUT, format!("/api/v1/rules/{rule}/active"));
    peer.demand(question.json(&wanted).after(manner.if_generation)).await
}
