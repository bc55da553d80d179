//! What a cluster would be given: both layouts, built by kubectl and held against the schemas of Kubernetes. There is no
//! cluster here, so what refers to what is looked at by hand.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use watchpost_tests::programs::output_of;
use watchpost_tests::server::tools;

use crate::deploy;

/// The program of this name, which `make tools` has put there.
fn tool(name: &str) -> Command {
    Command::new(tools().join("deploy/bin").join(name))
}

/// All that a layout consists of, as YAML.
fn built(layout: &str) -> String {
    let folder = deploy().join("kubernetes").join(layout);
    output_of(tool("kubectl").arg("kustomize").arg(folder)).unwrap_or_else(|wrong| panic!("{layout}: {wrong}"))
}

/// The same, object by object.
fn objects(layout: &str) -> Vec<Value> {
    let file = written(layout, &built(layout));
    let reader = "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))";
    let json = output_of(tool("python3").args(["-c", reader]).arg(&file)).expect("it is YAML");
    serde_json::from_str(&json).expect("it is JSON")
}

fn written(name: &str, text: &str) -> PathBuf {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("kubernetes-{name}.yaml"));
    std::fs::write(&file, text).expect("written");
    file
}

fn of_kind<'o>(objects: &'o [Value], kind: &str) -> Vec<&'o Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

fn the<'o>(objects: &'o [Value], kind: &str) -> &'o Value {
    let found = of_kind(objects, kind);
    assert_eq!(found.len(), 1, "one {kind}");
    found[0]
}

/// The objects of a layout, and the one that makes its pods.
fn with_pods(layout: &str, kind: &str) -> (Vec<Value>, Value) {
    let objects = objects(layout);
    let pods = the(&objects, kind)["spec"].clone();
    (objects, pods)
}

const LAYOUTS: [(&str, &str); 2] = [("base", "Deployment"), ("daemonset", "DaemonSet")];

#[test]
fn kubernetes_takes_both_layouts() {
    let check = |name: &str, text: &str| {
        let file = written(name, text);
        output_of(tool("kubernetes-validate").arg("--strict").arg(file))
    };
    for (layout, _) in LAYOUTS {
        let text = built(layout);
        check(&format!("{layout}-good"), &text).unwrap_or_else(|wrong| panic!("{layout}: {wrong}"));
        let wrong = text.replacen("readOnlyRootFilesystem", "readOnlyRoot", 1);
        assert!(check(&format!("{layout}-bad"), &wrong).is_err(), "a mistake is found");
    }
}

#[test]
fn pods_run_without_rights_and_say_how_they_are() {
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
fn what_is_referred_to_is_there() {
    for (layout, kind) in LAYOUTS {
        let (objects, pods) = with_pods(layout, kind);
        let labels = &pods["template"]["metadata"]["labels"];
        assert!(labels.as_object().is_some_and(|labels| !labels.is_empty()), "{layout}");
        assert_eq!(&pods["selector"]["matchLabels"], labels, "{layout}");
        assert_eq!(&the(&objects, "Service")["spec"]["selector"], labels, "{layout}");
        assert_eq!(
            &the(&objects, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
            labels,
            "{layout}"
        );
        for budget in of_kind(&objects, "PodDisruptionBudget") {
            assert_eq!(&budget["spec"]["selector"]["matchLabels"], labels, "{layout}");
        }
        let pod = &pods["template"]["spec"];
        let volumes = pod["volumes"].as_array().expect("it has volumes");
        for volume in volumes {
            let named = |kind: &str, name: &Value| {
                let found = of_kind(&objects, kind);
                assert!(
                    found.iter().any(|object| &object["metadata"]["name"] == name),
                    "{layout}: {volume}"
                );
            };
            if let Some(map) = volume.get("configMap") {
                named("ConfigMap", &map["name"]);
            }
            if let Some(claim) = volume.get("persistentVolumeClaim") {
                named("PersistentVolumeClaim", &claim["claimName"]);
            }
            // What is secret is made by whoever deploys, as docs/DEPLOYMENT.md says.
            if let Some(secret) = volume.get("secret") {
                assert_eq!(secret["secretName"], "watchpost-certificates", "{layout}");
            }
        }
        for mount in pod["containers"][0]["volumeMounts"].as_array().expect("it mounts them") {
            assert!(
                volumes.iter().any(|volume| volume["name"] == mount["name"]),
                "{layout}: {mount}"
            );
        }
    }
}

#[test]
fn prometheus_finds_the_service_by_its_monitor() {
    let objects = objects("daemonset");
    let monitor = the(&objects, "ServiceMonitor");
    assert_eq!(monitor["apiVersion"], "monitoring.coreos.com/v1");
    let service = the(&objects, "Service");
    assert_eq!(monitor["metadata"]["namespace"], service["metadata"]["namespace"]);
    let wanted = monitor["spec"]["selector"]["matchLabels"]
        .as_object()
        .expect("it selects");
    for (label, value) in wanted {
        assert_eq!(&service["metadata"]["labels"][label], value);
    }
    // The job has to have the name that the rules know.
    let label = monitor["spec"]["jobLabel"].as_str().expect("it names the job");
    assert_eq!(service["metadata"]["labels"][label], "watchpost");
    let endpoint = &monitor["spec"]["endpoints"][0];
    assert_eq!(endpoint["port"], service["spec"]["ports"][0]["name"]);
    assert_eq!(
        (&endpoint["scheme"], &endpoint["path"]),
        (&"https".into(), &"/metrics".into())
    );
    let tls = endpoint["tlsConfig"].as_object().expect("it shows a certificate");
    assert_eq!(tls["serverName"], "watchpost");
    for part in [&tls["ca"]["secret"], &tls["cert"]["secret"], &tls["keySecret"]] {
        assert!(part["name"].is_string() && part["key"].is_string(), "{part}");
    }
}

#[test]
fn on_each_node_it_sees_the_node_and_writes_only_its_own_folder() {
    let (objects, pods) = with_pods("daemonset", "DaemonSet");
    for gone in ["Deployment", "PodDisruptionBudget", "PersistentVolumeClaim"] {
        assert!(of_kind(&objects, gone).is_empty(), "{gone}");
    }
    let pod = &pods["template"]["spec"];
    assert_eq!(pod["hostNetwork"], true);
    let container = &pod["containers"][0];
    for (setting, path) in [("PROCFS", "/host/proc"), ("SYSFS", "/host/sys"), ("ROOTFS", "/host")] {
        let name = format!("WATCHPOST_HOST__{setting}");
        let all = container["env"].as_array().expect("it has variables");
        assert!(
            all.iter().any(|one| one["name"] == name && one["value"] == path),
            "{name}"
        );
    }
    for mount in container["volumeMounts"].as_array().expect("it has mounts") {
        assert_eq!(mount["readOnly"] == true, mount["name"] != "data", "{mount}");
    }
}
