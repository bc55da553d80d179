//! Identities, requests and decisions. Certificates and tokens are verified elsewhere; this module trusts its input.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::digest::Digest;
use crate::fault::Fault;
use crate::name::DistinguishedName;
use crate::series::Labels;

/// The identity of a client.
#[derive(Clone, Debug)]
pub struct Identity {
    kind: IdentityKind,
    /// The names in the formats of the contract, computed once instead of per request.
    written: Arc<Written>,
    /// The roles that the server assigns to the identity.
    assigned_roles: Arc<[Box<str>]>,
    /// The kind of proxy certificate by which the client acts for the identity.
    proxy: Option<ProxyKind>,
    /// Digest over all fields that a rule receives, for fast comparison.
    digest: Digest,
}

#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) subject: String,
    pub(crate) subject_slash: String,
    pub(crate) issuer: String,
    pub(crate) fingerprint: String,
}

/// How the client is authenticated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum IdentityKind {
    /// The client is not authenticated.
    Anonymous,
    /// A verified client certificate.
    Certificate(Arc<Certificate>),
    /// A verified bearer token.
    Token {
        /// The name of the token, never its secret.
        name: Arc<str>,
    },
}

/// A kind of proxy certificate (RFC 3820), which the owner of a certificate signs for a program that acts for the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProxyKind {
    /// The proxy has all rights of its owner (`id-ppl-inheritAll`).
    Full,
    /// A limited proxy of the Globus Toolkit: the owner wants it to be used for less, and rules decide for what.
    Limited,
}

impl ProxyKind {
    /// The name in rules and documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Limited => "limited",
        }
    }
}

/// The name of the fact that has the kind of the proxy certificate.
const PROXY_FACT: &str = "proxy";

/// The facts about an identity that rules receive with each request.
fn facts_about(proxy: Option<ProxyKind>) -> &'static Labels {
    static NONE: Labels = Labels::none();
    static FULL: LazyLock<Labels> = LazyLock::new(|| proxy_fact(ProxyKind::Full));
    static LIMITED: LazyLock<Labels> = LazyLock::new(|| proxy_fact(ProxyKind::Limited));
    match proxy {
        None => &NONE,
        Some(ProxyKind::Full) => &FULL,
        Some(ProxyKind::Limited) => &LIMITED,
    }
}

fn proxy_fact(kind: ProxyKind) -> Labels {
    Labels::new([(PROXY_FACT, kind.as_str())]).expect("the name is valid")
}

/// The fields of a verified certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Certificate {
    /// The subject's distinguished name.
    pub subject: DistinguishedName,
    /// The issuer's distinguished name.
    pub issuer: DistinguishedName,
    /// DNS names in the subject's alternative names.
    pub dns_names: Vec<String>,
    /// URIs in the subject's alternative names.
    pub uris: Vec<String>,
    /// E-mail addresses in the subject's alternative names.
    pub emails: Vec<String>,
    /// SHA-256 over the certificate.
    pub fingerprint: Digest,
}

impl Identity {
    /// The client is not authenticated.
    pub fn anonymous() -> Self {
        Self {
            kind: IdentityKind::Anonymous,
            written: Arc::default(),
            assigned_roles: Arc::default(),
            proxy: None,
            digest: Digest::of(b"anonymous"),
        }
    }

    /// The owner of a certificate that the caller has verified.
    pub fn of_certificate(certificate: Certificate) -> Self {
        let written = Written {
            subject: certificate.subject.rfc4514(),
            subject_slash: certificate.subject.slash(),
            issuer: certificate.issuer.rfc4514(),
            fingerprint: certificate.fingerprint.to_string(),
        };
        let mut hash = Sha256::new();
        hash.update(b"certificate");
        hash.update(certificate.fingerprint.as_bytes());
        let lists = [&certificate.dns_names, &certificate.uris, &certificate.emails];
        let names = [&written.subject, &written.subject_slash, &written.issuer];
        for text in names.into_iter().chain(lists.into_iter().flatten()) {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        }
        hash.update(lists.map(|list| list.len().to_le_bytes()).concat());
        Self {
            kind: IdentityKind::Certificate(Arc::new(certificate)),
            written: Arc::new(written),
            assigned_roles: Arc::default(),
            proxy: None,
            digest: Digest::from(<[u8; 32]>::from(hash.finalize())),
        }
    }

