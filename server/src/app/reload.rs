//! Reloading without a restart: certificates and revocation lists when their files change, and the configuration on
//! SIGHUP. An invalid configuration or file is rejected and logged once; the last valid one stays in use.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::settings::{auth_config, bounds};
use super::{Parts, warnings};
use crate::config::{Config, Sources};
use crate::error_chain::error_chain;
use crate::metrics::{CertificateKind, Outcome, ServiceMetrics};
use crate::tls::{Expiry, Reload, Tls};
use crate::{clock, tasks, telemetry};
use watchpost_pki::{self as pki, Authority};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Starts the tasks that watch files and expiry dates.
pub(crate) fn start(config: &Config, parts: &Parts) {
    let (tls, service_metrics) = (parts.tls.clone(), parts.service_metrics.clone());
    let (interval, ahead) = (config.tls.check_interval, config.tls.expiry_warning);
    parts.tasks.spawn("certificates", move || {
        watch_files(tls.clone(), service_metrics.clone(), interval, ahead)
    });
    if let Some(authority) = parts.authority.clone() {
        let renew = move || renew_certificates(authority.clone());
        parts.tasks.spawn("development authority", renew);
    }
}

async fn watch_files(tls: Arc<Tls>, service_metrics: Arc<ServiceMetrics>, interval: Duration, ahead: Duration) {
    let mut last_error: Option<String> = None;
    let mut log = ExpiryLog::default();
    let mut ticks = tokio::time::interval(interval);
    loop {
        ticks.tick().await;
        reload_certificates(&tls, &service_metrics, &mut last_error).await;
        let (ends, now) = (tls.expiry(), clock::now().as_second());
        set_expiry_metrics(&service_metrics, ends);
        log.update(ends, now, ahead);
    }
}

/// Checks the files once. An error is logged when it is new, not at each check.
async fn reload_certificates(tls: &Arc<Tls>, service_metrics: &ServiceMetrics, last_error: &mut Option<String>) {
    let reloading = tls.clone();
    let outcome = tasks::block(move || reloading.reload().map_err(|error| error.to_string())).await;
    match outcome.and_then(|outcome| outcome) {
        Ok(Reload::Unchanged) => *last_error = None,
        Ok(Reload::Replaced) => {
            *last_error = None;
            service_metrics.tls_reloaded(Outcome::Success);
            log::info!(generation = tls.generation(); "certificates, keys and revocation lists reloaded");
        }
        Err(reason) => {
            if last_error.as_ref() != Some(&reason) {
                service_metrics.tls_reloaded(Outcome::Failure);
                log::error!(reason = reason.as_str(); "cannot reload certificates; the last valid ones stay in use");
            }
            *last_error = Some(reason);
        }
    }
}

fn set_expiry_metrics(service_metrics: &ServiceMetrics, ends: Expiry) {
    let expiries = [
        (CertificateKind::Server, Some(ends.server)),
        (CertificateKind::Ca, Some(ends.client_ca)),
        (CertificateKind::Crl, ends.crl),
    ];
    for (kind, at) in expiries {
        service_metrics.certificate_expires(kind, at);
    }
}

/// What the log has about the validity of the current files, so that each change is logged once.
#[derive(Default)]
struct ExpiryLog([Option<(i64, Validity)>; 3]);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Validity {
    NotYetValid,
    Valid,
    ExpiresSoon,
    Expired,
}

impl ExpiryLog {
    fn update(&mut self, ends: Expiry, now: i64, ahead: Duration) {
        let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        // A revocation list is reissued every few weeks; the warning comes in proportion to its validity.
        let files = [
            ("server certificate", ends.server_since, Some(ends.server), ahead),
            ("client CA", i64::MIN, Some(ends.client_ca), ahead),
            ("revocation list", i64::MIN, ends.crl, ahead / 10),
        ];
        for ((what, since, until, ahead), logged) in files.into_iter().zip(&mut self.0) {
            let found = until.map(|until| (until, validity(since, until, now, seconds(ahead))));
            if *logged != found
                && let Some((until, validity)) = found
            {
                log_validity(what, validity, until.saturating_sub(now));
            }
            *logged = found;
        }
    }
}

fn validity(since: i64, until: i64, now: i64, ahead: i64) -> Validity {
    if since > now {
        Validity::NotYetValid
    } else if until <= now {
        Validity::Expired
    } else if until.saturating_sub(now) < ahead {
        Validity::ExpiresSoon
    } else {
        Validity::Valid
    }
}

fn log_validity(what: &str, validity: Validity, remaining: i64) {
    match validity {
        Validity::Valid => {}
        Validity::NotYetValid => {
            log::warn!(
                "the {what} is not valid yet, so clients reject it; correct this machine's clock, or replace the file"
            );
        }
        Validity::ExpiresSoon => {
            let days = remaining.div_euclid(24 * 60 * 60);
            log::warn!(what, days_left = days; "a certificate or revocation list expires soon; replace its file");
        }
        Validity::Expired if what == "server certificate" => {
            log::error!("the {what} or one in its chain has expired, so clients reject it; replace the file");
        }
        Validity::Expired => {
            log::error!("the {what} has expired, so its client certificates are rejected; replace the file");
        }
    }
}

