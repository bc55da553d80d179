//! What goes into the image, and what is run beside it. The image itself is built and run by the test `image`.

use std::process::Command;

use watchpost_tests::programs::{compose_project, output_of};
use watchpost_tests::server::{command, program};

use crate::{deploy, read};

#[test]
fn compose_takes_its_file() {
    let text = read("compose.yaml");
    let project = compose_project(&text).expect("it is good");
    let services = project["services"].as_object().expect("it has services");
    let names: Vec<_> = services.keys().map(String::as_str).collect();
    for service in ["certificates", "watchpost", "prometheus", "postgres"] {
        assert!(names.contains(&service), "{names:?}");
    }
    assert!(
        compose_project(&text.replacen("read_only", "readonly", 1)).is_err(),
        "a mistake is found"
    );
}

#[test]
fn only_watchpost_itself_gets_its_volume_and_prometheus_no_more_than_three_files() {
    let project = compose_project(&read("compose.yaml")).expect("it is good");
    let uses = |service: &str, volume: &str| {
        project["services"][service]
            .to_string()
            .contains(&format!("\"{volume}:"))
    };
    assert!(uses("watchpost", "data") && uses("certificates", "data") && !uses("prometheus", "data"));
    assert!(uses("certificates", "scrape") && uses("prometheus", "scrape") && !uses("watchpost", "scrape"));
    let watchpost = &project["services"]["watchpost"];
    assert_eq!(watchpost["read_only"], true);
    assert_eq!(watchpost["cap_drop"][0], "ALL");
    for file in ["prometheus/prometheus.yml", "prometheus/rules"] {
        assert!(
            uses("prometheus", &format!("./{file}")) && deploy().join(file).exists(),
            "{file}"
        );
    }
}

#[test]
fn the_image_is_built_by_the_compiler_that_everybody_has() {
    let dockerfile = read("../Dockerfile");
    let toolchain: toml::Table = read("../rust-toolchain.toml").parse().expect("it is TOML");
    let channel = toolchain["toolchain"]["channel"].as_str().expect("it names one");
    assert!(
        dockerfile.contains(&format!("\nARG RUST={channel}\n")),
        "Dockerfile lacks ARG RUST={channel}"
    );
}

#[test]
fn the_images_own_configuration_is_good() {
    let checked = output_of(
        Command::new(program())
            .arg("check")
            .arg("--config")
            .arg(deploy().join("container/watchpost.toml")),
    );
    let shown = checked.expect("it is good");
    assert!(
        shown.contains("/var/lib/watchpost") && shown.contains("0.0.0.0:8443"),
        "{shown}"
    );
}

#[test]
fn the_configuration_for_kubernetes_is_good() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = read("kubernetes/base/watchpost.toml").replace("/etc/watchpost", &folder.path().display().to_string());
    std::fs::write(folder.path().join("watchpost.toml"), text).expect("written");
    let shown = output_of(command(folder.path()).arg("check")).expect("it is good");
    assert!(shown.contains("certificates/ca.crt"), "{shown}");
}
