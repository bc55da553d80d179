//! A cache of decisions. A rule is a pure function, so the same request under the same standings has the same decision.
//! Each generation has its own cache.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::Arc;

use parking_lot::RwLock;

use crate::access::{Action, Decision, Request};
use crate::digest::Digest;
use crate::series::{Label, Labels};

/// Resources and facts come from clients. A larger request is not cached, so that the cache is bounded in bytes and not
/// only in entries: besides the request a decision has at most 64 roles of 64 bytes and a reason of `text_bytes`, which
/// makes 10 KiB, and 100 MB for ten thousand decisions. A usual one has 300 bytes.
const MAX_REQUEST_BYTES: usize = 1024;

pub(crate) struct DecisionCache {
    limit: usize,
    hasher: RandomState,
    entries: RwLock<Entries>,
}

#[derive(Default)]
struct Entries {
    /// The standings that all entries were decided under.
    standings: Option<Digest>,
    decisions: HashMap<u64, (Key, Arc<Decision>)>,
}

struct Key {
    identity: Digest,
    action: Action,
    resource: Box<str>,
    facts: Labels,
}

impl Key {
    fn is_of(&self, request: &Request<'_>) -> bool {
        self.identity == *request.identity.digest()
            && self.action == request.action
            && *self.resource == *request.resource
            && self.facts == *request.facts
    }
}

impl DecisionCache {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            hasher: RandomState::new(),
            entries: RwLock::default(),
        }
    }

    pub(crate) fn find(&self, request: &Request<'_>, standings: Digest) -> Option<Arc<Decision>> {
        let entries = self.entries.read();
        if entries.standings != Some(standings) {
            return None;
        }
        let (key, decision) = entries.decisions.get(&self.hash(request))?;
        // Hashes may collide, so the request is compared.
        key.is_of(request).then(|| Arc::clone(decision))
    }

    pub(crate) fn keep(&self, request: &Request<'_>, standings: Digest, decision: &Arc<Decision>) {
        let facts = request.facts.as_slice().iter();
        let of_facts = facts.map(|fact| size_of::<Label>() + fact.name.len() + fact.value.len());
        if self.limit == 0 || request.resource.len() + of_facts.sum::<usize>() > MAX_REQUEST_BYTES {
            return;
        }
        let key = Key {
            identity: *request.identity.digest(),
            action: request.action,
            resource: request.resource.into(),
            facts: request.facts.clone(),
        };
        let mut entries = self.entries.write();
        // Clearing the whole cache keeps the bound without an eviction order; a busy server fills it again within
        // milliseconds.
        if entries.standings != Some(standings) || entries.decisions.len() >= self.limit {
            entries.standings = Some(standings);
            entries.decisions.clear();
        }
        entries
            .decisions
            .insert(self.hash(request), (key, Arc::clone(decision)));
    }

    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.entries.read().decisions.len()
    }

    fn hash(&self, request: &Request<'_>) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        request.identity.digest().hash(&mut hasher);
        request.action.hash(&mut hasher);
        request.resource.hash(&mut hasher);
        request.facts.hash(&mut hasher);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{Identity, Verdict};

    fn decision(generation: u64) -> Arc<Decision> {
        Arc::new(Decision {
            verdict: Verdict::Allow,
            roles: Vec::new(),
            rule: "role".to_owned(),
            digest: Digest::of(b""),
            generation,
        })
    }

    #[test]
    fn a_decision_is_found_for_the_same_request_only() {
        let cache = DecisionCache::new(10);
        let (ada, bob) = (Identity::of_token("ada"), Identity::of_token("bob"));
        let standings = Digest::of(b"calm");
        let facts = Labels::new([("listener", "public")]).expect("legal labels");
        let request = Request::new(&ada, Action::RulesRead);
        cache.keep(&request, standings, &decision(1));
        assert!(cache.find(&request, standings).is_some());
        let others = [
            Request::new(&bob, Action::RulesRead),
            Request::new(&ada, Action::RulesWrite),
            Request {
                resource: "disk",
                ..request
            },
            Request {
                facts: &facts,
                ..request
            },
        ];
        for other in others {
            assert!(cache.find(&other, standings).is_none(), "{other:?}");
        }
        assert!(cache.find(&request, Digest::of(b"storm")).is_none());
    }

    #[test]
    fn other_standings_clear_the_cache() {
        let cache = DecisionCache::new(10);
        let ada = Identity::of_token("ada");
        let request = Request::new(&ada, Action::RulesRead);
        cache.keep(&request, Digest::of(b"calm"), &decision(1));
        cache.keep(
            &Request::new(&ada, Action::RulesWrite),
            Digest::of(b"storm"),
            &decision(1),
        );
        assert!(cache.find(&request, Digest::of(b"calm")).is_none());
        assert_eq!(cache.count(), 1);
    }

    #[test]
    fn a_request_with_too_many_facts_is_not_cached() {
        let ada = Identity::of_token("ada");
        let count_with = |count: usize| {
            let cache = DecisionCache::new(10);
            let facts = Labels::new((0..count).map(|at| (format!("f{at}"), ""))).expect("legal labels");
            let request = Request {
                facts: &facts,
                ..Request::new(&ada, Action::RulesRead)
            };
            cache.keep(&request, Digest::of(b"calm"), &decision(1));
            cache.count()
        };
        assert_eq!(count_with(10), 1);
        assert_eq!(count_with(100), 0);
    }

    #[test]
    fn a_request_that_is_too_large_is_not_cached() {
        let cache = DecisionCache::new(10);
        let ada = Identity::of_token("ada");
        let long = "x".repeat(MAX_REQUEST_BYTES + 1);
        for (resource, count) in [(&long[1..], 1), (&long[..], 1)] {
            let request = Request {
                resource,
                ..Request::new(&ada, Action::RulesRead)
            };
            cache.keep(&request, Digest::of(b"calm"), &decision(1));
            assert_eq!(cache.count(), count);
        }
    }

    #[test]
    fn the_cache_has_at_most_limit_entries() {
        let cache = DecisionCache::new(3);
        let standings = Digest::of(b"calm");
        for name in 0..20 {
            let identity = Identity::of_token(&name.to_string());
            cache.keep(&Request::new(&identity, Action::RulesRead), standings, &decision(1));
            assert!(cache.count() <= 3);
        }
    }
}
