//! `watchpost top`: the measurements of a machine as bars, and what the rules find, refreshed in place.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use watchpost_policies::{Sample, Severity, Snapshot};

use super::client::remote::Remote;
use super::client::{ApiClient, ApiRequest, wait};
use super::report::{MachineReport, findings, percentages};
use super::style::{Style, bar, short};
use super::table::columns;
use super::{CommandError, USAGE, fail, printed, screen};
use crate::clock;
use crate::config::Sources;

/// Shows the measurements of a machine, and refreshes them until Ctrl-C.
///
/// Without --server, it is the server on this machine, which is found by the configuration; the client certificate is
/// that of the development authority's reader.
#[derive(Args)]
pub(super) struct Top {
    /// The interval between two refreshes, in seconds.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
    #[command(flatten)]
    remote: Remote,
}

/// More bars than this do not fit on a screen.
const MAX_ROWS: usize = 40;

impl Top {
    pub(super) fn run(self, sources: Sources) -> ExitCode {
        let ended = wait(async {
            let client = self.remote.client_or_local(sources)?;
            if self.remote.json {
                // A program reads one snapshot at a time.
                let response = client.send_checked(ApiRequest::get("/api/v1/snapshot")).await?;
                return Ok(Some(format!("{}\n", response.body.trim_end())));
            }
            if !screen::is_available() {
                let what = "standard output is no terminal; use `watchpost report`, or write --json";
                return Err(CommandError::new(USAGE, what));
            }
            // A server that cannot be asked at all is an error, not an empty page.
            page(&client, Style::of_stdout()).await?;
            screen::show(Duration::from_secs(self.interval), async || {
                let shown = page(&client, Style::of_stdout()).await;
                shown.unwrap_or_else(|error| format!("{}\n", error.what))
            })
            .await?;
            Ok(None)
        });
        match ended {
            Ok(output) => printed(output.unwrap_or_default().as_bytes()),
            Err(error) => fail(error.code, &error.what),
        }
    }
}

async fn page(client: &ApiClient, style: Style) -> Result<String, CommandError> {
    let snapshot = client.send_checked(ApiRequest::get("/api/v1/snapshot")).await?;
    let snapshot: Snapshot = snapshot.read()?;
    let report = client.send_checked(ApiRequest::get("/api/v1/report")).await?;
    Ok(as_text(&snapshot, &report.read()?, style))
}

fn as_text(snapshot: &Snapshot, report: &MachineReport, style: Style) -> String {
    let severity = style.severity(report.severity, &report.severity.to_string());
    let time = clock::written(snapshot.time_ms());
    let mut text = format!("{} {severity}  {time}\n\n", style.heading(snapshot.host()));
    text += &bars(snapshot, style);
    text += &values(snapshot);
    let worse = MachineReport {
        findings: report
            .findings
            .iter()
            .filter(|finding| finding.severity > Severity::Ok)
            .cloned()
            .collect(),
        ..report.clone()
    };
    if !worse.findings.is_empty() {
        text += &format!("\n{}", findings(&worse, &percentages(snapshot), style));
    }
    for gap in snapshot.gaps() {
        text += &format!("{} is not measured: {}\n", gap.source, gap.reason);
    }
    text
}

/// All percentages of the machine as a whole, and those of file systems and disks by their label.
fn bars(snapshot: &Snapshot, style: Style) -> String {
    let percents = snapshot
        .samples()
        .iter()
        .filter(|sample| sample.unit().as_str() == "percent");
    let rows = percents.take(MAX_ROWS).map(|sample| {
        [
            name_of(sample),
            format!("{:>6}", format!("{:.1}", sample.value())),
            bar(sample.value()),
        ]
    });
    let rows: Vec<_> = [["PERCENT", "VALUE", ""].map(str::to_owned)]
        .into_iter()
        .chain(rows)
        .collect();
    style.table(&columns(&rows))
}

/// The other values of the machine as a whole, several in a line.
fn values(snapshot: &Snapshot) -> String {
    let whole = snapshot
        .samples()
        .iter()
        .filter(|sample| sample.labels().as_slice().is_empty() && sample.unit().as_str() != "percent");
    let mut of_unit: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for sample in whole {
        let text = format!("{} {}", sample.metric(), short(sample.value()));
        of_unit.entry(sample.unit().as_str()).or_default().push(text);
    }
    let lines = of_unit.iter().map(|(unit, values)| {
        let name = if unit.is_empty() { "count" } else { unit };
        format!("{name}: {}\n", values.join(", "))
    });
    format!("\n{}", lines.collect::<String>())
}

/// The metric and the values of its labels.
fn name_of(sample: &Sample) -> String {
    let labels = sample
        .labels()
        .as_slice()
        .iter()
        .map(|label| format!(" {}", label.value));
    format!("{}{}", sample.metric(), labels.collect::<String>())
}
