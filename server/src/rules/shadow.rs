//! Rules that are asked beside those in force. What they find is compared and told, and nobody acts on it.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use utoipa::ToSchema;
use watchpost_policies::{Digest, Kind, Report, Snapshot};

use super::ActiveRule;
use super::compare::{Difference, differences};
use super::streak::Streak;
use crate::metrics::ShadowRound;
use crate::store::rules::Mode;

/// Differences of one round that are told; the rest is counted.
const MAX_REPORTED_DIFFERENCES: usize = 100;

/// What the shadows found in a round.
#[derive(Debug)]
pub struct Compared {
    /// All that they found.
    report: Report,
    /// Each beside the one in force.
    pub rules: Vec<ShadowComparison>,
}

/// One rule beside the one in force.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = RuleInShadow)]
pub struct ShadowComparison {
    /// Its name.
    pub rule: String,
    /// Which version of it.
    pub digest: Digest,
    /// How many rounds it was asked in.
    pub rounds: u64,
    /// In how many of them it said something else than the one in force.
    pub differing_rounds: u64,
    /// In how many it failed.
    pub failed_rounds: u64,
    /// How many differences there are in this round.
    pub differences: usize,
    /// The first of them.
    pub told: Vec<Difference>,
    /// How it failed in this round.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

impl ShadowComparison {
    /// The part of it that is exported as metrics.
    pub fn round(&self) -> ShadowRound<'_> {
        ShadowRound {
            rule: &self.rule,
            differences: self.differences,
            failed: self.fault.is_some(),
        }
    }
}

/// How a role rule in shadow does, since its generation is in force.
#[derive(Debug, Default)]
pub(super) struct RoleShadow {
    /// How often it failed since it last answered.
    pub(super) fails: Streak,
    answers: AtomicU64,
    others: AtomicU64,
}

/// A role rule beside the one in force.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = RoleRuleInShadow)]
pub struct RoleInShadow {
    /// Its name.
    pub rule: String,
    /// Which version of it.
    pub digest: Digest,
    /// How many decisions it was asked about since this generation is in force.
    pub decisions: u64,
    /// How many of them it would have made otherwise.
    pub decisions_that_differ: u64,
    /// How often it failed since it last answered; after too many it is not asked any more. How, the log says.
    pub consecutive_faults: u32,
}

impl RoleShadow {
    /// Counts an answer that is the same as that of the rule in force, or another.
    pub(super) fn answered(&self, same: bool) {
        self.fails.count(None);
        self.answers.fetch_add(1, Ordering::Relaxed);
        if !same {
            self.others.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl ActiveRule {
    /// How the role rule in shadow does, if there is one.
    pub fn role_in_shadow(&self) -> Option<RoleInShadow> {
        let role = self.shadow_role()?.role();
        let RoleShadow { fails, answers, others } = &self.role_beside;
        Some(RoleInShadow {
            rule: role.name().to_owned(),
            digest: role.module().digest(),
            decisions: answers.load(Ordering::Relaxed),
            decisions_that_differ: others.load(Ordering::Relaxed),
            consecutive_faults: fails.length(),
        })
    }
}

/// Asks the shadows of a generation, if there are any that judge.
pub fn compare(active: &ActiveRule, snapshot: &Snapshot, report: &Report, last: Option<&Compared>) -> Option<Compared> {
    let set = active.shadow.as_ref().filter(|set| !set.thresholds().is_empty())?;
    let found = set.judge(snapshot, last.map(|last| &last.report));
    let both = active.generation.entries.iter().zip(&active.rules);
    let shadows = both.filter(|(entry, _)| entry.mode == Mode::Shadow && entry.kind == Kind::Threshold);
    let rules = shadows.map(|(entry, rule)| {
        let digest = rule.module().digest();
        let of_rule = |report: &'_ Report| -> Vec<_> {
            let all = report.findings().iter();
            all.filter(|finding| finding.rule == entry.rule).cloned().collect()
        };
        let (one, other) = (of_rule(report), of_rule(&found));
        let mut told = differences(one.iter(), other.iter());
        let count = told.len();
        told.truncate(MAX_REPORTED_DIFFERENCES);
        let fault = found.faults().iter().find(|fault| fault.rule == entry.rule);
        let before = last.and_then(|last| {
            let mut rules = last.rules.iter();
            rules.find(|beside| beside.rule == entry.rule && beside.digest == digest)
        });
        ShadowComparison {
            rule: entry.rule.clone(),
            digest,
            rounds: before.map_or(0, |before| before.rounds) + 1,
            differing_rounds: before.map_or(0, |before| before.differing_rounds) + u64::from(count > 0),
            failed_rounds: before.map_or(0, |before| before.failed_rounds) + u64::from(fault.is_some()),
            differences: count,
            told,
            fault: fault.map(ToString::to_string),
        }
    });
    Some(Compared {
        rules: rules.collect(),
        report: found,
    })
}
