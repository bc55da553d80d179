//! Findings of a round before their messages are written. Clients that push series cause findings, and the host
//! refuses an answer that is too large, so only the most severe findings are written out.

use std::borrow::Cow;
use std::cmp::Reverse;

use watchpost_rule::threshold::{Finding, Gap, Metric, Sample, Severity, Subject};

use crate::judged::Judged;

/// The host accepts 10,000 findings by default, and at least this many.
const MAX_FINDINGS: usize = 9000;

/// The host accepts 8 MiB by default, and at least 5 MiB.
const MAX_BYTES: usize = 4 << 20;

/// The size that the host adds for each finding and for each label to that of their texts.
const FINDING_BYTES: usize = 128;
const LABEL_BYTES: usize = 48;

/// A finding without its message.
pub(crate) struct Draft<'r> {
    pub(crate) threshold: &'r Judged,
    pub(crate) severity: Severity,
    pub(crate) about: About<'r>,
}

/// The subject of a draft: a measured series, or one that is missing.
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
    /// A draft about a missing subject; `None` where the threshold permits that it is missing.
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

    /// The missing subject that the draft is about, if it is about one.
    pub(crate) fn missing_subject(&self) -> Option<&Subject> {
        match &self.about {
            About::Series { .. } => None,
            About::Absence { subject, .. } => Some(subject),
        }
    }

    fn finding(&self) -> Finding {
        let Self {
            threshold, severity, ..
        } = self;
        match &self.about {
            About::Series { metric, sample } => threshold.finding(metric, sample, *severity),
            About::Absence { subject, before, gap } => threshold.absence(subject, *severity, *before, *gap),
        }
    }
}

/// As many findings as the host accepts; the mildest are left out, beginning with those that are ok.
pub(crate) fn findings(mut drafts: Vec<Draft<'_>>) -> Vec<Finding> {
    if drafts.len() <= MAX_FINDINGS {
        let findings = fitting(&drafts);
        if findings.len() == drafts.len() {
            return findings;
        }
    }
    // The sort is stable, so that each round has the same findings.
    drafts.sort_by_key(|draft| Reverse(draft.severity));
    drafts.truncate(MAX_FINDINGS);
    fitting(&drafts)
}

fn fitting(drafts: &[Draft<'_>]) -> Vec<Finding> {
    let mut taken = 0;
    let findings = drafts.iter().map(Draft::finding);
    let fitting = findings.take_while(|finding| {
        taken += bytes(finding);
        taken <= MAX_BYTES
    });
    fitting.collect()
}

fn bytes(finding: &Finding) -> usize {
    let labels = finding.subject.labels.iter();
    let of_labels = labels.map(|label| LABEL_BYTES + label.name.len() + label.value.len());
    FINDING_BYTES + finding.subject.metric.len() + finding.message.len() + of_labels.sum::<usize>()
}
