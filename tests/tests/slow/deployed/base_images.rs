//! `deploy/container/pin` with a registry of images on this machine, in place of the public ones.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::json;
use watchpost_tests::ports;
use watchpost_tests::programs::output_of;
use watchpost_tests::server::tools;

use super::deploy;

/// The repositories and tags of the four images in a copy of the files, in their order there.
const REPOSITORIES: [&str; 4] = ["library/rust", "library/debian", "prom/prometheus", "library/postgres"];

#[test]
fn base_images_are_pinned_by_the_digests_of_the_registry() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = Files::copied(folder.path());
    let registry = Registry::start(&folder.path().join("registry"));
    registry.stand_in_for_docker_hub(folder.path());
    let images = files.images();
    let names: Vec<_> = images
        .iter()
        .map(|(image, _)| image.split(':').next().unwrap_or_default())
        .collect();
    assert_eq!(names, REPOSITORIES);
    for (image, _) in &images[..3] {
        registry.push(image, "first");
    }

    // One image is missing, so nothing is written.
    let before = files.texts();
    let refused = files.pin(&[]).expect_err("postgres is not in the registry");
    assert!(refused.contains("not pinned: docker.io/library/postgres:"), "{refused}");
    assert_eq!(files.texts(), before);

    let mut digests = BTreeMap::new();
    for (image, _) in &images {
        digests.insert(image.clone(), registry.push(image, "first"));
    }
    files.pin(&[]).unwrap_or_else(|wrong| panic!("{wrong}"));
    assert_eq!(files.images(), pinned(&digests, &images));
    let changed = changed_lines(&before, &files.texts());
    assert_eq!(changed, 4, "only the digests are changed");

    // A tag moves in the registry: the pin stays until an update.
    for (image, _) in &images {
        digests.insert(image.clone(), registry.push(image, "second"));
    }
    let pinned_before = files.texts();
    files.pin(&[]).unwrap_or_else(|wrong| panic!("{wrong}"));
    assert_eq!(files.texts(), pinned_before);
    files.pin(&["--update"]).unwrap_or_else(|wrong| panic!("{wrong}"));
    assert_eq!(files.images(), pinned(&digests, &images));
}

fn pinned(digests: &BTreeMap<String, String>, images: &[(String, String)]) -> Vec<(String, String)> {
    let with_digest = |(image, _): &(String, String)| (image.clone(), format!("@{}", digests[image]));
    images.iter().map(with_digest).collect()
}

fn changed_lines(before: &[String], after: &[String]) -> usize {
    let lines = |texts: &[String]| texts.concat().lines().map(str::to_owned).collect::<Vec<_>>();
    let (before, after) = (lines(before), lines(after));
    assert_eq!(before.len(), after.len());
    before
        .iter()
        .zip(&after)
        .filter(|(before, after)| before != after)
        .count()
}

/// Copies of the script and of the files that it changes.
struct Files {
    folder: PathBuf,
}

impl Files {
    /// Digests that are pinned already are removed from the copies.
    fn copied(folder: &Path) -> Self {
        fs::create_dir_all(folder.join("deploy/container")).expect("made");
        for name in ["Dockerfile", "deploy/compose.yaml", "deploy/container/pin"] {
            fs::copy(deploy().join("..").join(name), folder.join(name)).expect("copied");
        }
        for name in ["Dockerfile", "deploy/compose.yaml"] {
            let text = fs::read_to_string(folder.join(name)).expect("it can be read");
            let line = |line: &str| format!("{}\n", line.split("@sha256:").next().unwrap_or_default());
            fs::write(folder.join(name), text.lines().map(line).collect::<String>()).expect("written");
        }
        Self {
            folder: folder.to_owned(),
        }
    }

    fn texts(&self) -> Vec<String> {
        let read = |name| fs::read_to_string(self.folder.join(name)).expect("it can be read");
        ["Dockerfile", "deploy/compose.yaml"].map(read).into()
    }

    /// The images without their registry, each with its digest behind an `@`, or nothing.
    fn images(&self) -> Vec<(String, String)> {
        let texts = self.texts();
        let argument = |name: &str| {
            let line = texts[0]
                .lines()
                .find_map(|line| line.strip_prefix(&format!("ARG {name}=")));
            line.expect("the Dockerfile declares it").to_owned()
        };
        let arguments = ["RUST", "DEBIAN", "RUST_DIGEST", "DEBIAN_DIGEST"];
        let expanded = |image: &str| {
            let replace = |image: String, name| image.replace(&format!("${{{name}}}"), &argument(name));
            arguments.into_iter().fold(image.to_owned(), replace)
        };
        let built_on = texts[0].lines().filter_map(|line| line.strip_prefix("FROM "));
        let composed = texts[1]
            .lines()
            .filter_map(|line| line.trim_start().strip_prefix("image: "));
        let images = built_on
            .chain(composed)
            .filter_map(|image| image.strip_prefix("docker.io/"));
        images
            .map(|image| {
                let image = expanded(image.split(' ').next().unwrap_or_default());
                let at = image.find('@').unwrap_or(image.len());
                (image[..at].to_owned(), image[at..].to_owned())
            })
            .collect()
    }

