//! Warnings about valid but probably unintended settings, logged at startup and after a reload.

use super::Parts;
use crate::api::access::AccessWarnings;
use crate::config::{ApiProfile, Config, Listener};

/// Logs the warnings about listeners, which only a restart changes, and those about access.
pub(super) fn log(config: &Config, parts: &Parts) {
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
