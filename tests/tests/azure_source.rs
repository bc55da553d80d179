//! The Azure source against an Azure of the test's own. How a whole Watchpost judges what it says is not tested here.

use std::future::Future;
use std::time::Duration;

use openssl::asn1::Asn1Time;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use openssl::x509::X509;
use watchpost::collect::azure::{
    Aggregation, Azure as Source, Credentials, Hidden, Mapping, Resource, ResourceId, Settings, Transform, ready,
};
use watchpost::collect::probe::Reading;
use watchpost_policies::MetricName;
use watchpost_tests::azure::{Azure, Fault, Metric, Place, Proof};

const VM: &str = "/subscriptions/s-1/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/vm-1";
const PLAN: &str = "/subscriptions/s-1/resourceGroups/g/providers/Microsoft.Web/serverfarms/plan-1";

/// The first of two; a machine is asked for averages and for totals.
const AVERAGES: &str = "aggregation=average";

const MINUTE_MS: u64 = 60_000;

/// Azure looks at the clock when it checks assertions.
fn now_ms() -> u64 {
    let elapsed = std::time::UNIX_EPOCH.elapsed().expect("it is after 1970");
    u64::try_from(elapsed.as_millis()).expect("it is long before the end of time")
}

fn run<F: Future>(future: F) -> F::Output {
    actix_web::rt::System::new().block_on(future)
}

