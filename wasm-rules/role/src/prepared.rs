//! The prepared settings: which entry matches an identity, which actions a role grants, and which actions a clause
//! denies.

use serde::{Deserialize, Serialize};
use watchpost_rule::pattern::{NAME, PLAIN, Separators, matches};
use watchpost_rule::role::{Certificate, Identity, Label, Request, Severity, Standing};

use crate::settings::{Clause, Entry, Fields, MinSeverity, Settings};

/// Checked settings in which every pattern for actions is replaced by the set of actions that it matches.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Prepared<T: Ord> {
    /// The names of all actions, separated by spaces; the position of an action is its bit in [`Actions`].
    all: T,
    identities: Vec<Entry<T>>,
    roles: Vec<(T, Actions)>,
    pub(crate) clauses: Vec<PreparedClause<T>>,
}

/// A set of actions, one bit each.
type Actions = u64;

pub(crate) const MAX_ACTIONS: usize = Actions::BITS as usize;

/// A clause with the set of actions that it denies.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PreparedClause<T: Ord> {
    pub(crate) clause: Clause<T>,
    denied: Actions,
}

impl Prepared<String> {
    /// Prepares settings that have no problems.
    pub(crate) fn new(settings: Settings, actions: &[String]) -> Self {
        let prepared_clause = |mut clause: Clause<String>| {
            let denied = matched(actions, &std::mem::take(&mut clause.deny));
            PreparedClause { clause, denied }
        };
        let granted = |(role, granted): (String, Vec<String>)| {
            let granted = matched(actions, &granted);
            (role, granted)
        };
        Self {
            all: actions.join(" "),
            identities: settings.identities,
            roles: settings.roles.into_iter().map(granted).collect(),
            clauses: settings.clauses.into_iter().map(prepared_clause).collect(),
        }
    }
}

fn matched(actions: &[String], patterns: &[String]) -> Actions {
    let is_matched = |action: &String| patterns.iter().any(|pattern| matches(pattern, action, PLAIN));
    let bits = actions.iter().enumerate().filter(|(_, action)| is_matched(action));
    bits.fold(0, |set, (bit, _)| set | 1 << bit)
}

impl Prepared<&str> {
    /// The roles of a client, each once: those that the server assigns, and those of the entries that match. A name that
    /// is no role here grants nothing, and a limited proxy certificate has no roles.
    pub(crate) fn roles_of(&self, request: &Request) -> Vec<&str> {
        if is_limited_proxy(request) {
            return Vec::new();
        }
        let identity = &request.identity;
        let assigned = request.assigned_roles.iter().map(String::as_str);
        let matching = self
            .identities
            .iter()
            .filter(|entry| entry.fields.match_identity(identity));
        let named = assigned.filter_map(|role| self.role(role));
        let mut roles = Vec::new();
        for role in named.chain(matching.flat_map(|entry| entry.roles.iter().copied())) {
            if !roles.contains(&role) {
                roles.push(role);
            }
        }
        roles
    }

    /// The role of this name, if there is one.
    pub(crate) fn role(&self, name: &str) -> Option<&str> {
        self.roles.iter().map(|(role, _)| *role).find(|role| *role == name)
    }

    /// The set of this one action; empty for an action that is not in the list of actions.
    pub(crate) fn action_bit(&self, action: &str) -> Actions {
        let bit = self.all.split(' ').position(|known| known == action);
        bit.map_or(0, |bit| 1 << bit)
    }

    pub(crate) fn grants(&self, role: &str, action: Actions) -> bool {
        let of_role = self.roles.iter().find(|(name, _)| *name == role);
        of_role.is_some_and(|(_, granted)| granted & action != 0)
    }
}

/// Whether the client has a limited proxy certificate, which its owner gave fewer rights than all.
pub(crate) fn is_limited_proxy(request: &Request) -> bool {
    let mut facts = request.facts.iter();
    facts.any(|fact| fact.name == "proxy" && fact.value == "limited")
}

impl<T: Ord + AsRef<str>> Fields<T> {
    fn match_identity(&self, identity: &Identity) -> bool {
        match identity {
            Identity::Anonymous => false,
            Identity::Certificate(certificate) => self.token.is_none() && self.match_certificate(certificate),
            Identity::Token(name) => !self.has_certificate_fields() && one(&self.token, name, PLAIN),
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

fn one<T: AsRef<str>>(pattern: &Option<T>, text: &str, separators: Separators) -> bool {
    pattern
        .as_ref()
        .is_none_or(|pattern| matches(pattern.as_ref(), text, separators))
}

fn any<T: AsRef<str>>(pattern: &Option<T>, texts: &[String], separators: Separators) -> bool {
    let Some(pattern) = pattern else { return true };
    texts.iter().any(|text| matches(pattern.as_ref(), text, separators))
}

fn has(labels: &[Label], name: &str, pattern: &str) -> bool {
    let mut named = labels.iter().filter(|label| label.name == name);
    named.any(|label| matches(pattern, &label.value, PLAIN))
}

impl Clause<&str> {
    /// Whether the clause denies its actions because of this finding. A subject without labels is the metric as a
    /// whole, so it counts for every pattern of labels.
    pub(crate) fn holds(&self, standing: &Standing) -> bool {
        let min_severity = match self.at_least {
            MinSeverity::Unknown => Severity::Unknown,
            MinSeverity::Warning => Severity::Warning,
            MinSeverity::Alert => Severity::Alert,
        };
        let labels = &standing.subject.labels;
        standing.severity >= min_severity
            && matches(self.metric, &standing.subject.metric, PLAIN)
            && (labels.is_empty() || self.labels.iter().all(|(name, pattern)| has(labels, name, pattern)))
    }
}

impl PreparedClause<&str> {
    pub(crate) fn denies(&self, action: Actions, roles: &[&str]) -> bool {
        self.denied & action != 0 && !roles.iter().any(|role| self.clause.except.contains(role))
    }
}
