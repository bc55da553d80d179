//! What rules say about a snapshot: findings, and the report of one generation over one snapshot. It says
//! nothing about who is told.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::digest::Digest;
use crate::fault::Fault;
use crate::series::Labels;

/// How serious it is, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Measured, and as it should be.
    Ok,
    /// Could not be measured. Missing data is unknown, never ok.
    Unknown,
    /// Someone should look at it soon.
    Warning,
    /// Someone should look at it now.
    Alert,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Alert => "alert",
        })
    }
}

/// What a finding is about: a metric, and those of its labels that tell it from its like.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Subject {
    /// The metric, or the source of a gap.
    pub metric: String,
    /// Empty for the metric as a whole.
    #[serde(default)]
    pub labels: Labels,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.metric)?;
        let mut before = "{";
        for label in self.labels.as_slice() {
            write!(f, "{before}{}={:?}", label.name, label.value)?;
            before = ",";
        }
        f.write_str(if self.labels.as_slice().is_empty() { "" } else { "}" })
    }
}

/// What one rule says about one subject.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Finding {
    /// The rule that says it.
    pub rule: String,
    /// What it is about.
    pub subject: Subject,
    /// How serious it is.
    pub severity: Severity,
    /// The value that was judged; finite.
    pub value: Option<f64>,
    /// The limit that it was held against; finite.
    pub limit: Option<f64>,
    /// A sentence on which a person can act; never empty above ok.
    pub sentence: String,
    /// Since when the rule says so, without a break, in milliseconds since 1970 (UTC).
    pub since_ms: u64,
    /// The rule gave no answer this time. This is what it said last; where it said nothing, that nobody knows.
    #[serde(default)]
    pub carried: bool,
}

impl Finding {
    /// What stands for a rule that has not been heard about a metric: nobody knows.
    pub(crate) fn unheard(rule: &str, metric: &str, since_ms: u64, sentence: String) -> Self {
        Self {
            rule: rule.to_owned(),
            subject: Subject {
                metric: metric.to_owned(),
                labels: Labels::none(),
            },
            severity: Severity::Unknown,
            value: None,
            limit: None,
            sentence,
            since_ms,
            carried: true,
        }
    }

    /// The same finding for a round in which its rule could not answer. What was ok is unknown now; what was
    /// worse stays as bad as it was, so that a rule that breaks can neither clear an alert nor lift what
    /// hangs on it.
    pub(crate) fn carry(&self, time_ms: u64) -> Self {
        let mut carried = self.clone();
        carried.carried = true;
        if self.severity == Severity::Ok {
            carried.severity = Severity::Unknown;
            carried.since_ms = time_ms;
            (carried.value, carried.limit) = (None, None);
            carried.sentence = format!("the rule {} failed; before that, {} was ok", self.rule, self.subject);
        }
        carried
    }
}

/// What one threshold rule cost in one round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Cost {
    /// The rule.
    pub rule: String,
    /// From the first sample handed over to the last finding taken back.
    #[serde(rename = "time_us", with = "micros")]
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub time: Duration,
    /// The most memory that its instance had.
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
    /// By rule, the metrics about which its finding was not said by it.
    unheard: BTreeMap<String, BTreeSet<String>>,
    standings: Digest,
}

/// What came of asking the threshold rules.
#[derive(Default)]
pub(crate) struct ParsedFinding {
    /// What they said, in this round or before.
    pub(crate) findings: Vec<Finding>,
    /// What stands for what they did not say. No rule is shown it as its own.
    pub(crate) unheard: Vec<Finding>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) costs: Vec<Cost>,
}

impl Report {
    pub(crate) fn new(generation: u64, host: String, time_ms: u64, heard: ParsedFinding) -> Self {
        let ParsedFinding {
            mut findings,
            unheard: stand_ins,
            faults,
            costs,
        } = heard;
        let mut unheard = BTreeMap::<String, BTreeSet<String>>::new();
        for Finding { rule, subject, .. } in &stand_ins {
            let metrics = unheard.entry(rule.clone()).or_default();
            metrics.insert(subject.metric.clone());
        }
        findings.extend(stand_ins);
        findings.sort_by(|a, b| a.rule.cmp(&b.rule).then_with(|| a.subject.cmp(&b.subject)));
        let standings = standings_digest(findings.iter().filter(|finding| finding.severity > Severity::Ok));
        Self {
            generation,
            host,
            time_ms,
            findings,
            faults,
            costs,
            unheard,
            standings,
        }
    }

    /// The generation of rules that made it; 0 before the first round.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The machine that was judged.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// When the snapshot was taken, in milliseconds since 1970 (UTC).
    pub fn time_ms(&self) -> u64 {
        self.time_ms
    }

    /// What the rules say, sorted by rule and subject.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The rules that failed.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// What each threshold rule cost.
    pub fn costs(&self) -> &[Cost] {
        &self.costs
    }

