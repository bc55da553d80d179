//! `watchpost report`: the findings of the rules, the worst first. The exit code is the severity, as monitoring systems
//! expect it of a plugin.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde::Deserialize;
use watchpost_policies::{Finding, Severity, Snapshot, Subject};

use super::client::remote::Remote;
use super::client::{ApiClient, ApiRequest, ApiResponse, wait};
use super::screen::{self, Ends};
use super::style::{Style, age, bar, short};
use super::table::columns;
use super::{CommandError, USAGE, fail, say};
use crate::clock;
use crate::config::Sources;

/// The exit codes of monitoring plugins.
const EXIT_OK: u8 = 0;
const EXIT_WARNING: u8 = 1;
const EXIT_ALERT: u8 = 2;
const EXIT_UNKNOWN: u8 = 3;

/// Shows what the rules find on a machine, the worst first.
///
/// The exit code is that of a monitoring plugin: 0 ok, 1 warning, 2 alert, and 3 if something could not be measured or
/// the server could not be asked. Without --server, it is the server on this machine, which is found by the
/// configuration; the client certificate is that of the development authority's reader.
#[derive(Args)]
pub(super) struct Report {
    /// Repeats the report until Ctrl-C; the exit code is then that of the last one.
    #[arg(long)]
    watch: bool,
    /// The interval of --watch, in seconds.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
    #[command(flatten)]
    remote: Remote,
}

/// The parts of the response that are shown.
#[derive(Clone, Deserialize)]
pub(super) struct MachineReport {
    pub(super) host: String,
    #[serde(rename = "time", with = "watchpost_policies::rfc3339")]
    pub(super) time_ms: u64,
    pub(super) generation: u64,
    pub(super) severity: Severity,
    #[serde(default)]
    pub(super) unknown_reason: Option<String>,
    pub(super) findings: Vec<Finding>,
    pub(super) faults: Vec<RuleFault>,
}

/// A rule that failed in the round.
#[derive(Clone, Deserialize)]
pub(super) struct RuleFault {
    rule: String,
    call: String,
}

impl Report {
    pub(super) fn run(self, sources: Sources) -> ExitCode {
        let ended = wait(async {
            let client = self.remote.client_or_local(sources)?;
            match self.watch {
                true => self.repeat(&client).await,
                false => self.once(&client).await,
            }
        });
        match ended {
            Ok(severity) => ExitCode::from(code_of(severity)),
            // A monitoring system must not take a server that cannot be asked for one that is well.
            Err(error) if error.code != USAGE => fail(EXIT_UNKNOWN, &error.what),
            Err(error) => fail(error.code, &error.what),
        }
    }

    async fn once(&self, client: &ApiClient) -> Result<Severity, CommandError> {
        let (response, report) = fetch(client).await?;
        let text = self.text(client, &response, &report, Style::of_stdout()).await?;
        say(&mut io::stdout(), &text)?;
        Ok(report.severity)
    }

    /// On a terminal, the page is refreshed in place; otherwise each new round is printed.
    async fn repeat(&self, client: &ApiClient) -> Result<Severity, CommandError> {
        let interval = Duration::from_secs(self.interval);
        let last = Cell::new(Severity::Unknown);
        let page = RefCell::new(String::new());
        let is_screen = screen::is_available() && !self.json();
        let next = async || {
            let shown = async {
                let (response, report) = fetch(client).await?;
                let text = self.text(client, &response, &report, Style::of_stdout()).await?;
                Ok::<_, CommandError>((report, text))
            };
            let shown = shown.await;
            last.set(shown.as_ref().map_or(Severity::Unknown, |(report, _)| report.severity));
            shown
        };
        if is_screen {
            screen::show(interval, async || {
                let text = next()
                    .await
                    .map_or_else(|error| format!("{}\n", error.what), |(_, text)| text);
                page.replace(text).clear();
                page.borrow().clone()
            })
            .await?;
            // The terminal's own screen keeps the last report.
            say(&mut io::stdout(), &page.borrow())?;
            return Ok(last.get());
        }
        let mut ends = Ends::new()?;
        let mut ticks = tokio::time::interval(interval);
        let mut printed_ms = None;
        loop {
            let shown = tokio::select! {
                () = ends.recv() => return Ok(last.get()),
                shown = async { ticks.tick().await; next().await } => shown,
            };
            match shown {
                Ok((report, _)) if printed_ms == Some(report.time_ms) => {}
                Ok((report, text)) => {
                    printed_ms = Some(report.time_ms);
                    say(&mut io::stdout(), &text)?;
                }
                // The next attempt may succeed.
                Err(error) => drop(writeln!(io::stderr(), "watchpost: {}", error.what)),
            }
        }
    }

    fn json(&self) -> bool {
        self.remote.json
    }

    async fn text(
        &self,
        client: &ApiClient,
        response: &ApiResponse,
        report: &MachineReport,
        style: Style,
    ) -> Result<String, CommandError> {
        if self.json() {
            return Ok(format!("{}\n", response.body.trim_end()));
        }
        let snapshot = client.send_checked(ApiRequest::get("/api/v1/snapshot")).await?;
        let snapshot: Snapshot = snapshot.read()?;
        Ok(as_text(report, &percentages(&snapshot), style))
    }
}

