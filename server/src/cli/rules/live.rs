//! The snapshot of a running Watchpost, asked for as any client asks. It has to prove who it is: what it says is
//! believed here.

use clap::Args;
use watchpost_policies::Snapshot;

use super::CommandError;
use super::client::{ApiClient, ApiRequest, wait};
use super::credentials::Credentials;
use super::inputs::snapshot_of;
use super::progress::Progress;
use crate::cli::UNAVAILABLE;

const PATH: &str = "/api/v1/snapshot";

/// Which server, and as whom.
#[derive(Args)]
pub(super) struct Live {
    /// Asks a running Watchpost for its latest snapshot: https://HOST:PORT.
    #[arg(long, value_name = "URL")]
    live: Option<String>,
    #[command(flatten)]
    proof: Credentials,
}

impl Live {
    pub(super) fn snapshot(&self) -> Result<Snapshot, CommandError> {
        let base = self.live.as_deref().unwrap_or_default();
        let url = format!("{}{PATH}", base.trim_end_matches('/'));
        let _progress = Progress::show(&format!("asking {url}"));
        wait(async {
            let reply = ApiClient::new(base, &self.proof)?.ask(ApiRequest::get(PATH)).await?;
            // Without a snapshot there is nothing to judge, so this is no answer to the question whether a rule is good.
            let taken = reply.accepted();
            let reply = taken.map_err(|refused| CommandError::new(UNAVAILABLE, refused.what))?;
            snapshot_of(&reply.body, &url)
        })
    }
}
