//! Keeps an answer within what the host takes. Anyone who pushes series makes findings, and an answer that is too
//! large would be no answer at all; so the mildest findings are passed over, and the worst are always told.

use std::cmp::Reverse;

use watchpost_rule::threshold::Finding;

/// The host takes 10,000, and never fewer than this.
pub(crate) const MOST: usize = 9000;

/// The host takes 8 MiB, and never less than 5.
const MOST_BYTES: usize = 4 << 20;

/// What the host counts for a finding, and for a label, beside their texts.
const FINDING_BYTES: usize = 128;
const LABEL_BYTES: usize = 48;

/// As many findings as the host takes: first those that are ok are left out, then the mildest.
pub(crate) fn bounded(mut findings: Vec<Finding>) -> Vec<Finding> {
    if findings.len() <= MOST && findings.iter().map(bytes).sum::<usize>() <= MOST_BYTES {
        return findings;
    }
    // Findings of one severity keep their order, so that each round tells the same ones.
    findings.sort_by_key(|finding| Reverse(finding.severity));
    let mut taken = 0;
    let fitting = findings.iter().take(MOST).take_while(|finding| {
        taken += bytes(finding);
        taken <= MOST_BYTES
    });
    let count = fitting.count();
    findings.truncate(count);
    findings
}

fn bytes(finding: &Finding) -> usize {
    let labels = finding.subject.labels.iter();
    let of_labels = labels.map(|label| LABEL_BYTES + label.name.len() + label.value.len());
    FINDING_BYTES + finding.subject.metric.len() + finding.sentence.len() + of_labels.sum::<usize>()
}
