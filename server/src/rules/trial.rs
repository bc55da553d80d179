//! Replays what was measured through a candidate and through the rule in force, and tells where they differ, how often
//! they fail and what they cost. It blocks, for as long as there is to replay; whoever waits may look and may end it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;
use watchpost_policies::{Finding, Rule, Severity, Snapshot, Subject};

use super::compare::differences;
use crate::store::history::{Past, Selection};
use crate::store::{Store, StoreError};

/// Subjects that are told of; of more, only how many there are.
const MAX_SUBJECTS: usize = 1000;

/// What is to be tried on what.
pub struct Trial {
    /// Whether it may be put in force.
    pub candidate: Rule,
    /// What it is held against, if a rule of its name is in force.
    pub active: Option<Rule>,
    /// What was measured where.
    pub host: String,
    /// And when.
    pub from_ms: u64,
    /// Until when; this moment is part of it.
    pub to_ms: u64,
}

/// How far it is, and whether it shall end.
#[derive(Debug, Default)]
pub struct Progress {
    snapshots: AtomicU64,
    at_ms: AtomicU64,
    ended: AtomicBool,
}

/// What came of it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = TrialOutcome)]
pub struct Outcome {
    /// How many snapshots were replayed.
    pub snapshots: u64,
    /// When the first of them was measured, in milliseconds since 1970 (UTC).
    pub first_ms: Option<u64>,
    /// When the last was.
    pub last_ms: Option<u64>,
    /// Whether it was ended before all were.
    pub cancelled: bool,
    /// In how many of them the two say something else.
    pub differing_snapshots: u64,
    /// About what, the most frequent first.
    pub differences: Vec<Differing>,
    /// How many subjects more there are.
    pub differences_omitted: usize,
    /// How the candidate did.
    pub candidate: Done,
    /// How the rule in force did.
    pub active: Option<Done>,
}

/// A subject of which the two do not always say the same.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = TrialDifference)]
pub struct Differing {
    /// What it is about.
    pub subject: Subject,
    /// What the rule in force found the last time that they differed; silence is ok.
    pub active: Severity,
    /// What the candidate found then.
    pub candidate: Severity,
    /// In the words of the one who found it worse.
    pub sentence: String,
    /// How often they differed.
    pub snapshots: u64,
    /// When they did first, in milliseconds since 1970 (UTC).
    pub first_ms: u64,
    /// When they did last.
    pub last_ms: u64,
}

/// How a rule did.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[schema(as = TrialPart)]
pub struct Done {
    /// How often it failed.
    pub faults: u64,
    /// How it failed the first time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_fault: Option<String>,
    /// How many findings it had in all, by how serious they are.
    pub findings: BTreeMap<Severity, u64>,
    /// How long a judgement took, on average.
    pub mean_us: f64,
    /// How long the longest took.
    pub worst_us: f64,
    /// The most memory that it had.
    pub memory_bytes: u64,
    #[serde(skip)]
    judged: u64,
    #[serde(skip)]
    time: Duration,
}

impl Progress {
    /// How many snapshots were replayed, and when the last of them was measured.
    pub fn so_far(&self) -> (u64, u64) {
        (
            self.snapshots.load(Ordering::Relaxed),
            self.at_ms.load(Ordering::Relaxed),
        )
    }

    /// Ends it at the next snapshot.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

impl Trial {
    /// Replays all of it.
    pub fn run(&self, store: &Store, progress: &Progress) -> Result<Outcome, StoreError> {
        let wanted = Selection {
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
            left_out: 0,
            outcome: Outcome {
                snapshots: 0,
                first_ms: None,
                last_ms: None,
                cancelled: false,
                differing_snapshots: 0,
                differences: Vec::new(),
                differences_omitted: 0,
                candidate: Done::default(),
                active: self.active.as_ref().map(|_| Done::default()),
            },
        };
        store.past(&self.host, &wanted, |Past { snapshot, .. }| {
            replay.judge(&snapshot);
            progress.snapshots.store(replay.outcome.snapshots, Ordering::Relaxed);
            progress.at_ms.store(snapshot.time_ms(), Ordering::Relaxed);
            replay.outcome.cancelled = progress.ended.load(Ordering::Relaxed);
            !replay.outcome.cancelled
        })?;
        Ok(replay.done())
    }
}

struct Replay<'t> {
    trial: &'t Trial,
    /// What the candidate and the rule in force found in the round before.
    found: [Vec<Finding>; 2],
    differing: BTreeMap<Subject, Differing>,
    left_out: usize,
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
        if let (Some(rule), Some(done)) = (&self.trial.active, &mut outcome.active) {
            done.judge(rule, snapshot, &mut self.found[1]);
        }
        let differ = differences(self.found[1].iter(), self.found[0].iter());
        outcome.differing_snapshots += u64::from(!differ.is_empty());
        for difference in differ {
            if self.differing.len() >= MAX_SUBJECTS && !self.differing.contains_key(&difference.subject) {
                self.left_out += 1;
                continue;
            }
            let subject = difference.subject.clone();
            let known = self.differing.entry(difference.subject).or_insert_with(|| Differing {
                subject,
                active: difference.active,
                candidate: difference.candidate,
                sentence: String::new(),
                snapshots: 0,
                first_ms: time_ms,
                last_ms: time_ms,
            });
            known.active = difference.active;
            known.candidate = difference.candidate;
            known.sentence = difference.sentence;
            known.snapshots += 1;
            known.last_ms = time_ms;
        }
    }

    fn done(self) -> Outcome {
        let mut outcome = self.outcome;
        outcome.differences = self.differing.into_values().collect();
        outcome
            .differences
            .sort_by_key(|differing| std::cmp::Reverse(differing.snapshots));
        outcome.differences_omitted = self.left_out;
        for done in [Some(&mut outcome.candidate), outcome.active.as_mut()]
            .into_iter()
            .flatten()
        {
            done.mean_us = done.time.as_secs_f64() * 1e6 / (done.judged.max(1) as f64);
        }
        outcome
    }
}

impl Done {
    /// A rule that fails finds what it found before, as it would in earnest.
    fn judge(&mut self, rule: &Rule, snapshot: &Snapshot, last: &mut Vec<Finding>) {
        match rule.judge_alone(snapshot, last) {
            Ok((findings, cost)) => {
                self.judged += 1;
                self.time += cost.time;
                self.worst_us = self.worst_us.max(cost.time.as_secs_f64() * 1e6);
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
