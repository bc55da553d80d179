//! Turns a record into a row and a log line. Masked fields are masked in both.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use watchpost_policies::{Action, Decision, Digest, Identity};

use super::options::Masked;
use super::record::{AuditedResponse, Counts, DecisionRecord, Judgement, Record, ShadowDifference};
use super::writer::KeyedRecord;
use crate::audit::AuditEvent;
use crate::store::decisions::{Kind, NewRecord, Verdict};

/// The text in place of a masked field.
const MASK: &str = "***";

/// The part of a path in the audit file.
const MAX_PATH_CHARS: usize = 1024;

/// Makes rows, log lines and audit events of records.
pub(super) struct Writer {
    host: Box<str>,
    mask: Box<[Masked]>,
    next_dedupe_key: AtomicU64,
}

/// A recorded decision. Masked fields hold `***`.
#[derive(Serialize, ToSchema)]
#[schema(as = RecordedDecision)]
pub(crate) struct DecisionRow<'r> {
    /// The machine that decided.
    host: &'r str,
    /// The client's identity.
    identity: String,
    /// The identity as passed to the rule.
    #[schema(value_type = Value)]
    identity_details: IdentityDetails<'r>,
    /// The client's address.
    address: String,
    /// The requested action.
    action: Action,
    /// The resource of the request.
    resource: String,
    /// The outcome.
    verdict: Verdict,
    /// The reason of the decision.
    reason: Option<String>,
    /// The client's roles.
    roles: Value,
    /// The rule that decided.
    rule: Option<&'r str>,
    /// The digest of the rule's version.
    digest: Option<Digest>,
    /// The active generation.
    generation: Option<u64>,
    /// The id of the request, as in the log.
    request_id: String,
    /// The server's own id of the request, which no client can choose.
    server_request_id: String,
    /// The number of requests that the record stands for: 1, or that of equal refusals within a minute, of which this
    /// is the last.
    requests: u64,
    /// Whether the decision was cached.
    cached: bool,
    /// The duration of the evaluation in microseconds.
    cost_us: Option<u64>,
}

/// An identity as passed to the rule, or the mask.
#[derive(Serialize)]
#[serde(untagged)]
enum IdentityDetails<'r> {
    Masked(&'static str),
    Identity(&'r Identity),
}

/// The decision of a role rule in shadow mode that differs from the actual one. Masked fields hold `***`.
#[derive(Serialize, ToSchema)]
#[schema(as = RecordedDifference)]
pub(crate) struct DifferenceRow<'r> {
    #[serde(flatten)]
    shadow_decision: DecisionRow<'r>,
    /// The actual decision.
    actual: ActualDecision<'r>,
}

/// The active rule's decision.
#[derive(Serialize, ToSchema)]
struct ActualDecision<'r> {
    /// The outcome.
    verdict: Verdict,
    /// The active rule's name.
    rule: &'r str,
    /// The digest of the rule's version.
    digest: Digest,
}

/// A recorded judgement.
#[derive(Serialize, ToSchema)]
#[schema(as = RecordedJudgement)]
pub(crate) struct JudgementRow<'r> {
    /// The evaluated machine.
    host: &'r str,
    /// The rule that was evaluated.
    rule: &'r str,
    /// The digest of the rule's version.
    digest: Digest,
    /// The active generation.
    generation: u64,
    /// The numbers of findings.
    findings: Counts,
    /// The fault, if the rule failed.
    fault: Option<&'r str>,
    /// The duration of the evaluation in microseconds.
    cost_us: Option<u64>,
}

impl Writer {
    /// A writer for this machine. Dedupe keys start at a random number, so that other processes do not use the same.
    pub(super) fn new(host: &str, mask: &[Masked]) -> Self {
        Self {
            host: host.into(),
            mask: mask.into(),
            next_dedupe_key: AtomicU64::new(RandomState::new().hash_one(host)),
        }
    }

    /// Assigns a dedupe key to a record.
    pub(super) fn keyed(&self, record: Record) -> KeyedRecord {
        KeyedRecord {
            dedupe_key: self.next_dedupe_key.fetch_add(1, Ordering::Relaxed).cast_signed(),
            record,
        }
    }

    /// The rows of these records.
    pub(super) fn rows(&self, records: &[KeyedRecord]) -> serde_json::Result<Vec<NewRecord>> {
        records.iter().map(|keyed| self.row(keyed)).collect()
    }

