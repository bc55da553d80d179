//! The status line that systemd shows for this service, updated with each round. `systemd` sends it.

use std::sync::Arc;
use std::time::Duration;

use super::Parts;
use crate::judge::Judged;

/// Starts the task that notifies systemd, if it listens. A round with a source that does not respond takes longer by
/// that source's timeout, which is `slowest`.
pub(super) fn start(parts: &Parts, slowest: Duration) {
    if !parts.systemd.listens() {
        return;
    }
    let timeout = parts.service.stale_after() + slowest;
    let parts = parts.clone();
    parts.tasks.clone().spawn("systemd", move || {
        let shared = parts.clone();
        let judged = parts.evaluations.watch(parts.service.host());
        let status_of = move |judged: &Option<Arc<Judged>>| judged.as_ref().map(|judged| status(&shared, judged));
        parts.systemd.clone().follow(judged, status_of, timeout)
    });
}

fn status(parts: &Parts, judged: &Judged) -> String {
    let (active, clients) = (parts.rules.current(), parts.service_metrics.connections());
    let (host, severity) = (&judged.host, judged.report.severity());
    let reason = judged.report.unknown_reason();
    let reason = reason.map_or_else(String::new, |reason| format!(" ({reason})"));
    let (count, generation) = (active.set.thresholds().len() + 1, active.generation.number);
    format!("{host}: {severity}{reason}; {count} rules, generation {generation}; {clients} connections")
}
