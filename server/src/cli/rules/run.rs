//! `watchpost rules run`: evaluates a threshold rule on one snapshot, and prints its findings.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use watchpost_policies::{Cost, Finding, Kind, Severity, Snapshot};

use super::check::written;
use super::inputs::{Inputs, snapshot};
use super::live::Live;
use super::{CheckResult, CommandError, EXIT_FAILED_CHECK, say, say_json};
use crate::cli::USAGE;
use crate::cli::table::columns;
use crate::clock;
use crate::config::Sources;

/// Evaluates a rule on a snapshot.
#[derive(Args)]
pub(super) struct Run {
    #[command(flatten)]
    given: Inputs,
    /// The snapshot, as returned by `GET /api/v1/snapshot`; `-` reads standard input.
    #[arg(
        long,
        value_name = "FILE|-",
        required_unless_present = "live",
        conflicts_with_all = ["live", "cert", "cacert", "token_file"]
    )]
    snapshot: Option<PathBuf>,
    #[command(flatten)]
    live: Live,
    /// Overrides the host name of the snapshot.
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// Prints JSON, for programs.
    #[arg(long)]
    json: bool,
}

impl Run {
    pub(super) fn run(self, sources: &Sources, out: &mut dyn Write) -> Result<CheckResult, CommandError> {
        let snapshot = match &self.snapshot {
            Some(file) => snapshot(file)?,
            None => self.live.snapshot()?,
        };
        let snapshot = renamed(snapshot, self.host);
        let rule = self.given.rule(sources)?;
        if rule.module().kind() != Kind::Threshold {
            let what = format!(
                "{} is a role rule and judges no snapshots; use `watchpost rules test` to run it on requests",
                rule.name()
            );
            return Err(CommandError::new(USAGE, what));
        }
        let judged = rule.judge_alone(&snapshot, &[]);
        let (mut findings, cost) = judged.map_err(|fault| CommandError::new(EXIT_FAILED_CHECK, fault.to_string()))?;
        // The worst severity first, then by subject, in the rule's order.
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        if self.json {
            let severity = findings.first().map_or(Severity::Unknown, |worst| worst.severity);
            let output = json!({
                "host": snapshot.host(),
                "time": clock::written(snapshot.time_ms()),
                "severity": severity,
                "findings": findings,
                "cost": cost,
            });
            say_json(out, &output)?;
        } else {
            say(out, &as_table(&findings, &snapshot, &cost))?;
        }
        Ok(CheckResult::Yes)
    }
}

fn renamed(snapshot: Snapshot, host: Option<String>) -> Snapshot {
    let Some(host) = host else { return snapshot };
    Snapshot::new(
        host,
        snapshot.time_ms(),
        snapshot.facts().clone(),
        snapshot.samples().to_vec(),
        snapshot.gaps().to_vec(),
    )
}

fn as_table(findings: &[Finding], snapshot: &Snapshot, cost: &Cost) -> String {
    let heading = ["SEVERITY", "SUBJECT", "VALUE", "LIMIT", "MESSAGE"].map(str::to_owned);
    let number = |number: Option<f64>| number.map_or_else(|| "-".to_owned(), short);
    let rows = findings.iter().map(|finding| {
        [
            finding.severity.to_string(),
            finding.subject.to_string(),
            number(finding.value),
            number(finding.limit),
            finding.message.clone(),
        ]
    });
    let rows: Vec<_> = [heading].into_iter().chain(rows).collect();
    let table = if findings.is_empty() {
        String::new()
    } else {
        columns(&rows) + "\n"
    };
    let plural = if findings.len() == 1 { "" } else { "s" };
    format!(
        "{table}{} finding{plural} in {} samples and {} gaps of {} at {}, in {}\n",
        findings.len(),
        snapshot.samples().len(),
        snapshot.gaps().len(),
        snapshot.host(),
        clock::written(snapshot.time_ms()),
        written(cost.time)
    )
}

/// Two decimals are enough for people.
fn short(number: f64) -> String {
    let text = format!("{number:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
