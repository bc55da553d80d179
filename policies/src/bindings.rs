//! The types generated from the contract, and conversions to and from the types of this crate. Only the engine uses
//! generated types.

use crate::access::{Certificate, Identity, IdentityKind, Request};
use crate::fault::Problem;
use crate::finding::{Finding, Severity};
use crate::measure::{Sample, Snapshot};
use crate::series::{Label, Labels};

/// The supported version of `watchpost:rules`.
pub(crate) const CONTRACT_VERSION: &str = "1.0";

mod generated {
    pub(crate) mod threshold {
        wasmtime::component::bindgen!({
            path: "wit",
            world: "threshold",
            ownership: Borrowing { duplicate_if_necessary: true },
        });
    }

    pub(crate) mod role {
        wasmtime::component::bindgen!({
            path: "wit",
            world: "role",
            ownership: Borrowing { duplicate_if_necessary: true },
        });
    }
}

pub(crate) use generated::role::exports::watchpost::rules::role_rule as role;
pub(crate) use generated::threshold::exports::watchpost::rules::threshold_rule as threshold;
pub(crate) use generated::{role::Role, threshold::Threshold};

/// A manifest of a guest, not validated.
pub(crate) struct RawManifest {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) description: String,
    pub(crate) settings_schema: String,
}

/// A plan of a guest, not validated.
pub(crate) struct RawPlan {
    pub(crate) metrics: Option<Vec<String>>,
    pub(crate) settings: Vec<u8>,
    pub(crate) effective_settings: Option<String>,
}

macro_rules! same_in_both {
    ($($interface:ident),+) => {
        $(
            impl From<$interface::Manifest> for RawManifest {
                fn from(manifest: $interface::Manifest) -> Self {
                    let $interface::Manifest { name, version, description, settings_schema } = manifest;
                    Self { name, version, description, settings_schema }
                }
            }

            impl From<$interface::Plan> for RawPlan {
                fn from(plan: $interface::Plan) -> Self {
                    let $interface::Plan { metrics, settings, effective_settings } = plan;
                    Self { metrics, settings, effective_settings }
                }
            }

            impl From<$interface::Problem> for Problem {
                fn from(problem: $interface::Problem) -> Self {
                    Self { path: problem.path, message: problem.message }
                }
            }

            impl From<Severity> for $interface::Severity {
                fn from(severity: Severity) -> Self {
                    match severity {
                        Severity::Ok => Self::Ok,
                        Severity::Unknown => Self::Unknown,
                        Severity::Warning => Self::Warning,
                        Severity::Alert => Self::Alert,
                    }
                }
            }
        )+
    };
}

same_in_both!(threshold, role);

impl From<threshold::Severity> for Severity {
    fn from(severity: threshold::Severity) -> Self {
        match severity {
            threshold::Severity::Ok => Self::Ok,
            threshold::Severity::Unknown => Self::Unknown,
            threshold::Severity::Warning => Self::Warning,
            threshold::Severity::Alert => Self::Alert,
        }
    }
}

/// The lists that a generated round borrows from. They are filled in one pass without an allocation per sample, because
/// a round may have a hundred thousand samples.
pub(crate) struct RoundLists<'r> {
    snapshot: &'r Snapshot,
    labels: Vec<threshold::LabelParam<'r>>,
    selected: Vec<&'r [Sample]>,
    last: &'r [Finding],
}

impl<'r> RoundLists<'r> {
    pub(crate) fn new(snapshot: &'r Snapshot, selected: Vec<&'r [Sample]>, last: &'r [Finding]) -> Self {
        let of_samples = selected.iter().copied().flatten().map(Sample::labels);
        let of_findings = last.iter().map(|finding| &finding.subject.labels);
        let all = std::iter::once(snapshot.facts()).chain(of_samples).chain(of_findings);
        let labels = all.flat_map(Labels::as_slice).map(label).collect();
        Self {
            snapshot,
            labels,
            selected,
            last,
        }
    }

