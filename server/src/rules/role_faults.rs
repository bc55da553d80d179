//! Counts the faults of the active role rule since it last answered an authenticated client, and the identities that they
//! denied. The rule is quarantined only if it fails for several identities and answers none in between: a fault that one
//! client provokes denies that client's request, and nothing else. Faults for fewer identities make the server unready
//! until an authenticated client gets an answer. Answers to anonymous clients count for nothing, because probes get them
//! from a rule that fails for everyone else.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use watchpost_policies::{Identity, IdentityKind};

/// The number of identities for which the rule must fail. An operator often has a certificate and a token, so two could
/// be one client.
pub(super) const MIN_FAILED_IDENTITIES: usize = 3;

/// Faults since the last answer.
#[derive(Debug, Default)]
pub(super) struct RoleFaults {
    any: AtomicBool,
    /// Whether authenticated clients get faults only.
    is_failing: AtomicBool,
    counted: Mutex<Counted>,
}

#[derive(Debug, Default)]
struct Counted {
    faults: u32,
    /// Those of authenticated clients.
    known_faults: u32,
    /// At most [`MIN_FAILED_IDENTITIES`].
    identities: BTreeSet<String>,
}

impl RoleFaults {
    /// Notes an answer to an authenticated client, which ends the count.
    pub(super) fn answered(&self, identity: &Identity) {
        // Fast path: almost every answer follows another.
        if self.any.load(Ordering::Relaxed) && name_of(identity).is_some() {
            let mut counted = self.counted.lock();
            *counted = Counted::default();
            self.any.store(false, Ordering::Relaxed);
            self.is_failing.store(false, Ordering::Relaxed);
        }
    }

    /// Whether the last `max_faults` decisions for authenticated clients were faults, or more.
    pub(super) fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::Relaxed)
    }

    /// Counts a fault, and returns whether the rule has to be quarantined: at least `max_faults` faults for several
    /// identities.
    pub(super) fn failed(&self, identity: &Identity, max_faults: u32) -> bool {
        let mut counted = self.counted.lock();
        self.any.store(true, Ordering::Relaxed);
        counted.faults = counted.faults.saturating_add(1);
        if let Some(name) = name_of(identity) {
            counted.known_faults = counted.known_faults.saturating_add(1);
            self.is_failing
                .store(counted.known_faults >= max_faults, Ordering::Relaxed);
            if counted.identities.len() < MIN_FAILED_IDENTITIES {
                counted.identities.insert(name);
            }
        }
        counted.faults >= max_faults && counted.identities.len() >= MIN_FAILED_IDENTITIES
    }
}

/// The owner of a certificate keeps the name when the certificate is renewed. Any client can be anonymous, so anonymous
/// requests say nothing about how many clients are affected.
fn name_of(identity: &Identity) -> Option<String> {
    match identity.kind() {
        IdentityKind::Anonymous => None,
        IdentityKind::Certificate(certificate) => {
            Some(format!("certificate {} by {}", certificate.subject, certificate.issuer))
        }
        IdentityKind::Token { name } => Some(format!("token {name}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::sample;

    fn owner(name: &str) -> Identity {
        sample::of_certificate(&[("CN", name)], &[("CN", "an authority")])
    }

    #[test]
    fn faults_of_one_identity_or_of_anonymous_clients_never_reach_the_limit() {
        let faults = RoleFaults::default();
        for _ in 0..100 {
            assert!(!faults.failed(&owner("ada"), 5));
            assert!(!faults.failed(&Identity::anonymous(), 5));
            assert!(!faults.failed(&Identity::of_token("ada's"), 5));
        }
    }

    #[test]
    fn faults_of_three_identities_reach_the_limit_unless_an_answer_comes_in_between() {
        let faults = RoleFaults::default();
        let fail = |name: &str| faults.failed(&owner(name), 4);
        assert_eq!(
            ["ada", "ben", "eve"].map(fail),
            [false; 3],
            "three faults are below the limit"
        );
        faults.answered(&owner("ada"));
        assert_eq!(["ada", "ben", "eve", "ada"].map(fail), [false, false, false, true]);
        assert!(fail("ben"), "it still fails");
        faults.answered(&Identity::of_token("eve's"));
        assert!(!fail("ben"), "the count restarts at zero");
    }

    #[test]
    fn answers_to_anonymous_clients_do_not_end_the_count() {
        let faults = RoleFaults::default();
        let answers = ["ada", "ben", "eve"].map(|name| {
            faults.answered(&Identity::anonymous());
            faults.failed(&owner(name), 3)
        });
        assert_eq!(answers, [false, false, true]);
        faults.answered(&Identity::anonymous());
        assert!(faults.is_failing());
    }

    #[test]
    fn the_rule_fails_after_enough_faults_for_one_identity_until_an_authenticated_client_gets_an_answer() {
        let faults = RoleFaults::default();
        for _ in 0..5 {
            assert!(!faults.failed(&Identity::anonymous(), 3));
        }
        assert!(!faults.is_failing(), "faults of anonymous clients do not count");
        for is_failing in [false, false, true] {
            assert!(!faults.failed(&owner("ada"), 3), "one identity quarantines nothing");
            assert_eq!(faults.is_failing(), is_failing);
        }
        faults.answered(&owner("ben"));
        assert!(!faults.is_failing());
    }
}