async fn fetch(client: &ApiClient) -> Result<(ApiResponse, MachineReport), CommandError> {
    let response = client.send_checked(ApiRequest::get("/api/v1/report")).await?;
    let report = response.read()?;
    Ok((response, report))
}

fn code_of(severity: Severity) -> u8 {
    match severity {
        Severity::Ok => EXIT_OK,
        Severity::Warning => EXIT_WARNING,
        Severity::Alert => EXIT_ALERT,
        Severity::Unknown => EXIT_UNKNOWN,
    }
}

/// The series that are percentages, which get a bar.
pub(super) fn percentages(snapshot: &Snapshot) -> HashMap<Subject, f64> {
    let samples = snapshot.samples().iter();
    let percents = samples.filter(|sample| sample.unit().as_str() == "percent");
    let subject = |sample: &watchpost_policies::Sample| Subject {
        metric: sample.metric().to_string(),
        labels: sample.labels().clone(),
    };
    percents.map(|sample| (subject(sample), sample.value())).collect()
}

fn as_text(report: &MachineReport, percentages: &HashMap<Subject, f64>, style: Style) -> String {
    let severity = style.severity(report.severity, &report.severity.to_string());
    let time = clock::written(report.time_ms);
    let mut text = format!(
        "{}: {severity} at {time}, generation {}\n",
        report.host, report.generation
    );
    if let Some(reason) = &report.unknown_reason {
        text += &format!("{reason}\n");
    }
    text += "\n";
    text += &findings(report, percentages, style);
    for RuleFault { rule, call } in &report.faults {
        text += &format!("the rule {rule} failed in {call}; `watchpost rules log {rule}` shows its changes\n");
    }
    text
}

/// The table of the findings, the worst first.
pub(super) fn findings(report: &MachineReport, percentages: &HashMap<Subject, f64>, style: Style) -> String {
    let heading = ["SEVERITY", "SUBJECT", "VALUE", "", "LIMIT", "SINCE", "MESSAGE"].map(str::to_owned);
    let number = |number: Option<f64>| number.map_or_else(|| "-".to_owned(), short);
    let mut sorted: Vec<_> = report.findings.iter().collect();
    sorted.sort_by_key(|finding| Reverse(finding.severity));
    let rows = sorted.into_iter().map(|finding| {
        let since_ms = report.time_ms.saturating_sub(finding.since_ms);
        let share = finding.value.filter(|_| percentages.contains_key(&finding.subject));
        [
            finding.severity.to_string(),
            finding.subject.to_string(),
            number(finding.value),
            share.map_or_else(String::new, bar),
            number(finding.limit),
            age(Duration::from_millis(since_ms).as_secs_f64()),
            finding.message.clone(),
        ]
    });
    let rows: Vec<_> = [heading].into_iter().chain(rows).collect();
    if rows.len() == 1 {
        return "the rules have no findings\n".to_owned();
    }
    style.table(&columns(&rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_is_that_of_a_monitoring_plugin() {
        let codes = [Severity::Ok, Severity::Warning, Severity::Alert, Severity::Unknown].map(code_of);
        assert_eq!(codes, [0, 1, 2, 3]);
    }

    #[test]
    fn the_worst_finding_is_first_and_percentages_have_a_bar() {
        let finding = |metric: &str, severity: &str, value: f64| {
            serde_json::json!({
                "rule": "threshold", "subject": { "metric": metric, "labels": {} }, "severity": severity,
                "value": value, "limit": 90.0, "message": format!("{metric} is {severity}"), "since": "1970-01-01T00:00:00.000Z",
            })
        };
        let report = serde_json::json!({
            "generation": 3, "host": "edge-1", "time": "1970-01-01T00:01:01.000Z", "severity": "alert", "costs": [],
            "findings": [finding("load", "ok", 1.5), finding("memory", "alert", 95.0)],
            "faults": [{ "rule": "weekend", "call": "judge" }],
        });
        let report: MachineReport = serde_json::from_value(report).expect("a report");
        let memory = report.findings[1].subject.clone();
        let text = as_text(&report, &HashMap::from([(memory, 95.0)]), Style::plain());
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "edge-1: alert at 1970-01-01T00:01:01.000Z, generation 3");
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(
            words(lines[3])[..5],
            ["alert", "memory", "95", "[###################.]", "90"].map(str::to_owned)
        );
        assert!(lines[4].starts_with("ok        load"), "{text}");
        assert!(!lines[4].contains('['), "{text}");
        assert_eq!(
            lines[5],
            "the rule weekend failed in judge; `watchpost rules log weekend` shows its changes"
        );
        let at = |line: &str, part: &str| line.find(part);
        assert_eq!(at(lines[2], "MESSAGE"), at(lines[3], "memory is"), "{text}");
    }
}
