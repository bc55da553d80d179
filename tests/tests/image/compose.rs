//! The two services of `deploy/compose.yaml` with the image of Watchpost, run one after the other. The test `deployed`
//! checks the configuration of Prometheus.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use serde_json::Value;
use watchpost_tests::programs::compose_project;

use crate::engine::{Container, LIMITS, image, podman};

/// The user id 65534, which is `nobody` in the image of Prometheus.
const PROMETHEUS_UID: u32 = 65534;

#[test]
fn prometheus_gets_a_certificate_and_is_accepted_with_it() {
    let project = compose_project(include_str!("../../../deploy/compose.yaml")).expect("it is good");
    let service = &project["services"]["certificates"];
    // Volumes of earlier tests would be reused.
    for volume in ["watchpost-data", "watchpost-scrape"] {
        let _ = podman(&["volume", "rm", "--force", volume]);
    }
    for _ in ["the first start", "every start after"] {
        ended(service);
    }
    let folder = podman(&["volume", "inspect", "--format={{.Mountpoint}}", "watchpost-scrape"]).expect("it is there");
    let mut names = Vec::new();
    for entry in PathBuf::from(&folder).read_dir().expect("it can be read") {
        let entry = entry.expect("it can be read");
        let file = entry.metadata().expect("it can be read");
        assert_eq!(
            (file.uid(), file.permissions().mode() & 0o777),
            (PROMETHEUS_UID, 0o400),
            "{entry:?}"
        );
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    assert_eq!(names, ["ca.crt", "prometheus.crt", "prometheus.key"]);
    let name = project["services"]["watchpost"]["hostname"]
        .as_str()
        .expect("it has a name");
    let container = Container::start(&[
        "--volume=watchpost-data:/var/lib/watchpost",
        "--read-only",
        &format!("--hostname={name}"),
    ])
    .healthy();
    let page = container.scraped(&folder).expect("it is let in");
    assert!(page.contains("watchpost_build_info"), "{page}");
    drop(container);
    for volume in ["watchpost-data", "watchpost-scrape"] {
        podman(&["volume", "rm", volume]).expect("no container uses it");
    }
}

/// Runs the service and waits for its end.
fn ended(service: &Value) {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let texts = |value: &Value| -> Vec<String> { value.as_array().expect("a list").iter().map(text).collect() };
    let mut arguments = vec![
        "run".to_owned(),
        "--rm".to_owned(),
        "--network=none".to_owned(),
        format!("--hostname={}", text(&service["hostname"])),
        format!("--user={}", text(&service["user"])),
        format!("--entrypoint={}", service["entrypoint"]),
        "--volume=watchpost-data:/var/lib/watchpost".to_owned(),
        "--volume=watchpost-scrape:/scrape".to_owned(),
    ];
    arguments.extend(LIMITS.iter().map(|limit| (*limit).to_owned()));
    arguments.extend(
        texts(&service["cap_drop"])
            .iter()
            .map(|right| format!("--cap-drop={right}")),
    );
    arguments.extend(
        texts(&service["cap_add"])
            .iter()
            .map(|right| format!("--cap-add={right}")),
    );
    arguments.push(image().to_owned());
    arguments.extend(texts(&service["command"]));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    podman(&arguments).unwrap_or_else(|wrong| panic!("{wrong}"));
}
