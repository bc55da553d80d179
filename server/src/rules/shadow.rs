//! Compares the results of rules in shadow mode with those of the active rules. Their findings have no effect.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use utoipa::ToSchema;
use watchpost_policies::{Digest, Kind, Report, Snapshot};

use super::LoadedGeneration;
use super::compare::{Difference, differences};
use super::streak::Streak;
use crate::metrics::ShadowRound;
use crate::store::rules::Mode;

/// Maximum number of differences reported per round; the rest is only counted.
const MAX_REPORTED_DIFFERENCES: usize = 100;

/// The results of all rules in shadow mode in a round.
#[derive(Debug)]
pub struct Compared {
    /// All findings of the shadows.
    report: Report,
    /// Each shadow compared with the active rule.
    pub rules: Vec<ShadowComparison>,
}

/// A threshold rule in shadow mode, compared with the active rule.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = ShadowComparison)]
pub struct ShadowComparison {
    /// The name of the rule.
    pub rule: String,
    /// The version in shadow mode.
    pub digest: Digest,
    /// Number of evaluated rounds.
    pub rounds: u64,
    /// Number of rounds in which its findings differ from those of the active rule.
    pub differing_rounds: u64,
    /// Number of rounds in which it failed.
    pub failed_rounds: u64,
    /// Number of differences in this round.
    pub differences: usize,
    /// The first 100 differences of this round.
    pub reported: Vec<Difference>,
    /// The fault of this round.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

impl ShadowComparison {
    /// The part that is exported as metrics.
    pub fn round(&self) -> ShadowRound<'_> {
        ShadowRound {
            rule: &self.rule,
            differences: self.differences,
            failed: self.fault.is_some(),
        }
    }
}

/// Results of a role rule in shadow mode since its generation was activated.
#[derive(Debug, Default)]
pub(super) struct RoleShadow {
    /// Consecutive faults.
    pub(super) fails: Streak,
    answers: AtomicU64,
    differing: AtomicU64,
}

/// A role rule in shadow mode.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = RoleShadow)]
pub struct RoleInShadow {
    /// The name of the rule.
    pub rule: String,
    /// The version in shadow mode.
    pub digest: Digest,
    /// Number of compared decisions since the generation was activated.
    pub decisions: u64,
    /// Number of decisions that differ from those of the active rule.
    pub differing_decisions: u64,
    /// Consecutive faults; after `rules.max_consecutive_faults` the rule is not evaluated any more. The log has the
    /// fault.
    pub consecutive_faults: u32,
}

impl RoleShadow {
    /// Counts an answer, which is the same as the active rule's or not.
    pub(super) fn answered(&self, same: bool) {
        self.fails.count(None);
        self.answers.fetch_add(1, Ordering::Relaxed);
        if !same {
            self.differing.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl LoadedGeneration {
    /// The results of the role rule in shadow mode, if there is one.
    pub fn role_in_shadow(&self) -> Option<RoleInShadow> {
        let role = self.shadow_role()?.role();
        let RoleShadow {
            fails,
            answers,
            differing,
        } = &self.role_shadow;
        Some(RoleInShadow {
            rule: role.name().to_owned(),
            digest: role.module().digest(),
            decisions: answers.load(Ordering::Relaxed),
            differing_decisions: differing.load(Ordering::Relaxed),
            consecutive_faults: fails.length(),
        })
    }
}

/// Evaluates the threshold rules in shadow mode, if there are any.
pub fn compare(
    active: &LoadedGeneration,
    snapshot: &Snapshot,
    report: &Report,
    last: Option<&Compared>,
) -> Option<Compared> {
    let set = active.shadow.as_ref().filter(|set| !set.thresholds().is_empty())?;
    let found = set.judge(snapshot, last.map(|last| &last.report));
    let loaded = active.generation.entries.iter().zip(&active.rules);
    let shadows = loaded.filter(|(entry, _)| entry.mode == Mode::Shadow && entry.kind == Kind::Threshold);
    let rules = shadows.map(|(entry, rule)| {
        let digest = rule.module().digest();
        let of_rule = |report: &'_ Report| -> Vec<_> {
            let all = report.findings().iter();
            all.filter(|finding| finding.rule == entry.rule).cloned().collect()
        };
        let (one, other) = (of_rule(report), of_rule(&found));
        let mut reported = differences(one.iter(), other.iter());
        let count = reported.len();
        reported.truncate(MAX_REPORTED_DIFFERENCES);
        let fault = found.faults().iter().find(|fault| fault.rule == entry.rule);
        let before = last.and_then(|last| {
            let mut rules = last.rules.iter();
            rules.find(|shadow| shadow.rule == entry.rule && shadow.digest == digest)
        });
        ShadowComparison {
            rule: entry.rule.clone(),
            digest,
            rounds: before.map_or(0, |before| before.rounds) + 1,
            differing_rounds: before.map_or(0, |before| before.differing_rounds) + u64::from(count > 0),
            failed_rounds: before.map_or(0, |before| before.failed_rounds) + u64::from(fault.is_some()),
            differences: count,
            reported,
            fault: fault.map(ToString::to_string),
        }
    });
    Some(Compared {
        rules: rules.collect(),
        report: found,
    })
}
