//! A report: the findings and faults of one generation of rules over one snapshot. Its severity is derived from them.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::digest::Digest;
use crate::fault::Fault;
use crate::finding::{Finding, Severity};

/// The cost of a threshold rule in a round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Cost {
    /// The rule.
    pub rule: String,
    /// Duration from passing the first sample to reading the last finding.
    #[serde(rename = "time_us", with = "micros")]
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub time: Duration,
    /// Peak memory of the instance.
    pub memory_bytes: u64,
}

/// Findings and faults of one generation over one snapshot. Its overall severity is derived, never stored.
#[derive(Clone, Debug)]
pub struct Report {
    generation: u64,
    host: String,
    time_ms: u64,
    findings: Vec<Finding>,
    faults: Vec<Fault>,
    costs: Vec<Cost>,
    /// For each rule, the metrics with a placeholder instead of a finding.
    placeholders: BTreeMap<String, BTreeSet<String>>,
    standings: Digest,
    /// Whether the snapshot is too old to describe the machine.
    is_outdated: bool,
}

/// The results of all threshold rules.
#[derive(Default)]
pub(crate) struct RoundFindings {
    /// Findings of this round, and carried findings.
    pub(crate) findings: Vec<Finding>,
    /// Placeholders. A rule does not receive them as its own findings.
    pub(crate) placeholders: Vec<Finding>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) costs: Vec<Cost>,
}

impl Report {
    pub(crate) fn new(generation: u64, host: String, time_ms: u64, results: RoundFindings) -> Self {
        let RoundFindings {
            mut findings,
            placeholders: placeholder_findings,
            faults,
            costs,
        } = results;
        let mut placeholders = BTreeMap::<String, BTreeSet<String>>::new();
        for Finding { rule, subject, .. } in &placeholder_findings {
            let metrics = placeholders.entry(rule.clone()).or_default();
            metrics.insert(subject.metric.clone());
        }
        findings.extend(placeholder_findings);
        findings.sort_by(|a, b| a.rule.cmp(&b.rule).then_with(|| a.subject.cmp(&b.subject)));
        let standings = standings_digest(findings.iter().filter(|finding| finding.severity > Severity::Ok));
        Self {
            generation,
            host,
            time_ms,
            findings,
            faults,
            costs,
            placeholders,
            standings,
            is_outdated: false,
        }
    }

    /// The report for the time in which no new round arrives. Its severity is unknown. Its findings are carried, as those
    /// of a failed rule are: ok becomes unknown, and a worse severity stays, so a machine that is no longer measured
    /// clears no alert.
    pub fn outdated(&self) -> Self {
        let carry = |finding: &Finding| finding.carry_because("no new round was completed", self.time_ms);
        let findings: Vec<_> = self.findings.iter().map(carry).collect();
        let standings = standings_digest(findings.iter().filter(|finding| finding.severity > Severity::Ok));
        Self {
            findings,
            standings,
            is_outdated: true,
            ..self.clone()
        }
    }

    /// The generation that made the report; 0 before the first round.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The measured machine.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Time of the snapshot, in milliseconds since 1970 (UTC).
    pub fn time_ms(&self) -> u64 {
        self.time_ms
    }

    /// All findings, sorted by rule and subject.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The faults of rules.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// The cost of each threshold rule.
    pub fn costs(&self) -> &[Cost] {
        &self.costs
    }

    /// The worst severity; unknown without any finding or without a recent round, and at least unknown if a rule failed.
    pub fn severity(&self) -> Severity {
        if self.generation == 0 || self.is_outdated {
            return Severity::Unknown;
        }
        let worst = self.findings.iter().map(|finding| finding.severity).max();
        let failed = (!self.faults.is_empty()).then_some(Severity::Unknown);
        worst.max(failed).unwrap_or(Severity::Unknown)
    }

