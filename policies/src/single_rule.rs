//! Evaluates a single rule, for its author and for checks before activation. Nothing is remembered between two calls
//! and nothing is carried over a fault; that is the task of a set.

use crate::access::{Decision, Request};
use crate::fault::{Busy, Call, Fault};
use crate::finding::{Finding, Severity};
use crate::measure::Snapshot;
use crate::report::Cost;
use crate::rule::Rule;
use crate::set::{RoleDecision, decided_by, is_in_plan, judge_by};

impl Rule {
    /// Evaluates a snapshot. `last` has the findings of the previous round, as returned by this method. For a role rule
    /// this is a fault.
    pub fn judge_alone(&self, snapshot: &Snapshot, last: &[Finding]) -> Result<(Vec<Finding>, Cost), Box<Fault>> {
        judge_by(self, snapshot, last).map_err(|misbehaviour| Box::new(self.module().fault(Call::Judge, misbehaviour)))
    }

    /// Decides a request. The rule receives those findings that are not ok and match its plan. For a threshold rule
    /// this is a fault.
    pub fn decide_alone(
        &self,
        request: &Request<'_>,
        findings: &[Finding],
    ) -> Result<Result<(Decision, Cost), Box<Fault>>, Busy> {
        let not_ok = findings.iter().filter(|finding| finding.severity > Severity::Ok);
        let standings: Vec<_> = not_ok.filter(|finding| is_in_plan(self, finding)).cloned().collect();
        let decided = decided_by(self, request, &standings)?;
        Ok(decided
            .map(|RoleDecision { verdict, roles, spent }| {
                let decision = Decision {
                    verdict,
                    roles,
                    rule: self.name().to_owned(),
                    digest: self.module().digest(),
                    generation: 0,
                };
                (decision, spent.by(self.name()))
            })
            .map_err(|misbehaviour| Box::new(self.module().fault(Call::Decide, misbehaviour))))
    }
}
