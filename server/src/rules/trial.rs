//! Replays recorded snapshots through a candidate and the active rule, and reports their differences, faults and costs.
//! It blocks its thread until it ends or is cancelled; progress can be read meanwhile.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;
use watchpost_policies::{Finding, Rule, Severity, Snapshot, Subject};

use super::compare::differences;
use crate::store::history::{Selection, StoredRound};
use crate::store::{Store, StoreError};

/// Maximum number of subjects reported; the rest is only counted.
const MAX_SUBJECTS: usize = 1000;

/// A candidate and the recorded snapshots to replay.
pub struct Trial {
    /// The rule to evaluate.
    pub candidate: Rule,
    /// The active rule to compare with, if there is one of this name.
    pub active: Option<Rule>,
    /// The host of the snapshots.
    pub host: String,
    /// Start of the range, in milliseconds since 1970 (UTC).
    pub from_ms: u64,
    /// End of the range, inclusive.
    pub to_ms: u64,
}

/// Progress of a trial, and its cancellation.
#[derive(Debug, Default)]
pub struct Progress {
    snapshots: AtomicU64,
    at_ms: AtomicU64,
    cancelled: AtomicBool,
}

/// The result of a trial.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = TrialOutcome)]
pub struct Outcome {
    /// Number of replayed snapshots.
    pub snapshots: u64,
    /// Time of the first one.
    #[serde(rename = "first", with = "watchpost_policies::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub first_ms: Option<u64>,
    /// Time of the last one.
    #[serde(rename = "last", with = "watchpost_policies::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_ms: Option<u64>,
    /// Whether the trial was cancelled before all were replayed.
    pub cancelled: bool,
    /// Number of snapshots in which the two rules differing.
    pub differing_snapshots: u64,
    /// The differing subjects, most frequent first.
    pub differences: Vec<Differing>,
    /// Number of further subjects.
    pub differences_omitted: usize,
    /// Results of the candidate.
    pub candidate: TrialCost,
    /// Results of the active rule.
    pub active: Option<TrialCost>,
}

/// A subject for which the two rules differing in some snapshot.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = TrialDifference)]
pub struct Differing {
    /// The subject of the findings.
    pub subject: Subject,
    /// Severity by the active rule at the last difference; null without a finding.
    #[schema(required)]
    pub active: Option<Severity>,
    /// Severity by the candidate at the last difference; null without a finding.
    #[schema(required)]
    pub candidate: Option<Severity>,
    /// The message of the finding with the higher severity.
    pub message: String,
    /// Number of snapshots with a difference.
    pub snapshots: u64,
    /// Time of the first difference.
    #[serde(rename = "first", with = "watchpost_policies::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub first_ms: u64,
    /// Time of the last difference.
    #[serde(rename = "last", with = "watchpost_policies::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub last_ms: u64,
}

/// Results of one rule.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[schema(as = TrialCost)]
pub struct TrialCost {
    /// Number of faults.
    pub faults: u64,
    /// The first fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_fault: Option<String>,
    /// Number of findings by severity.
    pub findings: BTreeMap<Severity, u64>,
    /// Mean duration of an evaluation.
    pub mean_us: f64,
    /// Maximum duration of an evaluation.
    pub max_us: f64,
    /// Peak memory.
    pub memory_bytes: u64,
    #[serde(skip)]
    judged: u64,
    #[serde(skip)]
    time: Duration,
}

impl Progress {
    /// Number of replayed snapshots, and the time of the last one.
    pub fn position(&self) -> (u64, u64) {
        (
            self.snapshots.load(Ordering::Relaxed),
            self.at_ms.load(Ordering::Relaxed),
        )
    }

    /// Cancels the trial at the next snapshot.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }
}

