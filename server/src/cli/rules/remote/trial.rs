//! `watchpost rules trial`: replays a server's recorded history through a version. The exit code is 1 if the result
//! differs from the active version's, if the version fails, or if there is no history, so a CI pipeline can rely on it.

use std::io::Write;
use std::time::Duration;

use actix_web::http::{Method, StatusCode};
use actix_web::rt::time::sleep;
use clap::Args;
use serde::Deserialize;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use watchpost_policies::{Severity, Subject};

use super::super::check::written as in_digits;
use super::super::{CheckResult, CommandError};
use super::version::SelectedVersion;
use super::{Remote, object, written};
use crate::cli::SOFTWARE;
use crate::cli::client::{ApiClient, ApiRequest, ApiResponse};
use crate::cli::progress::Progress;
use crate::cli::table::columns;

/// Short enough for a live progress line, and long enough to cause little load.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Replays recorded history. Ctrl-C cancels the trial on the server too, and prints the results so far.
#[derive(Args)]
pub(in crate::cli::rules) struct Trial {
    #[command(flatten)]
    selected: SelectedVersion,
    /// Start of the time range: a time such as 2026-01-31T12:00:00Z, or an age; default: an hour before the end.
    #[arg(long, value_name = "TIME|-1h", allow_hyphen_values = true)]
    from: Option<String>,
    /// End of the time range; default: now.
    #[arg(long, value_name = "TIME|-1h", allow_hyphen_values = true)]
    to: Option<String>,
    /// The machine that was measured; default: the server's own.
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// The settings: JSON, or a file with JSON.
    #[arg(long, value_name = "FILE|JSON")]
    settings: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Deserialize)]
struct PendingJob {
    snapshots: u64,
    at: Option<String>,
}

#[derive(Deserialize)]
struct TrialOutcome {
    snapshots: u64,
    #[serde(rename = "first", with = "watchpost_policies::rfc3339::option")]
    first_ms: Option<i64>,
    #[serde(rename = "last", with = "watchpost_policies::rfc3339::option")]
    last_ms: Option<i64>,
    cancelled: bool,
    differing_snapshots: u64,
    differences: Vec<DifferingSnapshots>,
    differences_omitted: usize,
    candidate: Done,
    active: Option<Done>,
}

#[derive(Deserialize)]
struct DifferingSnapshots {
    subject: Subject,
    active: Option<Severity>,
    candidate: Option<Severity>,
    message: String,
    snapshots: u64,
    #[serde(rename = "first", with = "watchpost_policies::rfc3339")]
    first_ms: i64,
    #[serde(rename = "last", with = "watchpost_policies::rfc3339")]
    last_ms: i64,
}

#[derive(Deserialize)]
struct Done {
    faults: u64,
    first_fault: Option<String>,
    mean_us: f64,
    max_us: f64,
    memory_bytes: u64,
}

impl Trial {
    pub(super) async fn run(self, out: &mut dyn Write) -> Result<CheckResult, CommandError> {
        let settings = object(self.settings.as_deref())?;
        let client = self.remote.client()?;
        let digest = self.selected.digest(&client).await?;
        let mut body = json!({ "from": self.from, "to": self.to, "host": self.host });
        if let Some(settings) = settings {
            body["settings"] = settings.into();
        }
        let path = self.selected.rule.path(&format!("/versions/{digest}/trial"));
        let response = run_to_end(&client, ApiRequest::new(Method::POST, path).json(&body)).await?;
        let is_same = response.read::<TrialOutcome>()?.is_same();
        self.remote
            .print(out, &response, |outcome: TrialOutcome| outcome.summary())?;
        Ok(if is_same { CheckResult::Yes } else { CheckResult::No })
    }
}

/// Starts the trial, and polls until it ends.
async fn run_to_end(client: &ApiClient, request: ApiRequest) -> Result<ApiResponse, CommandError> {
    let interrupts = signal(SignalKind::interrupt());
    let mut interrupts = interrupts.map_err(|error| CommandError::new(SOFTWARE, error.to_string()))?;
    let progress = Progress::show("replaying recorded history");
    let mut response = client.send_checked(request).await?;
    while let (StatusCode::ACCEPTED, Some(location)) = (response.status, response.location.clone()) {
        let PendingJob { snapshots, at } = response.read()?;
        let at = at.map(|at| format!(", up to {at}")).unwrap_or_default();
        progress.now(&format!("{snapshots} snapshots replayed{at}"));
        tokio::select! {
            _ = interrupts.recv() => {
                client.send_checked(ApiRequest::new(Method::DELETE, &location)).await?;
            }
            () = sleep(POLL_INTERVAL) => {}
        }
        response = client.send_checked(ApiRequest::get(location)).await?;
    }
    Ok(response)
}

impl TrialOutcome {
    /// Whether the trial passed. A trial without snapshots or one that was cancelled does not pass.
    fn is_same(&self) -> bool {
        self.snapshots > 0 && !self.cancelled && self.differing_snapshots == 0 && self.candidate.faults == 0
    }

    fn summary(&self) -> String {
        let (Some(first), Some(last)) = (self.first_ms, self.last_ms) else {
            return "no snapshots were recorded in this time range, so the rule was not evaluated\n".to_owned();
        };
        let (of, differ) = (self.snapshots, self.differing_snapshots);
        let ended = if self.cancelled {
            "; cancelled before the end"
        } else {
            ""
        };
        let (first, last) = (written(first), written(last));
        let mut text = self.differing();
        text += &format!("{of} snapshots from {first} to {last}{ended}: {differ} differ\n\n");
        text += &self.cost();
        if let Some(reason) = &self.candidate.first_fault {
            text += &format!(
                "\nthe candidate failed {} times, first: {reason}\n",
                self.candidate.faults
            );
        }
        text
    }

    fn differing(&self) -> String {
        if self.differences.is_empty() {
            return String::new();
        }
        let heading = [
            "SUBJECT",
            "ACTIVE",
            "CANDIDATE",
            "SNAPSHOTS",
            "FIRST",
            "LAST",
            "MESSAGE",
        ];
        let severity = |found: Option<Severity>| found.map_or_else(|| "-".to_owned(), |found| found.to_string());
        let rows = self.differences.iter().map(|differing| {
            [
                differing.subject.to_string(),
                severity(differing.active),
                severity(differing.candidate),
                differing.snapshots.to_string(),
                written(differing.first_ms),
                written(differing.last_ms),
                differing.message.clone(),
            ]
        });
        let rows: Vec<_> = [heading.map(str::to_owned)].into_iter().chain(rows).collect();
        let more = match self.differences_omitted {
            0 => String::new(),
            more => format!("and {more} more subjects\n"),
        };
        format!("{}{more}\n", columns(&rows))
    }

    fn cost(&self) -> String {
        let heading = ["", "MEAN", "WORST", "MEMORY", "FAULTS"].map(str::to_owned);
        let duration = |us: f64| in_digits(Duration::try_from_secs_f64(us / 1e6).unwrap_or_default());
        let row = |name: &str, done: &Done| {
            [
                name.to_owned(),
                duration(done.mean_us),
                duration(done.max_us),
                format!("{} KiB", done.memory_bytes >> 10),
                done.faults.to_string(),
            ]
        };
        let active = self.active.iter().map(|done| row("active", done));
        let rows = [heading, row("candidate", &self.candidate)].into_iter().chain(active);
        columns(&rows.collect::<Vec<_>>())
    }
}
