//! What a round will say, before it is written out. Anyone who pushes series makes findings, and an answer that is
//! too large would be no answer at all; so the mildest are passed over, and sentences are written for the others.

use std::borrow::Cow;
use std::cmp::Reverse;

use watchpost_rule::threshold::{Finding, Gap, Metric, Sample, Severity, Subject};

use crate::judged::Judged;

/// The host takes 10,000, and never fewer than this.
const MAX_FINDINGS: usize = 9000;

/// The host takes 8 MiB, and never less than 5.
const MAX_BYTES: usize = 4 << 20;

/// What the host counts for a finding, and for a label, beside their texts.
const FINDING_BYTES: usize = 128;
const LABEL_BYTES: usize = 48;

/// A finding that knows everything but its sentence.
pub(crate) struct Draft<'r> {
    pub(crate) threshold: &'r Judged,
    pub(crate) severity: Severity,
    pub(crate) about: About<'r>,
}

/// What was measured, or was not.
pub(crate) enum About<'r> {
    Series {
        metric: &'r Metric,
        sample: &'r Sample,
    },
    Absence {
        subject: Cow<'r, Subject>,
        before: Option<&'r Finding>,
        gap: Option<&'r Gap>,
    },
}

impl<'r> Draft<'r> {
    /// Nothing, where nobody minds that it is not there.
    pub(crate) fn of_absence(
        threshold: &'r Judged,
        subject: Cow<'r, Subject>,
        before: Option<&'r Finding>,
        gap: Option<&'r Gap>,
    ) -> Option<Self> {
        Some(Self {
            threshold,
            severity: threshold.absent(gap.is_some())?,
            about: About::Absence { subject, before, gap },
        })
    }

    /// What is not there, if it is about that.
    pub(crate) fn missed(&self) -> Option<&Subject> {
        match &self.about {
            About::Series { .. } => None,
            About::Absence { subject, .. } => Some(subject),
        }
    }

    fn written(&self) -> Finding {
        let Self {
            threshold, severity, ..
        } = self;
        match &self.about {
            About::Series { metric, sample } => threshold.finding(metric, sample, *severity),
            About::Absence { subject, before, gap } => threshold.absence(subject, *severity, *before, *gap),
        }
    }
}

/// As many findings as the host takes: first those that are ok are left out, then the mildest.
pub(crate) fn written(mut drafts: Vec<Draft<'_>>) -> Vec<Finding> {
    if drafts.len() <= MAX_FINDINGS {
        let findings = fitting(&drafts);
        if findings.len() == drafts.len() {
            return findings;
        }
    }
    // Those of one severity keep their order, so that each round tells the same ones.
    drafts.sort_by_key(|draft| Reverse(draft.severity));
    drafts.truncate(MAX_FINDINGS);
    fitting(&drafts)
}

fn fitting(drafts: &[Draft<'_>]) -> Vec<Finding> {
    let mut taken = 0;
    let findings = drafts.iter().map(Draft::written);
    let fitting = findings.take_while(|finding| {
        taken += bytes(finding);
        taken <= MAX_BYTES
    });
    fitting.collect()
}

fn bytes(finding: &Finding) -> usize {
    let labels = finding.subject.labels.iter();
    let of_labels = labels.map(|label| LABEL_BYTES + label.name.len() + label.value.len());
    FINDING_BYTES + finding.subject.metric.len() + finding.sentence.len() + of_labels.sum::<usize>()
}
