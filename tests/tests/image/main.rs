//! The image as described in `docs/DEPLOYMENT.md`: built from the real Dockerfile and run by a real engine. Only its
//! base images are built here, because there may be no image registry.

mod compose;
mod engine;

use engine::{COMMIT, Container, LIMITS, VERSION, image, podman};
use serde_json::{Value, json};

#[test]
fn the_image_has_its_labels_and_defaults() {
    let said = podman(&["image", "inspect", image()]).expect("it is there");
    let image = &serde_json::from_str::<Value>(&said).expect("it is JSON")[0];
    let config = &image["Config"];
    assert_eq!(config["User"], "65532:65532");
    assert_eq!(config["StopSignal"], "SIGTERM");
    assert_eq!(config["Entrypoint"], json!(["watchpost"]));
    assert_eq!(config["Volumes"], json!({ "/var/lib/watchpost": {} }));
    assert_eq!(config["ExposedPorts"], json!({ "8443/tcp": {} }));
    assert_eq!(
        image["Healthcheck"]["Test"],
        json!(["CMD", "watchpost", "healthcheck"]),
        "{image}"
    );
    let label = |name: &str| config["Labels"][format!("org.opencontainers.image.{name}")].clone();
    assert_eq!(label("version"), VERSION);
    assert_eq!(label("revision"), COMMIT);
    assert_eq!(label("base.name"), "docker.io/library/debian:trixie-slim");
    let version = once(&["--version"]).expect("it says its version");
    assert!(version.contains(VERSION) && version.contains(COMMIT), "{version}");
}

#[test]
fn the_image_contains_its_sbom() {
    let (file, entrypoint) = ("/usr/share/doc/watchpost/watchpost.cdx.json", "--entrypoint=cat");
    let arguments = [&["run", "--rm", "--network=none", entrypoint], LIMITS, &[image(), file]].concat();
    let sbom = podman(&arguments).unwrap_or_else(|wrong| panic!("{wrong}"));
    let sbom: Value = serde_json::from_str(&sbom).expect("it is JSON");
    assert_eq!(sbom["metadata"]["component"]["name"], "watchpost");
    assert_eq!(sbom["metadata"]["component"]["version"], VERSION);
    let components = sbom["components"].as_array().expect("a list");
    let of = |name: &str| components.iter().filter(|component| component["name"] == name).count();
    for part in ["wasmtime", "postcard", "sqlite", "swagger-ui-dist", "redoc"] {
        assert_eq!(of(part), 1, "{part}");
    }
}

#[test]
fn with_a_read_only_root_and_no_rights_it_is_healthy_and_answers() {
    let container = Container::start(&[
        "--read-only",
        "--read-only-tmpfs=false",
        "--cap-drop=all",
        "--security-opt=no-new-privileges",
        "--hostname=edge-7",
    ])
    .healthy();
    assert_eq!(container.users(), "65532 65532 65532 65532");
    for elsewhere in ["/etc/x", "/tmp/x", "/x"] {
        let refused = container
            .run(&["touch", elsewhere])
            .expect_err("nothing else can be written");
        assert!(refused.contains("Read-only file system"), "{refused}");
    }
    // The first start created certificates, which include the name of the container.
    for host in ["localhost", "edge-7"] {
        let body = container.get(host, "/api/v1/whoami").expect("it answers");
        assert!(body.contains("\"admin\""), "{body}");
    }
}

#[test]
fn the_memory_limit_is_the_total_memory() {
    let container = Container::start(&["--memory=256m"]).healthy();
    let page = container.get("localhost", "/metrics").expect("it answers");
    assert_eq!(metric_value(&page, "watchpost_cgroup_memory_limit_bytes"), LIMIT);
    let used = metric_value(&page, "watchpost_cgroup_memory_bytes") / LIMIT;
    let ratio = metric_value(&page, "watchpost_memory_ratio");
    // Both are measured in one round, one after the other.
    assert!(
        (used - ratio).abs() < 0.05,
        "{used} of the limit are used, and {ratio} are reported"
    );
}

