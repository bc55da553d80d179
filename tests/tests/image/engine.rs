//! The container engine of the tests: podman with runc, with its own storage in the target folder.
//!
//! A release build takes longer than all other tests, so the image is built in the profile `dev`, with the build folder
//! of the tests mounted below its own: cargo reuses every dependency there. It has to select all packages, as the tests
//! do, so that the features are the same.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use watchpost_tests::programs::output_of;
use watchpost_tests::server::{eventually, tools};

/// The build arguments of the image.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
pub(crate) const COMMIT: &str = "0123456789ab";

const IMAGE: &str = "localhost/watchpost:test";

/// The image, built on first use.
pub(crate) fn image() -> &'static str {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(build);
    IMAGE
}

/// The output of a command of the engine, or its error.
pub(crate) fn podman(arguments: &[&str]) -> Result<String, String> {
    let (program, globals) = podman_command();
    output_of(Command::new(program).args(globals).args(arguments))
}

/// A container that ends with the test.
pub(crate) struct Container {
    id: String,
    pid: String,
}

impl Container {
    /// Starts a container without a network.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let detached = [&["run", "--detach", "--network=none"], LIMITS, arguments, &[image()]].concat();
        let id = podman(&detached).unwrap_or_else(|wrong| panic!("{wrong}"));
        let pid = podman(&["inspect", "--format={{.State.Pid}}", &id]).expect("it is there");
        Self { id, pid }
    }

    /// Waits until its health check passes.
    pub(crate) fn healthy(self) -> Self {
        eventually("a healthy container", || podman(&["healthcheck", "run", &self.id]).ok());
        self
    }

    /// The output of a program in the container.
    pub(crate) fn run(&self, program: &[&str]) -> Result<String, String> {
        podman(&[&["exec", &self.id], program].concat())
    }

    /// The response to curl as the administrator, with this name of the server.
    pub(crate) fn get(&self, host: &str, path: &str) -> Result<String, String> {
        let pki = self.root().join("var/lib/watchpost/pki");
        let file = |name: &str| pki.join(name).display().to_string();
        let client = (file("clients/admin.crt"), file("clients/admin.key"));
        self.curl(host, &file("ca.crt"), &client.0, &client.1, path)
    }

    /// The response to curl with the certificate in this folder, which Prometheus uses.
    pub(crate) fn scraped(&self, folder: &str) -> Result<String, String> {
        let file = |name: &str| format!("{folder}/{name}");
        let client = (file("prometheus.crt"), file("prometheus.key"));
        self.curl("watchpost", &file("ca.crt"), &client.0, &client.1, "/metrics")
    }

    fn curl(&self, host: &str, ca: &str, certificate: &str, key: &str, path: &str) -> Result<String, String> {
        output_of(
            Command::new("nsenter")
                .args([
                    "--target",
                    &self.pid,
                    "--net",
                    "curl",
                    "--silent",
                    "--show-error",
                    "--fail",
                ])
                .args(["--cacert", ca, "--cert", certificate, "--key", key])
                .args(["--resolve", &format!("{host}:8443:127.0.0.1")])
                .arg(format!("https://{host}:8443{path}")),
        )
    }

    /// The path of a file of the container on the host.
    pub(crate) fn root(&self) -> PathBuf {
        Path::new("/proc").join(&self.pid).join("root")
    }

    /// Its user ids: real, effective, saved, file system.
    pub(crate) fn users(&self) -> String {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("Uid:"));
        line.expect("a process has users")
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Stops it and waits: its exit code, and its log.
    pub(crate) fn stop(&self) -> (String, String) {
        // After this time the engine sends SIGKILL, and the exit code is 137.
        podman(&["stop", "--time=30", &self.id]).expect("it stops");
        let code = podman(&["inspect", "--format={{.State.ExitCode}}", &self.id]).expect("it is there");
        (code, self.logs())
    }

    /// Its standard output and error.
    pub(crate) fn logs(&self) -> String {
        let (program, globals) = podman_command();
        let output = Command::new(program)
            .args(globals)
            .args(["logs", &self.id])
            .output()
            .expect("podman is there");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // Anonymous volumes are removed with it.
        let _ = podman(&["rm", "--force", "--volumes", &self.id]);
    }
}

/// By default the engine requests more resources than root has in this environment.
pub(crate) const LIMITS: &[&str] = &["--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024"];

fn podman_command() -> (&'static str, Vec<String>) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("image");
    let place = |name: &str| folder.join(name).display().to_string();
    let globals = [
        "--root",
        &place("store"),
        "--runroot",
        &place("run"),
        // systemd is not needed, and crun does not support a hybrid cgroup hierarchy.
        "--cgroup-manager=cgroupfs",
        "--runtime=runc",
        "--storage-driver=overlay",
    ];
    ("podman", globals.map(str::to_owned).into())
}

/// Builds the image from the real Dockerfile. The compiled dependencies of this test are mounted as an overlay, so the
/// build reuses them and does not change files of the host.
fn build() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let images = tools().join("images");
    let (podman, globals) = podman_command();
    output_of(
        Command::new(root.join("tests/install-images"))
            .arg(&images)
            .arg(podman)
            .args(&globals),
    )
    .unwrap_or_else(|wrong| panic!("{wrong}"));
    let compiled = tools().with_file_name("debug").display().to_string();
    let home = |variable: &str, folder: &str| {
        let usual = || std::env::home_dir().map(|home| home.join(folder));
        let home = std::env::var_os(variable).map(PathBuf::from).or_else(usual);
        home.expect("cargo has a home").display().to_string()
    };
    let (cargo, rustup) = (home("CARGO_HOME", ".cargo"), home("RUSTUP_HOME", ".rustup"));
    let built = output_of(
        Command::new(podman)
            .args(&globals)
            .args([
                "build",
                "--isolation=chroot",
                "--format=docker",
                "--layers=false",
                "--pull=never",
            ])
            .args(["--volume", &format!("{cargo}:{cargo}:O")])
            .args(["--volume", &format!("{rustup}:{rustup}:O")])
            .args(["--volume", &format!("{compiled}:/target/debug:O")])
            .args(["--build-arg=PROFILE=dev", "--build-arg=SELECTION=--workspace --lib"])
            // The base images of the tests have other digests than those of the registry.
            .args(["--build-arg=RUST_DIGEST=", "--build-arg=DEBIAN_DIGEST="])
            .args([
                format!("--build-arg=VERSION={VERSION}"),
                format!("--build-arg=COMMIT={COMMIT}"),
            ])
            .args(["--tag", IMAGE])
            .arg(&root),
    );
    if let Err(wrong) = built {
        let end: Vec<_> = wrong.lines().rev().take(40).collect();
        panic!(
            "the image cannot be built:\n{}",
            end.into_iter().rev().collect::<Vec<_>>().join("\n")
        );
    }
}
