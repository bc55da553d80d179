//! The OpenAPI document in third-party programs: a conformance checker, a generator of clients, and a browser.

mod browsing;
mod clients;
mod conforming;

use std::path::PathBuf;

use watchpost_tests::server::tools;

/// A program of the Python environment that `make test-all` installs.
fn python(name: &str) -> PathBuf {
    tools().join("documented/bin").join(name)
}

/// A file next to these tests.
fn here(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/slow/documented")
        .join(name)
}
