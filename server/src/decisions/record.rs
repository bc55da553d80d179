//! Records, which are cheap to build while a request waits. `written` turns them into rows and log lines.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;
use watchpost_policies::{Action, Decision, Digest, Identity};

use crate::store::decisions::{Kind, Verdict};

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
