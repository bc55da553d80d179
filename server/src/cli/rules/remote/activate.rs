//! `watchpost rules activate` and `shadow`: activate a version, or run it in shadow mode.

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

/// Activates a version.
#[derive(Args)]
pub(in crate::cli::rules) struct Activate {
    #[command(flatten)]
    part: Part,
}

/// Runs a version in shadow mode.
#[derive(Args)]
pub(in crate::cli::rules) struct Shadow {
    #[command(flatten)]
    part: Part,
}

#[derive(Args)]
struct Part {
    #[command(flatten)]
    chosen: SelectedVersion,
    /// New settings: JSON, or a file with JSON; by default, the rule keeps its settings.
    #[arg(long, value_name = "FILE|JSON")]
    settings: Option<String>,
    #[command(flatten)]
    manner: ChangeOptions,
    /// Accepts a change that removes your own permission to manage rules; only for identities in `rules.break_glass`.
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

/// Requests that a version becomes active or runs in shadow mode, as the body says.
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
