//! `watchpost rules trial`: what a server has measured, replayed through a version. The answer is no where it differs
//! from what is in force, fails, or was tried on nothing, so that a pipeline can be held by it.

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
use super::super::peer::{Peer, Question, Reply};
use super::super::progress::Progress;
use super::super::{Answer, Stopped};
use super::version::Chosen;
use super::{Remote, object, written};
use crate::cli::SOFTWARE;
use crate::cli::table::columns;

/// A person sees it move, and the server is not kept busy by being asked.
const PAUSE: Duration = Duration::from_millis(500);

/// Replays what was measured. Ctrl-C ends it on the server too, and tells what was found so far.
#[derive(Args)]
pub(in crate::cli::rules) struct Trial {
    #[command(flatten)]
    chosen: Chosen,
    /// From when: a time such as 2026-01-31T12:00:00Z, or how long ago; an hour before its end, if nothing is said.
    #[arg(long, value_name = "TIME|-1h", allow_hyphen_values = true)]
    from: Option<String>,
    /// Until when; now, if nothing is said.
    #[arg(long, value_name = "TIME|-1h", allow_hyphen_values = true)]
    to: Option<String>,
    /// What was measured where; the server's own machine, if nothing is said.
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// With these settings: JSON, or a file with JSON in it.
    #[arg(long, value_name = "FILE|JSON")]
    settings: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Deserialize)]
struct UnderWay {
    snapshots: u64,
    at: Option<String>,
}

#[derive(Deserialize)]
struct Outcome {
    snapshots: u64,
    first_ms: Option<i64>,
    last_ms: Option<i64>,
    cancelled: bool,
    snapshots_that_differ: u64,
    differences: Vec<Differing>,
    differences_left_out: usize,
    candidate: Done,
    in_force: Option<Done>,
}

#[derive(Deserialize)]
struct Differing {
    subject: Subject,
    in_force: Severity,
    candidate: Severity,
    sentence: String,
    snapshots: u64,
    first_ms: i64,
    last_ms: i64,
}

#[derive(Deserialize)]
struct Done {
    faults: u64,
    first_fault: Option<String>,
    mean_us: f64,
    worst_us: f64,
    memory_bytes: u64,
}

impl Trial {
    pub(super) async fn run(self, out: &mut dyn Write) -> Result<Answer, Stopped> {
        let settings = object(self.settings.as_deref())?;
        let peer = self.remote.peer()?;
        let digest = self.chosen.digest(&peer).await?;
        let mut wanted = json!({ "from": self.from, "to": self.to, "host": self.host });
        if let Some(settings) = settings {
            wanted["settings"] = settings.into();
        }
        let path = self.chosen.rule.path(&format!("/versions/{digest}/trial"));
        let reply = followed(&peer, Question::new(Method::POST, path).json(&wanted)).await?;
        let is_same = reply.read::<Outcome>()?.is_same();
        self.remote.tell(out, &reply, |outcome: Outcome| outcome.told())?;
        Ok(if is_same { Answer::Yes } else { Answer::No })
    }
}

/// Begins it, and waits for its end.
async fn followed(peer: &Peer, question: Question) -> Result<Reply, Stopped> {
    let interrupts = signal(SignalKind::interrupt());
    let mut interrupts = interrupts.map_err(|error| Stopped::new(SOFTWARE, error.to_string()))?;
    let progress = Progress::show("replaying what was measured");
    let mut reply = peer.demand(question).await?;
    while let (StatusCode::ACCEPTED, Some(place)) = (reply.status, reply.place.clone()) {
        let UnderWay { snapshots, at } = reply.read()?;
        let at = at.map(|at| format!(", up to {at}")).unwrap_or_default();
        progress.now(&format!("{snapshots} snapshots replayed{at}"));
        tokio::select! {
            _ = interrupts.recv() => {
                peer.demand(Question::new(Method::DELETE, &place)).await?;
            }
            () = sleep(PAUSE) => {}
        }
        reply = peer.demand(Question::get(place)).await?;
    }
    Ok(reply)
}

impl Outcome {
    /// Whether nothing speaks against it. What was tried on nothing, or not to its end, shows nothing.
    fn is_same(&self) -> bool {
        self.snapshots > 0 && !self.cancelled && self.snapshots_that_differ == 0 && self.candidate.faults == 0
    }

    fn told(&self) -> String {
        let (Some(first), Some(last)) = (self.first_ms, self.last_ms) else {
            return "nothing was measured there and then, so nothing was tried\n".to_owned();
        };
        let (of, differ) = (self.snapshots, self.snapshots_that_differ);
        let ended = if self.cancelled {
            "; it was ended before its end"
        } else {
            ""
        };
        let (first, last) = (written(first), written(last));
        let mut text = self.differing();
        text += &format!("{of} snapshots from {first} to {last}{ended}: {differ} differ\n\n");
        text += &self.cost();
        if let Some(why) = &self.candidate.first_fault {
            text += &format!("\nthe candidate failed {} times, first: {why}\n", self.candidate.faults);
        }
        text
    }

    fn differing(&self) -> String {
        if self.differences.is_empty() {
            return String::new();
        }
        let heading = [
            "SUBJECT",
            "IN FORCE",
            "CANDIDATE",
            "SNAPSHOTS",
            "FIRST",
            "LAST",
            "SENTENCE",
        ];
        let rows = self.differences.iter().map(|differing| {
            [
                differing.subject.to_string(),
                differing.in_force.to_string(),
                differing.candidate.to_string(),
                differing.snapshots.to_string(),
                written(differing.first_ms),
                written(differing.last_ms),
                differing.sentence.clone(),
            ]
        });
        let rows: Vec<_> = [heading.map(str::to_owned)].into_iter().chain(rows).collect();
        let more = match self.differences_left_out {
            0 => String::new(),
            more => format!("and {more} subjects more\n"),
        };
        format!("{}{more}\n", columns(&rows))
    }

    fn cost(&self) -> String {
        let heading = ["", "MEAN", "WORST", "MEMORY", "FAULTS"].map(str::to_owned);
        let took = |us: f64| in_digits(Duration::try_from_secs_f64(us / 1e6).unwrap_or_default());
        let row = |name: &str, done: &Done| {
            [
                name.to_owned(),
                took(done.mean_us),
                took(done.worst_us),
                format!("{} KiB", done.memory_bytes >> 10),
                done.faults.to_string(),
            ]
        };
        let in_force = self.in_force.iter().map(|done| row("in force", done));
        let rows = [heading, row("candidate", &self.candidate)].into_iter().chain(in_force);
        columns(&rows.collect::<Vec<_>>())
    }
}