/// All that is ready for a machine, except what is in `changed`.
fn machine(id: &str, changed: Vec<Metric>) -> Place {
    let units = |name: &str| match name {
        name if name.contains("Bytes") || name.contains("Total") => "Bytes",
        name if name.contains("Percent") => "Percent",
        name if name.contains("/Sec") => "CountPerSecond",
        _ => "Count",
    };
    let all = ready("Microsoft.Compute/virtualMachines").into_iter();
    // A resource has the first of two metrics of one name.
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

fn nobody(azure: &Azure, ids: &[&str]) -> Settings {
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
            client_secret: Some(Hidden::new("hunter2")),
            ..application()
        },
        ..nobody(azure, ids)
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

/// Measures once, now.
fn measured(settings: Settings) -> Result<Reading, String> {
    run(async { Source::new(settings).measure(now_ms()).await })
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

/// Why a metric is missing.
fn why(reading: &Reading, metric: &str) -> String {
    let metric = MetricName::new(metric).expect("a name");
    let gaps = reading
        .gaps
        .iter()
        .filter(|gap| gap.metrics.iter().any(|pattern| pattern.covers(&metric)));
    gaps.map(|gap| gap.reason.as_str()).collect::<Vec<_>>().join(" | ")
}

#[track_caller]
fn says(reading: &Reading, metric: &str, words: &[&str]) {
    let why = why(reading, metric);
    for word in words {
        assert!(why.contains(word), "{metric}: {why:?} does not say {word:?}");
    }
    assert_eq!(value(reading, metric), None);
}

#[test]
fn a_machine_tells_all_but_its_disk() {
    let azure = azure();
    let now = now_ms();
    let mut source = Source::new(settings(&azure, &[VM]));
    let reading = run(source.measure(now)).expect("it answers");
    assert_eq!(value(&reading, "cpu"), Some(20.0));
    assert_eq!(
        value(&reading, "memory"),
        Some(80.0),
        "what is used, where Azure tells what is free"
    );
    assert_eq!(value(&reading, "azure_network_received_bytes"), Some(20.0));
    says(&reading, "disk", &["vm-1", "no platform metric"]);
    assert_eq!(reading.gaps.len(), 1, "{:?}", reading.gaps);
    let of = |metric: &str| {
        reading
            .samples
            .iter()
            .find(|sample| sample.metric().as_str() == metric)
            .expect(metric)
    };
    assert_eq!(of("cpu").labels().get("resource"), Some("vm-1"));
    let units = [
        "cpu",
        "azure_disk_read_bytes",
        "azure_disk_reads_per_second",
        "azure_available",
    ];
    assert_eq!(
        units.map(|metric| of(metric).unit().as_str()),
        ["percent", "bytes", "per_second", ""]
    );
    let newest = (now - 1) / MINUTE_MS * MINUTE_MS;
    assert!(newest - of("cpu").time_ms() <= MINUTE_MS, "the point's own time");
    let missing = source.metrics();
    let named = |metric: &str| missing.iter().any(|pattern| pattern.to_string() == metric);
    assert!(named("cpu") && named("disk") && named("azure_available"));
}

#[test]
fn a_question_is_written_as_azure_wants_it() {
    let azure = azure();
    reading(settings(&azure, &[VM]));
    let asked = azure.asked_for(AVERAGES).remove(0);
    assert_eq!(asked.path(), format!("{VM}/providers/Microsoft.Insights/metrics"));
    assert_eq!(asked.query("api-version").as_deref(), Some("2024-02-01"));
    assert_eq!(asked.query("interval").as_deref(), Some("PT1M"));
    assert_eq!(
        asked.query("metricnamespace").as_deref(),
        Some("Microsoft.Compute/virtualMachines")
    );
    let names = asked.query("metricnames").expect("names");
    assert!(
        names.starts_with("Percentage CPU,Available Memory Percentage,"),
        "{names}"
    );
    let token = &azure.asked_for("/token")[0];
    assert_eq!(token.path(), "/t-1/oauth2/v2.0/token");
    assert_eq!(
        token.field("scope").as_deref(),
        Some("https://management.azure.com/.default")
    );
    assert_eq!(azure.asked().len(), 3, "one token, averages and totals");
}

#[test]
fn an_app_service_plan_tells_its_own() {
    let azure = azure();
    let metric = |name, unit| Metric::new(name, unit, &[7.0]);
    let place = ["CpuPercentage", "MemoryPercentage"]
        .into_iter()
        .fold(Place::new(PLAN), |place, name| place.with(metric(name, "Percent")));
    azure.place(
        place
            .with(metric("DiskQueueLength", "Count"))
            .with(metric("HttpQueueLength", "Count"))
            .with(metric("BytesReceived", "Bytes"))
            .with(metric("BytesSent", "Bytes")),
    );
    let reading = reading(settings(&azure, &[PLAN]));
    for metric in [
        "cpu",
        "memory",
        "azure_disk_queue",
        "azure_http_queue",
        "azure_received_bytes",
    ] {
        assert_eq!(value(&reading, metric), Some(7.0), "{metric} {:?}", reading.gaps);
    }
}

#[test]
fn the_newest_minute_that_has_a_value_counts() {
    let azure = azure();
    let cpu = Metric::new("Percentage CPU", "Percent", &[9.0, 8.0, 7.0, 6.0, 5.0])
        .late(2)
        .valueless(1);
    azure.place(machine(VM, vec![cpu]));
    let reading = reading(settings(&azure, &[VM]));
    assert_eq!(value(&reading, "cpu"), Some(6.0));
}

#[test]
fn what_azure_has_no_value_of_is_a_gap() {
    let azure = azure();
    let late = Metric::new("Percentage CPU", "Percent", &[1.0]).late(100);
    let empty = Metric::new("Available Memory Percentage", "Percent", &[1.0]).empty();
    let silent = Metric::new("OS Disk Queue Depth", "Count", &[1.0]).valueless(100);
    let bad = Metric::new("VmAvailabilityMetric", "Count", &[1.0]).error("Throttled", "It is busy.");
    azure.place(machine(VM, vec![late, empty, silent, bad]));
    let reading = reading(settings(&azure, &[VM]));
    for (metric, name) in [
        ("cpu", "Percentage CPU"),
        ("memory", "Available Memory"),
        ("azure_os_disk_queue", "OS Disk"),
    ] {
        says(
            &reading,
            metric,
            &["vm-1: Azure has no average of", name, "last 10 min"],
        );
    }
    says(
        &reading,
        "azure_available",
        &["VmAvailabilityMetric", "Throttled: It is busy"],
    );
    assert_eq!(
        value(&reading, "azure_disk_reads_per_second"),
        Some(20.0),
        "the others are told"
    );
}

#[test]
fn an_aggregation_that_a_metric_does_not_have_spoils_only_that_metric() {
    let azure = azure();
    let cpu = Metric::new("Percentage CPU", "Percent", &[1.0]).only(&["total"]);
    azure.place(machine(VM, vec![cpu]));
    let reading = reading(settings(&azure, &[VM]));
    says(&reading, "cpu", &["InvalidSamplingType"]);
    assert_eq!(value(&reading, "memory"), Some(80.0));
}

#[test]
fn ones_own_mapping_takes_the_place_of_a_ready_one() {
    let azure = azure();
    let guest = Metric::new("Used, Percent", "Percent", &[42.0])
        .namespace("Guest")
        .dimension("Disk Name", &["a", "b"]);
    azure.place(machine(VM, vec![guest]));
    let disk = Mapping {
        namespace: Some("Guest".to_owned()),
        filter: Some("Disk Name eq '*'".to_owned()),
        labels: vec![("team".to_owned(), "edge".to_owned())],
        ..mapping("disk", "Used, Percent")
    };
    let cpu = Mapping {
        transform: Transform::Scale(0.01),
        unit: Some("ratio".to_owned()),
        kind: Some("microsoft.compute/virtualmachines".to_owned()),
        ..mapping("cpu", "Percentage CPU")
    };
    let other = Mapping {
        kind: Some("Microsoft.Web/sites".to_owned()),
        ..mapping("requests", "Requests")
    };
    let reading = reading(Settings {
        mappings: vec![disk, cpu, other],
        ..settings(&azure, &[VM])
    });
    assert_eq!(reading.gaps, []);
    let disks = reading
        .samples
        .iter()
        .filter(|sample| sample.metric().as_str() == "disk");
    let mut disks: Vec<_> = disks
        .map(|disk| (disk.labels().get("disk_name"), disk.value()))
        .collect();
    disks.sort_by(|one, other| one.partial_cmp(other).expect("finite"));
    assert_eq!(disks, [(Some("a"), 42.0), (Some("b"), 43.0)]);
    assert_eq!(value(&reading, "cpu"), Some(0.2));
    let asked = azure.asked_for("metricnamespace=Guest").remove(0);
    assert_eq!(asked.query("metricnames").as_deref(), Some("Used%2 Percent"));
}

#[test]
fn many_metrics_are_asked_for_twenty_at_once() {
    let azure = azure();
    let names: Vec<_> = (0..45).map(|at| format!("Metric {at}")).collect();
    let place = names.iter().fold(Place::new(PLAN), |place, name| {
        place.with(Metric::new(name, "Count", &[1.0]))
    });
    azure.place(place);
    let mappings = names
        .iter()
        .enumerate()
        .map(|(at, name)| mapping(&format!("metric_{at}"), name));
    let mut settings = settings(&azure, &[PLAN]);
    // The ready ones have a namespace of their own, so they are asked for by themselves.
    settings.mappings = mappings.collect();
    let reading = reading(settings);
    assert_eq!(reading.samples.len(), 45);
    let counts = azure
        .asked_for("metricnames=Metric")
        .into_iter()
        .map(|asked| asked.query("metricnames").expect("names").split(',').count());
    let mut counts: Vec<_> = counts.collect();
    counts.sort_unstable();
    assert_eq!(counts, [5, 20, 20]);
}

#[test]
fn one_bad_name_spoils_the_question_once() {
    let azure = azure();
    let mut settings = settings(&azure, &[VM]);
    settings.mappings = vec![Mapping {
        namespace: Some("Microsoft.Compute/virtualMachines".to_owned()),
        ..mapping("gpu", "Percentage GPU")
    }];
    let mut source = Source::new(settings);
    let (first, second, third) = run(async {
        let first = source.measure(now_ms()).await.expect("it answers");
        let second = source.measure(now_ms()).await.expect("it answers");
        (
            first,
            second,
            source
                .measure(now_ms() + 25 * 60 * MINUTE_MS)
                .await
                .expect("it answers"),
        )
    });
    for reading in [&first, &second, &third] {
        says(reading, "gpu", &["no metric \"Percentage GPU\"", "azure.metrics"]);
        assert_eq!(value(reading, "cpu"), Some(20.0));
    }
    let asked: Vec<_> = azure
        .asked_for(AVERAGES)
        .iter()
        .map(|asked| asked.target.contains("GPU"))
        .collect();
    assert_eq!(
        asked,
        [true, false, false, true, false],
        "it is asked for again after a day"
    );
}

#[test]
fn a_name_that_is_bad_alone_is_not_asked_for_again() {
    let azure = azure();
    azure.place(Place::new(PLAN).with(Metric::new("Other", "Count", &[1.0])));
    let mut source = Source::new(settings(&azure, &[PLAN]));
    let readings = run(async { [source.measure(now_ms()).await, source.measure(now_ms()).await] });
    for reading in readings {
        says(&reading.expect("it answers"), "cpu", &["no metric \"CpuPercentage\""]);
    }
    assert_eq!(
        azure.asked_for("metricnames").len(),
        2,
        "averages and totals, once each"
    );
}

#[test]
fn whoever_has_trouble_is_a_gap_that_helps() {
    let check = |fault: Fault, words: &[&str]| {
        let azure = azure();
        azure.fail(AVERAGES, 9, fault.clone());
        let mut settings = settings(&azure, &[VM]);
        settings.request_timeout = Duration::from_millis(300);
        let reading = reading(settings);
        says(&reading, "cpu", words);
        assert_eq!(
            value(&reading, "azure_network_sent_bytes"),
            Some(20.0),
            "{fault:?}: the others are told"
        );
        assert_eq!(
            azure.asked_for(AVERAGES).len(),
            1 + usize::from(fault == Fault::Expired),
            "{fault:?}"
        );
    };
    let long = Duration::from_secs(60);
    check(
        Fault::Trouble,
        &["trouble of its own", "500 InternalServerError: Something went wrong"],
    );
    check(
        Fault::Unavailable(None),
        &["503 ServiceUnavailable", "not asked again before"],
    );
    check(
        Fault::Overloaded(None),
        &["529 TooManyRequests", "not asked again before"],
    );
    check(
        Fault::Flat("The timespan is bad.".to_owned()),
        &["400 BadRequest: The timespan is bad", "azure.metrics"],
    );
    check(
        Fault::Expired,
        &["does not take our token", "401 ExpiredAuthenticationToken", "tenant"],
    );
    check(
        Fault::Late(long),
        &["did not answer within 300ms", "azure.request_timeout"],
    );
    check(Fault::Slow(long), &["did not answer within 300ms"]);
    check(Fault::Truncated, &["breaks off after"]);
    check(Fault::Cut, &["breaks off after"]);
    check(Fault::Reset, &["broke off"]);
    check(Fault::Page, &["cannot be read", "Sign in to the network"]);
    check(Fault::Padded(5 << 20), &["more than 4 MiB"]);
    check(Fault::Status(302, String::new()), &["redirection", "azure.endpoints"]);
    check(Fault::Status(200, String::new()), &["an empty answer"]);
    check(
        Fault::Status(502, "<html>Bad\nGateway</html>".to_owned()),
        &["502: <html>Bad Gateway"],
    );
}

#[test]
fn an_answer_may_be_packed_or_in_pieces() {
    for fault in [
        Fault::Gzip,
        Fault::Chunked,
        Fault::Slow(Duration::from_millis(50)),
        Fault::Padded(1 << 20),
    ] {
        let azure = azure();
        azure.fail("/metrics", 2, fault.clone());
        let reading = reading(settings(&azure, &[VM]));
        assert_eq!(value(&reading, "cpu"), Some(20.0), "{fault:?} {:?}", reading.gaps);
    }
}

#[test]
fn a_missing_role_is_named_with_its_scope_and_principal() {
    let azure = azure();
    azure.place(Place::new(PLAN).denied());
    let reading = reading(settings(&azure, &[PLAN, VM]));
    let principal = "22222222-2222-2222-2222-222222222222";
    says(
        &reading,
        "azure_http_queue",
        &["plan-1: ", "Monitoring Reader", &format!("on {PLAN} ("), principal],
    );
    assert_eq!(value(&reading, "cpu"), Some(20.0), "the other resource is told");
}

#[test]
fn a_resource_that_is_gone_is_a_gap() {
    let azure = azure();
    azure.remove(VM);
    says(
        &reading(settings(&azure, &[VM])),
        "cpu",
        &["does not find", VM, "ResourceNotFound"],
    );
}

#[test]
fn a_type_without_metrics_says_so() {
    let azure = azure();
    let id = "/subscriptions/s-1/resourceGroups/g/providers/Microsoft.Sql/servers/db";
    let reading = reading(settings(&azure, &[id]));
    assert!(
        reading.gaps[0].reason.contains("no metrics of Microsoft.Sql/servers"),
        "{:?}",
        reading.gaps
    );
    assert_eq!(azure.asked().len(), 0);
}

#[test]
fn a_token_that_was_refused_is_fetched_once_more() {
    let azure = azure();
    let mut source = Source::new(settings(&azure, &[VM]));
    run(async {
        source.measure(now_ms()).await.expect("it answers");
        azure.expire_tokens();
        let reading = source.measure(now_ms()).await.expect("it answers");
        assert_eq!(value(&reading, "cpu"), Some(20.0));
        assert_eq!(value(&reading, "azure_network_sent_bytes"), Some(20.0));
    });
    assert_eq!(
        azure.asked_for("/token").len(),
        2,
        "both questions had the old one, and one new one is fetched"
    );
}

#[test]
fn a_token_is_kept_until_shortly_before_its_end() {
    let azure = azure();
    let mut source = Source::new(settings(&azure, &[VM]));
    let now = now_ms();
    run(async {
        for (seconds, tokens) in [(0, 1), (60, 1), (3290, 1), (3305, 2)] {
            source.measure(now + seconds * 1000).await.expect("it answers");
            assert_eq!(azure.asked_for("/token").len(), tokens, "after {seconds} s");
        }
    });
    // One that lives shorter than that is fetched once a round, by one for all.
    azure.tokens_live(60);
    azure.expire_tokens();
    azure.forget();
    run(async {
        for _ in 0..2 {
            source.measure(now + 3_400_000).await.expect("it answers");
        }
    });
    assert_eq!(azure.asked_for("/token").len(), 2);
}

#[test]
fn whoever_is_throttled_asks_nothing_of_the_whole_subscription() {
    let azure = azure();
    let other = VM.replace("vm-1", "vm-2");
    azure.place(machine(&other, Vec::new()));
    azure.fail("vm-1/providers/Microsoft.Insights", 1, Fault::Throttled(Some(90)));
    let mut source = Source::new(settings(&azure, &[VM, &other]));
    let now = now_ms();
    run(async {
        source.measure(now).await.expect("it answers");
        azure.forget();
        let waiting = source.measure(now + 89_000).await.expect("it answers");
        says(
            &waiting,
            "cpu",
            &[
                "vm-1: Azure wants fewer questions (429",
                "vm-2: Azure wants fewer questions (429",
            ],
        );
        assert_eq!(azure.asked().len(), 0);
        let reading = source.measure(now + 90_000).await.expect("it answers");
        assert_eq!(why(&reading, "cpu"), "");
    });
}

#[test]
fn a_wait_is_kept_over_rounds_and_ends() {
    let azure = azure();
    let mut source = Source::new(settings(&azure, &[VM]));
    let now = now_ms();
    run(async {
        source.measure(now).await.expect("it answers");
        azure.fail("/metrics", 2, Fault::Throttled(Some(90)));
        says(
            &source.measure(now).await.expect("it answers"),
            "cpu",
            &["429", "not asked again before"],
        );
        azure.heal();
        azure.forget();
        let waiting = source.measure(now + 89_000).await.expect("it answers");
        says(
            &waiting,
            "cpu",
            &["429 SubscriptionRequestsThrottled", "not asked again before"],
        );
        says(&waiting, "azure_network_sent_bytes", &["429", "not asked again before"]);
        assert_eq!(azure.asked().len(), 0, "nobody is asked meanwhile");
        assert_eq!(
            value(&source.measure(now + 90_000).await.expect("it answers"), "cpu"),
            Some(20.0)
        );
    });
}

#[test]
fn without_a_word_of_how_long_the_waits_grow() {
    let azure = azure();
    azure.fail(AVERAGES, 100, Fault::Overloaded(None));
    azure.fail("aggregation=total", 100, Fault::Overloaded(None));
    let mut source = Source::new(settings(&azure, &[VM]));
    let now = now_ms();
    let mut asked_at = Vec::new();
    run(async {
        for second in (0..600).step_by(10) {
            azure.forget();
            source.measure(now + second * 1000).await.expect("it answers");
            if !azure.asked_for("/metrics").is_empty() {
                asked_at.push(second);
            }
        }
    });
    assert_eq!(asked_at, [0, 30, 90, 210, 450]);
}

#[test]
fn a_question_that_is_dropped_leaves_all_in_order() {
    let azure = azure();
    let mut source = Source::new(settings(&azure, &[VM]));
    let short = Duration::from_millis(50);
    run(async {
        for text in ["/token", "/metrics"] {
            azure.fail(text, 1, Fault::Late(Duration::from_secs(60)));
            let dropped = actix_web::rt::time::timeout(short, source.measure(now_ms())).await;
            assert!(dropped.is_err(), "{text}");
            azure.heal();
            let reading = source.measure(now_ms()).await.expect("it answers");
            assert_eq!(value(&reading, "cpu"), Some(20.0), "{text}");
        }
    });
}

#[test]
fn an_application_may_show_a_certificate() {
    let azure = Azure::start();
    azure.place(machine(VM, Vec::new()));
    let key = PKey::from_rsa(Rsa::generate(2048).expect("a key")).expect("a key");
    let certificate = certificate(&key);
    azure.application("t-1", "c-1", Proof::Certificate(certificate.clone()));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("app.pem");
    let pem = |key: &PKey<_>| [certificate.clone(), key.private_key_to_pem_pkcs8().expect("PEM")].concat();
    std::fs::write(&file, pem(&key)).expect("written");
    let of_certificate = || Settings {
        credentials: Credentials {
            certificate: Some(file.clone()),
            ..application()
        },
        ..nobody(&azure, &[VM])
    };
    assert_eq!(value(&reading(of_certificate()), "cpu"), Some(20.0));
    let token = &azure.asked_for("/token")[0];
    assert!(token.field("client_secret").is_none() && token.field("client_assertion").is_some());
    // Of another pair, though with the same names.
    let other = PKey::from_rsa(Rsa::generate(2048).expect("a key")).expect("a key");
    let pem = [
        self::certificate(&other),
        other.private_key_to_pem_pkcs8().expect("PEM"),
    ]
    .concat();
    std::fs::write(&file, pem).expect("written");
    let why = measured(of_certificate()).expect_err("refused");
    assert!(
        why.contains("AADSTS700027") && why.contains("register the certificate"),
        "{why}"
    );
}

fn certificate(key: &PKey<openssl::pkey::Private>) -> Vec<u8> {
    let mut certificate = X509::builder().expect("a certificate");
    certificate.set_pubkey(key).expect("its key");
    certificate
        .set_not_before(&Asn1Time::from_unix(0).expect("a time"))
        .expect("its beginning");
    certificate
        .set_not_after(&Asn1Time::days_from_now(1).expect("a time"))
        .expect("its end");
    certificate.sign(key, MessageDigest::sha256()).expect("signed");
    certificate.build().to_pem().expect("PEM")
}

#[test]
fn the_token_of_a_workload_is_read_anew_each_time() {
    let azure = Azure::start();
    azure.place(machine(VM, Vec::new()));
    azure.application("t-1", "c-1", Proof::Federated("second".to_owned()));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    let mut source = Source::new(Settings {
        credentials: Credentials {
            federated_token_file: Some(file.clone()),
            ..application()
        },
        ..nobody(&azure, &[VM])
    });
    run(async {
        let missing = source.measure(now_ms()).await.expect_err("no file");
        assert!(missing.contains("federated_token_file"), "{missing}");
        std::fs::write(&file, "first\n").expect("written");
        let refused = source.measure(now_ms()).await.expect_err("refused");
        assert!(
            refused.contains("workload identity gives no token (401 invalid_client"),
            "{refused}"
        );
        std::fs::write(&file, "second\n").expect("written");
        source.measure(now_ms()).await.expect("it answers");
    });
}

#[test]
fn an_app_shows_its_header_and_a_machine_says_metadata() {
    let azure = Azure::start();
    azure.place(machine(VM, Vec::new()));
    azure.app_service_identity("hunter2");
    let app = |header: &str| {
        let mut settings = nobody(&azure, &[VM]);
        settings.credentials.identity_endpoint = Some(azure.identity_endpoint());
        settings.credentials.identity_header = Some(Hidden::new(header));
        settings
    };
    assert_eq!(value(&reading(app("hunter2")), "cpu"), Some(20.0));
    let why = measured(app("wrong-header")).expect_err("refused");
    assert!(
        why.contains("App Service identity gives no token (401") && why.contains("Identity not found"),
        "{why}"
    );
    azure.machine_identity();
    azure.forget();
    assert_eq!(value(&reading(nobody(&azure, &[VM])), "cpu"), Some(20.0));
    let asked = &azure.asked_for("/metadata")[0];
    assert_eq!(asked.header("metadata"), Some("true"));
    assert_eq!(
        asked.query("resource").as_deref(),
        Some("https://management.azure.com/")
    );
}

#[test]
fn a_machine_that_is_not_ready_is_asked_again() {
    let azure = Azure::start();
    azure.place(machine(VM, Vec::new()));
    azure.machine_identity();
    azure.fail("/metadata", 1, Fault::Status(410, String::new()));
    azure.fail("/metadata", 1, Fault::Trouble);
    assert_eq!(value(&reading(nobody(&azure, &[VM])), "cpu"), Some(20.0));
    assert_eq!(azure.asked_for("/metadata").len(), 3);
}

#[test]
fn what_is_no_machine_of_azure_says_so_soon() {
    let azure = Azure::start();
    azure.machine_identity();
    azure.fail("/metadata", 1, Fault::Late(Duration::from_secs(60)));
    let why = measured(nobody(&azure, &[VM])).expect_err("nobody answers");
    assert!(
        why.contains("no machine of Azure") && why.contains("within 1s"),
        "{why}"
    );
    assert!(why.contains("azure.credentials"), "{why}");
}

#[test]
fn the_first_way_that_works_is_kept() {
    let azure = azure();
    azure.machine_identity();
    let mut wrong = settings(&azure, &[VM]);
    wrong.credentials.client_secret = Some(Hidden::new("wrong-secret"));
    let mut source = Source::new(wrong);
    let now = now_ms();
    run(async {
        source.measure(now).await.expect("the machine's identity works");
        assert_eq!(azure.asked_for("/oauth2/v2.0/token").len(), 1);
        source.measure(now + 7_200_000).await.expect("it still does");
        assert_eq!(azure.asked_for("/oauth2/v2.0/token").len(), 1);
        assert_eq!(azure.asked_for("/metadata").len(), 2);
    });
}

#[test]
fn without_a_token_nothing_is_known_and_the_secret_is_not_told() {
    let azure = azure();
    let mut wrong = settings(&azure, &[VM]);
    wrong.credentials.client_secret = Some(Hidden::new("wrong-secret"));
    let why = measured(wrong.clone()).expect_err("refused");
    assert!(
        why.starts_with("client secret gives no token (401 invalid_client: AADSTS7000215"),
        "{why}"
    );
    assert!(why.contains("secret's value, not its id"), "{why}");
    assert_eq!(
        azure.asked_for("/oauth2").len(),
        2,
        "the secret and the machine, once for all questions"
    );
    azure.fail("/v2.0/token", 1, Fault::Status(400, "what is wrong-secret?".to_owned()));
    let why = measured(wrong.clone()).expect_err("refused");
    assert!(
        why.contains("what is ********?") && !why.contains("wrong-secret"),
        "{why}"
    );
    azure.fail(
        "/v2.0/token",
        1,
        Fault::Status(200, "{\"access_token\": \"wrong-secret".to_owned()),
    );
    let why = measured(wrong).expect_err("refused");
    assert!(
        why.contains("no token can be read") && !why.contains("wrong-secret"),
        "{why}"
    );
}

#[test]
fn whoever_gives_tokens_may_want_us_to_wait() {
    let azure = azure();
    azure.fail("/v2.0/token", 1, Fault::Throttled(Some(60)));
    let mut source = Source::new(settings(&azure, &[VM]));
    let now = now_ms();
    run(async {
        let why = source.measure(now).await.expect_err("it waits");
        assert!(why.contains("429") && why.contains("not asked again before"), "{why}");
        source.measure(now + 59_000).await.expect_err("it still waits");
        assert_eq!(azure.asked_for("/v2.0/token").len(), 1);
        source.measure(now + 60_000).await.expect("it answers");
    });
}

#[test]
fn resources_of_one_region_are_asked_for_in_batches() {
    let azure = azure();
    let ids: Vec<_> = (0..53).map(|at| VM.replace("vm-1", &format!("vm-{at}"))).collect();
    for id in &ids[..52] {
        azure.place(machine(id, Vec::new()));
    }
    let mut settings = settings(&azure, &[]);
    settings.endpoints.metrics = Some(azure.url());
    let region = Some("West Europe".to_owned());
    settings.resources = ids
        .iter()
        .map(|id| Resource {
            region: region.clone(),
            ..resource(id)
        })
        .collect();
    // Elsewhere it is alone, and asked for as ever.
    azure.place(machine(&VM.replace("vm-1", "vm-far"), Vec::new()));
    settings.resources.push(resource(&VM.replace("vm-1", "vm-far")));
    let reading = reading(settings);
    let batches = azure.asked_for("getBatch");
    let sizes = batches
        .iter()
        .map(|asked| asked.body.matches("virtualmachines").count());
    let mut sizes: Vec<_> = sizes.collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [3, 3, 50, 50]);
    assert_eq!(batches[0].query("api-version").as_deref(), Some("2023-10-01"));
    let cpus = reading
        .samples
        .iter()
        .filter(|sample| sample.metric().as_str() == "cpu")
        .count();
    assert_eq!(
        cpus,
        53,
        "{:?}",
        reading
            .gaps
            .iter()
            .filter(|gap| gap.metrics.len() > 1)
            .collect::<Vec<_>>()
    );
    assert!(why(&reading, "cpu").contains("vm-52: Azure's answer to the batch leaves it out"));
    assert_eq!(azure.asked_for("/token").len(), 2, "one for each audience");
    assert_eq!(azure.asked_for("/providers/Microsoft.Insights/metrics").len(), 2);
}

#[test]
fn namesakes_are_told_apart_by_their_whole_id() {
    let azure = azure();
    let other = VM.replace("/g/", "/h/");
    azure.place(machine(&other, Vec::new()));
    let reading = reading(settings(&azure, &[VM, &other, VM]));
    let cpus = reading
        .samples
        .iter()
        .filter(|sample| sample.metric().as_str() == "cpu");
    let mut cpus: Vec<_> = cpus.filter_map(|sample| sample.labels().get("resource")).collect();
    cpus.sort_unstable();
    assert_eq!(cpus, [VM, other.as_str()]);
}

#[test]
fn nobody_at_the_address_is_told_as_such() {
    let azure = azure();
    let mut settings = settings(&azure, &[VM]);
    settings.endpoints.arm = "http://127.0.0.1:1".to_owned();
    says(
        &reading(settings),
        "cpu",
        &["http://127.0.0.1:1 cannot be reached", "azure.endpoints"],
    );
    let mut settings = self::settings(&azure, &[VM]);
    settings.endpoints.arm = "nonsense".to_owned();
    says(&reading(settings), "cpu", &["is no address", "azure.endpoints"]);
}

#[test]
fn at_most_four_questions_are_asked_at_once() {
    let azure = azure();
    let ids: Vec<_> = (0..10).map(|at| VM.replace("vm-1", &format!("vm-{at}"))).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    azure.fail("/metrics", 100, Fault::Late(Duration::from_secs(60)));
    let mut source = Source::new(settings(&azure, &ids));
    run(async {
        let dropped = actix_web::rt::time::timeout(Duration::from_millis(500), source.measure(now_ms())).await;
        assert!(dropped.is_err());
    });
    assert_eq!(azure.asked_for("/metrics").len(), 4);
}

#[test]
fn what_is_not_answered_in_time_does_not_spoil_the_rest() {
    let azure = azure();
    azure.fail(AVERAGES, 1, Fault::Late(Duration::from_secs(60)));
    let mut settings = settings(&azure, &[VM]);
    settings.request_timeout = Duration::from_secs(60);
    settings.round_timeout = Duration::from_secs(1);
    let reading = reading(settings);
    says(
        &reading,
        "cpu",
        &["did not answer all questions within 1s", "azure.timeout"],
    );
    assert_eq!(value(&reading, "azure_network_sent_bytes"), Some(20.0));
}

#[test]
fn without_a_resource_nothing_can_be_known() {
    let azure = azure();
    let why = measured(settings(&azure, &[])).expect_err("nothing to ask");
    assert!(why.contains("azure.resources"), "{why}");
}
