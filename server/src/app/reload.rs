//! What changes while it serves: certificates and revocations when their files change, and everything on SIGHUP.
//! What is wrong stays out, the last good stays in force, and the log says so once.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::Parts;
use super::settings::{bounds, known};
use crate::config::{Config, Sources};
use crate::error_chain::error_chain;
use crate::metrics::{CertificateKind, Outcome, ServiceMetrics};
use crate::pki::{self, Authority};
use crate::tls::{Expiry, Reload, Tls};
use crate::{clock, tasks, telemetry};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Sets the watch on everything that may change by itself.
pub(crate) fn start(config: &Config, parts: &Parts) {
    let (tls, service_metrics) = (parts.tls.clone(), parts.service_metrics.clone());
    let (interval, ahead) = (config.tls.check_interval, config.tls.expiry_warning);
    parts.tasks.spawn("certificates", move || {
        watch_files(tls.clone(), service_metrics.clone(), interval, ahead)
    });
    if let Some(authority) = parts.authority.clone() {
        let renew = move || keep_fresh(authority.clone());
        parts.tasks.spawn("development authority", renew);
    }
}

async fn watch_files(tls: Arc<Tls>, service_metrics: Arc<ServiceMetrics>, interval: Duration, ahead: Duration) {
    let mut told: Option<String> = None;
    let mut warned: Option<Expiry> = None;
    let mut ticks = tokio::time::interval(interval);
    loop {
        ticks.tick().await;
        look(&tls, &service_metrics, &mut told).await;
        tell_expiry(&tls, &service_metrics, ahead, &mut warned);
    }
}

/// Looks at the files once. An error is told when it is new, not at each look.
async fn look(tls: &Arc<Tls>, service_metrics: &ServiceMetrics, told: &mut Option<String>) {
    let looking = tls.clone();
    let outcome = tasks::block(move || looking.reload().map_err(|error| error.to_string())).await;
    match outcome.and_then(|outcome| outcome) {
        Ok(Reload::Unchanged) => *told = None,
        Ok(Reload::Replaced) => {
            *told = None;
            service_metrics.tls_reloaded(Outcome::Success);
            log::info!(generation = tls.generation(); "certificates, keys and revocations are replaced");
        }
        Err(why) => {
            if told.as_ref() != Some(&why) {
                service_metrics.tls_reloaded(Outcome::Failure);
                log::error!(reason = why.as_str(); "certificates are not replaced; the last good ones stay in force");
            }
            *told = Some(why);
        }
    }
}

/// Once for each thing that ends soon, and again when it was replaced by one that ends soon too.
fn tell_expiry(tls: &Tls, service_metrics: &ServiceMetrics, ahead: Duration, warned: &mut Option<Expiry>) {
    let ends = tls.expiry();
    let known = [
        ("server certificate", CertificateKind::Server, Some(ends.server)),
        ("client authority", CertificateKind::Ca, Some(ends.client_ca)),
        ("revocation list", CertificateKind::Crl, ends.crl),
    ];
    for (what, kind, at) in known {
        service_metrics.certificate_expires(kind, at);
        let Some(at) = at else { continue };
        let left = at - clock::now().as_second();
        // A list of revocations is made anew every few weeks; ahead of its end it warns in proportion.
        let ahead = if kind == CertificateKind::Crl {
            ahead.as_secs() / 10
        } else {
            ahead.as_secs()
        };
        if *warned != Some(ends) && left < i64::try_from(ahead).unwrap_or(i64::MAX) {
            let days = left.div_euclid(24 * 60 * 60);
            log::warn!(what, days_left = days; "a certificate or revocation list ends soon; replace its file");
        }
    }
    *warned = Some(ends);
}

/// What the authority made ends one day, while the server that uses it may run for years.
async fn keep_fresh(authority: Arc<Authority>) {
    let mut ticks = tokio::time::interval(DAY);
    loop {
        ticks.tick().await;
        let folder = authority.folder().to_owned();
        let renewed = tasks::block(move || {
            let prepared = pki::prepare(&folder, &super::machine_name(), clock::now());
            prepared.map(drop).map_err(|error| error_chain(&error))
        });
        if let Err(why) = renewed.await.and_then(|renewed| renewed) {
            log::error!(reason = why.as_str(); "certificates and revocations could not be made anew");
        }
    }
}

/// Everything that SIGHUP asks for.
pub struct Reloader {
    parts: Parts,
    sources: Sources,
    current: Rc<Config>,
    /// What it began with; of this, some is in force until it begins again.
    begun: Rc<Config>,
}

impl Reloader {
    pub(crate) fn new(parts: Parts, sources: Sources, current: Rc<Config>) -> Self {
        Self {
            parts,
            sources,
            begun: current.clone(),
            current,
        }
    }

    /// Reads the configuration again and applies what can be applied; all of it, or nothing where something is
    /// wrong.
    pub async fn reload(&mut self) {
        self.parts.systemd.reloads();
        let outcome = self.apply().await;
        match &outcome {
            Ok(()) => log::info!("the configuration is read again"),
            Err(why) => log::error!(reason = why.as_str(); "the configuration is not changed"),
        }
        self.parts.service_metrics.config_reloaded(if outcome.is_ok() {
            Outcome::Success
        } else {
            Outcome::Failure
        });
        look(&self.parts.tls, &self.parts.service_metrics, &mut None).await;
        self.parts.systemd.reloaded(outcome.is_ok());
    }

    async fn apply(&mut self) -> Result<(), String> {
        let config = Config::load(&self.sources).map_err(|mistakes| mistakes.to_string())?;
        let options = config.rules.options();
        if options != self.current.rules.options() {
            let (rules, settings) = (self.parts.rules.clone(), options.configured.clone());
            tasks::block(move || rules.check(&settings).map_err(|error| error_chain(&error))).await??;
            let configured = self.parts.rule_parts.registry.configure(options).await;
            configured.map_err(|error| error_chain(&error))?;
        }
        telemetry::set_level(config.log.level.as_str()).map_err(|error| error.to_string())?;
        self.parts.gate.replace(bounds(&config));
        self.parts.door.replace(known(&config));
        for key in self.begun.differences(&config) {
            if !RELOADABLE_KEYS.iter().any(|at_once| key.starts_with(at_once)) {
                log::warn!(key = key.as_str(); "a changed setting needs a restart");
            }
        }
        self.current = Rc::new(config);
        Ok(())
    }
}

/// What a reload puts in force; everything else needs a restart.
const RELOADABLE_KEYS: [&str; 17] = [
    "tokens",
    "log.level",
    "rules.threshold",
    "rules.role",
    "rules.break_glass",
    "rules.max_consecutive_faults",
    "rules.trusted_keys",
    "rules.require_signature",
    "rules.allowed_digests",
    "http.trusted_proxies",
    "http.max_body",
    "http.max_headers",
    "http.body_timeout",
    "http.requests_per_second",
    "http.burst",
    "http.compress_min_size",
    "http.access_log",
];
