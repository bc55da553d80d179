//! Sample data for testing rules: a plausible round, its findings, and identities. Nothing of it is measured.

use watchpost_policies::{
    Certificate, Digest, DistinguishedName, Finding, Gap, Identity, Labels, MetricName, MetricPattern, Sample,
    Severity, Snapshot, Subject, Unit,
};

/// The time of all sample data: 2027-01-15.
pub const NOW_MS: u64 = 1_800_000_000_000;

/// A round with several series of a metric, with plain counts, and with a source that could not answer.
pub fn round() -> Snapshot {
    let samples = vec![
        sample("cpu", &[], 37.5, "percent"),
        sample("cpu_mean_1m", &[], 37.5, "percent"),
        sample("cpu_core", &[("core", "0")], 71.0, "percent"),
        sample("cpu_core", &[("core", "1")], 4.0, "percent"),
        sample("memory", &[], 82.4, "percent"),
        sample("node_memory_MemTotal_bytes", &[], 17_179_869_184.0, "bytes"),
        disk("/", 41.0),
        disk("/srv/a \"quoted\" name", 93.0),
        sample("inodes", &[("mountpoint", "/")], 12.0, "percent"),
        sample("load_per_core", &[], 0.0, ""),
        sample(
            "node_network_receive_bytes_total",
            &[("device", "eth0")],
            1.5e12,
            "bytes",
        ),
        sample("active_chunks", &[], 36.0, ""),
    ];
    snapshot(samples, vec![gap()])
}

/// A machine with these percentages and no other findings.
pub fn machine(disk: f64, memory: f64, cpu: f64) -> Snapshot {
    let samples = vec![
        self::disk("/", disk),
        sample("memory", &[], memory, "percent"),
        sample("cpu", &[], cpu, "percent"),
        sample("cpu_mean_1m", &[], cpu, "percent"),
        sample("inodes", &[("mountpoint", "/")], 10.0, "percent"),
        sample("active_chunks", &[], 0.0, ""),
    ];
    snapshot(samples, Vec::new())
}

/// The round, extended with file systems to this number of samples; one in a thousand of them is too full.
pub fn round_of(samples: usize) -> Snapshot {
    let round = round();
    let full = |at: usize| if at % 1000 == 500 { 95.0 } else { (at % 70) as f64 };
    let more = (round.samples().len()..samples).map(|at| disk(&format!("/srv/volume-{at}"), full(at)));
    let samples = round.samples().iter().cloned().chain(more);
    snapshot(samples.collect(), round.gaps().to_vec())
}

/// Findings for a role rule: one of each severity that is not ok.
pub fn standings() -> Vec<Finding> {
    let found = |metric: &str, pairs: &[(&str, &str)], severity| Finding {
        rule: "threshold".to_owned(),
        subject: Subject {
            metric: metric.to_owned(),
            labels: labels(pairs),
        },
        severity,
        value: None,
        limit: None,
        message: format!("{metric} is not as it should be"),
        since_ms: NOW_MS - 60_000,
        carried: false,
    };
    vec![
        found("cpu_mean_1m", &[], Severity::Unknown),
        found("disk", &[("mountpoint", "/")], Severity::Alert),
        found("memory", &[], Severity::Warning),
    ]
}

/// An anonymous client, the owner of a certificate of the development authority, and the bearer of a token with an
/// assigned role.
pub fn identities() -> [Identity; 3] {
    let developer = of_certificate(
        &[("O", "Watchpost"), ("OU", "user"), ("CN", "ada")],
        &[("O", "Watchpost"), ("CN", "Watchpost development CA")],
    )
    .with_assigned_roles(["user"]);
    let token = Identity::of_token("grafana").with_assigned_roles(["reader"]);
    [Identity::anonymous(), developer, token]
}

/// The owner of a certificate with these names.
pub fn of_certificate(subject: &[(&str, &str)], issuer: &[(&str, &str)]) -> Identity {
    let subject = DistinguishedName::of_pairs(subject.iter().copied());
    let issuer = DistinguishedName::of_pairs(issuer.iter().copied());
    Identity::of_certificate(Certificate {
        fingerprint: Digest::of(format!("{subject} by {issuer}").as_bytes()),
        subject,
        issuer,
        dns_names: Vec::new(),
        uris: Vec::new(),
        emails: Vec::new(),
    })
}

fn snapshot(samples: Vec<Sample>, gaps: Vec<Gap>) -> Snapshot {
    Snapshot::new("edge-1".to_owned(), NOW_MS, Labels::none(), samples, gaps)
}

fn disk(mountpoint: &str, used: f64) -> Sample {
    sample("disk", &[("mountpoint", mountpoint)], used, "percent")
}

fn sample(metric: &str, pairs: &[(&str, &str)], value: f64, unit: &str) -> Sample {
    let metric = MetricName::new(metric).expect("the name is valid");
    // A value given on the command line may not be finite.
    let value = if value.is_finite() { value } else { 0.0 };
    Sample::new(metric, labels(pairs), value, Unit::new(unit), NOW_MS).expect("the value is finite")
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::new(pairs.iter().copied()).expect("the labels are valid")
}

fn gap() -> Gap {
    Gap {
        source: "host.temperature".to_owned(),
        metrics: vec![MetricPattern::new("node_hwmon_*").expect("the pattern is valid")],
        reason: "the machine has no sensors".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_has_the_requested_number_of_samples_and_keeps_its_gaps() {
        let least = round();
        assert_eq!(least.gaps(), [gap()], "every sample is valid");
        for (requested, expected) in [(0, least.samples().len()), (1000, 1000), (2001, 2001)] {
            let round = round_of(requested);
            assert_eq!((round.samples().len(), round.gaps()), (expected, least.gaps()));
        }
    }
}
