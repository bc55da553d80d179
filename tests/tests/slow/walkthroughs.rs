//! Runs the commands of the documents.

use std::fs;
use std::path::Path;
use std::process::Command;

use watchpost_tests::server::{Server, eventually, program, tools};
use watchpost_tests::walkthrough::differences;

/// A fixed value for the random token of the document.
const TOKEN: &str = "wp_2b8c40d1f5";

#[test]
fn the_api_does_what_its_page_shows() {
    let page = include_str!("../../../docs/API.md");
    let server = Server::with(&configuration(page)).ready();
    fs::copy(weekend(), server.folder().join("rule.wasm")).expect("copied");
    eventually("a round that is kept", || {
        let kept = server.get("/api/v1/snapshots").json();
        kept["snapshots"].as_array().filter(|kept| !kept.is_empty()).map(drop)
    });
    assert_eq!(server.anonymous_client().get("/api/v1/snapshot").status, 401);
    eventually("a refusal that is recorded", || {
        let refused = server.get("/api/v1/decisions?verdict=deny").json();
        refused["decisions"].as_array().filter(|all| !all.is_empty()).map(drop)
    });
    let python = tools().join("clients/bin");
    let path = std::env::var("PATH").unwrap_or_default();
    let environment = [
        ("URL", format!("https://localhost:{}", server.secure.port())),
        ("PKI", "data/pki".to_owned()),
        ("TOKEN", TOKEN.to_owned()),
        ("PATH", format!("{}:{path}", python.display())),
    ];
    let different = differences(page, server.folder(), &environment);
    assert!(different.is_empty(), "{}", different.join("\n\n"));
}

/// The configuration of the page, with the hash of the token.
fn configuration(page: &str) -> String {
    let (_, block) = page.split_once("```toml\n").expect("there is a block of it");
    let (block, _) = block.split_once("```").expect("it ends");
    let hash = openssl::sha::sha256(TOKEN.as_bytes());
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(block.matches('…').count(), 1, "{block}");
    block.replace('…', &hash)
}

/// The complete rule in `docs/WRITING-RULES.md`.
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