    /// Passes the round to `call`.
    pub(crate) fn lend<T>(&self, call: impl FnOnce(threshold::Round<'_>) -> T) -> T {
        let mut labels = self.labels.as_slice();
        let mut take = |of: &Labels| {
            let (these, rest) = labels.split_at(of.as_slice().len());
            labels = rest;
            these
        };
        let facts = take(self.snapshot.facts());
        let samples: Vec<_> = (self.selected.iter().copied().flatten())
            .map(|sample| threshold::Sample {
                labels: take(sample.labels()),
                value: sample.value(),
                time_ms: sample.time_ms(),
            })
            .collect();
        let last: Vec<_> = (self.last.iter())
            .map(|finding| threshold::FindingParam {
                subject: threshold::SubjectParam {
                    metric: &finding.subject.metric,
                    labels: take(&finding.subject.labels),
                },
                severity: finding.severity.into(),
                value: finding.value,
                limit: finding.limit,
                message: &finding.message,
            })
            .collect();
        let mut samples = samples.as_slice();
        let metrics: Vec<_> = (self.selected.iter())
            .map(|metric| {
                let (these, rest) = samples.split_at(metric.len());
                samples = rest;
                threshold::Metric {
                    name: metric[0].metric().as_str(),
                    unit: metric[0].unit().as_str(),
                    samples: these,
                }
            })
            .collect();
        let missing: Vec<Vec<String>> = (self.snapshot.gaps().iter())
            .map(|gap| gap.metrics.iter().map(ToString::to_string).collect())
            .collect();
        let missing: Vec<Vec<&str>> = missing
            .iter()
            .map(|metrics| metrics.iter().map(String::as_str).collect())
            .collect();
        let gaps: Vec<_> = (self.snapshot.gaps().iter().zip(&missing))
            .map(|(gap, metrics)| threshold::Gap {
                source: &gap.source,
                metrics,
                reason: &gap.reason,
            })
            .collect();
        call(threshold::Round {
            host: self.snapshot.host(),
            time_ms: self.snapshot.time_ms(),
            facts,
            metrics: &metrics,
            gaps: &gaps,
            last: &last,
        })
    }
}

/// Passes a request and the standings to `call`.
pub(crate) fn lend_request<T>(
    request: &Request<'_>,
    standings: &[Finding],
    call: impl FnOnce(role::Request<'_>, &[role::Standing<'_>]) -> T,
) -> T {
    let facts = role_labels(request.facts);
    let assigned_roles: Vec<&str> = request.identity.assigned_roles().iter().map(AsRef::as_ref).collect();
    let labels: Vec<_> = standings
        .iter()
        .map(|standing| role_labels(&standing.subject.labels))
        .collect();
    let standings: Vec<_> = (standings.iter().zip(&labels))
        .map(|(standing, labels)| role::Standing {
            rule: &standing.rule,
            subject: role::Subject {
                metric: &standing.subject.metric,
                labels,
            },
            severity: standing.severity.into(),
            since_ms: standing.since_ms,
        })
        .collect();
    lend_identity(request.identity, |identity| {
        let request = role::Request {
            identity,
            action: request.action.as_str(),
            resource: request.resource,
            facts: &facts,
            assigned_roles: &assigned_roles,
        };
        call(request, &standings)
    })
}

fn lend_identity<T>(identity: &Identity, call: impl FnOnce(role::Identity<'_>) -> T) -> T {
    let certificate: &Certificate = match identity.kind() {
        IdentityKind::Anonymous => return call(role::Identity::Anonymous),
        IdentityKind::Token { name } => return call(role::Identity::Token(name)),
        IdentityKind::Certificate(certificate) => certificate,
    };
    let attributes: Vec<_> = certificate
        .subject
        .attributes()
        .map(|attribute| role::Label {
            name: &attribute.kind,
            value: &attribute.value,
        })
        .collect();
    fn texts(texts: &[String]) -> Vec<&str> {
        texts.iter().map(String::as_str).collect()
    }
    let written = identity.written();
    call(role::Identity::Certificate(role::Certificate {
        subject: &written.subject,
        subject_slash: &written.subject_slash,
        subject_attributes: &attributes,
        issuer: &written.issuer,
        dns_names: &texts(&certificate.dns_names),
        uris: &texts(&certificate.uris),
        emails: &texts(&certificate.emails),
        fingerprint: &written.fingerprint,
    }))
}

fn label(label: &Label) -> threshold::LabelParam<'_> {
    threshold::LabelParam {
        name: &label.name,
        value: &label.value,
    }
}

fn role_labels(labels: &Labels) -> Vec<role::Label<'_>> {
    (labels.as_slice().iter())
        .map(|label| role::Label {
            name: &label.name,
            value: &label.value,
        })
        .collect()
}
