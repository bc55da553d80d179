//! What becomes of a record: a row, and a line in the log. What shall stay secret is masked in both.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use watchpost_policies::{Action, Decision, Digest, Identity};

use super::options::Masked;
use super::record::{Counts, DecisionRecordParts, Judgement, Record, ShadowDifference};
use super::writer::MarkedRecord;
use crate::store::decisions::{Kind, NewRecord, Verdict};

/// What stands where something is kept secret.
const MASK: &str = "***";

/// Makes rows and lines of records.
pub(super) struct Writer {
    host: Box<str>,
    mask: Box<[Masked]>,
    next_mark: AtomicU64,
}

/// A decision as it is told, masked.
#[derive(Serialize, ToSchema)]
#[schema(as = RecordedDecision)]
pub(crate) struct DecisionRow<'r> {
    /// The machine that decided.
    host: &'r str,
    /// Who asked.
    identity: String,
    /// The same as the rule was shown it.
    #[schema(value_type = Value)]
    identity_details: Shown<'r>,
    /// From where.
    address: String,
    /// What for.
    action: Action,
    /// On what.
    resource: String,
    /// What became of it.
    verdict: Verdict,
    /// Why.
    reason: Option<String>,
    /// Which roles they had.
    roles: Value,
    /// Which rule decided.
    rule: Option<&'r str>,
    /// Which version of it.
    digest: Option<Digest>,
    /// The generation in force.
    generation: Option<u64>,
    /// The request, as the log has it.
    request_id: String,
    /// Whether the same was decided before.
    remembered: bool,
    /// How long it took.
    cost_us: Option<u64>,
}

/// An identity as the rule was shown it, or what stands in its place.
#[derive(Serialize)]
#[serde(untagged)]
enum Shown<'r> {
    Masked(&'static str),
    Identity(&'r Identity),
}

/// What a role rule in shadow would have decided, as it is told, masked.
#[derive(Serialize, ToSchema)]
#[schema(as = RecordedDifference)]
pub(crate) struct DifferenceRow<'r> {
    #[serde(flatten)]
    would: DecisionRow<'r>,
    /// What was decided.
    actual: InsteadOf<'r>,
}

/// The decision that counted.
#[derive(Serialize, ToSchema)]
struct InsteadOf<'r> {
    /// What the rule in force said.
    verdict: Verdict,
    /// Which rule that is.
    rule: &'r str,
    /// Which version of it.
    digest: Digest,
}

/// A judgement as it is told.
#[derive(Serialize, ToSchema)]
#[schema(as = RecordedJudgement)]
pub(crate) struct JudgementRow<'r> {
    /// The machine that was judged.
    host: &'r str,
    /// Which rule judged.
    rule: &'r str,
    /// Which version of it.
    digest: Digest,
    /// The generation in force.
    generation: u64,
    /// How many findings there are.
    findings: Counts,
    /// How it failed.
    fault: Option<&'r str>,
    /// How long it took.
    cost_us: Option<u64>,
}

impl Writer {
    /// Of this machine. Marks begin anywhere, so that no other process has the same.
    pub(super) fn new(host: &str, mask: &[Masked]) -> Self {
        Self {
            host: host.into(),
            mask: mask.into(),
            next_mark: AtomicU64::new(RandomState::new().hash_one(host)),
        }
    }

    /// A record that can be written more than once.
    pub(super) fn marked(&self, record: Record) -> MarkedRecord {
        MarkedRecord {
            dedupe_key: self.next_mark.fetch_add(1, Ordering::Relaxed).cast_signed(),
            record,
        }
    }

    /// The rows of these records.
    pub(super) fn written(&self, records: &[MarkedRecord]) -> serde_json::Result<Vec<NewRecord>> {
        records.iter().map(|marked| self.row(marked)).collect()
    }