#[test]
fn with_mounts_it_monitors_the_host_and_not_the_container() {
    let container = Container::start(&[
        "--memory=256m",
        "--read-only",
        "--cap-drop=all",
        "--volume=/:/host:ro,rslave",
        "--env=WATCHPOST_HOST__PROCFS=/host/proc",
        "--env=WATCHPOST_HOST__SYSFS=/host/sys",
        "--env=WATCHPOST_HOST__ROOTFS=/host",
    ])
    .healthy();
    let page = container.get("localhost", "/metrics").expect("it answers");
    let whole = metric_value(&page, "node_memory_MemTotal_bytes");
    let used = 1.0 - metric_value(&page, "node_memory_MemAvailable_bytes") / whole;
    assert!(whole > LIMIT, "the machine has {whole} bytes");
    assert!(
        (used - metric_value(&page, "watchpost_memory_ratio")).abs() < 0.05,
        "{used} are used"
    );
    let disks: Vec<_> = page
        .lines()
        .filter(|line| line.starts_with("watchpost_disk_ratio{"))
        .collect();
    assert!(disks.iter().any(|disk| disk.contains("mountpoint=\"/\"")), "{disks:?}");
    // It has only a loopback interface, and needs no network to see the interfaces of the host.
    let own = container.run(&["cat", "/proc/net/dev"]).expect("it has a network");
    let machines = std::fs::read_to_string("/proc/net/dev").expect("procfs is readable");
    let mut others = interfaces(&machines).filter(|name| !interfaces(&own).any(|own| own == *name));
    assert!(
        others.clone().next().is_none() || others.any(|name| page.contains(&format!("device=\"{name}\""))),
        "{machines}"
    );
    let inside = container.run(&["cat", "/proc/mounts"]).expect("it has mounts");
    assert!(
        inside.contains(" / overlay "),
        "its own root is none of the machine's: {inside}"
    );
}

/// The names in `/proc/net/dev`.
fn interfaces(table: &str) -> impl Iterator<Item = &str> + Clone {
    table.lines().filter_map(|line| Some(line.split_once(':')?.0.trim()))
}

const LIMIT: f64 = 268_435_456.0;

/// The value of a metric without labels.
fn metric_value(page: &str, metric: &str) -> f64 {
    let line = page.lines().find_map(|line| line.strip_prefix(&format!("{metric} ")));
    let number = line.unwrap_or_else(|| panic!("{metric} is missing: {page}"));
    number.parse().expect("a number")
}

#[test]
fn on_sigterm_the_server_drains_and_only_the_volume_remains() {
    let volume = "--volume=watchpost-kept:/var/lib/watchpost";
    let first = Container::start(&[volume]).healthy();
    let authority = || std::fs::read_to_string(first.root().join("var/lib/watchpost/pki/ca.crt"));
    let before = authority().expect("the first start makes an authority");
    let (code, log) = first.stop();
    assert_eq!(code, "0", "{log}");
    assert!(log.contains("cut_off=false"), "{log}");
    drop(first);
    let second = Container::start(&[volume]).healthy();
    let after = second
        .run(&["cat", "/var/lib/watchpost/pki/ca.crt"])
        .expect("it is there");
    assert_eq!(after.trim(), before.trim());
    drop(second);
    podman(&["volume", "rm", "watchpost-kept"]).expect("no container uses it");
}

#[test]
fn a_mounted_configuration_replaces_the_default_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("watchpost.toml");
    std::fs::write(&file, "[log]\nlevel = \"debug\"\n[listener]\n").expect("written");
    let mount = format!("--volume={}:/etc/watchpost/watchpost.toml:ro", file.display());
    let refused = podman(&[&["run", "--rm", "--network=none", &mount], LIMITS, &[image(), "check"]].concat());
    let refused = refused.expect_err("there is no such section");
    assert!(refused.contains("did you mean listeners?"), "{refused}");
    let shown = once(&["check"]).expect("the image's own is good");
    assert!(shown.contains("0.0.0.0:8443"), "{shown}");
}

/// The output of one command in a new container.
fn once(command: &[&str]) -> Result<String, String> {
    podman(&[&["run", "--rm", "--network=none"], LIMITS, &[image()], command].concat())
}
