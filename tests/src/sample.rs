//! Sample snapshots and identities.

use watchpost_policies::{Gap, Identity, Labels, MetricName, MetricPattern, Sample, Snapshot, Unit};

/// The current time of the samples, 2027-01-15.
pub use watchpost::rules::sample::{NOW_MS, machine, of_certificate};

/// A sample at the current time.
pub fn sample(metric: &str, labels: &[(&str, &str)], value: f64, unit: &str) -> Sample {
    let name = MetricName::new(metric).expect("a legal name");
    let labels = Labels::new(labels.iter().copied()).expect("legal labels");
    Sample::new(name, labels, value, Unit::new(unit), NOW_MS).expect("a finite value")
}

/// A gap that hides these metrics.
pub fn gap(source: &str, metrics: &[&str], reason: &str) -> Gap {
    let metrics = metrics.iter().map(|metric| MetricPattern::new(metric));
    Gap {
        source: source.to_owned(),
        metrics: metrics.collect::<Result<_, _>>().expect("legal patterns"),
        reason: reason.to_owned(),
    }
}

/// A snapshot at the current time.
pub fn snapshot(samples: Vec<Sample>, gaps: Vec<Gap>) -> Snapshot {
    Snapshot::new("edge-1".to_owned(), NOW_MS, Labels::none(), samples, gaps)
}

/// This number of file systems with evenly distributed usage, one in a thousand of them too full.
pub fn file_systems(count: usize) -> Snapshot {
    let disk = |at: usize| {
        let mountpoint = format!("/srv/volume-{at}");
        let used = if at % 1000 == 500 { 95.0 } else { (at % 70) as f64 };
        sample(
            "disk",
            &[("device", "/dev/mapper/data"), ("mountpoint", &mountpoint)],
            used,
            "percent",
        )
    };
    snapshot((0..count).map(disk).collect(), Vec::new())
}

/// The identity of a certificate of the development authority.
pub fn developer(name: &str, role: &str) -> Identity {
    of_certificate(
        &[("O", "Watchpost"), ("OU", role), ("CN", name)],
        &[("O", "Watchpost"), ("CN", "Watchpost development CA")],
    )
    .with_assigned_roles([role])
}
