//! What is told of each round in the monitor's words: the answer for its clients, made once, and its log lines. What
//! these say is for the room; here is only when they are made.

use super::Resources;
use crate::clock;
use crate::collect::Mode;
use crate::host_id::HostId;
use crate::judge::{Evaluations, Renderings};
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

/// Writes the monitor's lines of each round of one host; the monitor knew no other. They are written before the round is
/// published: where nobody reads them, no round is, as with the monitor, and the watchdog is not told that all is well.
pub fn write_log_lines(evaluations: &Evaluations, renderings: &ResourceRenderings, host: HostId) {
    let renderings = renderings.clone();
    evaluations.before_publication(move |judged| {
        if judged.host == host {
            let lines = renderings.of(judged).resources.lines();
            lines.iter().for_each(|line| telemetry::write_plainly(line));
        }
    });
}
