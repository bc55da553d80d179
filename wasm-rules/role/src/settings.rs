//! What an operator may write about roles, what is wrong with it, and how an identity is matched.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use watchpost_rule::Problem;
use watchpost_rule::pattern::Pattern;
use watchpost_rule::role::{Certificate, Identity, Label, Severity, Standing, Subject};

use crate::ANYONE;

/// The settings. What is left out has its default; what is given replaces it whole.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Who has which roles. An identity has the roles of every entry that matches it.
    #[serde(default = "default_identities")]
    pub identities: Vec<Entry>,
    /// Which role may do what: actions, or patterns such as `*.read`.
    #[serde(default = "default_roles")]
    pub roles: BTreeMap<String, Vec<Pattern>>,
    /// What is taken away while something is not ok.
    #[serde(default, rename = "while")]
    pub clauses: Vec<Clause>,
}

/// Identities, and the roles that they have.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Every field that is given has to match.
    #[serde(rename = "match")]
    pub fields: Fields,
    /// The roles.
    pub roles: Vec<String>,
}

/// The fields of an identity. `*` stands for anything within one part of a name, `**` for anything.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fields {
    /// The subject as RFC 4514 writes it.
    pub subject: Option<Pattern>,
    /// The subject as grid people write it.
    pub subject_slash: Option<Pattern>,
    /// Attributes of the subject, each by its short name.
    pub attributes: BTreeMap<String, Pattern>,
    /// The issuer as RFC 4514 writes it.
    pub issuer: Option<Pattern>,
    /// Any of the DNS names.
    pub dns: Option<Pattern>,
    /// Any of the URIs.
    pub uri: Option<Pattern>,
    /// Any of the e-mail addresses.
    pub email: Option<Pattern>,
    /// The fingerprint.
    pub fingerprint: Option<Pattern>,
    /// The name of a token.
    pub token: Option<Pattern>,
}

/// What is taken away, from whom, while what is how bad.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clause {
    /// A metric's name, or a pattern with `*`.
    pub metric: Pattern,
    /// Patterns that the labels of the subject have to match.
    #[serde(default)]
    pub labels: BTreeMap<String, Pattern>,
    /// The severity from which it holds.
    pub at_least: Bad,
    /// Actions, or patterns such as `sessions.*`.
    pub take: Vec<Pattern>,
    /// Roles that keep what is taken from the others.
    #[serde(default)]
    pub except: Vec<String>,
    /// What the one who asked is told.
    pub reason: Option<String>,
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

/// The settings as they are decided by: checked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Prepared {
    identities: Vec<Entry>,
    roles: Vec<(String, Vec<Pattern>)>,
    pub(crate) clauses: Vec<Clause>,
}

/// The issuer of the certificates that Watchpost makes itself for development.
const DEVELOPMENT_ISSUER: &str = "CN=Watchpost development CA,O=Watchpost";

fn default_identities() -> Vec<Entry> {
    let of_ou = |role: &str| Entry {
        fields: Fields {
            issuer: Some(Pattern::new(DEVELOPMENT_ISSUER)),
            attributes: BTreeMap::from([("OU".to_owned(), Pattern::new(role))]),
            ..Fields::default()
        },
        roles: vec![role.to_owned()],
    };
    ["admin", "user", "reader", "agent"].map(of_ou).into()
}

