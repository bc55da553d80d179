//! The Dockerfile, and the services of the compose file. The test `image` builds and runs the image.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use watchpost_tests::programs::{compose_project, output_of};
use watchpost_tests::server::{command, program};

use super::{deploy, read};

#[test]
fn the_compose_file_is_valid() {
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
fn the_image_is_built_by_the_pinned_compiler() {
    let dockerfile = read("../Dockerfile");
    let toolchain: toml::Table = read("../rust-toolchain.toml").parse().expect("it is TOML");
    let channel = toolchain["toolchain"]["channel"].as_str().expect("it names one");
    assert!(
        dockerfile.contains(&format!("\nARG RUST={channel}\n")),
        "Dockerfile lacks ARG RUST={channel}"
    );
}

/// The layer of compiled dependencies is cached as long as this stage does not change.
#[test]
fn only_a_change_of_a_manifest_rebuilds_dependencies() {
    let folder = tempfile::tempdir().expect("a folder");
    let after = |name: &str, changed: &[&str]| skeleton(&folder.path().join(name), changed);
    let before = after("before", &[]);
    let sources = [
        "server/src/main.rs",
        "server/src/another/place.rs",
        "server/build.rs",
        "server/assets/another.css",
        "policies/src/lib.rs",
        "policies/wit/rules.wit",
        "wasm-rules/role/src/lib.rs",
        "wasm-rules/examples/README.md",
        "migrations/another/up.sql",
        "deploy/container/watchpost.toml",
    ];
    assert_eq!(after("sources", &sources), before);
    for manifest in ["Cargo.lock", "server/Cargo.toml"] {
        assert_ne!(after("manifest", &[manifest]), before, "{manifest}");
    }
    // The stage has every manifest of the workspace.
    output_of(
        Command::new(env!("CARGO"))
            .args(["tree", "--locked", "--package", "watchpost", "--depth", "0"])
            .current_dir(folder.path().join("before")),
    )
    .expect("it is a whole workspace");
}

/// The result of the stage `skeleton` of the Dockerfile, after a line is appended to these files.
fn skeleton(place: &Path, changed: &[&str]) -> BTreeMap<PathBuf, Vec<u8>> {
    let _ = fs::remove_dir_all(place);
    fs::create_dir(place).expect("made");
    let ignored = read("../.dockerignore");
    let taken: Vec<_> = ignored.lines().filter_map(|line| line.strip_prefix('!')).collect();
    let copy = "git ls-files -z -- \"$@\" | xargs -0 cp --parents -t \"$0\"";
    let mut shell = Command::new("sh");
    shell
        .args(["-ec", copy])
        .arg(place)
        .args(taken)
        .current_dir(deploy().join(".."));
    output_of(&mut shell).expect("it is copied");
    for path in changed {
        let path = place.join(path);
        fs::create_dir_all(path.parent().expect("a file lies somewhere")).expect("made");
        let mut text = fs::read(&path).unwrap_or_default();
        text.extend(b"\n# another line\n");
        fs::write(&path, text).expect("written");
    }
    let made = command_of("skeleton");
    output_of(Command::new("sh").args(["-ec", &made]).current_dir(place)).expect("it is made");
    let mut all = BTreeMap::new();
    walk(place, place, &mut all);
    assert!(all.contains_key(Path::new("server/src/main.rs")), "{:?}", all.keys());
    all
}

/// The only command of a stage of the Dockerfile.
fn command_of(stage: &str) -> String {
    let dockerfile = read("../Dockerfile");
    let begin = format!(" AS {stage}\n");
    let (_, rest) = dockerfile.split_once(&begin).expect("there is such a stage");
    let (_, rest) = rest.split_once("\nRUN ").expect("it runs something");
    let (command, _) = rest.split_once("\n\n").expect("another stage comes after it");
    assert!(!command.contains("\nRUN "), "it is one: {command}");
    command.to_owned()
}

fn walk(place: &Path, folder: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(folder).expect("it can be read") {
        let path = entry.expect("it can be read").path();
        if path.is_dir() {
            walk(place, &path, found);
        } else {
            let name = path.strip_prefix(place).expect("it lies there").to_owned();
            found.insert(name, fs::read(&path).expect("it can be read"));
        }
    }
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
    let here = folder.path().display().to_string();
    let text = read("kubernetes/base/watchpost.toml").replace("/etc/watchpost", &here);
    let text = text.replace("/var/lib/watchpost", &format!("{here}/data"));
    std::fs::write(folder.path().join("watchpost.toml"), text).expect("written");
    // The Secrets and ConfigMaps of a cluster, which the check opens.
    output_of(command(folder.path()).args(["certs", "init"])).expect("done");
    for name in ["certificates", "rules"] {
        std::fs::create_dir(folder.path().join(name)).expect("created");
    }
    for (from, to) in [
        ("server.crt", "tls.crt"),
        ("server.key", "tls.key"),
        ("ca.crt", "ca.crt"),
    ] {
        let from = folder.path().join("data/pki").join(from);
        std::fs::copy(from, folder.path().join("certificates").join(to)).expect("copied");
    }
    let shown = output_of(command(folder.path()).arg("check")).expect("it is good");
    assert!(shown.contains("certificates/ca.crt"), "{shown}");
}
