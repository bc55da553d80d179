//! Both layouts for Kubernetes and the overlay over them, validated against the schemas of Kubernetes; the tests check
//! references between objects.

use serde_json::Value;
use watchpost_tests::programs::output_of;

use super::cluster::{LAYOUTS, built, objects, of_kind, overlaid, the, tool, with_pods, written};

#[test]
fn both_layouts_are_valid_for_kubernetes() {
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

/// The port is open after loading, and the server is ready after the first round; each step may take five minutes, as
/// in the notifications to systemd.
#[test]
fn a_layout_works_without_the_prometheus_operator() {
    for (layout, _) in LAYOUTS {
        for object in objects(layout) {
            let version = object["apiVersion"].as_str().expect("it has one");
            let known = ["v1", "apps/v1", "policy/v1", "networking.k8s.io/v1"];
            assert!(known.contains(&version), "{layout}: {version} {}", object["kind"]);
        }
    }
}

#[test]
fn the_overlay_that_is_shown_has_its_own_image_configuration_and_rules() {
    for (layout, kind) in LAYOUTS {
        let objects = overlaid(layout);
        let pod = &the(&objects, kind)["spec"]["template"]["spec"];
        let all = [&pod["initContainers"], &pod["containers"]];
        for container in all.iter().filter_map(|list| list.as_array()).flatten() {
            assert_eq!(container["image"], "registry.example.org/watchpost:0.1.0", "{layout}");
        }
        let map = |name: &str| {
            let maps = of_kind(&objects, "ConfigMap");
            let is_it = |map: &&&Value| {
                map["metadata"]["name"]
                    .as_str()
                    .is_some_and(|known| known.starts_with(name))
            };
            (*maps.iter().find(is_it).expect("it is there")).clone()
        };
        assert_eq!(
            map("watchpost-rules")["metadata"]["name"],
            "watchpost-rules",
            "{layout}"
        );
        assert!(map("watchpost-rules").to_string().contains("weekend.wasm"), "{layout}");
        assert_eq!(
            map("watchpost-config")["data"]["watchpost.toml"],
            "[log]\nlevel = \"debug\"\n"
        );
        let monitor = the(&objects, "ServiceMonitor");
        assert_eq!(monitor["metadata"]["namespace"], "watchpost", "{layout}");
    }
}

#[test]
fn every_referenced_object_exists() {
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
            // The operator creates the secrets, as in docs/DEPLOYMENT.md.
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
    let objects = overlaid("daemonset");
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
    // The alerts use this name of the job.
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
fn the_daemonset_sees_the_node_and_writes_only_its_own_folder() {
    let (objects, pods) = with_pods("daemonset", "DaemonSet");
    for gone in ["Deployment", "PodDisruptionBudget", "PersistentVolumeClaim"] {
        assert!(of_kind(&objects, gone).is_empty(), "{gone}");
    }
    let pod = &pods["template"]["spec"];
    // The interfaces of the node are read from /host/proc, so the pod needs no host network, and the NetworkPolicy
    // applies.
    assert_eq!((&pod["hostNetwork"], &pod["dnsPolicy"]), (&Value::Null, &Value::Null));
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
