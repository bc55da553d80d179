//! Fetches the snapshot of a running server. The server's certificate is verified, because the commands trust the
//! snapshot.

use clap::Args;
use watchpost_policies::Snapshot;

use super::CommandError;
use super::inputs::snapshot_of;
use crate::cli::UNAVAILABLE;
use crate::cli::client::credentials::Credentials;
use crate::cli::client::{ApiClient, ApiRequest, wait};
use crate::cli::progress::Progress;

const PATH: &str = "/api/v1/snapshot";

/// The server and the credentials.
#[derive(Args)]
pub(super) struct Live {
    /// Fetches the latest snapshot of a running server: https://HOST:PORT.
    #[arg(long, value_name = "URL")]
    live: Option<String>,
    #[command(flatten)]
    credentials: Credentials,
}

impl Live {
    pub(super) fn snapshot(&self) -> Result<Snapshot, CommandError> {
        let base = self.live.as_deref().unwrap_or_default();
        let url = format!("{}{PATH}", base.trim_end_matches('/'));
        let _progress = Progress::show(&format!("requesting {url}"));
        wait(async {
            let response = ApiClient::new(base, &self.credentials)?
                .send(ApiRequest::get(PATH))
                .await?;
            // Without a snapshot the rule was not evaluated, so the exit code is not that of a failed check.
            let taken = response.accepted();
            let response = taken.map_err(|refused| CommandError::new(UNAVAILABLE, refused.what))?;
            snapshot_of(&response.body, &url)
        })
    }
}
