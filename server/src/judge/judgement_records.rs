//! Passes each round to the decision records, which store its changes.

use super::Evaluations;
use crate::decisions::Decisions;

/// Records before publication, so a report that a client has read is recorded even if the process ends.
pub(super) fn observe(evaluations: &Evaluations, decisions: Decisions) {
    evaluations.before_publication(move |judged| {
        decisions.record_judgements(&judged.rules.set, judged.previous.as_deref(), &judged.report);
    });
}
