//! `watchpost status`: the state of a server, as its API reports it.

use std::collections::BTreeMap;
use std::io;
use std::process::ExitCode;

use clap::Args;
use serde::Deserialize;
use watchpost_policies::Severity;

use super::client::remote::Remote;
use super::client::{ApiRequest, wait};
use super::style::{Style, age, short};
use super::table::columns;
use super::{CommandError, fail};
use crate::config::Sources;

/// Shows the state of a running server.
///
/// Without --server, it is the server on this machine, which is found by the configuration; the client certificate is
/// that of the development authority's reader.
#[derive(Args)]
pub(super) struct Status {
    #[command(flatten)]
    remote: Remote,
}

/// The parts of the response that are shown.
#[derive(Deserialize)]
struct ServerStatus {
    host: String,
    severity: Severity,
    unknown_reason: Option<String>,
    ready: bool,
    not_ready_reason: Option<String>,
    version: String,
    commit: String,
    started: String,
    uptime_seconds: f64,
    listeners: Vec<Listener>,
    tls: Certificates,
    rules: ActiveRules,
    database: String,
    #[serde(default)]
    quarantined: Vec<Quarantined>,
    tasks: BTreeMap<String, Task>,
    round: Option<Round>,
}

#[derive(Deserialize)]
struct Listener {
    address: String,
    tls: bool,
    client_auth: String,
    api: String,
}

#[derive(Deserialize)]
struct Certificates {
    certificate_expires: String,
    client_ca_expires: String,
    crl_expires: Option<String>,
}

#[derive(Deserialize)]
struct ActiveRules {
    generation: u64,
    rules: Vec<Rule>,
    faults: usize,
}

#[derive(Deserialize)]
struct Rule {
    name: String,
    version: String,
}

#[derive(Deserialize)]
struct Quarantined {
    rule: String,
    reason: String,
}

#[derive(Deserialize)]
struct Task {
    state: String,
}

#[derive(Deserialize)]
struct Round {
    number: u64,
    started: String,
    duration_seconds: f64,
    samples: usize,
    gaps: usize,
    sources: BTreeMap<String, Source>,
}

#[derive(Deserialize)]
struct Source {
    success: bool,
    duration_seconds: f64,
    age_seconds: Option<f64>,
    failures: u64,
    samples: usize,
    error: Option<String>,
}

impl Status {
    pub(super) fn run(self, sources: Sources) -> ExitCode {
        match wait(self.print(sources)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(error.code, &error.what),
        }
    }

    async fn print(&self, sources: Sources) -> Result<(), CommandError> {
        let client = self.remote.client_or_local(sources)?;
        let response = client.send_checked(ApiRequest::get("/api/v1/status")).await?;
        let style = Style::of_stdout();
        self.remote
            .print(&mut io::stdout(), &response, |status: ServerStatus| {
                as_text(&status, style)
            })
            .map(drop)
    }
}

fn as_text(status: &ServerStatus, style: Style) -> String {
    let ready = match &status.not_ready_reason {
        None if status.ready => "yes".to_owned(),
        None => "no".to_owned(),
        Some(reason) => format!("no, {reason}"),
    };
    let rules = status
        .rules
        .rules
        .iter()
        .map(|rule| format!("{} {}", rule.name, rule.version));
    let rules = rules.collect::<Vec<_>>().join(", ");
    let generation = status.rules.generation;
    let reason = status.unknown_reason.as_ref();
    let reason = reason.map_or_else(String::new, |reason| format!(", {reason}"));
    let severity = style.severity(status.severity, &status.severity.to_string());
    let mut lines = vec![
        row("host", &status.host),
        row("severity", &format!("{severity}{reason}")),
        row("ready", &ready),
        row("version", &format!("{} (commit {})", status.version, status.commit)),
        row(
            "started",
            &format!("{}, {} ago", status.started, age(status.uptime_seconds)),
        ),
        row(
            "rules",
            &format!("generation {generation}: {rules}; {} faults", status.rules.faults),
        ),
        row("database", &status.database),
        row("certificate", &format!("expires {}", status.tls.certificate_expires)),
        row("client CA", &format!("expires {}", status.tls.client_ca_expires)),
    ];
    if let Some(expires) = &status.tls.crl_expires {
        lines.push(row("CRL", &format!("expires {expires}")));
    }
    for listener in &status.listeners {
        let scheme = if listener.tls { "https" } else { "http" };
        let Listener {
            address,
            client_auth,
            api,
            ..
        } = listener;
        lines.push(row(
            "listener",
            &format!("{scheme}://{address}, client_auth {client_auth}, API {api}"),
        ));
    }
    for Quarantined { rule, reason } in &status.quarantined {
        lines.push(row("quarantine", &format!("{rule}: {reason}")));
    }
    for (name, task) in status.tasks.iter().filter(|(_, task)| task.state != "running") {
        lines.push(row("task", &format!("{name} is {}", task.state)));
    }
    let round = match &status.round {
        None => row("round", "none yet"),
        Some(round) => {
            let Round {
                number,
                started,
                samples,
                gaps,
                ..
            } = round;
            let took = age(round.duration_seconds);
            row(
                "round",
                &format!("{number} at {started}, {took}, {samples} samples, {gaps} gaps"),
            )
        }
    };
    lines.push(round);
    let sources = status.round.as_ref().map(|round| sources(round, style));
    lines.concat() + &sources.unwrap_or_default()
}

fn row(name: &str, value: &str) -> String {
    format!("{name:<12} {value}\n")
}

fn sources(round: &Round, style: Style) -> String {
    let heading = ["STATE", "SOURCE", "SAMPLES", "TOOK", "AGE", "FAILURES", "ERROR"].map(str::to_owned);
    let rows = round.sources.iter().map(|(name, source)| {
        let state = if source.success {
            Severity::Ok
        } else {
            Severity::Warning
        };
        [
            if source.success {
                state.to_string()
            } else {
                "failed".to_owned()
            },
            name.clone(),
            source.samples.to_string(),
            format!("{} ms", short(source.duration_seconds * 1000.0)),
            source.age_seconds.map_or_else(|| "-".to_owned(), age),
            source.failures.to_string(),
            source.error.clone().unwrap_or_default(),
        ]
    });
    let rows: Vec<_> = [heading].into_iter().chain(rows).collect();
    format!("\n{}", style.table(&columns(&rows)))
}
