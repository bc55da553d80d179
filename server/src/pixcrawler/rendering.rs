//! Renders each round for PixCrawler: the response for its clients, made once per round, and its log lines. The parent
//! module defines their content; this one decides when they are made.

use super::Resources;
use crate::clock;
use crate::collect::Mode;
use crate::host_id::HostId;
use crate::judge::{Evaluations, Renderings};
use crate::telemetry;

/// One round in the monitor's format, with the time at which it was rendered.
pub struct Rendering {
    resources: Resources,
    /// The response to clients, as JSON.
    pub body: String,
}

impl Rendering {
    /// The response while no newer round arrives, as JSON.
    pub fn outdated_body(&self) -> String {
        self.resources.outdated().body()
    }
}

/// The responses of the rounds that are published from now on.
pub type PixCrawlerRenderings = Renderings<Rendering>;

/// Renders the response of each round; `mode` defines the meaning of `disk` and `memory`.
pub fn renderings(evaluations: &Evaluations, mode: Mode) -> PixCrawlerRenderings {
    Renderings::new(evaluations, move |judged| {
        let time = clock::here(clock::now());
        let resources = Resources::new(&judged.round.snapshot, judged.report.findings(), mode, time);
        let body = resources.body();
        Rendering { resources, body }
    })
}

/// Writes the monitor's log lines of each round of one host, because the monitor knew only one. They are written before
/// the round is published: if nothing reads stderr, the write blocks and no round is published, as with the monitor,
/// and the watchdog is not fed.
pub fn write_log_lines(evaluations: &Evaluations, renderings: &PixCrawlerRenderings, host: HostId) {
    let renderings = renderings.clone();
    evaluations.before_publication(move |judged| {
        if judged.host == host {
            let lines = renderings.of(judged).resources.lines();
            lines.iter().for_each(|line| telemetry::write_plainly(line));
        }
    });
}