    fn row(&self, MarkedRecord { dedupe_key, record }: &MarkedRecord) -> serde_json::Result<NewRecord> {
        let mark = *dedupe_key;
        let decision = |kind: Kind, time_ms, told: &DecisionRow<'_>, json| NewRecord {
            mark,
            time_ms: signed(time_ms),
            kind: kind.as_str(),
            action: Some(told.action.as_str()),
            verdict: Some(told.verdict.as_str()),
            rule: told.rule.map(str::to_owned),
            told: json,
            identity: Some(told.identity.clone()),
        };
        Ok(match record {
            Record::Decision(decided) => {
                let told = self.decision(decided);
                let json = serde_json::to_string(&told)?;
                decision(Kind::Decision, decided.request.time_ms, &told, json)
            }
            Record::Difference(differed) => {
                let told = self.difference(differed);
                let json = serde_json::to_string(&told)?;
                decision(Kind::Difference, differed.would.request.time_ms, &told.would, json)
            }
            Record::Judgement(judgement) => NewRecord {
                mark,
                time_ms: signed(judgement.time_ms),
                kind: Kind::Judgement.as_str(),
                identity: None,
                action: None,
                verdict: None,
                rule: Some(judgement.rule.clone()),
                told: serde_json::to_string(&self.judgement(judgement))?,
            },
        })
    }

    /// A line in the log.
    pub(super) fn log(&self, record: &Record) {
        match record {
            Record::Decision(decided) => {
                let told = self.decision(decided);
                log::info!(
                    target: "watchpost::decisions",
                    request_id = told.request_id.as_str(), identity = told.identity.as_str(), address = told.address.as_str(),
                    action = told.action.as_str(), resource = told.resource.as_str(), verdict = told.verdict.as_str(),
                    reason = told.reason.as_deref().unwrap_or_default(), roles:% = told.roles,
                    rule = told.rule.unwrap_or_default(), generation = told.generation.unwrap_or_default(),
                    remembered = told.remembered, cost_us = told.cost_us.unwrap_or_default();
                    "decision"
                );
            }
            Record::Difference(differed) => {
                let DifferenceRow { would: told, actual } = self.difference(differed);
                log::info!(
                    target: "watchpost::decisions",
                    request_id = told.request_id.as_str(), identity = told.identity.as_str(),
                    action = told.action.as_str(), verdict = told.verdict.as_str(),
                    reason = told.reason.as_deref().unwrap_or_default(), roles:% = told.roles,
                    rule = told.rule.unwrap_or_default(), actual = actual.rule;
                    "a role rule in shadow would have decided otherwise"
                );
            }
            Record::Judgement(judgement) => {
                let told = self.judgement(judgement);
                let Counts {
                    ok,
                    unknown,
                    warning,
                    alert,
                } = told.findings;
                log::info!(
                    target: "watchpost::decisions",
                    rule = told.rule, digest:% = told.digest, generation = told.generation, ok, unknown, warning, alert,
                    fault = told.fault.unwrap_or_default(), cost_us = told.cost_us.unwrap_or_default();
                    "judgement"
                );
            }
        }
    }

    fn decision<'r>(&'r self, decided: &'r DecisionRecordParts) -> DecisionRow<'r> {
        let (asked, decision) = (&decided.request, decided.decision.as_deref());
        let roles = decision.map_or(&[][..], |decision| &decision.roles);
        DecisionRow {
            host: &self.host,
            identity: self.text(Masked::Identity, asked.identity.to_string()),
            identity_details: match self.hides(Masked::Identity) {
                true => Shown::Masked(MASK),
                false => Shown::Identity(&asked.identity),
            },
            address: self.text(Masked::Address, asked.address.to_string()),
            action: asked.action,
            resource: self.text(Masked::Resource, asked.resource.to_string()),
            verdict: decided.verdict,
            reason: reason(decision).map(|reason| self.text(Masked::Reason, reason)),
            roles: self.value(Masked::Roles, || json!(roles)),
            rule: decision.map(|decision| decision.rule.as_str()),
            digest: decision.map(|decision| decision.digest),
            generation: decision.map(|decision| decision.generation),
            request_id: self.text(Masked::RequestId, asked.request_id.to_string()),
            remembered: decision.is_some() && decided.took.is_none(),
            cost_us: decided.took.map(micros),
        }
    }

    fn difference<'r>(&'r self, differed: &'r ShadowDifference) -> DifferenceRow<'r> {
        let counted = &*differed.counted;
        DifferenceRow {
            would: self.decision(&differed.would),
            actual: InsteadOf {
                verdict: Verdict::of(&counted.verdict),
                rule: &counted.rule,
                digest: counted.digest,
            },
        }
    }

    fn text(&self, field: Masked, text: String) -> String {
        match self.hides(field) {
            true => MASK.to_owned(),
            false => text,
        }
    }

    fn value(&self, field: Masked, value: impl FnOnce() -> Value) -> Value {
        match self.hides(field) {
            true => json!(MASK),
            false => value(),
        }
    }

    /// A reason is in a rule's own words, which may repeat whatever the rule was shown.
    fn hides(&self, field: Masked) -> bool {
        let repeated = [Masked::Identity, Masked::Resource, Masked::Roles];
        let is_hidden = |masked: &Masked| *masked == field || (field == Masked::Reason && repeated.contains(masked));
        self.mask.iter().any(is_hidden)
    }

    fn judgement<'r>(&self, judgement: &'r Judgement) -> JudgementRow<'r> {
        JudgementRow {
            host: &judgement.host,
            rule: &judgement.rule,
            digest: judgement.digest,
            generation: judgement.generation,
            findings: judgement.findings,
            fault: judgement.fault.as_deref(),
            cost_us: judgement.took.map(micros),
        }
    }
}

fn reason(decision: Option<&Decision>) -> Option<String> {
    use watchpost_policies::Verdict;
    match decision.map(|decision| &decision.verdict) {
        None => Some("the role rule was too busy to be asked".to_owned()),
        Some(Verdict::Allow) => None,
        Some(Verdict::Deny { reason }) => Some(reason.clone()),
        Some(Verdict::Fault { fault }) => Some(fault.to_string()),
    }
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

fn signed(time_ms: u64) -> i64 {
    i64::try_from(time_ms).unwrap_or(i64::MAX)
}
