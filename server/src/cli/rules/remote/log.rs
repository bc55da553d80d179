//! `watchpost rules log`: prints the audit log of a rule, the latest entry first.

use std::io::Write;

use clap::Args;
use serde::Deserialize;

use super::super::{CheckResult, CommandError};
use super::{Named, Remote, or_dash, short, written};
use crate::cli::client::ApiRequest;
use crate::cli::table::columns;

/// Prints the audit log.
#[derive(Args)]
pub(in crate::cli::rules) struct Log {
    #[command(flatten)]
    rule: Named,
    /// Maximum number of entries; default: the server's.
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
    /// Only entries before this one, as the previous page names it.
    #[arg(long, value_name = "LINE")]
    before: Option<i64>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Deserialize)]
struct Page {
    log: Vec<AuditEntry>,
    next: Option<i64>,
}

#[derive(Deserialize)]
struct AuditEntry {
    #[serde(rename = "time", with = "watchpost_policies::rfc3339")]
    time_ms: i64,
    action: String,
    digest: Option<String>,
    generation: Option<i64>,
    actor: String,
    note: String,
}

impl Log {
    pub(super) async fn run(self, out: &mut dyn Write) -> Result<CheckResult, CommandError> {
        let request = ApiRequest::get(self.rule.path("/log"))
            .with("limit", self.limit)
            .with("before", self.before);
        let response = self.remote.client()?.send_checked(request).await?;
        self.remote.print(out, &response, as_table)
    }
}

fn as_table(page: Page) -> String {
    let heading = ["TIME", "ACTION", "VERSION", "GENERATION", "ACTOR", "NOTE"].map(str::to_owned);
    let rows = page.log.into_iter().map(|entry| {
        [
            written(entry.time_ms),
            entry.action.replace('_', " "),
            or_dash(short(entry.digest.as_deref().unwrap_or_default())),
            entry
                .generation
                .map_or_else(|| "-".to_owned(), |generation| generation.to_string()),
            entry.actor,
            or_dash(&entry.note),
        ]
    });
    let rows: Vec<_> = [heading].into_iter().chain(rows).collect();
    let older = page.next.map(|line| format!("\nfor older entries: --before {line}\n"));
    columns(&rows) + &older.unwrap_or_default()
}
