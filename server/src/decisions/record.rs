//! Records, which are cheap to build while a request waits. `written` turns them into rows and log lines.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;
use watchpost_policies::{Action, Decision, Digest, Identity, IdentityKind};

use crate::store::decisions::{Class, Kind, Verdict};

#[derive(Clone, Debug)]
pub enum Record {
    /// An authorization of a request.
    Decision(DecisionRecord),
    /// A role rule in shadow mode would have decided differently.
    Difference(ShadowDifference),
    /// A rule's findings changed.
    Judgement(Judgement),
}

impl Record {
    /// The kind of the record.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Decision(_) => Kind::Decision,
            Self::Difference(_) => Kind::Difference,
            Self::Judgement(_) => Kind::Judgement,
        }
    }

    /// The class of the record.
    pub fn class(&self) -> Class {
        match self {
            Self::Decision(decided) => decided.class(),
            Self::Difference(_) | Self::Judgement(_) => Class::Ordinary,
        }
    }
}

impl DecisionRecord {
    /// The class of the record.
    pub fn class(&self) -> Class {
        match (self.verdict, self.request.action, self.request.identity.kind()) {
            (Verdict::BreakGlass, _, _) | (Verdict::Allow, Action::RulesWrite, _) => Class::Privileged,
            (_, _, IdentityKind::Anonymous) => Class::Anonymous,
            _ => Class::Ordinary,
        }
    }
}

/// The request that was authorized.
#[derive(Clone, Debug)]
pub struct RequestRecord {
    /// The time, in milliseconds since 1970 (UTC).
    pub time_ms: u64,
    /// The client's identity.
    pub identity: Identity,
    /// The client's address.
    pub address: IpAddr,
    /// The requested action.
    pub action: Action,
    /// The resource of the request, as passed to the rule.
    pub resource: Box<str>,
    /// The id of the request, as in the response and other logs.
    pub request_id: Box<str>,
    /// The server's own id of the request, which no client can choose.
    pub server_request_id: Box<str>,
}

/// A request and its authorization.
#[derive(Clone, Debug)]
pub struct DecisionRecord {
    pub request: RequestRecord,
    pub verdict: Verdict,
    /// The decision of the role rule; `None` if all its instances were busy.
    pub decision: Option<Arc<Decision>>,
    /// The duration of the evaluation; `None` if the decision was cached.
    pub duration: Option<Duration>,
    /// The number of requests that the record stands for: 1, or that of equal refusals within a minute.
    pub requests: u64,
}

/// The decision of a role rule in shadow mode, and the actual one.
#[derive(Clone, Debug)]
pub struct ShadowDifference {
    /// The shadow's decision about the request.
    pub shadow_decision: DecisionRecord,
    /// The active rule's decision.
    pub actual: Arc<Decision>,
}

/// The result of a threshold rule in a round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The evaluated machine.
    pub host: String,
    /// The time of the measurement, in milliseconds since 1970 (UTC).
    pub time_ms: u64,
    /// The rule's name.
    pub rule: String,
    /// The rule's digest.
    pub digest: Digest,
    /// The generation of the evaluation.
    pub generation: u64,
    /// The numbers of findings.
    pub findings: Counts,
    /// The fault, if the rule failed.
    pub fault: Option<String>,
    /// The duration of the evaluation; `None` if the rule failed.
    pub duration: Option<Duration>,
}

/// The number of findings of each severity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = FindingCounts)]
pub struct Counts {
    /// The value is within its limits.
    pub ok: usize,
    /// The value could not be measured.
    pub unknown: usize,
    /// The value needs attention soon.
    pub warning: usize,
    /// The value needs attention now.
    pub alert: usize,
}

/// The response to a request with a privileged decision.
#[derive(Clone, Copy, Debug)]
pub struct AuditedResponse<'r> {
    pub method: &'r str,
    pub path: &'r str,
    /// The HTTP status.
    pub status: u16,
    /// The generation after a change, as in the `ETag`.
    pub generation: Option<&'r str>,
    /// The URL of what was created.
    pub location: Option<&'r str>,
    pub request_id: &'r str,
    pub server_request_id: &'r str,
}
