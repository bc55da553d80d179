//! The settings of the role rule, and their validation.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use watchpost_rule::names::{MAX_METRICS, label_name_error, metric_name_error};
use watchpost_rule::pattern::{PLAIN, matches, plan_pattern};
use watchpost_rule::text::is_blank;
use watchpost_rule::{Problem, pointer};

use crate::ANONYMOUS;
use crate::prepared::MAX_ACTIONS;

/// The settings.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The roles of identities. An identity has the roles of every entry that matches it, in addition to those that the
    /// server assigns to it.
    #[serde(default)]
    pub identities: Vec<Entry<String>>,
    /// The actions of each role: names, or patterns such as `*.read`. They are added to the built-in roles; a built-in
    /// role of the same name is replaced.
    #[serde(default)]
    pub roles: BTreeMap<String, Vec<String>>,
    /// Actions that are denied while something is not ok.
    #[serde(default, rename = "while")]
    pub clauses: Vec<Clause<String>>,
}

/// Identities, and their roles. The texts are owned while settings are checked, and borrowed from the prepared settings
/// when a request is decided.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry<T: Ord> {
    /// Every field that is set must match.
    #[serde(rename = "match")]
    pub fields: Fields<T>,
    /// The roles of a matching identity.
    pub roles: Vec<T>,
}

/// Patterns for the fields of an identity: `*` matches anything within one part of a name, `**` anything.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fields<T: Ord> {
    /// The subject in the notation of RFC 4514: `CN=ada,O=Example`.
    pub subject: Option<T>,
    /// The subject in the notation of OpenSSL and of grid software: `/O=Example/CN=ada`.
    pub subject_slash: Option<T>,
    /// Attributes of the subject by their short names.
    pub attributes: BTreeMap<T, T>,
    /// The issuer in the notation of RFC 4514.
    pub issuer: Option<T>,
    /// Matches if any of the certificate's DNS names does.
    pub dns: Option<T>,
    /// Matches if any of the certificate's URIs does.
    pub uri: Option<T>,
    /// Matches if any of the certificate's e-mail addresses does.
    pub email: Option<T>,
    /// The SHA-256 fingerprint of the certificate, 64 hexadecimal digits.
    pub fingerprint: Option<T>,
    /// The name of a token.
    pub token: Option<T>,
}

/// Denies actions while a finding about a metric has at least this severity.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clause<T: Ord> {
    /// The name of a metric, or a pattern with `*`.
    pub metric: T,
    /// Patterns that the labels of the subject must match.
    #[serde(default = "BTreeMap::new")]
    pub labels: BTreeMap<T, T>,
    /// The lowest severity at which the clause denies.
    pub at_least: MinSeverity,
    /// The denied actions: names, or patterns such as `sessions.*`.
    pub deny: Vec<T>,
    /// Roles that the clause does not apply to.
    #[serde(default = "Vec::new")]
    pub except: Vec<T>,
    /// The reason in the response to a denied request; `None` for a default message.
    pub reason: Option<T>,
}

/// The lowest severity at which a clause denies.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MinSeverity {
    /// The state is unknown, or worse.
    Unknown,
    /// A warning, or worse.
    Warning,
    /// An alert.
    Alert,
}

/// The host accepts 64 roles in a decision, and role names of up to 64 bytes. The settings add to five built-in roles.
const MAX_ROLES: usize = 59;
const ROLE_BYTES: usize = 64;

/// The subject precedes the reason, and the message is cut at 1,500 bytes.
const REASON_BYTES: usize = 1000;

fn built_in_roles() -> BTreeMap<String, Vec<String>> {
    const READER: [&str; 9] = [
        "health.read",
        "service.read",
        "docs.read",
        "metrics.read",
        "history.read",
        "chunks.read",
        "alerts.read",
        "sessions.read",
        "rules.read",
    ];
    let role = |name: &str, actions: &[&str]| {
        (
            name.to_owned(),
            actions.iter().map(|action| (*action).to_owned()).collect(),
        )
    };
    let user = [READER.as_slice(), &["alerts.silence", "sessions.run", "chunks.write"]].concat();
    BTreeMap::from([
        role(ANONYMOUS, &["health.read", "service.read", "docs.read"]),
        role("reader", &READER),
        role("user", &user),
        role("agent", &["metrics.push", "chunks.read", "chunks.write"]),
        role("admin", &["*"]),
    ])
}

impl Settings {
    /// The same settings with the built-in roles that they do not replace. Roles are added after the check, because a
    /// host may lack an action of a built-in role.
    pub(crate) fn with_built_in_roles(mut self) -> Self {
        for (role, granted) in built_in_roles() {
            self.roles.entry(role).or_insert(granted);
        }
        self
    }

