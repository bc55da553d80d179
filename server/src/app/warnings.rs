//! Warnings about valid but probably unintended settings, each logged once at startup.

use super::Parts;
use crate::config::{ApiProfile, Config, Listener};
use crate::pki;
use crate::rules::Rules;
use crate::rules::unknown_metrics::{OtherMetrics, UnknownMetric};
use crate::tls::ClientAuth;

/// The metrics that the rules name and nothing is known to measure.
pub fn unknown_metrics(config: &Config, rules: &Rules) -> Vec<UnknownMetric> {
    let configured = config.azure.metric_names();
    let others = OtherMetrics {
        snapshot: None,
        configured: &configured,
    };
    rules.current().unknown_metrics(&[], others)
}

/// Logs the warnings.
pub(super) fn log(config: &Config, parts: &Parts) {
    for unknown in unknown_metrics(config, &parts.rules) {
        log::warn!("{unknown}");
    }
    let open = |listener: &&Listener| !listener.tls && !listener.address.ip().is_loopback();
    if let Some(listener) = config.listeners.iter().find(open).filter(|_| !config.tokens.is_empty()) {
        log::warn!(address:% = listener.address; "tokens are accepted on a listener without TLS, where others can read them");
    }
    let shown = |listener: &&Listener| open(listener) && listener.api == ApiProfile::PixCrawler;
    for listener in config.listeners.iter().filter(shown) {
        log::warn!(address:% = listener.address; "the API profile pixcrawler is served to other machines without TLS; clients that the role rule allows metrics.read get /metrics, and others can read the traffic");
    }
    let asks = |listener: &Listener| listener.tls && listener.client_auth != ClientAuth::Off;
    if let Some(client_ca) = &config.tls.client_ca
        && config.listeners.iter().any(asks)
        && parts.rules.leave_identities_to_the_default()
        && !parts.tls.trusts(pki::AUTHORITY)
    {
        log::warn!(client_ca:% = client_ca.display(); "no client of these CAs has a role, because the role rule has identities of the development CA only; add yours to rules.role.identities");
    }
}
