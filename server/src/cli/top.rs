//! `watchpost top`: the measurements of a machine as bars, and what the rules find, refreshed in place.

use std::cell::RefCell;
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
            let rounds = RefCell::default();
            page(&client, &rounds, Style::of_stdout()).await?;
            screen::show(Duration::from_secs(self.interval), async || {
                let shown = page(&client, &rounds, Style::of_stdout()).await;
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

/// The last two rounds, which rates are computed from.
#[derive(Default)]
struct Rounds {
    earlier: Option<Snapshot>,
    latest: Option<Snapshot>,
}

impl Rounds {
    /// Adds a snapshot, unless it is of the same round as the latest.
    fn add(&mut self, snapshot: Snapshot) {
        if self
            .latest
            .as_ref()
            .is_none_or(|latest| latest.time_ms() != snapshot.time_ms())
        {
            self.earlier = self.latest.replace(snapshot);
        }
    }

    /// The increase of a counter per second.
    fn rate(&self, counter: &Sample) -> Option<f64> {
        let earlier = self.earlier.as_ref()?;
        let before = earlier
            .samples()
            .iter()
            .find(|sample| sample.metric() == counter.metric() && sample.labels() == counter.labels())?;
        let ms = counter.time_ms().checked_sub(before.time_ms()).filter(|ms| *ms > 0)?;
        let increase = counter.value() - before.value();
        // A counter that is smaller than before began again.
        (increase >= 0.0).then(|| increase / Duration::from_millis(ms).as_secs_f64())
    }
}

async fn page(client: &ApiClient, rounds: &RefCell<Rounds>, style: Style) -> Result<String, CommandError> {
    let snapshot = client.send_checked(ApiRequest::get("/api/v1/snapshot")).await?;
    let snapshot: Snapshot = snapshot.read()?;
    let report = client.send_checked(ApiRequest::get("/api/v1/report")).await?;
    rounds.borrow_mut().add(snapshot.clone());
    Ok(as_text(&snapshot, &report.read()?, &rounds.borrow(), style))
}

fn as_text(snapshot: &Snapshot, report: &MachineReport, rounds: &Rounds, style: Style) -> String {
    let severity = style.severity(report.severity, &report.severity.to_string());
    let time = clock::written(snapshot.time_ms());
    let mut text = format!("{} {severity}  {time}\n", style.heading(snapshot.host()));
    if let Some(reason) = &report.unknown_reason {
        text += &format!("{reason}\n");
    }
    text += &summary(snapshot);
    text += &format!("\n{}", bars(snapshot, style));
    text += &rates(snapshot, rounds, style);
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

/// The load and the processes, as far as they are measured.
fn summary(snapshot: &Snapshot) -> String {
    let value = |metric: &str| {
        let mut samples = snapshot.samples().iter();
        let sample = samples.find(|sample| sample.metric().as_str() == metric && sample.labels().as_slice().is_empty());
        sample.map(|sample| short(sample.value()))
    };
    let parts = [
        ("load", &["node_load1", "node_load5", "node_load15"][..]),
        ("processes", &["node_processes_pids"]),
        ("threads", &["node_processes_threads"]),
        ("running", &["node_procs_running"]),
        ("blocked", &["node_procs_blocked"]),
    ];
    let parts = parts.iter().filter_map(|(name, metrics)| {
        let values: Option<Vec<_>> = metrics.iter().map(|metric| value(metric)).collect();
        values.map(|values| format!("{name} {}", values.join(" ")))
    });
    let line = parts.collect::<Vec<_>>().join(", ");
    if line.is_empty() { line } else { line + "\n" }
}

/// All percentages, the most important first: those of the machine as a whole.
fn bars(snapshot: &Snapshot, style: Style) -> String {
    let mut percents: Vec<_> = snapshot
        .samples()
        .iter()
        .filter(|sample| sample.unit().as_str() == "percent")
        .collect();
    percents.sort_by_key(|sample| !sample.labels().as_slice().is_empty());
    let rows = percents.into_iter().take(MAX_ROWS).map(|sample| {
        [
            name_of(sample),
            bar(sample.value()),
            format!("{:>5.1} %", sample.value()),
        ]
    });
    let heading = ["USAGE", "", ""].map(str::to_owned);
    let rows: Vec<_> = [heading].into_iter().chain(rows).collect();
    style.table(&columns(&rows))
}

/// The counters of bytes whose rates are shown: what a person calls them, in and out.
const RATES: [(&str, &str, &str); 2] = [
    (
        "network",
        "node_network_receive_bytes_total",
        "node_network_transmit_bytes_total",
    ),
    ("disk", "node_disk_read_bytes_total", "node_disk_written_bytes_total"),
];

/// The bytes per second of network interfaces and disks, from the second round on.
fn rates(snapshot: &Snapshot, rounds: &Rounds, style: Style) -> String {
    let mut rows = vec![["BYTES PER SECOND", "IN", "OUT"].map(str::to_owned)];
    for (kind, received, sent) in RATES {
        let of_metric = |metric: &str| {
            let samples = snapshot.samples().iter();
            samples
                .filter(move |sample| sample.metric().as_str() == metric)
                .collect::<Vec<_>>()
        };
        for input in of_metric(received) {
            let same = |output: &&&Sample| output.labels() == input.labels();
            let outputs = of_metric(sent);
            let Some(output) = outputs.iter().find(same) else {
                continue;
            };
            if let (Some(input_rate), Some(output_rate)) = (rounds.rate(input), rounds.rate(output)) {
                let name = format!("{kind}{}", labels_of(input));
                rows.push([name, bytes(input_rate), bytes(output_rate)]);
            }
        }
    }
    if rows.len() == 1 {
        return String::new();
    }
    rows.truncate(MAX_ROWS);
    format!("\n{}", style.table(&columns(&rows)))
}

/// A number of bytes with a unit: `1.5 MiB`.
fn bytes(number: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut number, mut at) = (number, 0);
    while number >= 1024.0 && at + 1 < units.len() {
        number /= 1024.0;
        at += 1;
    }
    format!("{number:.1} {}", units[at])
}

/// The metric and the values of its labels.
fn name_of(sample: &Sample) -> String {
    format!("{}{}", sample.metric(), labels_of(sample))
}

/// A file system is known by where it is mounted.
fn labels_of(sample: &Sample) -> String {
    let labels = sample.labels().as_slice();
    let mountpoint = labels.iter().find(|label| label.name == "mountpoint");
    match mountpoint {
        Some(label) => format!(" {}", label.value),
        None => labels.iter().map(|label| format!(" {}", label.value)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A round one second after the other: the network received 2 KiB in between.
    fn round(second: u64) -> Snapshot {
        let time = clock::written(second * 1000);
        let sample = |metric: &str, labels: serde_json::Value, value: f64, unit: &str| serde_json::json!({ "metric": metric, "labels": labels, "value": value, "unit": unit, "time": time });
        let eth0 = serde_json::json!({ "device": "eth0" });
        let root = serde_json::json!({ "device": "/dev/vda", "mountpoint": "/" });
        let received = 2048.0 * second as f64;
        let snapshot = serde_json::json!({
            "host": "edge-1", "time": time, "facts": {}, "gaps": [],
            "samples": [
                sample("disk", root, 50.0, "percent"),
                sample("memory", serde_json::json!({}), 25.0, "percent"),
                sample("node_load1", serde_json::json!({}), 0.5, ""),
                sample("node_load15", serde_json::json!({}), 0.25, ""),
                sample("node_load5", serde_json::json!({}), 1.0, ""),
                sample("node_network_receive_bytes_total", eth0.clone(), received, "bytes"),
                sample("node_network_transmit_bytes_total", eth0, 0.0, "bytes"),
            ],
        });
        serde_json::from_value(snapshot).expect("a snapshot")
    }

    #[test]
    fn a_page_has_bars_and_from_the_second_round_on_rates() {
        let report = serde_json::json!({
            "generation": 1, "host": "edge-1", "time": "1970-01-01T00:00:02.000Z", "severity": "ok", "findings": [], "faults": [],
        });
        let report: MachineReport = serde_json::from_value(report).expect("a report");
        let mut rounds = Rounds::default();
        rounds.add(round(1));
        let first = as_text(&round(1), &report, &rounds, Style::plain());
        let lines: Vec<_> = first.lines().collect();
        assert_eq!(lines[0], "edge-1 ok  1970-01-01T00:00:01.000Z");
        assert_eq!(lines[1], "load 0.5 1 0.25");
        assert_eq!(lines[4], "memory  [#####...............]   25.0 %");
        assert_eq!(lines[5], "disk /  [##########..........]   50.0 %");
        assert!(!first.contains("BYTES"), "{first}");
        rounds.add(round(1));
        rounds.add(round(2));
        let second = as_text(&round(2), &report, &rounds, Style::plain());
        let rate = second
            .lines()
            .find(|line| line.starts_with("network eth0"))
            .expect("a rate");
        let words: Vec<_> = rate.split_whitespace().collect();
        assert_eq!(words, ["network", "eth0", "2.0", "KiB", "0.0", "B"]);
    }
}
