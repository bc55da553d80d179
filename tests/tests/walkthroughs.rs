//! The documents are followed as they stand.

use std::fs;
use std::path::Path;
use std::process::Command;

use watchpost_tests::server::{Server, eventually, program};
use watchpost_tests::walkthrough::differences;

#[test]
fn the_api_does_what_its_page_shows() {
    let server = Server::start().ready();
    fs::copy(weekend(), server.folder().join("rule.wasm")).expect("copied");
    eventually("a round that is kept", || {
        let kept = server.get("/api/v1/snapshots").json();
        kept["snapshots"].as_array().filter(|kept| !kept.is_empty()).map(drop)
    });
    let prepare = format!("URL=https://localhost:{}\nPKI=data/pki\n", server.secure.port());
    let page = include_str!("../../docs/API.md");
    let different = differences(page, server.folder(), &prepare);
    assert!(different.is_empty(), "{}", different.join("\n\n"));
}

/// The rule that `docs/RULES.md` shows whole.
fn weekend() -> std::path::PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wasm-rules/examples/rust/threshold");
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("walkthrough-weekend.wasm");
    let made = Command::new("make")
        .arg("-C")
        .arg(folder)
        .args([
            format!("WATCHPOST={}", program().display()),
            format!("OUT={}", out.display()),
        ])
        .output()
        .expect("make is there");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    out
}
