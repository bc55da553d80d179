//! What is told of each round in the monitor's words: the answer for its clients, made once, and its log lines. What
//! these say is for the room; here is only when they are made.

use super::Resources;
use crate::clock;
use crate::collect::Mode;
use crate::host_id::HostId;
use crate::judge::{Evaluations, Renderings, Subscription};
use crate::tasks::Tasks;
use crate::telemetry;

/// One round, seen by the monitor at the time at which it was rendered.
pub struct Rendering {
    resources: Resources,
    /// The answer to its clients, as JSON.
    pub body: String,
}

/// The answers of the rounds that are published from now on.
pub type ResourceRenderings = Renderings<Rendering>;

/// Renders the answer of each round; `mode` says what `disk` and `memory` are.
pub fn renderings(evaluations: &Evaluations, mode: Mode) -> ResourceRenderings {
    Renderings::new(evaluations, move |judged| {
        let time = clock::here(clock::now());
        let resources = Resources::new(&judged.round.snapshot, judged.report.findings(), mode, time);
        let body = resources.body();
        Rendering { resources, body }
    })
}

/// Writes the monitor's lines of each round of one host; the monitor knew no other.
pub fn start_log_lines(tasks: &Tasks, evaluations: &Evaluations, renderings: &ResourceRenderings, host: HostId) {
    let (evaluations, renderings) = (evaluations.clone(), renderings.clone());
    tasks.spawn("pixcrawler log lines", move || {
        write_lines(
            evaluations.subscribe("pixcrawler log lines"),
            renderings.clone(),
            host.clone(),
        )
    });
}

async fn write_lines(mut rounds: Subscription, renderings: ResourceRenderings, host: HostId) {
    loop {
        let judged = rounds.next().await;
        if judged.host == host {
            let lines = renderings.of(&judged).resources.lines();
            lines.iter().for_each(|line| telemetry::write_plainly(line));
        }
    }
}
