//! The TLS parameters of a server with default settings, checked by sslyze against Mozilla's intermediate configuration.

use std::process::Command;

use watchpost_tests::server::{Server, tools};

#[test]
fn the_default_parameters_comply_with_mozilla_intermediate() {
    // Not a copy of a folder that an earlier build made: the validity of its certificates counts, too.
    let server = Server::fresh("").ready();
    let (compliant, text) = scanned(&server);
    assert!(compliant, "{text}");
    assert!(text.contains("OK - Compliant"), "{text}");
}

#[test]
fn a_curve_that_mozilla_does_not_recommend_is_found() {
    let server = Server::fresh("[tls]\ngroups = [\"X25519\", \"P-521\"]\n").ready();
    let (compliant, text) = scanned(&server);
    assert!(!compliant && text.contains("curves"), "{text}");
}

/// Whether sslyze finds the server compliant, and its output.
fn scanned(server: &Server) -> (bool, String) {
    let output = Command::new(tools().join("sslyze/bin/sslyze"))
        .args(["--mozilla_config", "intermediate", "--certinfo_ca_file"])
        .arg(server.data().join("pki/ca.crt"))
        .arg(format!("localhost:{}", server.secure.port()))
        .output()
        .expect("sslyze starts; `make test-all` installs it");
    (
        output.status.success(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}
