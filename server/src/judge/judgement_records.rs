//! Brings each round to the decision records, which keep what is new in it.

use super::Evaluations;
use crate::decisions::Decisions;

/// Records before publication: what somebody could read in a report is among the records when the process ends.
pub(super) fn observe(evaluations: &Evaluations, decisions: Decisions) {
    evaluations.before_publication(move |judged| {
        decisions.record_judgements(&judged.rules.set, judged.previous.as_deref(), &judged.report);
    });
}
