//! The line that systemd shows of this service, anew with each round of this machine. When it is told is for `systemd`.

use std::sync::Arc;
use std::time::Duration;

use super::Parts;
use crate::judge::Judged;

/// Sets the task to work that tells systemd, where there is one that listens. A round in which a source is silent comes
/// later by that source's time, which is `slowest`.
pub(super) fn start(parts: &Parts, slowest: Duration) {
    if !parts.systemd.listens() {
        return;
    }
    let patience = parts.service.stale_after() + slowest;
    let parts = parts.clone();
    parts.tasks.clone().spawn("systemd", move || {
        let told = parts.clone();
        let judged = parts.evaluations.watch(parts.service.host());
        let words = move |judged: &Option<Arc<Judged>>| judged.as_ref().map(|judged| status(&told, judged));
        parts.systemd.clone().follow(judged, words, patience)
    });
}

fn status(parts: &Parts, judged: &Judged) -> String {
    let (active, clients) = (parts.rules.current(), parts.service_metrics.connections());
    let (host, severity) = (&judged.host, judged.report.severity());
    let (count, generation) = (active.set.thresholds().len() + 1, active.generation.number);
    format!("{host}: {severity}; {count} rules, generation {generation}; {clients} connections")
}
