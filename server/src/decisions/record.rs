//! What is recorded, which is cheap to make while a request waits. What is written of it is in `written`.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;
use watchpost_policies::{Action, Decision, Digest, Identity};

use crate::store::decisions::{Kind, Verdict};

/// One thing that is recorded.
#[derive(Clone, Debug)]
pub enum Record {
    /// Somebody wanted something.
    Decision(DecisionRecordParts),
    /// A role rule in shadow would have decided otherwise.
    Difference(ShadowDifference),
    /// A rule finds something else than before.
    Judgement(Judgement),
}

impl Record {
    /// What it is about.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Decision(_) => Kind::Decision,
            Self::Difference(_) => Kind::Difference,
            Self::Judgement(_) => Kind::Judgement,
        }
    }
}

/// What somebody wanted.
#[derive(Clone, Debug)]
pub struct RequestRecord {
    /// When, in milliseconds since 1970 (UTC).
    pub time_ms: u64,
    /// Who asked.
    pub identity: Identity,
    /// From where.
    pub address: IpAddr,
    /// What for.
    pub action: Action,
    /// What it was to be done to, as the rule was told.
    pub resource: Box<str>,
    /// By what the answer and other logs know the request.
    pub request_id: Box<str>,
}

/// What somebody wanted, and what became of it.
#[derive(Clone, Debug)]
pub struct DecisionRecordParts {
    /// What it was.
    pub request: RequestRecord,
    /// What became of it.
    pub verdict: Verdict,
    /// What the role rule said; nothing, if it was too busy to be asked.
    pub decision: Option<Arc<Decision>>,
    /// How long that took; nothing, if it was remembered.
    pub took: Option<Duration>,
}

/// What a role rule in shadow would have decided.
#[derive(Clone, Debug)]
pub struct ShadowDifference {
    /// Its decision about the request.
    pub would: DecisionRecordParts,
    /// What was decided.
    pub counted: Arc<Decision>,
}

/// What a threshold rule found in a round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The machine that was judged.
    pub host: String,
    /// When it was measured, in milliseconds since 1970 (UTC).
    pub time_ms: u64,
    /// The rule.
    pub rule: String,
    /// Its digest.
    pub digest: Digest,
    /// The generation that it judged in.
    pub generation: u64,
    /// How many findings there are.
    pub findings: Counts,
    /// How it failed, if it did.
    pub fault: Option<String>,
    /// How long it took; nothing, if it failed.
    pub took: Option<Duration>,
}

/// How many findings there are of each severity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = FindingCounts)]
pub struct Counts {
    /// As it should be.
    pub ok: usize,
    /// Could not be measured.
    pub unknown: usize,
    /// Someone should look at it soon.
    pub warning: usize,
    /// Someone should look at it now.
    pub alert: usize,
}
