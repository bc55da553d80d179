//! The settings as requests are decided by them: who matches which entry, what a role grants and what a clause
//! takes away.

use serde::{Deserialize, Serialize};
use watchpost_rule::pattern::{NAME, PLAIN, Stops, matches};
use watchpost_rule::role::{Certificate, Identity, Label, Severity, Standing};

use crate::settings::{Clause, Entry, Fields, InvalidEntry, Settings};

/// The settings as they are decided by: checked, and with every pattern for actions matched already.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Prepared<T: Ord> {
    /// All actions, with a space between them; their places are the bits of [`Actions`].
    all: T,
    identities: Vec<Entry<T>>,
    roles: Vec<(T, Actions)>,
    pub(crate) clauses: Vec<RoleGrants<T>>,
}

/// A set of actions, one bit each.
type Actions = u64;

pub(crate) const MAX_ACTIONS: usize = Actions::BITS as usize;

/// A clause whose actions are known.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RoleGrants<T: Ord> {
    pub(crate) clause: Clause<T>,
    taken: Actions,
}

impl Prepared<String> {
    /// Of settings without mistakes.
    pub(crate) fn new(settings: Settings, actions: &[String]) -> Self {
        let taking = |mut clause: Clause<String>| {
            let taken = matched(actions, &std::mem::take(&mut clause.deny));
            RoleGrants { clause, taken }
        };
        let granted = |(role, granted): (String, Vec<String>)| {
            let granted = matched(actions, &granted);
            (role, granted)
        };
        Self {
            all: actions.join(" "),
            identities: settings.identities,
            roles: settings.roles.into_iter().map(granted).collect(),
            clauses: settings.clauses.into_iter().map(taking).collect(),
        }
    }
}

fn matched(actions: &[String], patterns: &[String]) -> Actions {
    let is_matched = |action: &String| patterns.iter().any(|pattern| matches(pattern, action, PLAIN));
    let bits = actions.iter().enumerate().filter(|(_, action)| is_matched(action));
    bits.fold(0, |set, (bit, _)| set | 1 << bit)
}

impl Prepared<&str> {
    pub(crate) fn roles_of(&self, identity: &Identity) -> Vec<&str> {
        let mut roles = Vec::new();
        let matching = self
            .identities
            .iter()
            .filter(|entry| entry.fields.match_identity(identity));
        for role in matching.flat_map(|entry| &entry.roles) {
            if !roles.contains(role) {
                roles.push(*role);
            }
        }
        roles
    }

    /// The set of this one action; empty for one that nobody told the rule of.
    pub(crate) fn only(&self, action: &str) -> Actions {
        let bit = self.all.split(' ').position(|known| known == action);
        bit.map_or(0, |bit| 1 << bit)
    }

    pub(crate) fn grants(&self, role: &str, action: Actions) -> bool {
        let of_role = self.roles.iter().find(|(name, _)| *name == role);
        of_role.is_some_and(|(_, granted)| granted & action != 0)
    }
}

impl<T: Ord + AsRef<str>> Fields<T> {
    fn match_identity(&self, identity: &Identity) -> bool {
        match identity {
            Identity::Anonymous => false,
            Identity::Certificate(certificate) => self.token.is_none() && self.match_certificate(certificate),
            Identity::Token(name) => !self.speaks_of_certificates() && one(&self.token, name, PLAIN),
        }
    }

    fn match_certificate(&self, certificate: &Certificate) -> bool {
        let has = |(kind, pattern): (&T, &T)| has(&certificate.subject_attributes, kind.as_ref(), pattern.as_ref());
        one(&self.issuer, &certificate.issuer, NAME)
            && self.attributes.iter().all(has)
            && one(&self.subject, &certificate.subject, NAME)
            && one(&self.subject_slash, &certificate.subject_slash, b"/")
            && one(&self.fingerprint, &certificate.fingerprint, PLAIN)
            && any(&self.dns, &certificate.dns_names, b".")
            && any(&self.uri, &certificate.uris, b"/")
            && any(&self.email, &certificate.emails, b"@")
    }
}

fn one<T: AsRef<str>>(pattern: &Option<T>, text: &str, stops: Stops) -> bool {
    pattern
        .as_ref()
        .is_none_or(|pattern| matches(pattern.as_ref(), text, stops))
}

fn any<T: AsRef<str>>(pattern: &Option<T>, texts: &[String], stops: Stops) -> bool {
    let Some(pattern) = pattern else { return true };
    texts.iter().any(|text| matches(pattern.as_ref(), text, stops))
}

fn has(labels: &[Label], name: &str, pattern: &str) -> bool {
    let mut named = labels.iter().filter(|label| label.name == name);
    named.any(|label| matches(pattern, &label.value, PLAIN))
}

impl Clause<&str> {
    /// A subject without labels is the metric as a whole, so it is meant too.
    pub(crate) fn holds(&self, standing: &Standing) -> bool {
        let from = match self.at_least {
            InvalidEntry::Unknown => Severity::Unknown,
            InvalidEntry::Warning => Severity::Warning,
            InvalidEntry::Alert => Severity::Alert,
        };
        let labels = &standing.subject.labels;
        standing.severity >= from
            && matches(self.metric, &standing.subject.metric, PLAIN)
            && (labels.is_empty() || self.labels.iter().all(|(name, pattern)| has(labels, name, pattern)))
    }
}

impl RoleGrants<&str> {
    pub(crate) fn takes(&self, action: Actions, roles: &[&str]) -> bool {
        self.taken & action != 0 && !roles.iter().any(|role| self.clause.except.contains(role))
    }
}
