//! Tools that compare the document with the responses find no contradictions.

use std::process::Command;

use watchpost_tests::server::{Server, eventually};

use super::{here, python};

/// The checks of schemathesis for every response. Authentication is tested elsewhere, because schemathesis cannot omit
/// the client certificate.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,\
                      response_headers_conformance,unsupported_method";

/// The seed of the generated requests.
const SEED: &str = "7";

#[test]
fn schemathesis_finds_no_contradiction() {
    // The client keeps its permissions whatever it changes in the rules.
    let server = Server::start().ready();
    let pki = server.data().join("pki");
    schemathesis(|command| {
        command
            .arg("--tls-verify")
            .arg(pki.join("ca.crt"))
            .arg("--request-cert")
            .arg(pki.join("clients/admin.crt"))
            .arg("--request-cert-key")
            .arg(pki.join("clients/admin.key"))
            .arg(format!("https://localhost:{}/openapi.json", server.secure.port()))
    });
}

#[test]
fn schemathesis_finds_no_contradiction_in_the_pixcrawler_profile() {
    let server = Server::with(
        "listeners = [
            { address = \"127.0.0.1:0\" },
            { address = \"127.0.0.1:0\", tls = false, api = \"pixcrawler\" },
        ]",
    );
    let client = server.plain_client();
    eventually("a first round", || {
        client.get("/metrics").json()["last_updated"].is_string().then_some(())
    });
    schemathesis(|command| {
        command
            .arg("--url")
            .arg(format!("http://{}", server.plain))
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi-pixcrawler.json"))
    });
}

/// Sends the requests of a document; `configure` sets the document and the server.
fn schemathesis(configure: impl FnOnce(&mut Command) -> &mut Command) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(python("schemathesis"));
    // One worker, because concurrent workers break the parser of Python 3.11.
    command
        .current_dir(folder.path())
        .args(["run", "--no-color", "--warnings", "off", "--checks", CHECKS])
        .args([
            "--phases",
            "examples,coverage,fuzzing",
            "--max-examples",
            "8",
            "--seed",
            SEED,
        ])
        .args([
            "--generation-database",
            "none",
            "--suppress-health-check",
            "all",
            "--workers",
            "1",
        ])
        .args(["--max-time", "120", "--request-timeout", "30", "--continue-on-failure"]);
    let output = configure(&mut command).output().expect("schemathesis runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(said.contains("No issues found"), "{said}");
}

#[test]
fn every_example_matches_its_schema() {
    for (name, least) in [("openapi.json", 120), ("openapi-pixcrawler.json", 10)] {
        let output = Command::new(python("python"))
            .arg(here("examples.py"))
            .arg(format!("{}/../docs/{name}", env!("CARGO_MANIFEST_DIR")))
            .output()
            .expect("python runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let found: usize = said.split(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0);
        assert!(found >= least, "{said}");
    }
}
