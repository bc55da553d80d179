//! The tokens that Azure wants to see: kept while they are good, and fetched by one for all who wait. Of the ways to
//! get one, the first that works is kept. How each way goes is told in `grant`.

use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;

use tokio::sync::Mutex;

use super::backoff::Waits;
use super::credential_chain::{self, Kind};
use super::http::Wire;
use super::settings::{Hidden, MASK, Settings};

/// A token is given up this long before its end, so that none ends on its way.
const RENEW_BEFORE_EXPIRY_MS: u64 = 300_000;

/// When it is, and how often we have asked before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expiry {
    pub(super) round: u64,
    pub(super) now_ms: u64,
}

/// A token. What is shown of it is not the token.
#[derive(Clone)]
pub(super) struct Token(Rc<Hidden>);

impl Token {
    pub(super) fn expose(&self) -> &str {
        self.0.expose()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// All tokens, each by whom it is made out to.
#[derive(Default)]
pub(super) struct Tokens(Mutex<TokenState>);

#[derive(Default)]
struct TokenState {
    kept: HashMap<String, CachedToken>,
    /// Who asks in the round that has failed is not kept waiting for the same failure.
    failed: HashMap<String, (u64, String)>,
    chosen: Option<Kind>,
    waits: Waits,
}

struct CachedToken {
    token: Token,
    until_ms: u64,
    round: u64,
}

impl CachedToken {
    /// One that lives shorter than five minutes is good for the round that fetched it.
    fn is_good(&self, now: Expiry) -> bool {
        now.now_ms.saturating_add(RENEW_BEFORE_EXPIRY_MS) < self.until_ms || self.round == now.round
    }
}

impl Tokens {
    /// A good token, or the sentence that says why there is none. While one fetches it, the others wait for it; if he
    /// is dropped, the next one fetches.
    pub(super) async fn token(
        &self,
        audience: &str,
        settings: &Settings,
        wire: &Wire,
        now: Expiry,
    ) -> Result<Token, String> {
        let mut state = self.0.lock().await;
        if let Some(kept) = state.kept.get(audience).filter(|kept| kept.is_good(now)) {
            return Ok(kept.token.clone());
        }
        if let Some((_, why)) = state.failed.get(audience).filter(|(round, _)| *round == now.round) {
            return Err(why.clone());
        }
        match state.fetch(audience, settings, wire, now).await {
            Ok(kept) => {
                let token = kept.token.clone();
                state.kept.insert(audience.to_owned(), kept);
                Ok(token)
            }
            Err(why) => {
                state.failed.insert(audience.to_owned(), (now.round, why.clone()));
                Err(why)
            }
        }
    }

    /// Throws away a token that was refused, unless there is a newer one already.
    pub(super) async fn discard(&self, audience: &str, refused: &Token) {
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
        wire: &Wire,
        now: Expiry,
    ) -> Result<CachedToken, String> {
        let kinds = self
            .chosen
            .map_or_else(|| credential_chain::chain(&settings.credentials), |kind| vec![kind]);
        let mut whys = Vec::new();
        for kind in kinds {
            if let Some(why) = self.waits.refusal(kind.as_str(), now.now_ms) {
                whys.push(why);
                continue;
            }
            let is_first = self.chosen.is_none();
            match credential_chain::fetch(kind, audience, is_first, settings, wire, now.now_ms).await {
                Ok(grant) => {
                    self.waits.over(kind.as_str(), now.now_ms);
                    self.choose(kind, &whys);
                    let (until_ms, round) = (grant.until_ms, now.round);
                    let token = Token(Rc::new(grant.token));
                    return Ok(CachedToken { token, until_ms, round });
                }
                Err(credential_chain::Failure::Refused(why)) => whys.push(why),
                Err(credential_chain::Failure::Wait { wish, why }) => {
                    whys.push(self.waits.begin(kind.as_str(), wish, why, now.now_ms));
                }
            }
        }
        Err(whys.join("; "))
    }

    fn choose(&mut self, kind: Kind, whys: &[String]) {
        if self.chosen.replace(kind).is_some() {
            return;
        }
        let credentials = kind.as_str();
        if whys.is_empty() {
            log::info!(credentials; "azure gives tokens");
        } else {
            let refused = whys.join("; ");
            let refused = refused.as_str();
            log::warn!(credentials, refused; "azure gives tokens, but not to the credentials that come first");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(until_ms: u64) -> CachedToken {
        let token = Token(Rc::new(Hidden::new("hunter2")));
        CachedToken {
            token,
            until_ms,
            round: 1,
        }
    }

    #[test]
    fn a_token_is_good_until_five_minutes_before_its_end() {
        let is_good = |now_ms| kept(1_000_000).is_good(Expiry { round: 2, now_ms });
        assert!(is_good(0) && is_good(699_999));
        assert!(!is_good(700_000) && !is_good(2_000_000));
    }

    #[test]
    fn a_short_token_is_good_for_its_own_round() {
        let is_good = |round| kept(60_000).is_good(Expiry { round, now_ms: 0 });
        assert!(is_good(1));
        assert!(!is_good(2));
    }

    #[test]
    fn a_token_is_not_shown() {
        assert_eq!(format!("{:?}", kept(0).token), MASK);
    }
}
