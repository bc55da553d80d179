//! Starts the collector with the sources of the configuration.

use std::sync::Arc;

use tokio::sync::watch;

use super::Parts;
use crate::collect::blocking::Blocking;
use crate::collect::certificates::Certificates;
use crate::collect::collector::{Options, Round};
use crate::collect::configured::{self, SourceOptions};
use crate::collect::source::{MakeSource, Schedule};
use crate::collect::{self, Mailbox, SourceError, host};
use crate::config::Config;

/// Starts the sources and the collector; results arrive round after round.
pub(super) fn start(
    config: &Config,
    parts: &Parts,
    mailbox: Mailbox,
) -> Result<watch::Receiver<Option<Arc<Round>>>, SourceError> {
    let (rounds, measured) = watch::channel(None);
    let options = Options {
        host: parts.service.host().clone(),
        facts: host::facts(&config.host.options(&config.collector, config.mode)),
        interval: config.collector.interval,
        timeout: config.collector.timeout,
        service_metrics: parts.service_metrics.clone(),
    };
    let (replication, quarantine) = (&parts.rule_parts.replication, &parts.rule_parts.quarantine);
    let mut sources = configured::sources(source_options(config, parts), replication.clone(), quarantine.clone());
    sources.push(certificates(parts, config.collector.schedule()));
    collect::start(&parts.tasks, options, sources, mailbox, rounds)?;
    Ok(measured)
}

/// The source of the remaining validity of certificates, which cannot be disabled.
fn certificates(parts: &Parts, schedule: Schedule) -> MakeSource {
    let tls = parts.tls.clone();
    Box::new(move || Box::new(Blocking::new(Box::new(Certificates::new(tls.clone())), schedule)))
}

fn source_options(config: &Config, parts: &Parts) -> SourceOptions {
    let (host, chunks, azure) = (&config.host, &config.chunks, &config.azure);
    SourceOptions {
        schedule: config.collector.schedule(),
        host: host.enabled.then(|| host.options(&config.collector, config.mode)),
        probes: config.collector.schedules(),
        chunks: chunks.enabled.then(|| (parts.chunks.store.clone(), chunks.schedule())),
        azure: (!azure.resources.is_empty()).then(|| (azure.settings(), azure.schedule())),
    }
}
