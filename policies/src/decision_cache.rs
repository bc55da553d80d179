//! Decisions that were made already. A rule is a pure function, so the same request under the same standings
//! gets the same answer; it lives and ends with its generation.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::Arc;

use parking_lot::RwLock;

use crate::access::{Action, Decision, Request};
use crate::digest::Digest;
use crate::series::{Label, Labels};

/// Resources and facts come from clients. A request that would take more bytes than this is decided afresh each
/// time, so that what is remembered is bounded in bytes and not only in number: beside the request a decision has
/// at most 64 roles of 64 bytes and a reason of `text_bytes`, which makes 10 KiB, and 100 MB for ten thousand of
/// them. The usual one has 300 bytes.
const MAX_REQUEST_BYTES: usize = 1024;

pub(crate) struct DecisionCache {
    limit: usize,
    hasher: RandomState,
    known: RwLock<CacheEntry>,
}

#[derive(Default)]
struct CacheEntry {
    /// The standings under which all of these were made.
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
            known: RwLock::default(),
        }
    }

    pub(crate) fn find(&self, request: &Request<'_>, standings: Digest) -> Option<Arc<Decision>> {
        let known = self.known.read();
        if known.standings != Some(standings) {
            return None;
        }
        let (key, decision) = known.decisions.get(&self.hash(request))?;
        // The hash may be shared by chance; the request itself may not.
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
        let mut known = self.known.write();
        // Forgetting all of them at once keeps the bound without keeping an order; a busy server fills up again
        // within milliseconds.
        if known.standings != Some(standings) || known.decisions.len() >= self.limit {
            known.standings = Some(standings);
            known.decisions.clear();
        }
        known.decisions.insert(self.hash(request), (key, Arc::clone(decision)));
    }

    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.known.read().decisions.len()
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
        let remembered = DecisionCache::new(10);
        let (ada, bob) = (Identity::of_token("ada"), Identity::of_token("bob"));
        let standings = Digest::of(b"calm");
        let facts = Labels::new([("listener", "public")]).expect("legal labels");
        let asked = Request::new(&ada, Action::RulesRead);
        remembered.keep(&asked, standings, &decision(1));
        assert!(remembered.find(&asked, standings).is_some());
        let others = [
            Request::new(&bob, Action::RulesRead),
            Request::new(&ada, Action::RulesWrite),
            Request {
                resource: "disk",
                ..asked
            },
            Request { facts: &facts, ..asked },
        ];
        for other in others {
            assert!(remembered.find(&other, standings).is_none(), "{other:?}");
        }
        assert!(remembered.find(&asked, Digest::of(b"storm")).is_none());
    }

    #[test]
    fn other_standings_forget_what_was_decided_before() {
        let remembered = DecisionCache::new(10);
        let ada = Identity::of_token("ada");
        let asked = Request::new(&ada, Action::RulesRead);
        remembered.keep(&asked, Digest::of(b"calm"), &decision(1));
        remembered.keep(
            &Request::new(&ada, Action::RulesWrite),
            Digest::of(b"storm"),
            &decision(1),
        );
        assert!(remembered.find(&asked, Digest::of(b"calm")).is_none());
        assert_eq!(remembered.count(), 1);
    }

    #[test]
    fn a_request_of_very_many_facts_is_not_remembered() {
        let ada = Identity::of_token("ada");
        let remembered_with = |count: usize| {
            let remembered = DecisionCache::new(10);
            let facts = Labels::new((0..count).map(|at| (format!("f{at}"), ""))).expect("legal labels");
            let asked = Request {
                facts: &facts,
                ..Request::new(&ada, Action::RulesRead)
            };
            remembered.keep(&asked, Digest::of(b"calm"), &decision(1));
            remembered.count()
        };
        assert_eq!(remembered_with(10), 1);
        assert_eq!(remembered_with(100), 0);
    }

    #[test]
    fn a_request_of_any_length_is_decided_but_not_remembered() {
        let remembered = DecisionCache::new(10);
        let ada = Identity::of_token("ada");
        let long = "x".repeat(MAX_REQUEST_BYTES + 1);
        for (resource, count) in [(&long[1..], 1), (&long[..], 1)] {
            let asked = Request {
                resource,
                ..Request::new(&ada, Action::RulesRead)
            };
            remembered.keep(&asked, Digest::of(b"calm"), &decision(1));
            assert_eq!(remembered.count(), count);
        }
    }

    #[test]
    fn no_more_is_remembered_than_the_limit_allows() {
        let remembered = DecisionCache::new(3);
        let standings = Digest::of(b"calm");
        for name in 0..20 {
            let identity = Identity::of_token(&name.to_string());
            remembered.keep(&Request::new(&identity, Action::RulesRead), standings, &decision(1));
            assert!(remembered.count() <= 3);
        }
    }
}
