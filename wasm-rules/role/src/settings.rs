//! What an operator may write about roles, what is wrong with it, and how an identity is matched.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use watchpost_rule::Problem;
use watchpost_rule::pattern::{NAME, PLAIN, Stops, matches};
use watchpost_rule::role::{Certificate, Identity, Label, Severity, Standing, Subject};

use crate::ANYONE;

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
    pub at_least: Bad,
    /// Actions, or patterns such as `sessions.*`.
    pub take: Vec<T>,
    /// Roles that keep what is taken from the others.
    #[serde(default = "Vec::new")]
    pub except: Vec<T>,
    /// What the one who asked is told.
    pub reason: Option<T>,
}

/// A severity that is not ok.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bad {
    /// Nobody knows.
    Unknown,
    /// Someone should look soon.
    Warning,
    /// Someone should look now.
    Alert,
}

/// The settings as they are decided by: checked, and with every pattern for actions matched already.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Prepared<T: Ord> {
    /// All actions, with a space between them; their places are the bits of [`Actions`].
    all: T,
    identities: Vec<Entry<T>>,
    roles: Vec<(T, Actions)>,
    pub(crate) clauses: Vec<Taking<T>>,
}

/// A set of actions, one bit each.
type Actions = u64;

/// A clause whose actions are known.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Taking<T: Ord> {
    pub(crate) clause: Clause<T>,
    taken: Actions,
}

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
        role(ANYONE, &["health.read", "service.read", "docs.read"]),
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
    pub(crate) fn prepare(self, actions: &[String]) -> Result<Prepared<String>, Vec<Problem>> {
        let mut problems = Vec::new();
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
            check_actions(actions, granted, &format!("/roles/{}", pointer(role)), &mut problems);
        }
        for (at, clause) in self.clauses.iter().enumerate() {
            check_actions(actions, &clause.take, &format!("/while/{at}/take"), &mut problems);
            check_roles(
                &self.roles,
                &clause.except,
                &format!("/while/{at}/except"),
                &mut problems,
            );
            if let Some(index) = clause.except.iter().position(|role| role == ANYONE) {
                let what = "everyone has the role anonymous, so nothing would be taken from anyone";
                problems.push(Problem::new(format!("/while/{at}/except/{index}"), what));
            }
            if clause.take.is_empty() {
                problems.push(Problem::new(
                    format!("/while/{at}/take"),
                    "name the actions that are taken away",
                ));
            }
        }
        if actions.len() > Actions::BITS as usize {
            problems.push(Problem::new(
                "",
                format!("this rule can tell {} actions apart, no more", Actions::BITS),
            ));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let taking = |mut clause: Clause<String>| {
            let taken = matched(actions, &std::mem::take(&mut clause.take));
            Taking { clause, taken }
        };
        Ok(Prepared {
            all: actions.join(" "),
            identities: self.identities,
            roles: self
                .roles
                .into_iter()
                .map(|(role, granted)| (role, matched(actions, &granted)))
                .collect(),
            clauses: self.clauses.into_iter().map(taking).collect(),
        })
    }
}

fn matched(actions: &[String], patterns: &[String]) -> Actions {
    let is_matched = |action: &String| patterns.iter().any(|pattern| matches(pattern, action, PLAIN));
    let bits = actions.iter().enumerate().filter(|(_, action)| is_matched(action));
    bits.fold(0, |set, (bit, _)| set | 1 << bit)
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

/// A name as a part of a JSON Pointer.
fn pointer(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
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

    fn speaks_of_certificates(&self) -> bool {
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
    pub(crate) fn holds(&self, standing: &Standing) -> bool {
        let from = match self.at_least {
            Bad::Unknown => Severity::Unknown,
            Bad::Warning => Severity::Warning,
            Bad::Alert => Severity::Alert,
        };
        let labels = &standing.subject.labels;
        standing.severity >= from
            && matches(self.metric, &standing.subject.metric, PLAIN)
            && self.labels.iter().all(|(name, pattern)| has(labels, name, pattern))
    }
}

impl Taking<&str> {
    pub(crate) fn takes(&self, action: Actions, roles: &[&str]) -> bool {
        self.taken & action != 0 && !roles.iter().any(|role| self.clause.except.contains(role))
    }
}

pub(crate) fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Ok => "ok",
        Severity::Unknown => "unknown",
        Severity::Warning => "warning",
        Severity::Alert => "alert",
    }
}

pub(crate) fn series(subject: &Subject) -> String {
    let labels: Vec<_> = subject
        .labels
        .iter()
        .map(|label| format!("{}={:?}", label.name, label.value))
        .collect();
    if labels.is_empty() {
        return subject.metric.clone();
    }
    format!("{}{{{}}}", subject.metric, labels.join(","))
}
