//! Builds the sources that measure this machine: those of the configuration, and the rules themselves. The collector
//! schedules them.

use std::sync::Arc;

use tokio::sync::watch;

use super::Parts;
use crate::collect::azure::Azure;
use crate::collect::blocking::Blocking;
use crate::collect::chunks::Chunks;
use crate::collect::collector::{Options, Round};
use crate::collect::source::{MakeSource, Schedule};
use crate::collect::{self, CollectorHandle, SourceError, host};
use crate::config::Config;

/// The collector's rounds, one after the other.
pub(super) type Rounds = watch::Receiver<Option<Arc<Round>>>;

/// Starts the sources and the collector.
pub(super) fn start(config: &Config, parts: &Parts) -> Result<(CollectorHandle, Rounds), SourceError> {
    let (rounds, measured) = watch::channel(None);
    let options = Options {
        host: parts.service.host().clone(),
        facts: host::facts(&config.host.options(config.mode)),
        interval: config.collector.interval,
        timeout: config.collector.timeout,
        max_age: config.collector.max_age,
        service_metrics: parts.service_metrics.clone(),
    };
    let collector = collect::start(&parts.tasks, options, sources(config, parts), rounds)?;
    Ok((collector, measured))
}

/// The sources of the configuration, and the rules.
fn sources(config: &Config, parts: &Parts) -> Vec<MakeSource> {
    let usual = Schedule {
        interval: config.collector.interval,
        timeout: config.collector.timeout,
    };
    let mut sources: Vec<MakeSource> = Vec::new();
    if config.host.enabled {
        let options = config.host.options(config.mode);
        for (at, probe) in host::probes(&options).iter().enumerate() {
            let mut configured = config.collector.sources.iter();
            let settings = configured.find(|source| source.name == probe.name());
            let schedule = Schedule {
                interval: settings
                    .and_then(|settings| settings.interval)
                    .unwrap_or(usual.interval),
                timeout: settings.and_then(|settings| settings.timeout).unwrap_or(usual.timeout),
            };
            // An interval of its own says how often the source may be measured, scrapes included.
            let has_own_interval = settings.is_some_and(|settings| settings.interval.is_some());
            let is_refreshable = host::is_refreshable(probe.name()) && !has_own_interval;
            let options = options.clone();
            let probe = move || host::probes(&options).swap_remove(at);
            sources.push(Box::new(move || {
                let source = Blocking::new(probe(), schedule);
                Box::new(if is_refreshable { source.refreshable() } else { source })
            }));
        }
    }
    if config.chunks.enabled {
        let store = parts.chunks.store.clone();
        let schedule = Schedule {
            interval: config.chunks.interval,
            timeout: config.chunks.timeout,
        };
        let probe = move || Box::new(Chunks::new(store.clone()));
        sources.push(Box::new(move || Box::new(Blocking::new(probe(), schedule))));
    }
    let (replication, quarantine) = (
        parts.rule_parts.replication.clone(),
        parts.rule_parts.quarantine.clone(),
    );
    let probe = move || Box::new(collect::rules::Rules::new(replication.clone(), quarantine.clone()));
    sources.push(Box::new(move || Box::new(Blocking::new(probe(), usual))));
    if !config.azure.resources.is_empty() {
        let settings = config.azure.settings();
        let schedule = Schedule {
            interval: config.azure.interval,
            timeout: config.azure.timeout,
        };
        sources.push(Box::new(move || Box::new(Azure::new(settings.clone(), schedule))));
    }
    sources
}
