//! Caches access tokens: concurrent queries share one fetch, and the first credential that works is kept. Each
//! credential is implemented in `credential_chain`.

use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;

use tokio::sync::Mutex;

use super::backoff::Backoffs;
use super::credential_chain::{self, Kind};
use super::http::HttpClient;
use super::settings::Settings;
use watchpost_secret::{MASK, Secret};

/// Tokens are renewed this long before their expiry, so that none expires in transit.
const RENEW_BEFORE_EXPIRY_MS: u64 = 300_000;

/// The current time and the number of the current round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RoundTime {
    pub(crate) round: u64,
    pub(crate) now_ms: u64,
}

/// A token, masked in debug output.
#[derive(Clone)]
pub(crate) struct Token(Rc<Secret>);

impl Token {
    pub(crate) fn expose(&self) -> &str {
        self.0.expose()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// The cached tokens, by audience.
#[derive(Default)]
pub(crate) struct Tokens(Mutex<TokenState>);

#[derive(Default)]
struct TokenState {
    kept: HashMap<String, CachedToken>,
    /// Failed fetches, so that the other queries of the same round do not repeat them.
    failed: HashMap<String, (u64, String)>,
    chosen: Option<Kind>,
    backoffs: Backoffs,
}

struct CachedToken {
    token: Token,
    until_ms: u64,
    round: u64,
}

impl CachedToken {
    /// A token that lives less than five minutes is used in the round that fetched it.
    fn is_good(&self, now: RoundTime) -> bool {
        now.now_ms.saturating_add(RENEW_BEFORE_EXPIRY_MS) < self.until_ms || self.round == now.round
    }
}

impl Tokens {
    /// A valid token, or the reason why there is none. One query fetches it while the others wait; if that query
    /// is cancelled, the next one fetches.
    pub(crate) async fn token(
        &self,
        audience: &str,
        settings: &Settings,
        http_client: &HttpClient,
        now: RoundTime,
    ) -> Result<Token, String> {
        let mut state = self.0.lock().await;
        if let Some(kept) = state.kept.get(audience).filter(|kept| kept.is_good(now)) {
            return Ok(kept.token.clone());
        }
        if let Some((_, reason)) = state.failed.get(audience).filter(|(round, _)| *round == now.round) {
            return Err(reason.clone());
        }
        match state.fetch(audience, settings, http_client, now).await {
            Ok(kept) => {
                let token = kept.token.clone();
                state.kept.insert(audience.to_owned(), kept);
                Ok(token)
            }
            Err(reason) => {
                state.failed.insert(audience.to_owned(), (now.round, reason.clone()));
                Err(reason)
            }
        }
    }

    /// Discards a rejected token, unless a newer one is cached already.
    pub(crate) async fn discard(&self, audience: &str, refused: &Token) {
        let kept = &mut self.0.lock().await.kept;
        if kept
            .get(audience)
            .is_some_and(|kept| Rc::ptr_eq(&kept.token.0, &refused.0))
        {
            kept.remove(audience);
        }
    }
}

impl TokenState {
    async fn fetch(
        &mut self,
        audience: &str,
        settings: &Settings,
        http_client: &HttpClient,
        now: RoundTime,
    ) -> Result<CachedToken, String> {
        let kinds = self
            .chosen
            .map_or_else(|| credential_chain::chain(&settings.credentials), |kind| vec![kind]);
        let mut reasons = Vec::new();
        for kind in kinds {
            if let Some(reason) = self.backoffs.reason(kind.as_str(), now.now_ms) {
                reasons.push(reason);
                continue;
            }
            let is_first = self.chosen.is_none();
            match credential_chain::fetch(kind, audience, is_first, settings, http_client, now.now_ms).await {
                Ok(access_token) => {
                    self.backoffs.succeeded(kind.as_str(), now.now_ms);
                    self.choose(kind, &reasons);
                    let (until_ms, round) = (access_token.until_ms, now.round);
                    let token = Token(Rc::new(access_token.token));
                    return Ok(CachedToken { token, until_ms, round });
                }
                Err(credential_chain::Failure::Refused(reason)) => reasons.push(reason),
                Err(credential_chain::Failure::Backoff { retry_after, reason }) => {
                    reasons.push(self.backoffs.start(kind.as_str(), retry_after, reason, now.now_ms));
                }
            }
        }
        Err(reasons.join("; "))
    }

    fn choose(&mut self, kind: Kind, reasons: &[String]) {
        if self.chosen.replace(kind).is_some() {
            return;
        }
        let credentials = kind.as_str();
        if reasons.is_empty() {
            log::info!(credentials; "obtained an Azure token");
        } else {
            let refused = reasons.join("; ");
            let refused = refused.as_str();
            log::warn!(credentials, refused; "obtained an Azure token, but not with the preferred credentials");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(until_ms: u64) -> CachedToken {
        let token = Token(Rc::new(Secret::new("hunter2".to_owned())));
        CachedToken {
            token,
            until_ms,
            round: 1,
        }
    }

    #[test]
    fn a_token_is_renewed_five_minutes_before_its_expiry() {
        let is_good = |now_ms| kept(1_000_000).is_good(RoundTime { round: 2, now_ms });
        assert!(is_good(0) && is_good(699_999));
        assert!(!is_good(700_000) && !is_good(2_000_000));
    }

    #[test]
    fn a_short_lived_token_is_used_in_its_round() {
        let is_good = |round| kept(60_000).is_good(RoundTime { round, now_ms: 0 });
        assert!(is_good(1));
        assert!(!is_good(2));
    }

    #[test]
    fn a_token_is_masked() {
        assert_eq!(format!("{:?}", kept(0).token), MASK);
    }
}
