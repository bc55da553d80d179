//! Generated clients: a client from the copy of the document in `docs/` works.

use std::process::{Command, Output};

use watchpost_tests::server::Server;

use super::{here, python};

/// A configuration of the generator for the media type of WebAssembly.
const CONFIG: &str = "content_type_overrides:\n  application/wasm: application/octet-stream\npost_hooks: []\n";

fn check(output: &Output) -> String {
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

#[test]
fn a_generated_python_client_works() {
    let server = Server::start().ready();
    let folder = tempfile::tempdir().expect("a folder");
    let (config, made) = (
        folder.path().join("config.yaml"),
        folder.path().join("watchpost_client"),
    );
    std::fs::write(&config, CONFIG).expect("the folder can be written");
    let generated = Command::new(python("openapi-python-client"))
        .args(["generate", "--meta", "none", "--fail-on-warning", "--path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json"))
        .arg("--output-path")
        .arg(&made)
        .arg("--config")
        .arg(&config)
        .output();
    let said = check(&generated.expect("the generator runs"));
    assert!(!said.to_lowercase().contains("warning"), "{said}");
    let pki = server.data().join("pki");
    let used = Command::new(python("python"))
        .env("PYTHONPATH", folder.path())
        .arg(here("client.py"))
        .arg(format!("https://localhost:{}", server.secure.port()))
        .args([
            pki.join("ca.crt"),
            pki.join("clients/admin.crt"),
            pki.join("clients/admin.key"),
        ])
        .output();
    check(&used.expect("python runs"));
}