impl Trial {
    /// Replays the range.
    pub fn run(&self, store: &Store, progress: &Progress) -> Result<Outcome, StoreError> {
        let selection = Selection {
            metric: None,
            labels: Vec::new(),
            host: Some(self.host.clone()),
            from_ms: self.from_ms,
            to_ms: self.to_ms,
        };
        let mut replay = Replay {
            trial: self,
            found: [Vec::new(), Vec::new()],
            differing: BTreeMap::new(),
            omitted: 0,
            outcome: Outcome {
                snapshots: 0,
                first_ms: None,
                last_ms: None,
                cancelled: false,
                differing_snapshots: 0,
                differences: Vec::new(),
                differences_omitted: 0,
                candidate: TrialCost::default(),
                active: self.active.as_ref().map(|_| TrialCost::default()),
            },
        };
        store.past(&self.host, &selection, |StoredRound { snapshot, .. }| {
            replay.judge(&snapshot);
            progress.snapshots.store(replay.outcome.snapshots, Ordering::Relaxed);
            progress.at_ms.store(snapshot.time_ms(), Ordering::Relaxed);
            replay.outcome.cancelled = progress.cancelled.load(Ordering::Relaxed);
            !replay.outcome.cancelled
        })?;
        Ok(replay.finish())
    }
}

struct Replay<'t> {
    trial: &'t Trial,
    /// Findings of the candidate and of the active rule in the previous snapshot.
    found: [Vec<Finding>; 2],
    differing: BTreeMap<Subject, Differing>,
    omitted: usize,
    outcome: Outcome,
}

impl Replay<'_> {
    fn judge(&mut self, snapshot: &Snapshot) {
        let time_ms = snapshot.time_ms();
        let outcome = &mut self.outcome;
        outcome.snapshots += 1;
        outcome.first_ms.get_or_insert(time_ms);
        outcome.last_ms = Some(time_ms);
        outcome
            .candidate
            .judge(&self.trial.candidate, snapshot, &mut self.found[0]);
        if let (Some(rule), Some(part)) = (&self.trial.active, &mut outcome.active) {
            part.judge(rule, snapshot, &mut self.found[1]);
        }
        let differing = differences(self.found[1].iter(), self.found[0].iter());
        outcome.differing_snapshots += u64::from(!differing.is_empty());
        for difference in differing {
            if self.differing.len() >= MAX_SUBJECTS && !self.differing.contains_key(&difference.subject) {
                self.omitted += 1;
                continue;
            }
            let subject = difference.subject.clone();
            let known = self.differing.entry(difference.subject).or_insert_with(|| Differing {
                subject,
                active: difference.active,
                candidate: difference.candidate,
                message: String::new(),
                snapshots: 0,
                first_ms: time_ms,
                last_ms: time_ms,
            });
            known.active = difference.active;
            known.candidate = difference.candidate;
            known.message = difference.message;
            known.snapshots += 1;
            known.last_ms = time_ms;
        }
    }

    fn finish(self) -> Outcome {
        let mut outcome = self.outcome;
        outcome.differences = self.differing.into_values().collect();
        outcome
            .differences
            .sort_by_key(|differing| std::cmp::Reverse(differing.snapshots));
        outcome.differences_omitted = self.omitted;
        for part in [Some(&mut outcome.candidate), outcome.active.as_mut()]
            .into_iter()
            .flatten()
        {
            part.mean_us = part.time.as_secs_f64() * 1e6 / (part.judged.max(1) as f64);
        }
        outcome
    }
}

impl TrialCost {
    /// A rule that fails keeps its previous findings, as it does when active.
    fn judge(&mut self, rule: &Rule, snapshot: &Snapshot, last: &mut Vec<Finding>) {
        match rule.judge_alone(snapshot, last) {
            Ok((findings, cost)) => {
                self.judged += 1;
                self.time += cost.time;
                self.max_us = self.max_us.max(cost.time.as_secs_f64() * 1e6);
                self.memory_bytes = self.memory_bytes.max(cost.memory_bytes);
                for finding in &findings {
                    *self.findings.entry(finding.severity).or_default() += 1;
                }
                *last = findings;
            }
            Err(fault) => {
                self.faults += 1;
                self.first_fault.get_or_insert_with(|| fault.to_string());
            }
        }
    }
}
