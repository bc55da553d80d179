//! Counts the faults of the active role rule since its last answer, and the identities that they denied. The rule counts
//! as failing only if it fails for several identities and answers no request in between: a fault that one client provokes
//! denies that client's request, and nothing else.

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
    counted: Mutex<Counted>,
}

#[derive(Debug, Default)]
struct Counted {
    faults: u32,
    /// At most [`MIN_FAILED_IDENTITIES`].
    identities: BTreeSet<String>,
}

impl RoleFaults {
    /// Notes an answer, which ends the count.
    pub(super) fn answered(&self) {
        // Fast path: almost every answer follows another.
        if self.any.swap(false, Ordering::Relaxed) {
            *self.counted.lock() = Counted::default();
        }
    }

    /// Counts a fault, and returns whether the rule fails: at least `max_faults` faults for several identities.
    pub(super) fn failed(&self, identity: &Identity, max_faults: u32) -> bool {
        let mut counted = self.counted.lock();
        self.any.store(true, Ordering::Relaxed);
        counted.faults = counted.faults.saturating_add(1);
        if counted.identities.len() < MIN_FAILED_IDENTITIES {
            counted.identities.extend(name_of(identity));
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
        faults.answered();
        assert_eq!(["ada", "ben", "eve", "ada"].map(fail), [false, false, false, true]);
        assert!(fail("ben"), "it still fails");
        faults.answered();
        assert!(!fail("ben"), "the count restarts at zero");
    }
}
