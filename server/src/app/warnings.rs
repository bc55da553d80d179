//! Warnings about valid but probably unintended settings, logged at startup and after a reload.

use super::{Parts, stores};
use crate::api::access::AccessWarnings;
use crate::config::{ApiProfile, Config, Listener};
use crate::rules::Rules;
use crate::rules::unknown_metrics::{OtherMetrics, UnknownMetric};

/// The metrics that the rules name and nothing is known to measure.
pub fn unknown_metrics(config: &Config, rules: &Rules) -> Vec<UnknownMetric> {
    let configured = config.azure.metric_names();
    let others = OtherMetrics {
        snapshot: None,
        configured: &configured,
    };
    rules.current().unknown_metrics(&[], others)
}

/// Logs the warnings about listeners, which only a restart changes, those about access, and those about metrics.
pub(super) fn log(config: &Config, parts: &Parts) {
    for unknown in unknown_metrics(config, &parts.rules) {
        log::warn!("{unknown}");
    }
    for (key, text) in stores::unauthenticated(config) {
        log::warn!(key; "{text}");
    }
    let open = |listener: &&Listener| !listener.tls && !listener.address.ip().is_loopback();
    if let Some(listener) = config.listeners.iter().find(open).filter(|_| !config.tokens.is_empty()) {
        log::warn!(address:% = listener.address; "tokens are accepted on a listener without TLS, where others can read them");
    }
    let shown = |listener: &&Listener| open(listener) && listener.api == ApiProfile::PixCrawler;
    for listener in config.listeners.iter().filter(shown) {
        log::warn!(address:% = listener.address; "the API profile pixcrawler is served to other machines without TLS; clients that the role rule allows metrics.read get /metrics, and others can read the traffic");
    }
    log_access(&parts.access);
}

/// Logs the warnings about access.
pub(super) fn log_access(access: &AccessWarnings) {
    for warning in access.list() {
        log::warn!(origin = warning.origin.as_str(), key = warning.key.as_str(); "{}; {}", warning.message, warning.remedy);
    }
}
