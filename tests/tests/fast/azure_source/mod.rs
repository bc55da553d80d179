//! Tests of the Azure source against a simulated Azure. `azure` tests a complete server.

mod batches;
mod errors;
mod names;
mod tokens;
mod values;
mod waits;

use std::future::Future;
use std::time::Duration;

use openssl::asn1::Asn1Time;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use openssl::x509::X509;
use watchpost::collect::probe::Reading;
use watchpost::collect::source::{Schedule, Source as _};
use watchpost_azure::{Aggregation, Credentials, Mapping, Resource, ResourceId, Secret, Settings, Transform, built_in};
use watchpost_policies::MetricName;
use watchpost_tests::azure::{Azure, Fault, Metric, Place, Proof};

const VM: &str = "/subscriptions/s-1/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/vm-1";
const PLAN: &str = "/subscriptions/s-1/resourceGroups/g/providers/Microsoft.Web/serverfarms/plan-1";

/// The index of the first of two requests: a machine is queried for averages and for totals.
const AVERAGES: &str = "aggregation=average";

const MINUTE_MS: u64 = 60_000;

/// The current time: the simulated Azure verifies the validity of assertions.
fn now_ms() -> u64 {
    let elapsed = std::time::UNIX_EPOCH.elapsed().expect("it is after 1970");
    u64::try_from(elapsed.as_millis()).expect("it is long before the end of time")
}

/// A source that only the test measures, without intervals or timeouts.
fn source(settings: Settings) -> watchpost_azure::Azure {
    let schedule = Schedule {
        interval: Duration::ZERO,
        timeout: Duration::MAX,
    };
    watchpost_azure::Azure::new(settings, schedule)
}

fn run<F: Future>(future: F) -> F::Output {
    actix_web::rt::System::new().block_on(future)
}

/// The predefined metrics of a machine, except those in `changed`.
fn machine(id: &str, changed: Vec<Metric>) -> Place {
    let units = |name: &str| match name {
        name if name.contains("Bytes") || name.contains("Total") => "Bytes",
        name if name.contains("Percent") => "Percent",
        name if name.contains("/Sec") => "CountPerSecond",
        _ => "Count",
    };
    let all = built_in("Microsoft.Compute/virtualMachines").into_iter();
    // Of two metrics of one name, the resource uses the first.
    let place = changed.into_iter().fold(Place::new(id), Place::with);
    all.fold(place, |place, ready| {
        place.with(Metric::new(&ready.name, units(&ready.name), &[20.0, 10.0]))
    })
}

fn azure() -> Azure {
    let azure = Azure::start();
    azure.application("t-1", "c-1", Proof::Secret("hunter2".to_owned()));
    azure.place(machine(VM, Vec::new()));
    azure
}

fn resource(id: &str) -> Resource {
    let id = ResourceId::new(id).expect("an id");
    Resource { id, region: None }
}

fn without_credentials(azure: &Azure, ids: &[&str]) -> Settings {
    let mut settings = Settings {
        resources: ids.iter().map(|id| resource(id)).collect(),
        request_timeout: Duration::from_secs(2),
        ..Settings::default()
    };
    settings.endpoints.arm = azure.url();
    settings.endpoints.authority = azure.url();
    settings.endpoints.imds = azure.url();
    settings
}

fn settings(azure: &Azure, ids: &[&str]) -> Settings {
    Settings {
        credentials: Credentials {
            client_secret: Some(Secret::new("hunter2".to_owned())),
            ..application()
        },
        ..without_credentials(azure, ids)
    }
}

fn application() -> Credentials {
    Credentials {
        tenant_id: Some("t-1".to_owned()),
        client_id: Some("c-1".to_owned()),
        ..Credentials::default()
    }
}

fn mapping(metric: &str, name: &str) -> Mapping {
    Mapping {
        metric: MetricName::new(metric).expect("a name"),
        name: name.to_owned(),
        namespace: None,
        kind: None,
        aggregation: Aggregation::Average,
        transform: Transform::Identity,
        unit: None,
        filter: None,
        labels: Vec::new(),
    }
}

/// Measures once.
fn measured(settings: Settings) -> Result<Reading, String> {
    run(async { source(settings).measure(now_ms()).await })
}

fn reading(settings: Settings) -> Reading {
    measured(settings).expect("it answers")
}

fn value(reading: &Reading, metric: &str) -> Option<f64> {
    let mut samples = reading
        .samples
        .iter()
        .filter(|sample| sample.metric().as_str() == metric);
    samples.next().map(|sample| sample.value())
}

/// The reason of the gap of a metric.
fn reason(reading: &Reading, metric: &str) -> String {
    let metric = MetricName::new(metric).expect("a name");
    let gaps = reading
        .gaps
        .iter()
        .filter(|gap| gap.metrics.iter().any(|pattern| pattern.covers(&metric)));
    gaps.map(|gap| gap.reason.as_str()).collect::<Vec<_>>().join(" | ")
}

#[track_caller]
fn says(reading: &Reading, metric: &str, words: &[&str]) {
    let reason = reason(reading, metric);
    for word in words {
        assert!(reason.contains(word), "{metric}: {reason:?} does not say {word:?}");
    }
    assert_eq!(value(reading, metric), None);
}