    /// The bearer of a token that the caller has verified.
    pub fn of_token(name: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"token");
        hash.update(name.as_bytes());
        Self {
            kind: IdentityKind::Token { name: name.into() },
            written: Arc::default(),
            assigned_roles: Arc::default(),
            proxy: None,
            digest: Digest::from(<[u8; 32]>::from(hash.finalize())),
        }
    }

    /// The same identity, for which a client acts by a proxy certificate.
    #[must_use]
    pub fn with_proxy(self, kind: ProxyKind) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"proxy");
        hash.update(self.digest.as_bytes());
        hash.update(kind.as_str());
        Self {
            proxy: Some(kind),
            digest: Digest::from(<[u8; 32]>::from(hash.finalize())),
            ..self
        }
    }

    /// The kind of proxy certificate by which the client acts for the identity; `None` if it has the identity's own
    /// certificate or no certificate.
    pub fn proxy(&self) -> Option<ProxyKind> {
        self.proxy
    }

    /// The same identity with roles that the server assigns to it. The role rule decides what they allow.
    #[must_use]
    pub fn with_assigned_roles<R: Into<Box<str>>>(self, roles: impl IntoIterator<Item = R>) -> Self {
        let assigned_roles: Arc<[Box<str>]> = roles.into_iter().map(Into::into).collect();
        if assigned_roles.is_empty() {
            return Self { assigned_roles, ..self };
        }
        let mut hash = Sha256::new();
        hash.update(b"assigned roles");
        hash.update(self.digest.as_bytes());
        for role in assigned_roles.iter() {
            hash.update((role.len() as u64).to_le_bytes());
            hash.update(role.as_bytes());
        }
        Self {
            assigned_roles,
            digest: Digest::from(<[u8; 32]>::from(hash.finalize())),
            ..self
        }
    }

    /// The roles that the server assigns to the identity: those of a token in the configuration, or that of a
    /// certificate of the server's development authority.
    pub fn assigned_roles(&self) -> &[Box<str>] {
        &self.assigned_roles
    }

    /// How the client is authenticated.
    pub fn kind(&self) -> &IdentityKind {
        &self.kind
    }

    pub(crate) fn written(&self) -> &Written {
        &self.written
    }

    pub(crate) fn digest(&self) -> &Digest {
        &self.digest
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            IdentityKind::Anonymous => f.write_str("anonymous"),
            IdentityKind::Certificate(certificate) => write!(f, "{}", certificate.subject),
            IdentityKind::Token { name } => write!(f, "token {name}"),
        }
    }
}

impl Serialize for Identity {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Fields<'i> {
            #[serde(flatten)]
            kind: &'i IdentityKind,
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            assigned_roles: &'i [Box<str>],
            #[serde(skip_serializing_if = "Option::is_none")]
            proxy: Option<ProxyKind>,
        }
        let fields = Fields {
            kind: &self.kind,
            assigned_roles: &self.assigned_roles,
            proxy: self.proxy,
        };
        fields.serialize(serializer)
    }
}

macro_rules! actions {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// The actions of requests. The list is complete: role rules receive it, and a request has one of them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub enum Action {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Action {
            /// All actions.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name in rules and logs.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

impl Action {
    /// Whether no request needs the action yet. A role may name it, and it has no effect.
    pub const fn is_reserved(self) -> bool {
        matches!(
            self,
            Self::MetricsPush
                | Self::AlertsRead
                | Self::AlertsSilence
                | Self::SessionsRead
                | Self::SessionsRun
                | Self::ServerManage
        )
    }
}

actions! {
    /// Read the health of Watchpost.
    HealthRead = "health.read",
    /// Read the service page and one's own identity.
    ServiceRead = "service.read",
    /// Read the documents of the API.
    DocsRead = "docs.read",
    /// Read status, snapshot and report, and scrape metrics.
    MetricsRead = "metrics.read",
    /// Reserved: push metrics measured elsewhere.
    MetricsPush = "metrics.push",
    /// Read recorded measurements and findings.
    HistoryRead = "history.read",
    /// Read work chunks.
    ChunksRead = "chunks.read",
    /// Report work chunks.
    ChunksWrite = "chunks.write",
    /// Reserved: read alerts and silences.
    AlertsRead = "alerts.read",
    /// Reserved: silence alerts.
    AlertsSilence = "alerts.silence",
    /// Reserved: read monitoring sessions.
    SessionsRead = "sessions.read",
    /// Reserved: start and stop monitoring sessions.
    SessionsRun = "sessions.run",
    /// Read rules, their versions and their audit log.
    RulesRead = "rules.read",
    /// Upload, activate and roll back rules.
    RulesWrite = "rules.write",
    /// Read decision records.
    DecisionsRead = "decisions.read",
    /// Reserved: reload the configuration and manage the server.
    ServerManage = "server.manage",
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Unknown action.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown action \"{0}\"")]
pub struct UnknownAction(String);

impl FromStr for Action {
    type Err = UnknownAction;
    fn from_str(name: &str) -> Result<Self, UnknownAction> {
        let found = Self::ALL.iter().find(|action| action.as_str() == name);
        found.copied().ok_or_else(|| UnknownAction(name.to_owned()))
    }
}

