//! Sets to work what runs beside the requests: sources and collector, judge, history, and what is reloaded.

use std::sync::Arc;

use tokio::sync::watch;

use super::Parts;
use super::settings::host_options;
use crate::collect::azure::Azure;
use crate::collect::blocking::Blocking;
use crate::collect::chunks::Chunks;
use crate::collect::collector::Options;
use crate::collect::source::{MakeSource, Schedule};
use crate::collect::{self, SourceError, host};
use crate::config::{self, Config};
use crate::history::{self, History};
use crate::judge::{self, Judged};
use crate::{pki, rules};

/// Returns who keeps the history, for what waits to be written at the end.
pub(super) fn start(config: &Config, parts: &Parts) -> Result<Option<History>, SourceError> {
    let (rounds, measured) = watch::channel(None);
    let options = Options {
        host: parts.service.host().to_owned(),
        facts: host::facts(&host_options(config)),
        interval: config.collector.interval,
        timeout: config.collector.timeout,
    };
    collect::start(&parts.tasks, options, sources(config, parts), rounds)?;
    let (rules, own, judged) = (parts.rules.clone(), parts.own.clone(), parts.judged.clone());
    let decisions = parts.decisions.clone();
    let telling = judge::Telling {
        mode: config.mode,
        log_lines: config.resource.log_lines,
    };
    parts.tasks.spawn("judge", move || {
        let (measured, decisions) = (measured.clone(), decisions.clone());
        judge::run(measured, rules.clone(), own.clone(), decisions, telling, judged.clone())
    });
    if parts.decisions.is_enabled() {
        let decisions = parts.decisions.clone();
        parts.tasks.spawn("decisions", move || decisions.clone().keep());
    }
    super::reload::start(config, parts);
    let (registry, judged) = (parts.registry.clone(), parts.judged.clone());
    parts
        .tasks
        .spawn("rule healer", move || registry.clone().heal(judged.subscribe()));
    let registry = parts.registry.clone();
    parts.tasks.spawn("rules", move || registry.clone().follow());
    let registry = parts.registry.clone();
    parts
        .tasks
        .spawn("rules ahead", move || registry.clone().compile_ahead());
    let (registry, decisions) = (parts.registry.clone(), parts.decisions.clone());
    parts.tasks.spawn("role shadow", move || {
        registry.clone().compare_decisions(decisions.clone())
    });
    if let Some(folder) = config.rules.dir.clone() {
        let (registry, latest) = (parts.registry.clone(), parts.latest.clone());
        parts.tasks.spawn("rules folder", move || {
            let latest = latest.clone();
            rules::folder::watch(registry.clone(), folder.clone(), move || latest.moment())
        });
    }
    let history = config.history.enabled.then(|| remember(config, parts));
    warn_of_mistakes(config, parts);
    if parts.systemd.listens() {
        tell_systemd(config, parts);
    }
    Ok(history)
}

/// Those that the configuration wants, and the rules.
fn sources(config: &Config, parts: &Parts) -> Vec<MakeSource> {
    let usual = Schedule {
        interval: config.collector.interval,
        timeout: config.collector.timeout,
    };
    let mut sources: Vec<MakeSource> = Vec::new();
    if config.host.enabled {
        let options = host_options(config);
        for (at, probe) in host::probes(&options).iter().enumerate() {
            let mut given = config.collector.sources.iter();
            let own = given.find(|source| source.name == probe.name());
            let schedule = Schedule {
                interval: own.and_then(|own| own.interval).unwrap_or(usual.interval),
                timeout: own.and_then(|own| own.timeout).unwrap_or(usual.timeout),
            };
            let options = options.clone();
            let probe = move || host::probes(&options).swap_remove(at);
            sources.push(Box::new(move || Box::new(Blocking::new(probe(), schedule))));
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
    let registry = parts.registry.clone();
    let probe = move || Box::new(collect::rules::Rules::new(registry.clone()));
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

/// What is no error and hardly ever meant.
fn warn_of_mistakes(config: &Config, parts: &Parts) {
    let open = |listener: &&config::Listener| !listener.tls && !listener.address.ip().is_loopback();
    if let Some(listener) = config.listeners.iter().find(open).filter(|_| !config.tokens.is_empty()) {
        log::warn!(address:% = listener.address; "tokens are taken on a listener without TLS, where others can read them");
    }
    let shown = |listener: &&config::Listener| open(listener) && listener.face == config::Face::Resource;
    for listener in config.listeners.iter().filter(shown) {
        log::warn!(address:% = listener.address; "the face resource is shown without TLS to other machines; /metrics is answered to those whom the role rule allows metrics.read, and others can read along");
    }
    let asks = |listener: &config::Listener| listener.tls && listener.client_auth != config::ClientAuth::Off;
    if let Some(client_ca) = &config.tls.client_ca
        && config.listeners.iter().any(asks)
        && parts.rules.leave_identities_to_the_default()
        && !parts.tls.trusts(pki::AUTHORITY)
    {
        log::warn!(client_ca:% = client_ca.display(); "no client of these authorities has a role, for the role rule knows those of the development authority only; name yours in rules.role.identities");
    }
}

/// Rounds come as long as the collector ticks and the rules judge.
fn tell_systemd(config: &Config, parts: &Parts) {
    // A round in which a source is silent comes later by that source's time.
    let patience = parts.service.stale_after() + config.collector.timeout;
    let parts = parts.clone();
    parts.tasks.clone().spawn("systemd", move || {
        let (service, rules, own) = (parts.service.clone(), parts.rules.clone(), parts.own.clone());
        let words = move |judged: &Option<Arc<Judged>>| {
            let severity = judged.as_ref()?.report.severity();
            let (in_force, clients) = (rules.current(), own.connections());
            let (count, generation) = (in_force.set.thresholds().len() + 1, in_force.generation.number);
            let host = service.host();
            Some(format!(
                "{host}: {severity}; {count} rules, generation {generation}; {clients} connections"
            ))
        };
        parts.systemd.clone().follow(parts.judged.subscribe(), words, patience)
    });
}

fn remember(config: &Config, parts: &Parts) -> History {
    let options = history::Options {
        keep: config.history.keep,
        most_bytes: config.history.max_size.bytes(),
        window: config.history.window,
        patience: history::PATIENCE,
    };
    let history = History::new(parts.store.clone(), parts.service.host(), options, parts.own.clone());
    let (keeping, judged) = (history.clone(), parts.judged.clone());
    parts
        .tasks
        .spawn("history", move || keeping.clone().keep(judged.subscribe()));
    let tidying = history.clone();
    parts.tasks.spawn("history keeper", move || tidying.clone().tidy());
    history
}
