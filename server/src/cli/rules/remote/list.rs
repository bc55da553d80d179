//! `watchpost rules list`: lists the rules of a server, and reports a pending generation and quarantined rules.

use std::io::Write;

use clap::Args;
use serde::Deserialize;

use super::super::{CheckResult, CommandError};
use super::change::Line;
use super::{Remote, short};
use crate::cli::client::ApiRequest;
use crate::cli::table::columns;
use crate::store::rules::Mode;

/// Lists rules.
#[derive(Args)]
pub(in crate::cli::rules) struct List {
    #[command(flatten)]
    remote: Remote,
}

#[derive(Deserialize)]
struct Overview {
    generation: i64,
    pending_generation: Option<PendingGeneration>,
    #[serde(default)]
    quarantined: Vec<QuarantinedRule>,
    active: Vec<Line>,
    rules: Vec<Summary>,
}

/// A newer generation that the server could not load.
#[derive(Deserialize)]
struct PendingGeneration {
    generation: i64,
    reason: String,
}

/// A rule in quarantine, because it kept failing.
#[derive(Deserialize)]
struct QuarantinedRule {
    rule: String,
    reason: String,
}

#[derive(Deserialize)]
struct Summary {
    name: String,
    kind: String,
    versions: usize,
}

impl List {
    pub(super) async fn run(self, out: &mut dyn Write) -> Result<CheckResult, CommandError> {
        let response = self
            .remote
            .client()?
            .send_checked(ApiRequest::get("/api/v1/rules"))
            .await?;
        self.remote.print(out, &response, as_table)
    }
}

fn as_table(overview: Overview) -> String {
    let heading = ["NAME", "KIND", "VERSIONS", "ACTIVE", "SHADOW"].map(str::to_owned);
    let part = |name: &str, mode: Mode| {
        let mut lines = overview.active.iter();
        let line = lines.find(|line| line.name == name && line.mode == mode);
        line.map_or_else(
            || "-".to_owned(),
            |line| format!("{} {}", line.version, short(&line.digest)),
        )
    };
    let rows = overview.rules.iter().map(|rule| {
        [
            rule.name.clone(),
            rule.kind.clone(),
            rule.versions.to_string(),
            part(&rule.name, Mode::Active),
            part(&rule.name, Mode::Shadow),
        ]
    });
    let rows: Vec<_> = [heading].into_iter().chain(rows).collect();
    let mut text = format!("{}\ngeneration {}\n", columns(&rows), overview.generation);
    if let Some(PendingGeneration { generation, reason }) = &overview.pending_generation {
        text += &format!("generation {generation} could not be loaded: {reason}\n");
    }
    for QuarantinedRule { rule, reason } in &overview.quarantined {
        text += &format!("{rule} is quarantined: {reason}\n");
    }
    text
}
