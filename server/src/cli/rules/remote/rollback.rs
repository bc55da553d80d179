//! `watchpost rules rollback`: restores a rule's state before its last change. Two rollbacks cancel each other out.

use std::io::Write;

use actix_web::http::Method;
use clap::Args;
use serde_json::json;

use super::super::{CheckResult, CommandError};
use super::change::{ChangeOptions, ChangeResponse};
use super::{Named, Remote};
use crate::cli::client::ApiRequest;

/// Rolls back the last change.
#[derive(Args)]
pub(in crate::cli::rules) struct Rollback {
    #[command(flatten)]
    rule: Named,
    #[command(flatten)]
    options: ChangeOptions,
    /// Accepts a change that removes your own permission to manage rules; only for identities in `rules.break_glass`.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    remote: Remote,
}

impl Rollback {
    pub(super) async fn run(self, out: &mut dyn Write) -> Result<CheckResult, CommandError> {
        let note = self.options.note.as_deref().unwrap_or_default();
        let request = ApiRequest::new(Method::POST, self.rule.path("/rollback"))
            .json(&json!({ "note": note, "force": self.force }))
            .after(self.options.if_generation);
        let response = self.remote.client()?.send_checked(request).await?;
        let name = &self.rule.name;
        self.remote
            .print(out, &response, |changed: ChangeResponse| changed.summary(name))
    }
}
