//! The API's document as programs read it that are not ours: one that looks for contradictions, one that generates a
//! client, and a browser.

mod browsing;
mod clients;
mod conforming;

use std::path::PathBuf;

use watchpost_tests::server::tools;

/// A program of the environment in which `make test-all` installs what reads documents.
fn python(name: &str) -> PathBuf {
    tools().join("documented/bin").join(name)
}

/// A file beside these tests.
fn here(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/slow/documented")
        .join(name)
}
