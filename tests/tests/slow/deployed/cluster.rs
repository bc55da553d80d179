//! Renders the layouts of `deploy/kubernetes` and the documented overlay with kubectl, without a cluster.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use watchpost_tests::document::{blocks, document};
use watchpost_tests::programs::output_of;
use watchpost_tests::server::tools;

use super::deploy;

/// The path of a program that `make tools` installs.
pub(crate) fn tool(name: &str) -> Command {
    Command::new(tools().join("deploy/bin").join(name))
}

/// A rendered layout as YAML.
pub(crate) fn built(layout: &str) -> String {
    kustomized(&deploy().join("kubernetes").join(layout))
}

pub(crate) fn kustomized(folder: &Path) -> String {
    output_of(tool("kubectl").arg("kustomize").arg(folder)).unwrap_or_else(|wrong| panic!("{wrong}"))
}

/// The objects of a rendered layout.
pub(crate) fn objects(layout: &str) -> Vec<Value> {
    parsed(layout, &built(layout))
}

/// The overlay of the document over this layout, with its files.
pub(crate) fn overlaid(layout: &str) -> Vec<Value> {
    let folder = tempfile::tempdir().expect("a folder");
    std::os::unix::fs::symlink(deploy().join(".."), folder.path().join("watchpost")).expect("linked");
    let overlay = folder.path().join("overlay");
    std::fs::create_dir(&overlay).expect("made");
    let shown = blocks(&document("DEPLOYMENT.md"), "Kubernetes", "yaml").concat();
    let shown = shown.replace("deploy/kubernetes/base\n", &format!("deploy/kubernetes/{layout}\n"));
    for (file, text) in [
        ("kustomization.yaml", shown.as_str()),
        ("watchpost.toml", "[log]\nlevel = \"debug\"\n"),
        ("weekend.wasm", "\0asm"),
        ("weekend.toml", "days = []\n"),
    ] {
        std::fs::write(overlay.join(file), text).expect("written");
    }
    parsed(&format!("{layout}-overlaid"), &kustomized(&overlay))
}

pub(crate) fn parsed(name: &str, yaml: &str) -> Vec<Value> {
    let file = written(name, yaml);
    let reader = "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))";
    let json = output_of(tool("python3").args(["-c", reader]).arg(&file)).expect("it is YAML");
    serde_json::from_str(&json).expect("it is JSON")
}

pub(crate) fn written(name: &str, text: &str) -> PathBuf {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("kubernetes-{name}.yaml"));
    std::fs::write(&file, text).expect("written");
    file
}

pub(crate) fn of_kind<'o>(objects: &'o [Value], kind: &str) -> Vec<&'o Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

pub(crate) fn the<'o>(objects: &'o [Value], kind: &str) -> &'o Value {
    let found = of_kind(objects, kind);
    assert_eq!(found.len(), 1, "one {kind}");
    found[0]
}

/// The objects of a layout, and the workload among them.
pub(crate) fn with_pods(layout: &str, kind: &str) -> (Vec<Value>, Value) {
    let objects = objects(layout);
    let pods = the(&objects, kind)["spec"].clone();
    (objects, pods)
}

pub(crate) const LAYOUTS: [(&str, &str); 2] = [("base", "Deployment"), ("daemonset", "DaemonSet")];
