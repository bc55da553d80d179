//! `watchpost rules log`: prints the audit log of a rule, the latest entry first.

use std::io::Write;

use clap::Args;
use serde::Deserialize;

use super::super::client::ApiRequest;
use super::super::{Answer, CommandError};
use super::{Named, Remote, or_dash, short, written};
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
    log: Vec<AuditAction>,
    next: Option<i64>,
}

#[derive(Deserialize)]
struct AuditAction {
    time_ms: i64,
    what: String,
    digest: Option<String>,
    generation: Option<i64>,
    by: String,
    note: String,
}

impl Log {
    pub(super) async fn run(self, out: &mut dyn Write) -> Result<Answer, CommandError> {
        let question = ApiRequest::get(self.rule.path("/log"))
            .with("limit", self.limit)
            .with("before", self.before);
        let reply = self.remote.peer()?.demand(question).await?;
        self.remote.tell(out, &reply, as_table)
    }
}

fn as_table(page: Page) -> String {
    let heading = ["TIME", "ACTION", "VERSION", "GENERATION", "ACTOR", "NOTE"].map(str::to_owned);
    let rows = page.log.into_iter().map(|deed| {
        [
            written(deed.time_ms),
            deed.what.replace('_', " "),
            or_dash(short(deed.digest.as_deref().unwrap_or_default())),
            deed.generation
                .map_or_else(|| "-".to_owned(), |generation| generation.to_string()),
            deed.by,
            or_dash(&deed.note),
        ]
    });
    let rows: Vec<_> = [heading].into_iter().chain(rows).collect();
    let older = page
        .next
        .map(|line| format!("\nfor older entries: --before {line}\n"));
    columns(&rows) + &older.unwrap_or_default()
}
