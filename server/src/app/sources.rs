//! What this machine is measured by: the sources that the configuration wants, and the rules themselves. How they are
//! asked is for the collector.

use std::sync::Arc;

use tokio::sync::watch;

use super::Parts;
use crate::collect::azure::Azure;
use crate::collect::chunks::Chunks;
use crate::collect::collector::{Options, Round};
use crate::collect::source::{Asked, Source};
use crate::collect::{self, host};
use crate::config::Config;

/// Sets the sources and the collector to work; what they measure comes round after round.
pub(super) fn start(config: &Config, parts: &Parts) -> watch::Receiver<Option<Arc<Round>>> {
    let (rounds, measured) = watch::channel(None);
    let options = Options {
        host: parts.service.host().clone(),
        facts: host::facts(&config.host.options(config.mode)),
        interval: config.collector.interval,
        timeout: config.collector.timeout,
        sources: Vec::new(),
    };
    collect::start(&parts.tasks, options, sources(config, parts), rounds);
    measured
}

fn sources(config: &Config, parts: &Parts) -> Vec<Source> {
    let mut sources = Vec::new();
    if config.host.enabled {
        let host_options = config.host.options(config.mode);
        for (at, probe) in host::probes(&host_options).iter().enumerate() {
            let options = host_options.clone();
            let make = move || Asked::Probe(host::probes(&options).swap_remove(at));
            let own = config
                .collector
                .sources
                .iter()
                .find(|source| source.name == probe.name());
            let interval = own.and_then(|own| own.interval).unwrap_or(config.collector.interval);
            let timeout = own.and_then(|own| own.timeout).unwrap_or(config.collector.timeout);
            sources.push(Source::new(Box::new(make), interval, timeout));
        }
    }
    if config.chunks.enabled {
        let store = parts.chunks.store.clone();
        let make = move || Asked::Probe(Box::new(Chunks::new(store.clone())));
        sources.push(Source::new(
            Box::new(make),
            config.chunks.interval,
            config.chunks.timeout,
        ));
    }
    let (replication, quarantine) = (
        parts.rule_parts.replication.clone(),
        parts.rule_parts.quarantine.clone(),
    );
    let make = move || {
        let rules = collect::rules::Rules::new(replication.clone(), quarantine.clone());
        Asked::Probe(Box::new(rules))
    };
    let collector = &config.collector;
    sources.push(Source::new(Box::new(make), collector.interval, collector.timeout));
    if !config.azure.resources.is_empty() {
        let settings = config.azure.settings();
        let make = move || Asked::Azure(Box::new(Azure::new(settings.clone())));
        sources.push(Source::new(Box::new(make), config.azure.interval, config.azure.timeout));
    }
    sources
}
