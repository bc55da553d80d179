//! What an operator may write about roles, and what is wrong with it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use watchpost_rule::names::{MAX_METRICS, mistake_in_label, mistake_in_metric};
use watchpost_rule::pattern::{PLAIN, matches, wanted};
use watchpost_rule::text::is_blank;
use watchpost_rule::{Problem, pointer};

use crate::ANONYMOUS;
use crate::prepared::MAX_ACTIONS;

/// The settings. What is left out has its default; what is given replaces it whole.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Who has which roles. An identity has the roles of every entry that matches it.
    #[serde(default = "default_identities")]
    pub identities: Vec<Entry<String>>,
    /// Which role may do what: actions, or patterns such as `*.read`.
    #[serde(default = "default_roles")]
    pub roles: BTreeMap<String, Vec<String>>,
    /// What is taken away while something is not ok.
    #[serde(default, rename = "while")]
    pub clauses: Vec<Clause<String>>,
}

/// Identities, and the roles that they have. The texts are the operator's when settings are checked, and
/// borrowed from what was prepared when a request is decided.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry<T: Ord> {
    /// Every field that is given has to match.
    #[serde(rename = "match")]
    pub fields: Fields<T>,
    /// The roles.
    pub roles: Vec<T>,
}

/// The fields of an identity. `*` stands for anything within one part of a name, `**` for anything.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fields<T: Ord> {
    /// The subject as RFC 4514 writes it.
    pub subject: Option<T>,
    /// The subject as grid people write it.
    pub subject_slash: Option<T>,
    /// Attributes of the subject, each by its short name.
    pub attributes: BTreeMap<T, T>,
    /// The issuer as RFC 4514 writes it.
    pub issuer: Option<T>,
    /// Any of the DNS names.
    pub dns: Option<T>,
    /// Any of the URIs.
    pub uri: Option<T>,
    /// Any of the e-mail addresses.
    pub email: Option<T>,
    /// The fingerprint.
    pub fingerprint: Option<T>,
    /// The name of a token.
    pub token: Option<T>,
}

/// What is taken away, from whom, while what is how bad.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clause<T: Ord> {
    /// A metric's name, or a pattern with `*`.
    pub metric: T,
    /// Patterns that the labels of the subject have to match.
    #[serde(default = "BTreeMap::new")]
    pub labels: BTreeMap<T, T>,
    /// The severity from which it holds.
    pub at_least: InvalidEntry,
    /// Actions, or patterns such as `sessions.*`.
    pub deny: Vec<T>,
    /// Roles that keep what is taken from the others.
    #[serde(default = "Vec::new")]
    pub except: Vec<T>,
    /// What the one who asked is told.
    pub reason: Option<T>,
}

/// A severity that is not ok.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InvalidEntry {
    /// Nobody knows.
    Unknown,
    /// Someone should look soon.
    Warning,
    /// Someone should look now.
    Alert,
}

/// The host takes 64 from a decision, and never longer names than these.
const MAX_ROLES: usize = 60;
const ROLE_BYTES: usize = 64;

/// A sentence for the one who asked; the subject stands before it, and the whole is cut at 1,500.
const REASON_BYTES: usize = 1000;

/// The issuer of the certificates that Watchpost makes itself for development.
const DEVELOPMENT_ISSUER: &str = "CN=Watchpost development CA,O=Watchpost";

fn default_identities() -> Vec<Entry<String>> {
    let of_ou = |role: &str| Entry {
        fields: Fields {
            issuer: Some(DEVELOPMENT_ISSUER.to_owned()),
            attributes: BTreeMap::from([("OU".to_owned(), role.to_owned())]),
            ..Fields::default()
        },
        roles: vec![role.to_owned()],
    };
    ["admin", "user", "reader", "agent"].map(of_ou).into()
}