    fn pin(&self, arguments: &[&str]) -> Result<String, String> {
        let mut pin = Command::new(self.folder.join("deploy/container/pin"));
        output_of(pin.args(arguments).env("HOME", &self.folder))
    }
}

/// Debian's registry of images. It ends with the test.
struct Registry {
    child: Child,
    port: u16,
}

impl Registry {
    fn start(folder: &Path) -> Self {
        fs::create_dir_all(folder).expect("made");
        let start = |port| {
            let configuration = format!(
                "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage: {{filesystem: \
                 {{rootdirectory: {}/data}}}}\nhttp: {{addr: \"127.0.0.1:{port}\"}}\n",
                folder.display()
            );
            fs::write(folder.join("config.yml"), configuration).expect("written");
            Command::new(tools().join("registry/usr/bin/docker-registry"))
                .arg("serve")
                .arg(folder.join("config.yml"))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("docker-registry starts; `make tools-all` installs it")
        };
        let answers = |port| curl(&[], &format!("http://127.0.0.1:{port}/v2/")).is_ok();
        let (child, port) = ports::started("docker-registry", start, answers);
        Self { child, port }
    }

    /// Redirects skopeo to this registry, for processes with this home folder.
    fn stand_in_for_docker_hub(&self, home: &Path) {
        let folder = home.join(".config/containers");
        fs::create_dir_all(&folder).expect("made");
        let text = format!(
            "[[registry]]\nprefix = \"docker.io\"\nlocation = \"127.0.0.1:{}\"\ninsecure = true\n",
            self.port
        );
        fs::write(folder.join("registries.conf"), text).expect("written");
    }

    /// Pushes an image without layers for two platforms, and returns the digest of its index.
    fn push(&self, image: &str, content: &str) -> String {
        let (repository, tag) = image.split_once(':').expect("it has a tag");
        let base = format!("http://127.0.0.1:{}/v2/{repository}", self.port);
        let manifests: Vec<_> = ["amd64", "arm64"]
            .map(|architecture| {
                let config = json!({ "architecture": architecture, "os": "linux", "author": content, "rootfs": {
                    "type": "layers", "diff_ids": [],
                } });
                let kind = "application/vnd.oci.image.config.v1+json";
                let config = self.push_blob(&base, &config.to_string(), kind);
                let kind = "application/vnd.oci.image.manifest.v1+json";
                let manifest = json!({ "schemaVersion": 2, "mediaType": kind, "config": config, "layers": [] });
                let mut manifest = push_manifest(&base, None, &manifest.to_string(), kind);
                manifest["platform"] = json!({ "architecture": architecture, "os": "linux" });
                manifest
            })
            .into();
        let kind = "application/vnd.oci.image.index.v1+json";
        let index = json!({ "schemaVersion": 2, "mediaType": kind, "manifests": manifests });
        let pushed = push_manifest(&base, Some(tag), &index.to_string(), kind);
        pushed["digest"].as_str().expect("a text").to_owned()
    }

    fn push_blob(&self, base: &str, bytes: &str, kind: &str) -> serde_json::Value {
        let head = curl(
            &["--request", "POST", "--dump-header", "-"],
            &format!("{base}/blobs/uploads/"),
        );
        let head = head.expect("an upload begins");
        let location = head.lines().find_map(|line| line.strip_prefix("Location: "));
        let location = location.expect("it says where to").trim();
        let described = descriptor(bytes, kind);
        let digest = described["digest"].as_str().expect("a text");
        let typed = "Content-Type: application/octet-stream";
        curl(
            &["--request", "PUT", "--header", typed, "--data-binary", bytes],
            &format!("{location}&digest={digest}"),
        )
        .expect("it is stored");
        described
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Stores a manifest under a tag, or else under its digest.
fn push_manifest(base: &str, tag: Option<&str>, bytes: &str, kind: &str) -> serde_json::Value {
    let described = descriptor(bytes, kind);
    let name = tag.or(described["digest"].as_str()).expect("a text");
    let typed = format!("Content-Type: {kind}");
    curl(
        &["--request", "PUT", "--header", &typed, "--data-binary", bytes],
        &format!("{base}/manifests/{name}"),
    )
    .expect("it is stored");
    described
}

fn descriptor(bytes: &str, kind: &str) -> serde_json::Value {
    let digest = openssl::sha::sha256(bytes.as_bytes());
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    json!({ "mediaType": kind, "digest": format!("sha256:{digest}"), "size": bytes.len() })
}

fn curl(arguments: &[&str], url: &str) -> Result<String, String> {
    let mut curl = Command::new("curl");
    output_of(
        curl.args(["--silent", "--show-error", "--fail"])
            .args(arguments)
            .arg(url),
    )
}