    pub(crate) fn problems(&self, actions: &[String]) -> Vec<Problem> {
        let mut problems = Vec::new();
        let known: BTreeSet<String> = self.roles.keys().cloned().chain(built_in_roles().into_keys()).collect();
        if self.roles.len() > MAX_ROLES {
            let what = format!("there are {} roles; at most {MAX_ROLES} are allowed", self.roles.len());
            return vec![Problem::new("/roles", what)];
        }
        for (at, entry) in self.identities.iter().enumerate() {
            if entry.fields.is_empty() {
                let what = "match at least one field; every client has the role anonymous anyway";
                problems.push(Problem::new(format!("/identities/{at}/match"), what));
            }
            check_roles(&known, &entry.roles, &format!("/identities/{at}/roles"), &mut problems);
        }
        for (role, granted) in &self.roles {
            if is_blank(role) || role.contains(char::is_control) || role.len() > ROLE_BYTES {
                let what = format!("a role name must have 1 to {ROLE_BYTES} bytes and no control characters");
                problems.push(Problem::new(format!("/roles/{}", pointer(role)), what));
            }
            check_actions(actions, granted, &format!("/roles/{}", pointer(role)), &mut problems);
        }
        let metrics: BTreeSet<_> = self.clauses.iter().map(|clause| plan_pattern(&clause.metric)).collect();
        if metrics.len() > MAX_METRICS {
            let count = metrics.len();
            let what = format!("the clauses name {count} metrics; at most {MAX_METRICS} are allowed: use patterns");
            problems.push(Problem::new("/while", what));
        }
        for (at, clause) in self.clauses.iter().enumerate() {
            problems.extend(clause.problems(&format!("/while/{at}")));
            check_actions(actions, &clause.deny, &format!("/while/{at}/deny"), &mut problems);
            check_roles(&known, &clause.except, &format!("/while/{at}/except"), &mut problems);
            if let Some(index) = clause.except.iter().position(|role| role == ANONYMOUS) {
                let what = "every client has the role anonymous, so the clause would never deny anything";
                problems.push(Problem::new(format!("/while/{at}/except/{index}"), what));
            }
            if clause.deny.is_empty() {
                problems.push(Problem::new(format!("/while/{at}/deny"), "name the actions to deny"));
            }
        }
        if actions.len() > MAX_ACTIONS {
            problems.push(Problem::new(
                "",
                format!("this rule supports at most {MAX_ACTIONS} actions"),
            ));
        }
        problems
    }
}

impl Clause<String> {
    /// The problems of its names and its reason.
    fn problems(&self, place: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut wrong = |field: &str, what: String| problems.push(Problem::new(format!("{place}{field}"), what));
        if let Some(what) = metric_name_error(&self.metric) {
            wrong("/metric", what);
        }
        for name in self.labels.keys() {
            if let Some(what) = label_name_error(name) {
                wrong(&format!("/labels/{}", pointer(name)), what);
            }
        }
        match self.reason.as_deref() {
            Some(reason) if is_blank(reason) => {
                wrong(
                    "/reason",
                    "write a reason, or leave it out for the default one".to_owned(),
                );
            }
            Some(reason) if reason.len() > REASON_BYTES => {
                let length = reason.len();
                wrong(
                    "/reason",
                    format!("the reason has {length} bytes; write one message of at most {REASON_BYTES} bytes"),
                );
            }
            _ => {}
        }
        problems
    }
}

fn check_roles(known: &BTreeSet<String>, named: &[String], at: &str, problems: &mut Vec<Problem>) {
    for (index, role) in named.iter().enumerate().filter(|(_, role)| !known.contains(*role)) {
        let names: Vec<_> = known.iter().map(String::as_str).collect();
        let what = format!("there is no role {role}; the roles are {}", names.join(", "));
        problems.push(Problem::new(format!("{at}/{index}"), what));
    }
}

fn check_actions(known: &[String], named: &[String], at: &str, problems: &mut Vec<Problem>) {
    let matches_none = |pattern: &String| !known.iter().any(|action| matches(pattern, action, PLAIN));
    for (index, pattern) in named.iter().enumerate().filter(|(_, pattern)| matches_none(pattern)) {
        let what = format!("{pattern} matches no action; the actions are {}", known.join(", "));
        problems.push(Problem::new(format!("{at}/{index}"), what));
    }
}

impl<T: Ord> Default for Fields<T> {
    fn default() -> Self {
        Self {
            subject: None,
            subject_slash: None,
            attributes: BTreeMap::new(),
            issuer: None,
            dns: None,
            uri: None,
            email: None,
            fingerprint: None,
            token: None,
        }
    }
}

impl<T: Ord + AsRef<str>> Fields<T> {
    fn is_empty(&self) -> bool {
        !self.has_certificate_fields() && self.token.is_none()
    }

    pub(crate) fn has_certificate_fields(&self) -> bool {
        let texts = [
            &self.subject,
            &self.subject_slash,
            &self.issuer,
            &self.dns,
            &self.uri,
            &self.email,
            &self.fingerprint,
        ];
        texts.iter().any(|field| field.is_some()) || !self.attributes.is_empty()
    }
}
