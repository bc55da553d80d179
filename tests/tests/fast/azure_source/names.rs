//! Metrics that Azure does not have, or not with the requested aggregation.

use super::*;

#[test]
fn an_unsupported_aggregation_fails_only_its_metric() {
    let azure = azure();
    let cpu = Metric::new("Percentage CPU", "Percent", &[1.0]).only(&["total"]);
    azure.place(machine(VM, vec![cpu]));
    let reading = reading(settings(&azure, &[VM]));
    says(&reading, "cpu", &["InvalidSamplingType"]);
    assert_eq!(value(&reading, "memory"), Some(80.0));
}

#[test]
fn one_invalid_name_fails_only_one_request() {
    let azure = azure();
    let mut settings = settings(&azure, &[VM]);
    settings.mappings = vec![Mapping {
        namespace: Some("Microsoft.Compute/virtualMachines".to_owned()),
        ..mapping("gpu", "Percentage GPU")
    }];
    let mut source = source(settings);
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
fn an_invalid_name_is_not_requested_again() {
    let azure = azure();
    azure.place(Place::new(PLAN).with(Metric::new("Other", "Count", &[1.0])));
    let mut source = source(settings(&azure, &[PLAN]));
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
fn a_resource_type_without_metrics_is_reported() {
    let azure = azure();
    let id = "/subscriptions/s-1/resourceGroups/g/providers/Microsoft.Sql/servers/db";
    let reading = reading(settings(&azure, &[id]));
    assert!(
        reading.gaps[0]
            .reason
            .contains("no built-in metrics of Microsoft.Sql/servers"),
        "{:?}",
        reading.gaps
    );
    assert_eq!(azure.asked().len(), 0);
}
