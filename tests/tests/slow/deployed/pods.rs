//! The life cycle of pods: privileges, probes, start and termination times, and restarts. `kubernetes` tests the
//! layouts.

use serde_json::{Value, json};

use super::cluster::{LAYOUTS, objects, the, with_pods};
use super::read;

#[test]
fn pods_run_unprivileged_and_have_probes() {
    for (layout, kind) in LAYOUTS {
        let (_, pods) = with_pods(layout, kind);
        let pod = &pods["template"]["spec"];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{layout}");
        assert_eq!(pod["securityContext"]["runAsUser"], 65532, "{layout}");
        assert_eq!(
            pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault",
            "{layout}"
        );
        assert_eq!(pod["automountServiceAccountToken"], false, "{layout}");
        let container = &pod["containers"][0];
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true, "{layout}");
        assert_eq!(
            container["securityContext"]["allowPrivilegeEscalation"], false,
            "{layout}"
        );
        assert_eq!(
            container["securityContext"]["capabilities"]["drop"][0], "ALL",
            "{layout}"
        );
        for (probe, path) in [("startup", "live"), ("liveness", "live"), ("readiness", "ready")] {
            let asked = &container[format!("{probe}Probe")]["httpGet"];
            assert_eq!(asked["path"], format!("/health/{path}"), "{layout} {probe}");
            assert_eq!(
                (&asked["scheme"], &asked["port"]),
                (&"HTTPS".into(), &"https".into()),
                "{layout} {probe}"
            );
        }
    }
}

#[test]
fn the_startup_probe_allows_the_time_of_every_step() {
    let steps = read("../server/src/app/mod.rs").matches("systemd.begins(").count();
    assert_eq!(steps, 4);
    let dockerfile = read("../Dockerfile");
    let period = dockerfile
        .split("--start-period=")
        .nth(1)
        .and_then(|rest| rest.split('m').next());
    let minutes: usize = period.and_then(|period| period.parse().ok()).expect("it is in minutes");
    assert!(minutes >= 5 * steps, "{minutes} minutes");
    for (layout, kind) in LAYOUTS {
        let (_, pods) = with_pods(layout, kind);
        let probe = &pods["template"]["spec"]["containers"][0]["startupProbe"];
        let number = |name: &str| probe[name].as_u64().expect("a number");
        assert!(
            number("periodSeconds") * number("failureThreshold") >= 15 * 60,
            "{layout}: {probe}"
        );
    }
}

#[test]
fn the_termination_waits_for_endpoints_and_open_requests() {
    let configuration: toml::Table = read("kubernetes/base/watchpost.toml").parse().expect("it is TOML");
    let drain = configuration["server"]["drain_timeout"]
        .as_str()
        .and_then(|time| time.strip_suffix('s'));
    let drain: u64 = drain.and_then(|time| time.parse().ok()).expect("it is in seconds");
    for (layout, kind) in LAYOUTS {
        let (_, pods) = with_pods(layout, kind);
        let pod = &pods["template"]["spec"];
        let waits = &pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"];
        assert_eq!(waits[0], "sleep", "{layout}");
        let waits: u64 = waits[1].as_str().and_then(|time| time.parse().ok()).expect("a number");
        let grace = pod["terminationGracePeriodSeconds"].as_u64().expect("a number");
        assert!(waits >= 5 && grace >= waits + drain + 10, "{layout}: {grace} seconds");
    }
}

#[test]
fn a_node_with_the_only_pod_can_be_drained() {
    let objects = objects("base");
    let budget = &the(&objects, "PodDisruptionBudget")["spec"];
    assert_eq!(
        (&budget["maxUnavailable"], &budget["minAvailable"]),
        (&json!(1), &Value::Null)
    );
}

#[test]
fn a_changed_configuration_restarts_pods_and_a_changed_rule_does_not() {
    for (layout, kind) in LAYOUTS {
        let (_, pods) = with_pods(layout, kind);
        let mounted = |name: &str| {
            let volumes = pods["template"]["spec"]["volumes"].as_array().expect("it has volumes");
            let volume = volumes
                .iter()
                .find(|volume| volume["name"] == name)
                .expect("it is mounted");
            volume["configMap"]["name"].as_str().expect("it has a name").to_owned()
        };
        assert_eq!(mounted("rules"), "watchpost-rules", "{layout}");
        assert!(mounted("config").starts_with("watchpost-config-"), "{layout}");
        // A file mounted by subPath is not updated in a running pod.
        let container = &pods["template"]["spec"]["containers"][0];
        let mounts = container["volumeMounts"].as_array().expect("it mounts them");
        let rules = mounts
            .iter()
            .find(|mount| mount["name"] == "rules")
            .expect("it is mounted");
        assert_eq!(rules["subPath"], Value::Null, "{layout}");
    }
}
