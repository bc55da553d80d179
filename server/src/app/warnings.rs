//! What of a configuration is no error and hardly ever meant. Each is told once, at the start.

use super::Parts;
use crate::config::{ApiProfile, Config, Listener};
use crate::pki;
use crate::tls::ClientAuth;

/// Tells the log.
pub(super) fn log(config: &Config, parts: &Parts) {
    let open = |listener: &&Listener| !listener.tls && !listener.address.ip().is_loopback();
    if let Some(listener) = config.listeners.iter().find(open).filter(|_| !config.tokens.is_empty()) {
        log::warn!(address:% = listener.address; "tokens are taken on a listener without TLS, where others can read them");
    }
    let shown = |listener: &&Listener| open(listener) && listener.api == ApiProfile::PixCrawler;
    for listener in config.listeners.iter().filter(shown) {
        log::warn!(address:% = listener.address; "the API profile pixcrawler is shown without TLS to other machines; /metrics is answered to those whom the role rule allows metrics.read, and others can read along");
    }
    let asks = |listener: &Listener| listener.tls && listener.client_auth != ClientAuth::Off;
    if let Some(client_ca) = &config.tls.client_ca
        && config.listeners.iter().any(asks)
        && parts.rules.leave_identities_to_the_default()
        && !parts.tls.trusts(pki::AUTHORITY)
    {
        log::warn!(client_ca:% = client_ca.display(); "no client of these authorities has a role, for the role rule knows those of the development authority only; name yours in rules.role.identities");
    }
}
