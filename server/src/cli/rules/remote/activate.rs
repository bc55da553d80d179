//! `watchpost rules activate` and `shadow`: activate a version, or run it in shadow mode.

use std::io::Write;

use actix_web::http::Method;
use clap::Args;
use serde_json::json;

use super::super::{CheckResult, CommandError};
use super::change::{ChangeOptions, ChangeResponse};
use super::version::SelectedVersion;
use super::{Remote, object};
use crate::cli::client::{ApiClient, ApiRequest, ApiResponse};
use crate::store::rules::Mode;

/// Activates a version.
#[derive(Args)]
pub(in crate::cli::rules) struct Activate {
    #[command(flatten)]
    options: VersionOptions,
}

/// Runs a version in shadow mode.
#[derive(Args)]
pub(in crate::cli::rules) struct Shadow {
    #[command(flatten)]
    options: VersionOptions,
}

#[derive(Args)]
struct VersionOptions {
    #[command(flatten)]
    selected: SelectedVersion,
    /// New settings: JSON, or a file with JSON; by default, the rule keeps its settings.
    #[arg(long, value_name = "FILE|JSON")]
    settings: Option<String>,
    #[command(flatten)]
    options: ChangeOptions,
    /// Accepts a change that removes your own permission to manage rules; only for identities in `rules.break_glass`.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    remote: Remote,
}

impl Activate {
    pub(super) async fn run(self, out: &mut dyn Write) -> Result<CheckResult, CommandError> {
        self.options.run(Mode::Active, out).await
    }
}

impl Shadow {
    pub(super) async fn run(self, out: &mut dyn Write) -> Result<CheckResult, CommandError> {
        self.options.run(Mode::Shadow, out).await
    }
}

impl VersionOptions {
    async fn run(self, mode: Mode, out: &mut dyn Write) -> Result<CheckResult, CommandError> {
        let settings = object(self.settings.as_deref())?;
        let client = self.remote.client()?;
        let mut body = json!({ "digest": self.selected.digest(&client).await?, "mode": mode, "force": self.force });
        if let Some(settings) = settings {
            body["settings"] = settings.into();
        }
        let name = &self.selected.rule.name;
        let response = put(&client, name, body, &self.options).await?;
        self.remote
            .print(out, &response, |changed: ChangeResponse| changed.summary(name))
    }
}

/// Requests that a version becomes active or runs in shadow mode, as the body says.
pub(super) async fn put(
    client: &ApiClient,
    rule: &str,
    mut body: serde_json::Value,
    options: &ChangeOptions,
) -> Result<ApiResponse, CommandError> {
    body["note"] = options.note.clone().unwrap_or_default().into();
    let request = ApiRequest::new(Method::PUT, format!("/api/v1/rules/{rule}/active"));
    client
        .send_checked(request.json(&body).after(options.if_generation))
        .await
}
