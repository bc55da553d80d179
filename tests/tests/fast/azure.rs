//! A complete server that monitors machines in a simulated Azure.

use watchpost_tests::azure::{Azure, Fault, Metric, Place, Proof};
use watchpost_tests::server::{Server, eventually};

const VM: &str = "/subscriptions/s-1/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/vm-1";

fn azure() -> Azure {
    let azure = Azure::start();
    azure.application("t-1", "c-1", Proof::Secret("hunter2".to_owned()));
    let machine = Place::new(VM)
        .with(Metric::new("Percentage CPU", "Percent", &[12.0, 10.0]))
        .with(Metric::new("Available Memory Percentage", "Percent", &[4.0, 5.0]));
    azure.place(machine);
    azure
}

fn settings(azure: &Azure) -> String {
    let url = azure.url();
    format!(
        "[azure]
        resources = [{{ id = \"{VM}\" }}]
        interval = \"1s\"
        [azure.endpoints]
        arm = \"{url}\"
        authority = \"{url}\"
        imds = \"{url}\"
        [azure.credentials]
        tenant_id = \"t-1\"
        client_id = \"c-1\"
        client_secret = \"hunter2\""
    )
}

fn finding(server: &Server, metric: &str, resource: &str) -> Option<serde_json::Value> {
    let report = server.get("/api/v1/report").json();
    let findings = report["findings"].as_array()?.clone();
    findings.into_iter().find(|finding| {
        let subject = &finding["subject"];
        subject["metric"] == metric && subject["labels"]["resource"] == resource
    })
}

#[test]
fn a_machine_in_azure_is_judged_next_to_the_local_host() {
    let azure = azure();
    let server = Server::with(&settings(&azure)).ready();
    let memory = eventually("a judgement", || finding(&server, "memory", "vm-1"));
    assert_eq!(
        (&memory["severity"], &memory["value"]),
        (&"alert".into(), &96.0.into()),
        "{memory}"
    );
    let metrics = server.get("/metrics").text();
    assert!(
        metrics.contains("watchpost_memory_ratio{resource=\"vm-1\"} 0.96"),
        "{metrics}"
    );
    let snapshot = server.get("/api/v1/snapshot").json();
    let own = snapshot["samples"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|sample| sample["metric"] == "memory");
    assert_eq!(own.count(), 2, "this machine's stays");
    let gaps = snapshot["gaps"].to_string();
    assert!(gaps.contains("disk"), "Azure does not know how full a disk is: {gaps}");
    assert!(!server.log_lines().join("\n").contains("hunter2") && !gaps.contains("hunter2"));
}

#[test]
fn missing_permission_to_read_metrics_is_reported_with_the_missing_role() {
    let azure = azure();
    azure.place(Place::new(VM).denied());
    let server = Server::with(&settings(&azure)).ready();
    eventually("a gap that helps", || {
        let gaps = server.get("/api/v1/snapshot").json()["gaps"].to_string();
        (gaps.contains("Monitoring Reader") && gaps.contains("vm-1")).then_some(())
    });
    assert_eq!(server.get("/health/ready").status, 200);
}

#[test]
fn a_slow_azure_delays_no_other_source() {
    let azure = azure();
    let server = Server::with(&settings(&azure)).ready();
    eventually("an answer", || finding(&server, "memory", "vm-1"));
    azure.fail("metrics", 1000, Fault::Slow(std::time::Duration::from_secs(20)));
    let round = || {
        server.get("/api/v1/status").json()["round"]["number"]
            .as_u64()
            .unwrap_or_default()
    };
    let before = round();
    eventually("more rounds", || (round() > before + 3).then_some(()));
    assert!(
        finding(&server, "memory", "vm-1").is_some(),
        "what it said last still counts"
    );
}
