//! Compares the findings of an active rule with those of a candidate over the same round. It evaluates neither rule.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;
use watchpost_policies::{Finding, Severity, Subject};

/// A subject for which the severities differ.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = ShadowDifference)]
pub struct Difference {
    /// The subject of both findings.
    pub subject: Subject,
    /// Severity by the active rule; null without a finding.
    #[schema(required)]
    pub active: Option<Severity>,
    /// Severity by the candidate; null without a finding.
    #[schema(required)]
    pub candidate: Option<Severity>,
    /// The message of the finding with the higher severity.
    pub message: String,
}

/// The subjects for which the severities differ. A subject that only the active rule evaluates is a difference, even if
/// it is ok; one that only the candidate evaluates is none as long as it is ok.
pub fn differences<'f>(
    active: impl Iterator<Item = &'f Finding>,
    candidate: impl Iterator<Item = &'f Finding>,
) -> Vec<Difference> {
    let mut both: BTreeMap<&Subject, (Option<&Finding>, Option<&Finding>)> = BTreeMap::new();
    for finding in active {
        both.entry(&finding.subject).or_default().0 = Some(finding);
    }
    for finding in candidate {
        both.entry(&finding.subject).or_default().1 = Some(finding);
    }
    let severity = |finding: Option<&Finding>| finding.map(|finding| finding.severity);
    let differs = |(_, (one, other)): &(_, (Option<&Finding>, Option<&Finding>))| {
        let (one, other) = (severity(*one), severity(*other));
        one != other && (one, other) != (None, Some(Severity::Ok))
    };
    let difference = |(subject, (one, other)): (&Subject, (Option<&Finding>, Option<&Finding>))| {
        let worse = if severity(other) > severity(one) { other } else { one };
        Difference {
            subject: subject.clone(),
            active: severity(one),
            candidate: severity(other),
            message: worse.map(|finding| finding.message.clone()).unwrap_or_default(),
        }
    };
    both.into_iter().filter(differs).map(difference).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(metric: &str, severity: Severity, message: &str) -> Finding {
        Finding {
            rule: "levels".to_owned(),
            subject: Subject {
                metric: metric.to_owned(),
                labels: watchpost_policies::Labels::default(),
            },
            severity,
            value: None,
            limit: None,
            message: message.to_owned(),
            since_ms: 1,
            carried: false,
        }
    }

    #[test]
    fn a_lost_finding_is_a_difference_and_the_message_is_that_of_the_worse_finding() {
        let one = [
            finding("disk", Severity::Warning, "it is full"),
            finding("memory", Severity::Ok, ""),
            finding("cpu", Severity::Alert, "it is hot"),
        ];
        let other = [
            finding("disk", Severity::Alert, "it is very full"),
            finding("cpu", Severity::Alert, "a different message"),
            finding("load", Severity::Ok, ""),
        ];
        let found = differences(one.iter(), other.iter());
        let written = |found: &[Difference]| -> Vec<_> {
            let each = found.iter();
            each.map(|found| (found.subject.metric.clone(), found.active, found.candidate))
                .collect()
        };
        let (ok, warning, alert) = (Some(Severity::Ok), Some(Severity::Warning), Some(Severity::Alert));
        let expected = [("disk".to_owned(), warning, alert), ("memory".to_owned(), ok, None)];
        assert_eq!(written(&found), expected);
        assert_eq!(found[0].message, "it is very full");
        let reversed = differences(other.iter(), one.iter());
        let expected = [("disk".to_owned(), alert, warning), ("load".to_owned(), ok, None)];
        assert_eq!(written(&reversed), expected);
        assert_eq!(reversed[0].message, "it is very full");
    }
}