/// Renews certificates of the development CA, which expire while the server may run for years.
async fn renew_certificates(authority: Arc<Authority>) {
    let mut ticks = tokio::time::interval(DAY);
    loop {
        ticks.tick().await;
        let folder = authority.folder().to_owned();
        let renewed = tasks::block(move || {
            let prepared = pki::prepare(&folder, &super::machine_name(), clock::now());
            prepared.map(drop).map_err(|error| error_chain(&error))
        });
        if let Err(reason) = renewed.await.and_then(|renewed| renewed) {
            log::error!(reason = reason.as_str(); "cannot renew certificates and revocation lists");
        }
    }
}

/// Reloads the configuration on SIGHUP.
pub struct Reloader {
    parts: Parts,
    sources: Sources,
    current: Rc<Config>,
    /// The configuration at startup; some of its settings stay in use until a restart.
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

    /// Reads the configuration again and applies the reloadable settings: all of them, or none if there is an error.
    pub async fn reload(&mut self) {
        self.parts.systemd.reloads();
        let outcome = self.apply().await;
        match &outcome {
            Ok(()) => log::info!("configuration reloaded"),
            Err(reason) => log::error!(reason = reason.as_str(); "cannot reload the configuration"),
        }
        self.parts.service_metrics.config_reloaded(if outcome.is_ok() {
            Outcome::Success
        } else {
            Outcome::Failure
        });
        reload_certificates(&self.parts.tls, &self.parts.service_metrics, &mut None).await;
        self.parts.systemd.reloaded(outcome.is_ok());
    }

    async fn apply(&mut self) -> Result<(), String> {
        let config = Config::load(&self.sources).map_err(|errors| errors.to_string())?;
        let options = config.rules.options();
        if options != self.current.rules.options() {
            let (rules, settings) = (self.parts.rules.clone(), options.configured.clone());
            let checked = tasks::block(move || rules.check(&settings)).await?;
            checked.map_err(|error| match config.rule_settings_errors(&error) {
                Some(errors) => errors.to_string(),
                None => error_chain(&error),
            })?;
            let configured = self.parts.rule_parts.registry.configure(options).await;
            configured.map_err(|error| error_chain(&error))?;
        }
        telemetry::set_level(config.log.level.as_str()).map_err(|error| error.to_string())?;
        self.parts.gate.replace(bounds(&config));
        self.parts.authenticator.replace(auth_config(&config));
        for key in self.begun.differences(&config) {
            if !RELOADABLE_KEYS.iter().any(|at_once| key.starts_with(at_once)) {
                log::warn!(key = key.as_str(); "a changed setting needs a restart");
            }
        }
        self.parts.access.replace(config.clone());
        warnings::log_access(&self.parts.access);
        self.current = Rc::new(config);
        Ok(())
    }
}

/// The settings that a reload applies; all others need a restart.
const RELOADABLE_KEYS: [&str; 21] = [
    "tokens",
    "log.level",
    "rules.threshold",
    "rules.role",
    "rules.break_glass",
    "rules.max_consecutive_faults",
    "rules.trusted_keys",
    "rules.require_signature",
    "rules.allowed_digests",
    "rules.max_versions",
    "rules.max_stored_size",
    "http.trusted_proxies",
    "http.trusted_proxy_certificates",
    "tls.hsts_max_age",
    "http.max_body",
    "http.max_headers",
    "http.body_timeout",
    "http.requests_per_second",
    "http.burst",
    "http.compress_min_size",
    "http.access_log",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validity_changes_exactly_at_its_begin_and_its_end() {
        let at = |now| validity(100, 200, now, 10);
        assert_eq!(at(99), Validity::NotYetValid);
        assert_eq!((at(100), at(190)), (Validity::Valid, Validity::Valid));
        assert_eq!((at(191), at(199)), (Validity::ExpiresSoon, Validity::ExpiresSoon));
        assert_eq!((at(200), at(i64::MAX)), (Validity::Expired, Validity::Expired));
    }

    #[test]
    fn each_change_of_validity_is_noticed_once_also_while_the_files_stay_the_same() {
        let ends = Expiry {
            server: 1000,
            server_leaf: 1000,
            server_since: 100,
            client_ca: i64::MAX,
            last_client_ca: i64::MAX,
            crl: Some(500),
        };
        let mut log = ExpiryLog::default();
        let mut update = |now| {
            log.update(ends, now, Duration::from_secs(100));
            log.0.map(|logged| logged.map(|(_, validity)| validity))
        };
        use Validity::{Expired, ExpiresSoon, NotYetValid, Valid};
        assert_eq!(update(50), [Some(NotYetValid), Some(Valid), Some(Valid)]);
        assert_eq!(update(495), [Some(Valid), Some(Valid), Some(ExpiresSoon)]);
        assert_eq!(update(500), [Some(Valid), Some(Valid), Some(Expired)]);
        assert_eq!(update(950), [Some(ExpiresSoon), Some(Valid), Some(Expired)]);
    }
}