impl TryFrom<String> for Action {
    type Error = UnknownAction;
    fn try_from(name: String) -> Result<Self, UnknownAction> {
        name.parse()
    }
}

impl From<Action> for String {
    fn from(action: Action) -> Self {
        action.as_str().to_owned()
    }
}

/// A request for access.
#[derive(Clone, Copy, Debug)]
pub struct Request<'r> {
    /// The identity of the client.
    pub identity: &'r Identity,
    /// The requested action.
    pub action: Action,
    /// The affected resource, such as the name of a rule; often empty.
    pub resource: &'r str,
    /// Further facts about the request.
    pub facts: &'r Labels,
}

impl<'r> Request<'r> {
    /// A request without a resource, and with the facts about the identity only.
    pub fn new(identity: &'r Identity, action: Action) -> Self {
        Self {
            identity,
            action,
            resource: "",
            facts: facts_about(identity.proxy),
        }
    }
}

/// A decision of the role rule of a generation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Decision {
    /// Allow, or deny with a reason.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// The roles that the identity has.
    pub roles: Vec<String>,
    /// The rule that decided.
    pub rule: String,
    /// Its digest.
    pub digest: Digest,
    /// The generation that decided.
    pub generation: u64,
}

/// Allow, or deny with a reason.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase", tag = "verdict")]
pub enum Verdict {
    /// The request is allowed.
    Allow,
    /// The request is denied.
    Deny {
        /// A message for the client.
        reason: String,
    },
    /// The rule failed. A fault never allows.
    Fault {
        /// The fault.
        fault: Fault,
    },
}

impl Decision {
    /// Whether the request is allowed.
    pub fn is_allowed(&self) -> bool {
        self.verdict == Verdict::Allow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_has_a_name_of_its_own() {
        for action in Action::ALL {
            assert_eq!(action.as_str().parse(), Ok(*action));
            let (noun, verb) = action.as_str().split_once('.').expect("a noun and a verb");
            assert!(!noun.is_empty() && !verb.is_empty());
        }
        assert!("rule.write".parse::<Action>().is_err());
    }

    #[test]
    fn an_identity_with_other_assigned_roles_is_another_one_for_a_cached_decision() {
        let token = |roles: &[&str]| Identity::of_token("ci").with_assigned_roles(roles.iter().copied());
        assert_eq!(token(&[]).digest(), Identity::of_token("ci").digest());
        assert_eq!(token(&["a", "b"]).digest(), token(&["a", "b"]).digest());
        let others = [
            token(&[]),
            token(&["a"]),
            token(&["ab"]),
            token(&["a", "b"]),
            token(&["b", "a"]),
        ];
        for (at, one) in others.iter().enumerate() {
            assert!(
                others[at + 1..].iter().all(|other| other.digest() != one.digest()),
                "{one:?}"
            );
        }
    }

    #[test]
    fn assigned_roles_are_written_where_there_are_any() {
        let written = |identity: &Identity| serde_json::to_value(identity).expect("it is JSON");
        let token = Identity::of_token("ci");
        assert_eq!(written(&token), serde_json::json!({"kind": "token", "name": "ci"}));
        let with_role = serde_json::json!({"kind": "token", "name": "ci", "assigned_roles": ["reader"]});
        assert_eq!(written(&token.with_assigned_roles(["reader"])), with_role);
    }

    #[test]
    fn a_proxy_certificate_is_a_fact_of_each_request_and_another_identity_for_a_cached_decision() {
        let owner = Identity::of_token("owner");
        let facts = |identity: &Identity| {
            let request = Request::new(identity, Action::RulesRead);
            serde_json::to_value(request.facts).expect("it is JSON")
        };
        assert_eq!(facts(&owner), serde_json::json!({}));
        let (full, limited) = (
            owner.clone().with_proxy(ProxyKind::Full),
            owner.clone().with_proxy(ProxyKind::Limited),
        );
        assert_eq!(facts(&full), serde_json::json!({"proxy": "full"}));
        assert_eq!(facts(&limited), serde_json::json!({"proxy": "limited"}));
        assert_ne!(full.digest(), owner.digest());
        assert_ne!(full.digest(), limited.digest());
        let written = serde_json::to_value(&limited).expect("it is JSON");
        assert_eq!(written["proxy"], "limited");
    }

    #[test]
    fn a_token_is_not_a_certificate_of_the_same_name() {
        assert_ne!(Identity::of_token("").digest(), Identity::anonymous().digest());
        assert_ne!(Identity::of_token("anonymous").digest(), Identity::anonymous().digest());
        assert_ne!(Identity::of_token("a").digest(), Identity::of_token("b").digest());
    }
}
