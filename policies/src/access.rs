//! Who asks, what for, and what was decided. Certificates are verified and tokens compared elsewhere; what
//! stands here is taken as true.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::digest::Digest;
use crate::fault::Fault;
use crate::name::DistinguishedName;
use crate::series::Labels;

/// Who is at the other end.
#[derive(Clone, Debug)]
pub struct Identity {
    kind: IdentityKind,
    /// The names as rules read them, written once and not at every request.
    written: Arc<Written>,
    /// Over everything a rule is shown of the identity, so that two of them compare quickly.
    digest: Digest,
}

#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) subject: String,
    pub(crate) subject_slash: String,
    pub(crate) issuer: String,
    pub(crate) fingerprint: String,
}

/// The ways to be known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum IdentityKind {
    /// Nobody said who they are.
    Anonymous,
    /// A certificate that was verified.
    Certificate(Arc<Certificate>),
    /// A bearer token that was compared.
    Token {
        /// The name of the token, not the token.
        name: Arc<str>,
    },
}

/// What a verified certificate says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Certificate {
    /// Whose it is.
    pub subject: DistinguishedName,
    /// Who vouches for it.
    pub issuer: DistinguishedName,
    /// DNS names among the subject's alternative names.
    pub dns_names: Vec<String>,
    /// URIs among the subject's alternative names.
    pub uris: Vec<String>,
    /// E-mail addresses among the subject's alternative names.
    pub emails: Vec<String>,
    /// SHA-256 over the certificate.
    pub fingerprint: Digest,
}

impl Identity {
    /// Nobody said who they are.
    pub fn anonymous() -> Self {
        Self {
            kind: IdentityKind::Anonymous,
            written: Arc::default(),
            digest: Digest::of(b"anonymous"),
        }
    }

    /// The owner of a certificate; only for one that was verified.
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
            digest: Digest::from(<[u8; 32]>::from(hash.finalize())),
        }
    }

    /// The bearer of a token; only for one that was compared.
    pub fn of_token(name: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"token");
        hash.update(name.as_bytes());
        Self {
            kind: IdentityKind::Token { name: name.into() },
            written: Arc::default(),
            digest: Digest::from(<[u8; 32]>::from(hash.finalize())),
        }
    }

    /// How the identity is known.
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
        self.kind.serialize(serializer)
    }
}

macro_rules! actions {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// Everything that a request can be to do. This is the one list: rules are told of it, and what is
        /// not on it cannot be asked for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub enum Action {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Action {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// As a rule and a log write it.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

actions! {
    /// Ask whether Watchpost is well.
    HealthRead = "health.read",
    /// See the service page, and who one is.
    ServiceRead = "service.read",
    /// Read the documents of the API.
    DocsRead = "docs.read",
    /// Read status, snapshot and report, and scrape metrics.
    MetricsRead = "metrics.read",
    /// Push metrics measured elsewhere.
    MetricsPush = "metrics.push",
    /// Read what was measured and found before.
    HistoryRead = "history.read",
    /// Look at work chunks.
    ChunksRead = "chunks.read",
    /// Report work chunks.
    ChunksWrite = "chunks.write",
    /// See alerts and silences.
    AlertsRead = "alerts.read",
    /// Silence alerts.
    AlertsSilence = "alerts.silence",
    /// Look at monitoring sessions.
    SessionsRead = "sessions.read",
    /// Start and stop monitoring sessions.
    SessionsRun = "sessions.run",
    /// Look at rules, their versions and their log.
    RulesRead = "rules.read",
    /// Upload, activate and roll back rules.
    RulesWrite = "rules.write",
    /// Read what was decided about whom.
    DecisionsRead = "decisions.read",
    /// Reload the configuration, and what else belongs to the operator.
    ServerManage = "server.manage",
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Not one of the actions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no action")]
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

/// What somebody wants to do.
#[derive(Clone, Copy, Debug)]
pub struct Request<'r> {
    /// Who asks.
    pub identity: &'r Identity,
    /// What for.
    pub action: Action,
    /// What it is to be done to; often empty.
    pub resource: &'r str,
    /// What else is known about the request.
    pub facts: &'r Labels,
}

impl<'r> Request<'r> {
    /// A request about nothing in particular.
    pub fn new(identity: &'r Identity, action: Action) -> Self {
        const NO_FACTS: &Labels = &Labels::none();
        Self {
            identity,
            action,
            resource: "",
            facts: NO_FACTS,
        }
    }
}

/// What the role rule of one generation decided.
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
    /// The generation it was decided by.
    pub generation: u64,
}

/// Allow, or deny with a reason.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase", tag = "verdict")]
pub enum Verdict {
    /// It may be done.
    Allow,
    /// The rule says no.
    Deny {
        /// A sentence for the one who asked.
        reason: String,
    },
    /// The rule failed. A fault never allows.
    Fault {
        /// How.
        fault: Fault,
    },
}

impl Decision {
    /// Whether it may be done.
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
    fn a_token_is_not_a_certificate_of_the_same_name() {
        assert_ne!(Identity::of_token("").digest(), Identity::anonymous().digest());
        assert_ne!(Identity::of_token("anonymous").digest(), Identity::anonymous().digest());
        assert_ne!(Identity::of_token("a").digest(), Identity::of_token("b").digest());
    }
}
