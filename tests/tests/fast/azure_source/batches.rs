//! Several requests: as batches, or concurrently.

use super::*;

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
    // The only resource of its region is requested by itself.
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
    assert!(reason(&reading, "cpu").contains("vm-52: missing in Azure's batch response"));
    assert_eq!(azure.asked_for("/token").len(), 2, "one for each audience");
    assert_eq!(azure.asked_for("/providers/Microsoft.Insights/metrics").len(), 2);
}

#[test]
fn at_most_four_requests_are_in_flight() {
    let azure = azure();
    let ids: Vec<_> = (0..10).map(|at| VM.replace("vm-1", &format!("vm-{at}"))).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    azure.fail("/metrics", 100, Fault::Late(Duration::from_secs(60)));
    let mut source = source(settings(&azure, &ids));
    run(async {
        let dropped = actix_web::rt::time::timeout(Duration::from_millis(500), source.measure(now_ms())).await;
        assert!(dropped.is_err());
    });
    assert_eq!(azure.asked_for("/metrics").len(), 4);
}