    fn row(&self, KeyedRecord { dedupe_key, record }: &KeyedRecord) -> serde_json::Result<NewRecord> {
        let dedupe_key = *dedupe_key;
        let (host, class) = (self.host.to_string(), record.class().as_str());
        let decision = |kind: Kind, time_ms, row: &DecisionRow<'_>, json| NewRecord {
            dedupe_key,
            time_ms: signed(time_ms),
            kind: kind.as_str(),
            action: Some(row.action.as_str()),
            verdict: Some(row.verdict.as_str()),
            rule: row.rule.map(str::to_owned),
            payload: json,
            identity: Some(row.identity.clone()),
            host: host.clone(),
            class,
        };
        Ok(match record {
            Record::Decision(decided) => {
                let row = self.decision(decided);
                let json = serde_json::to_string(&row)?;
                decision(Kind::Decision, decided.request.time_ms, &row, json)
            }
            Record::Difference(differed) => {
                let row = self.difference(differed);
                let json = serde_json::to_string(&row)?;
                decision(
                    Kind::Difference,
                    differed.shadow_decision.request.time_ms,
                    &row.shadow_decision,
                    json,
                )
            }
            Record::Judgement(judgement) => NewRecord {
                dedupe_key,
                time_ms: signed(judgement.time_ms),
                kind: Kind::Judgement.as_str(),
                identity: None,
                action: None,
                verdict: None,
                rule: Some(judgement.rule.clone()),
                payload: serde_json::to_string(&self.judgement(judgement))?,
                host: host.clone(),
                class,
            },
        })
    }

    /// The event of a decision, for the audit file.
    pub(super) fn audit_event(&self, decided: &DecisionRecord) -> AuditEvent {
        let row = serde_json::to_value(self.decision(decided));
        AuditEvent::new(
            "decision",
            row.expect("a row has string keys, so it can be written as JSON"),
        )
    }

    /// The event of a response to a privileged request, for the audit file.
    pub(super) fn response_event(&self, response: &AuditedResponse<'_>) -> AuditEvent {
        AuditEvent::new(
            "response",
            json!({
                "request_id": self.text(Masked::RequestId, response.request_id.to_owned()),
                "server_request_id": self.text(Masked::RequestId, response.server_request_id.to_owned()),
                "method": response.method,
                "path": self.text(Masked::Resource, response.path.chars().take(MAX_PATH_CHARS).collect()),
                "status": response.status,
                "generation": response.generation,
                "location": response.location.map(|location| self.text(Masked::Resource, location.to_owned())),
            }),
        )
    }

    /// The machine.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Writes a record to the log.
    pub(super) fn log(&self, record: &Record) {
        match record {
            Record::Decision(decided) => {
                let row = self.decision(decided);
                log::info!(
                    target: "watchpost::decisions",
                    request_id = row.request_id.as_str(), server_request_id = row.server_request_id.as_str(),
                    requests = row.requests, identity = row.identity.as_str(), address = row.address.as_str(),
                    action = row.action.as_str(), resource = row.resource.as_str(), verdict = row.verdict.as_str(),
                    reason = row.reason.as_deref().unwrap_or_default(), roles:% = row.roles,
                    rule = row.rule.unwrap_or_default(), generation = row.generation.unwrap_or_default(),
                    cached = row.cached, cost_us = row.cost_us.unwrap_or_default();
                    "decision"
                );
            }
            Record::Difference(differed) => {
                let DifferenceRow {
                    shadow_decision: row,
                    actual,
                } = self.difference(differed);
                log::info!(
                    target: "watchpost::decisions",
                    request_id = row.request_id.as_str(), identity = row.identity.as_str(),
                    action = row.action.as_str(), verdict = row.verdict.as_str(),
                    reason = row.reason.as_deref().unwrap_or_default(), roles:% = row.roles,
                    rule = row.rule.unwrap_or_default(), actual = actual.rule;
                    "a role rule in shadow mode would have decided differently"
                );
            }
            Record::Judgement(judgement) => {
                let row = self.judgement(judgement);
                let Counts {
                    ok,
                    unknown,
                    warning,
                    alert,
                } = row.findings;
                log::info!(
                    target: "watchpost::decisions",
                    rule = row.rule, digest:% = row.digest, generation = row.generation, ok, unknown, warning, alert,
                    fault = row.fault.unwrap_or_default(), cost_us = row.cost_us.unwrap_or_default();
                    "judgement"
                );
            }
        }
    }

    fn decision<'r>(&'r self, decided: &'r DecisionRecord) -> DecisionRow<'r> {
        let (request, decision) = (&decided.request, decided.decision.as_deref());
        let roles = decision.map_or(&[][..], |decision| &decision.roles);
        DecisionRow {
            host: &self.host,
            identity: self.text(Masked::Identity, request.identity.to_string()),
            identity_details: match self.hides(Masked::Identity) {
                true => IdentityDetails::Masked(MASK),
                false => IdentityDetails::Identity(&request.identity),
            },
            address: self.text(Masked::Address, request.address.to_string()),
            action: request.action,
            resource: self.text(Masked::Resource, request.resource.to_string()),
            verdict: decided.verdict,
            reason: reason(decision).map(|reason| self.text(Masked::Reason, reason)),
            roles: self.value(Masked::Roles, || json!(roles)),
            rule: decision.map(|decision| decision.rule.as_str()),
            digest: decision.map(|decision| decision.digest),
            generation: decision.map(|decision| decision.generation),
            request_id: self.text(Masked::RequestId, request.request_id.to_string()),
            server_request_id: self.text(Masked::RequestId, request.server_request_id.to_string()),
            requests: decided.requests,
            cached: decision.is_some() && decided.duration.is_none(),
            cost_us: decided.duration.map(micros),
        }
    }

    fn difference<'r>(&'r self, difference: &'r ShadowDifference) -> DifferenceRow<'r> {
        let actual = &*difference.actual;
        DifferenceRow {
            shadow_decision: self.decision(&difference.shadow_decision),
            actual: ActualDecision {
                verdict: Verdict::of(&actual.verdict),
                rule: &actual.rule,
                digest: actual.digest,
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

    /// A reason is written by the rule, which may repeat anything that was passed to it.
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
            cost_us: judgement.duration.map(micros),
        }
    }
}

fn reason(decision: Option<&Decision>) -> Option<String> {
    use watchpost_policies::Verdict;
    match decision.map(|decision| &decision.verdict) {
        None => Some("all instances of the role rule were busy".to_owned()),
        Some(Verdict::Allow) => None,
        Some(Verdict::Deny { reason }) => Some(reason.clone()),
        Some(Verdict::Fault { fault }) => Some(fault.to_string()),
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn signed(time_ms: u64) -> i64 {
    i64::try_from(time_ms).unwrap_or(i64::MAX)
}