    /// The worst that any rule says; a rule that failed makes it unknown at least.
    pub fn severity(&self) -> Severity {
        if self.generation == 0 {
            return Severity::Unknown;
        }
        let worst = self.findings.iter().map(|finding| finding.severity).max();
        let failed = (!self.faults.is_empty()).then_some(Severity::Unknown);
        worst.max(failed).unwrap_or(Severity::Ok)
    }

    /// What is not ok just now.
    pub fn standings(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.severity > Severity::Ok)
    }

    /// Two reports with the same digest have the same standings.
    pub(crate) fn standings_digest(&self) -> Digest {
        self.standings
    }

    /// What this rule said itself, sorted by subject.
    pub(crate) fn heard_from(&self, rule: &str) -> Cow<'_, [Finding]> {
        let findings = self.findings_of(rule);
        let Some(unheard) = self.unheard.get(rule) else {
            return Cow::Borrowed(findings);
        };
        let said = findings
            .iter()
            .filter(|finding| !unheard.contains(&finding.subject.metric));
        Cow::Owned(said.cloned().collect())
    }

    /// Since when something stands for what this rule did not say about a metric.
    pub(crate) fn unheard_since(&self, rule: &str, metric: &str) -> Option<u64> {
        self.unheard.get(rule)?.get(metric)?;
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

/// A report as it is told, with its severity.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Report))]
struct Told<'r> {
    /// The generation of rules that judged.
    generation: u64,
    /// The machine.
    host: &'r str,
    /// When it was measured, in milliseconds since 1970 (UTC).
    time_ms: u64,
    /// The worst of all findings; unknown at best, if a rule failed.
    severity: Severity,
    /// What the rules say.
    findings: &'r [Finding],
    /// How rules failed.
    faults: &'r [Fault],
    /// What the rules cost.
    costs: &'r [Cost],
}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let told = Told {
            generation: self.generation,
            host: &self.host,
            time_ms: self.time_ms,
            severity: self.severity(),
            findings: &self.findings,
            faults: &self.faults,
            costs: &self.costs,
        };
        told.serialize(serializer)
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for Report {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        Told::schema()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for Report {
    fn schemas(schemas: &mut Vec<(String, utoipa::openapi::RefOr<utoipa::openapi::Schema>)>) {
        Told::schemas(schemas);
    }
}

/// What a role rule is told of these findings, and nothing else, as one number.
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
            // The length keeps each text apart from the next.
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
            sentence: "look".to_owned(),
            since_ms: 1,
            carried: false,
        }
    }

    fn report(findings: Vec<Finding>) -> Report {
        let heard = ParsedFinding {
            findings,
            ..ParsedFinding::default()
        };
        Report::new(1, "edge-1".to_owned(), 7, heard)
    }

    #[test]
    fn severities_are_ordered_from_best_to_worst() {
        assert!(Severity::Ok < Severity::Unknown);
        assert!(Severity::Unknown < Severity::Warning);
        assert!(Severity::Warning < Severity::Alert);
    }

    #[test]
    fn the_worst_finding_is_the_severity_of_the_report() {
        assert_eq!(report(Vec::new()).severity(), Severity::Ok);
        let mixed = report(vec![finding("b", Severity::Ok), finding("a", Severity::Warning)]);
        assert_eq!(mixed.severity(), Severity::Warning);
        assert_eq!(mixed.standings().count(), 1);
        assert_eq!(mixed.heard_from("b").len(), 1);
        assert_eq!(mixed.heard_from("c").len(), 0);
    }

    #[test]
    fn what_stands_for_a_rule_is_not_what_it_said() {
        let stand_in = |rule: &str, metric: &str| Finding::unheard(rule, metric, 3, "nobody knows".to_owned());
        let report = Report::new(
            1,
            "edge-1".to_owned(),
            7,
            ParsedFinding {
                findings: vec![finding("a", Severity::Ok), finding("b", Severity::Ok)],
                unheard: vec![stand_in("a", "memory"), stand_in("c", "disk")],
                ..ParsedFinding::default()
            },
        );
        assert_eq!(report.findings().len(), 4);
        assert_eq!(report.standings().count(), 2);
        for (rule, said) in [("a", 1), ("b", 1), ("c", 0)] {
            assert_eq!(report.heard_from(rule).len(), said, "{rule}");
        }
        assert_eq!(report.unheard_since("a", "memory"), Some(3));
        assert_eq!(report.unheard_since("a", "disk"), None);
        assert_eq!(report.unheard_since("b", "memory"), None);
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
            assert!(!carried.sentence.is_empty());
            // The limit of what was ok is not one that was passed.
            assert_eq!(carried.limit.is_none(), severity == Severity::Ok);
        }
    }

    #[test]
    fn the_digest_of_the_standings_sees_what_a_role_rule_sees() {
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
