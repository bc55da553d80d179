//! Starts the background tasks, in order. Each task has its own module.

use super::{Parts, reload, sources, systemd_status, warnings};
use crate::collect::{Mailbox, SourceError};
use crate::config::Config;
use crate::history::History;
use crate::{judge, pixcrawler};

/// Returns the history writer, whose buffered data is written at the end.
pub(super) fn start(config: &Config, parts: &Parts, mailbox: Mailbox) -> Result<Option<History>, SourceError> {
    let (tasks, evaluations, host) = (&parts.tasks, &parts.evaluations, parts.service.host());
    let measured = sources::start(config, parts, mailbox)?;
    judge::start(tasks, measured, judging(parts));
    if config.pixcrawler.log_lines {
        pixcrawler::write_log_lines(evaluations, &parts.pixcrawler_renderings, host.clone());
    }
    parts.store.start_probe(tasks);
    parts.decisions.start(tasks);
    let gate = parts.gate.clone();
    tasks.spawn("access log", move || {
        let gate = gate.clone();
        async move { gate.report_rejected().await }
    });
    reload::start(config, parts);
    parts.rule_parts.start(config, parts);
    parts.sandbox.start();
    let history = config.history.enabled.then(|| history(config, parts));
    warnings::log(config, parts);
    systemd_status::start(parts, config.collector.timeout);
    Ok(history)
}

fn judging(parts: &Parts) -> judge::Parts {
    judge::Parts {
        host: parts.service.host().clone(),
        rules: parts.rules.clone(),
        evaluations: parts.evaluations.clone(),
        decisions: parts.decisions.clone(),
        service_metrics: parts.service_metrics.clone(),
    }
}

fn history(config: &Config, parts: &Parts) -> History {
    let (host, options) = (parts.service.host().clone(), config.history.options());
    let history = History::new(parts.store.clone(), host, options, parts.service_metrics.clone());
    let history = history.with_clock(parts.trusted_clock.clone());
    history.start(&parts.tasks, &parts.evaluations);
    history
}
