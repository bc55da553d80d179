//! `watchpost rules show`: shows one rule of a server, with its settings and its versions.

use std::io::Write;

use clap::Args;
use serde::Deserialize;
use serde_json::Value;

use super::super::{CheckResult, CommandError};
use super::change::Line;
use super::{Named, Remote, or_dash, short, written};
use crate::cli::client::ApiRequest;
use crate::cli::table::columns;
use crate::store::rules::Mode;

/// Shows a rule.
#[derive(Args)]
pub(in crate::cli::rules) struct Show {
    #[command(flatten)]
    rule: Named,
    #[command(flatten)]
    remote: Remote,
}

/// A rule of a server.
#[derive(Deserialize)]
pub(super) struct RuleDetail {
    name: String,
    kind: String,
    description: String,
    pub(super) active: Vec<VersionInUse>,
    versions: Vec<Version>,
}

/// A version that takes part, with its settings.
#[derive(Deserialize)]
pub(super) struct VersionInUse {
    #[serde(flatten)]
    pub(super) line: Line,
    /// The stored settings; null if there are none.
    pub(super) settings: Value,
    settings_updated_by: Option<String>,
}

#[derive(Deserialize)]
struct Version {
    digest: String,
    version: String,
    bytes: u64,
    uploaded_ms: i64,
    uploaded_by: String,
    note: String,
}

impl Show {
    pub(super) async fn run(self, out: &mut dyn Write) -> Result<CheckResult, CommandError> {
        let response = self
            .remote
            .client()?
            .send_checked(ApiRequest::get(self.rule.path("")))
            .await?;
        self.remote.print(out, &response, as_text)
    }
}

fn as_text(rule: RuleDetail) -> String {
    let RuleDetail {
        name,
        kind,
        description,
        ..
    } = &rule;
    let mut text = format!("{name}, a {kind} rule\n{description}\n\n");
    for VersionInUse {
        line,
        settings,
        settings_updated_by,
    } in &rule.active
    {
        let role = match line.mode {
            Mode::Active => "active   ",
            Mode::Shadow => "in shadow",
        };
        let settings = match settings_updated_by {
            Some(by) => format!("{settings} by {by}"),
            None => "without settings".to_owned(),
        };
        text += &format!("{role}  {} ({}), {settings}\n", line.version, short(&line.digest));
    }
    if rule.active.is_empty() {
        text += "the rule is not in use\n";
    }
    let heading = ["DIGEST", "VERSION", "BYTES", "UPLOADED", "BY", "NOTE"].map(str::to_owned);
    let rows = rule.versions.iter().map(|version| {
        let is_uploaded = version.uploaded_ms > 0;
        [
            short(&version.digest).to_owned(),
            version.version.clone(),
            version.bytes.to_string(),
            if is_uploaded {
                written(version.uploaded_ms)
            } else {
                "-".to_owned()
            },
            version.uploaded_by.clone(),
            or_dash(&version.note),
        ]
    });
    let rows: Vec<_> = [heading].into_iter().chain(rows).collect();
    format!("{text}\n{}", columns(&rows))
}