fn default_roles() -> BTreeMap<String, Vec<Pattern>> {
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
    let role = |name: &str, actions: &[&str]| (name.to_owned(), actions.iter().copied().map(Pattern::new).collect());
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
    pub(crate) fn prepare(self, actions: &[String]) -> Result<Prepared, Vec<Problem>> {
        let mut problems = Vec::new();
        for (at, entry) in self.identities.iter().enumerate() {
            if entry.fields.is_empty() {
                let what = "match at least one field; everyone has the role anonymous anyway";
                problems.push(Problem::new(format!("/identities/{at}/match"), what));
            }
            check_roles(&self.roles, &entry.roles, &format!("/identities/{at}/roles"), &mut problems);
        }
        for (role, granted) in &self.roles {
            check_actions(actions, granted, &format!("/roles/{}", pointer(role)), &mut problems);
        }
        for (at, clause) in self.clauses.iter().enumerate() {
            check_actions(actions, &clause.take, &format!("/while/{at}/take"), &mut problems);
            check_roles(&self.roles, &clause.except, &format!("/while/{at}/except"), &mut problems);
            if clause.take.is_empty() {
                problems.push(Problem::new(format!("/while/{at}/take"), "name the actions that are taken away"));
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Prepared {
            identities: self.identities,
            roles: self.roles.into_iter().collect(),
            clauses: self.clauses,
        })
    }
}

fn check_roles(known: &BTreeMap<String, Vec<Pattern>>, named: &[String], at: &str, problems: &mut Vec<Problem>) {
    for (index, role) in named.iter().enumerate().filter(|(_, role)| !known.contains_key(*role)) {
        let names: Vec<_> = known.keys().map(String::as_str).collect();
        let what = format!("there is no role {role}; the roles are {}", names.join(", "));
        problems.push(Problem::new(format!("{at}/{index}"), what));
    }
}

fn check_actions(known: &[String], named: &[Pattern], at: &str, problems: &mut Vec<Problem>) {
    let matches_none = |pattern: &Pattern| !known.iter().any(|action| pattern.matches(action, None));
    for (index, pattern) in named.iter().enumerate().filter(|(_, pattern)| matches_none(pattern)) {
        let what = format!("{} is no action; the actions are {}", pattern.as_str(), known.join(", "));
        problems.push(Problem::new(format!("{at}/{index}"), what));
    }
}

/// A name as a part of a JSON Pointer.
fn pointer(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

impl Prepared {
    pub(crate) fn roles_of(&self, identity: &Identity) -> Vec<String> {
        let mut roles: Vec<String> = Vec::new();
        let matching = self.identities.iter().filter(|entry| entry.fields.matches(identity));
        for role in matching.flat_map(|entry| &entry.roles) {
            if !roles.contains(role) {
                roles.push(role.clone());
            }
        }
        roles
    }

    pub(crate) fn grants(&self, role: &str, action: &str) -> bool {
        let of_role = self.roles.iter().find(|(name, _)| name == role);
        of_role.is_some_and(|(_, granted)| granted.iter().any(|pattern| pattern.matches(action, None)))
    }
}

impl Fields {
    fn is_empty(&self) -> bool {
        let texts = [
            &self.subject,
            &self.subject_slash,
            &self.issuer,
            &self.dns,
            &self.uri,
            &self.email,
            &self.fingerprint,
            &self.token,
        ];
        texts.iter().all(|field| field.is_none()) && self.attributes.is_empty()
    }

    fn matches(&self, identity: &Identity) -> bool {
        match identity {
            Identity::Anonymous => false,
            Identity::Certificate(certificate) => self.token.is_none() && self.matches_certificate(certificate),
            Identity::Token(name) => {
                let others = Self {
                    token: None,
                    ..self.clone()
                };
                others.is_empty() && one(&self.token, name, None)
            }
        }
    }

    fn matches_certificate(&self, certificate: &Certificate) -> bool {
        one(&self.issuer, &certificate.issuer, Some(','))
            && self.attributes.iter().all(|(kind, pattern)| has(&certificate.subject_attributes, kind, pattern))
            && one(&self.subject, &certificate.subject, Some(','))
            && one(&self.subject_slash, &certificate.subject_slash, Some('/'))
            && one(&self.fingerprint, &certificate.fingerprint, None)
            && any(&self.dns, &certificate.dns_names, '.')
            && any(&self.uri, &certificate.uris, '/')
            && any(&self.email, &certificate.emails, '@')
    }
}

fn one(pattern: &Option<Pattern>, text: &str, separator: Option<char>) -> bool {
    pattern.as_ref().is_none_or(|pattern| pattern.matches(text, separator))
}

fn any(pattern: &Option<Pattern>, texts: &[String], separator: char) -> bool {
    let Some(pattern) = pattern else { return true };
    texts.iter().any(|text| pattern.matches(text, Some(separator)))
}

fn has(attributes: &[Label], kind: &str, pattern: &Pattern) -> bool {
    let mut attributes = attributes.iter().filter(|attribute| attribute.name == kind);
    attributes.any(|attribute| pattern.matches(&attribute.value, None))
}

impl Clause {
    pub(crate) fn holds(&self, standing: &Standing) -> bool {
        let from = match self.at_least {
            Bad::Unknown => Severity::Unknown,
            Bad::Warning => Severity::Warning,
            Bad::Alert => Severity::Alert,
        };
        let labels = &standing.subject.labels;
        standing.severity >= from
            && self.metric.matches(&standing.subject.metric, None)
            && self.labels.iter().all(|(name, pattern)| has(labels, name, pattern))
    }

    pub(crate) fn takes(&self, action: &str, roles: &[String]) -> bool {
        self.take.iter().any(|pattern| pattern.matches(action, None))
            && !roles.iter().any(|role| self.except.contains(role))
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
    let labels: Vec<_> = subject.labels.iter().map(|label| format!("{}={:?}", label.name, label.value)).collect();
    if labels.is_empty() {
        return subject.metric.clone();
    }
    format!("{}{{{}}}", subject.metric, labels.join(","))
}