fn default_roles() -> BTreeMap<String, Vec<String>> {
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

impl Default for Settings {
    fn default() -> Self {
        Self {
            identities: default_identities(),
            roles: default_roles(),
            clauses: Vec::new(),
        }
    }
}

impl Settings {
    pub(crate) fn mistakes(&self, actions: &[String]) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.roles.len() > MAX_ROLES {
            let what = format!(
                "there are {} roles, and at most {MAX_ROLES} are taken",
                self.roles.len()
            );
            return vec![Problem::new("/roles", what)];
        }
        for (at, entry) in self.identities.iter().enumerate() {
            if entry.fields.is_empty() {
                let what = "match at least one field; everyone has the role anonymous anyway";
                problems.push(Problem::new(format!("/identities/{at}/match"), what));
            }
            check_roles(
                &self.roles,
                &entry.roles,
                &format!("/identities/{at}/roles"),
                &mut problems,
            );
        }
        for (role, granted) in &self.roles {
            if is_blank(role) || role.contains(char::is_control) || role.len() > ROLE_BYTES {
                let what = format!("a role is named by 1 to {ROLE_BYTES} bytes of plain text");
                problems.push(Problem::new(format!("/roles/{}", pointer(role)), what));
            }
            check_actions(actions, granted, &format!("/roles/{}", pointer(role)), &mut problems);
        }
        let metrics: BTreeSet<_> = self.clauses.iter().map(|clause| wanted(&clause.metric)).collect();
        if metrics.len() > MAX_METRICS {
            let count = metrics.len();
            let what = format!("they look at {count} metrics, and at most {MAX_METRICS} are taken: use patterns");
            problems.push(Problem::new("/while", what));
        }
        for (at, clause) in self.clauses.iter().enumerate() {
            problems.extend(clause.mistakes(&format!("/while/{at}")));
            check_actions(actions, &clause.deny, &format!("/while/{at}/deny"), &mut problems);
            check_roles(
                &self.roles,
                &clause.except,
                &format!("/while/{at}/except"),
                &mut problems,
            );
            if let Some(index) = clause.except.iter().position(|role| role == ANONYMOUS) {
                let what = "everyone has the role anonymous, so nothing would be taken from anyone";
                problems.push(Problem::new(format!("/while/{at}/except/{index}"), what));
            }
            if clause.deny.is_empty() {
                problems.push(Problem::new(
                    format!("/while/{at}/deny"),
                    "name the actions that are taken away",
                ));
            }
        }
        if actions.len() > MAX_ACTIONS {
            problems.push(Problem::new(
                "",
                format!("this rule can tell {} actions apart, no more", MAX_ACTIONS),
            ));
        }
        problems
    }
}

impl Clause<String> {
    /// What is wrong with its names and its reason.
    fn mistakes(&self, place: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut wrong = |field: &str, what: String| problems.push(Problem::new(format!("{place}{field}"), what));
        if let Some(what) = mistake_in_metric(&self.metric) {
            wrong("/metric", what);
        }
        for name in self.labels.keys() {
            if let Some(what) = mistake_in_label(name) {
                wrong(&format!("/labels/{}", pointer(name)), what);
            }
        }
        match self.reason.as_deref() {
            Some(reason) if is_blank(reason) => {
                wrong("/reason", "write a reason, or leave it out for one of ours".to_owned());
            }
            Some(reason) if reason.len() > REASON_BYTES => {
                let length = reason.len();
                wrong(
                    "/reason",
                    format!("it has {length} bytes; use one sentence, at most {REASON_BYTES} bytes"),
                );
            }
            _ => {}
        }
        problems
    }
}

fn check_roles(known: &BTreeMap<String, Vec<String>>, named: &[String], at: &str, problems: &mut Vec<Problem>) {
    for (index, role) in named.iter().enumerate().filter(|(_, role)| !known.contains_key(*role)) {
        let names: Vec<_> = known.keys().map(String::as_str).collect();
        let what = format!("there is no role {role}; the roles are {}", names.join(", "));
        problems.push(Problem::new(format!("{at}/{index}"), what));
    }
}

fn check_actions(known: &[String], named: &[String], at: &str, problems: &mut Vec<Problem>) {
    let matches_none = |pattern: &String| !known.iter().any(|action| matches(pattern, action, PLAIN));
    for (index, pattern) in named.iter().enumerate().filter(|(_, pattern)| matches_none(pattern)) {
        let what = format!("{pattern} is no action; the actions are {}", known.join(", "));
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
        !self.speaks_of_certificates() && self.token.is_none()
    }

    pub(crate) fn speaks_of_certificates(&self) -> bool {
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