    /// Why the severity is unknown, where no finding says it.
    pub fn unknown_reason(&self) -> Option<&'static str> {
        if self.severity() != Severity::Unknown {
            return None;
        }
        if self.generation == 0 {
            return Some("no round has been evaluated yet");
        }
        if self.is_outdated {
            return Some("no new round was completed; this is about the last one");
        }
        if self.standings().next().is_some() {
            return None;
        }
        Some(match (self.faults.is_empty(), self.costs.is_empty()) {
            (false, _) => "a rule failed",
            (true, true) => "no threshold rule is active",
            (true, false) => "no active rule has a finding",
        })
    }

    /// The findings that are not ok.
    pub fn standings(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.severity > Severity::Ok)
    }

    /// Reports with the same digest have the same standings.
    pub(crate) fn standings_digest(&self) -> Digest {
        self.standings
    }

    /// The findings of this rule without placeholders, sorted by subject.
    pub(crate) fn findings_by(&self, rule: &str) -> Cow<'_, [Finding]> {
        let findings = self.findings_of(rule);
        let Some(metrics) = self.placeholders.get(rule) else {
            return Cow::Borrowed(findings);
        };
        let actual = findings
            .iter()
            .filter(|finding| !metrics.contains(&finding.subject.metric));
        Cow::Owned(actual.cloned().collect())
    }

    /// Time since which this rule has a placeholder for a metric.
    pub(crate) fn placeholder_since(&self, rule: &str, metric: &str) -> Option<u64> {
        self.placeholders.get(rule)?.get(metric)?;
        let findings = self.findings_of(rule);
        let at = findings.partition_point(|finding| finding.subject.metric.as_str() < metric);
        findings.get(at).map(|finding| finding.since_ms)
    }

    fn findings_of(&self, rule: &str) -> &[Finding] {
        let start = self.findings.partition_point(|finding| finding.rule.as_str() < rule);
        let rest = &self.findings[start..];
        &rest[..rest.partition_point(|finding| finding.rule == rule)]
    }
}

/// The serialized form of a report, with its severity.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Report))]
struct ReportFields<'r> {
    /// The generation that evaluated the snapshot.
    generation: u64,
    /// The measured machine.
    host: &'r str,
    /// Time of the snapshot.
    #[serde(rename = "time", with = "crate::rfc3339")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    time_ms: u64,
    /// The worst severity; unknown without any finding or without a recent round, and at least unknown if a rule failed.
    severity: Severity,
    /// Why the severity is unknown, where no finding says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    unknown_reason: Option<&'static str>,
    /// All findings.
    findings: &'r [Finding],
    /// The faults of rules.
    faults: &'r [Fault],
    /// The cost of each threshold rule.
    costs: &'r [Cost],
}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = ReportFields {
            generation: self.generation,
            host: &self.host,
            time_ms: self.time_ms,
            severity: self.severity(),
            unknown_reason: self.unknown_reason(),
            findings: &self.findings,
            faults: &self.faults,
            costs: &self.costs,
        };
        fields.serialize(serializer)
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for Report {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        ReportFields::schema()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for Report {
    fn schemas(schemas: &mut Vec<(String, utoipa::openapi::RefOr<utoipa::openapi::Schema>)>) {
        ReportFields::schemas(schemas);
    }
}

/// A digest of what a role rule receives of these findings, and of nothing else.
pub(crate) fn standings_digest<'f>(standings: impl Iterator<Item = &'f Finding>) -> Digest {
    let mut hash = Sha256::new();
    for standing in standings {
        let labels = standing.subject.labels.as_slice();
        hash.update([standing.severity as u8]);
        hash.update(standing.since_ms.to_le_bytes());
        hash.update((labels.len() as u64).to_le_bytes());
        let names = [standing.rule.as_str(), standing.subject.metric.as_str()];
        let of_labels = labels
            .iter()
            .flat_map(|label| [label.name.as_str(), label.value.as_str()]);
        for text in names.into_iter().chain(of_labels) {
            // The length separates each text from the next.
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        }
    }
    Digest::from(<[u8; 32]>::from(hash.finalize()))
}

