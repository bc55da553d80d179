//! The requested metrics, and their values.

use super::*;

#[test]
fn a_machine_has_all_metrics_except_its_disk() {
    let azure = azure();
    let now = now_ms();
    let mut source = source(settings(&azure, &[VM]));
    let reading = run(source.measure(now)).expect("it answers");
    assert_eq!(value(&reading, "cpu"), Some(20.0));
    assert_eq!(
        value(&reading, "memory"),
        Some(80.0),
        "the used part, where Azure reports the free part"
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
fn a_request_has_the_format_that_azure_expects() {
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
fn an_app_service_plan_has_its_own_metrics() {
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
fn a_metric_without_a_value_is_a_gap() {
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
        "the others are measured"
    );
}

#[test]
fn a_configured_mapping_replaces_a_predefined_one() {
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
fn metrics_are_requested_in_batches_of_twenty() {
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
    // The predefined metrics have their own namespace, so they need a separate request.
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
fn a_response_may_be_compressed_or_chunked() {
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
fn resources_of_one_name_are_distinguished_by_their_full_id() {
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