mod micros {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_micros)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Subject;
    use crate::series::Labels;

    fn finding(rule: &str, severity: Severity) -> Finding {
        Finding {
            rule: rule.to_owned(),
            subject: Subject {
                metric: "disk".to_owned(),
                labels: Labels::new([("mountpoint", "/"), ("device", "a\"b")]).expect("legal labels"),
            },
            severity,
            value: Some(1.0),
            limit: None,
            message: "look".to_owned(),
            since_ms: 1,
            carried: false,
        }
    }

    fn report(findings: Vec<Finding>) -> Report {
        let results = RoundFindings {
            findings,
            ..RoundFindings::default()
        };
        Report::new(1, "edge-1".to_owned(), 7, results)
    }

    #[test]
    fn severities_are_ordered_from_best_to_worst() {
        assert!(Severity::Ok < Severity::Unknown);
        assert!(Severity::Unknown < Severity::Warning);
        assert!(Severity::Warning < Severity::Alert);
    }

    #[test]
    fn the_worst_finding_is_the_severity_of_the_report() {
        assert_eq!(report(vec![finding("a", Severity::Ok)]).severity(), Severity::Ok);
        let mixed = report(vec![finding("b", Severity::Ok), finding("a", Severity::Warning)]);
        assert_eq!(mixed.severity(), Severity::Warning);
        assert_eq!(mixed.standings().count(), 1);
        assert_eq!(mixed.findings_by("b").len(), 1);
        assert_eq!(mixed.findings_by("c").len(), 0);
    }

    #[test]
    fn without_a_finding_the_severity_is_unknown_with_a_reason() {
        let check = |generation, costs: &[&str], findings: Vec<Finding>, severity, reason: Option<&str>| {
            let cost = |rule: &&str| Cost {
                rule: (*rule).to_owned(),
                time: Duration::ZERO,
                memory_bytes: 0,
            };
            let results = RoundFindings {
                findings,
                costs: costs.iter().map(cost).collect(),
                ..RoundFindings::default()
            };
            let report = Report::new(generation, "edge-1".to_owned(), 7, results);
            assert_eq!((report.severity(), report.unknown_reason()), (severity, reason));
            let json = serde_json::to_value(&report).expect("it is data");
            assert_eq!(json.get("unknown_reason").and_then(|reason| reason.as_str()), reason);
        };
        let unknown = Severity::Unknown;
        check(0, &[], Vec::new(), unknown, Some("no round has been evaluated yet"));
        check(1, &[], Vec::new(), unknown, Some("no threshold rule is active"));
        check(1, &["a"], Vec::new(), unknown, Some("no active rule has a finding"));
        check(1, &["a"], vec![finding("a", unknown)], unknown, None);
        check(1, &["a"], vec![finding("a", Severity::Ok)], Severity::Ok, None);
        check(1, &["a"], vec![finding("a", Severity::Alert)], Severity::Alert, None);
    }

    #[test]
    fn placeholders_are_not_findings_of_the_rule() {
        let placeholder = |rule: &str, metric: &str| Finding::placeholder(rule, metric, 3, "no finding yet".to_owned());
        let report = Report::new(
            1,
            "edge-1".to_owned(),
            7,
            RoundFindings {
                findings: vec![finding("a", Severity::Ok), finding("b", Severity::Ok)],
                placeholders: vec![placeholder("a", "memory"), placeholder("c", "disk")],
                ..RoundFindings::default()
            },
        );
        assert_eq!(report.findings().len(), 4);
        assert_eq!(report.standings().count(), 2);
        for (rule, actual) in [("a", 1), ("b", 1), ("c", 0)] {
            assert_eq!(report.findings_by(rule).len(), actual, "{rule}");
        }
        assert_eq!(report.placeholder_since("a", "memory"), Some(3));
        assert_eq!(report.placeholder_since("a", "disk"), None);
        assert_eq!(report.placeholder_since("b", "memory"), None);
    }

    #[test]
    fn a_subject_is_written_as_prometheus_writes_a_series() {
        let written = finding("a", Severity::Ok).subject.to_string();
        assert_eq!(written, r#"disk{device="a\"b",mountpoint="/"}"#);
    }

    #[test]
    fn a_carried_finding_is_never_better_than_it_was() {
        for severity in [Severity::Ok, Severity::Unknown, Severity::Warning, Severity::Alert] {
            let limit = Some(90.0);
            let carried = Finding {
                limit,
                ..finding("a", severity)
            }
            .carry(9);
            assert!(carried.carried);
            assert!(carried.severity >= severity.max(Severity::Unknown));
            assert!(!carried.message.is_empty());
            // The limit of what was ok is not one that was passed.
            assert_eq!(carried.limit.is_none(), severity == Severity::Ok);
        }
    }

    #[test]
    fn an_outdated_report_is_unknown_whatever_its_findings_were() {
        for severity in [Severity::Ok, Severity::Unknown, Severity::Warning, Severity::Alert] {
            let report = report(vec![finding("a", severity)]);
            let outdated = report.outdated();
            assert_eq!(outdated.severity(), Severity::Unknown);
            assert!(
                outdated
                    .unknown_reason()
                    .is_some_and(|reason| reason.contains("no new round"))
            );
            let [carried] = outdated.findings() else {
                panic!("{outdated:?}")
            };
            assert!(carried.carried);
            assert_eq!(carried.severity, severity.max(Severity::Unknown));
            assert_eq!(carried.message.contains("was ok"), severity == Severity::Ok);
            assert_eq!(
                outdated.standings_digest() != report.standings_digest(),
                severity == Severity::Ok
            );
        }
    }

    #[test]
    fn the_digest_of_the_standings_covers_what_a_role_rule_receives() {
        let base = report(vec![finding("a", Severity::Alert)]).standings_digest();
        assert_eq!(
            report(vec![finding("a", Severity::Alert), finding("b", Severity::Ok)]).standings_digest(),
            base
        );
        let mut later = finding("a", Severity::Alert);
        later.since_ms = 2;
        let mut elsewhere = finding("a", Severity::Alert);
        elsewhere.subject.labels = Labels::none();
        for other in [
            later,
            elsewhere,
            finding("a", Severity::Warning),
            finding("b", Severity::Alert),
        ] {
            assert_ne!(report(vec![other]).standings_digest(), base);
        }
    }
}
