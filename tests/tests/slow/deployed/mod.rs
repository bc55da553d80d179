//! What lies in `deploy/` does what it says: with the programs that read it, and with a Watchpost behind them.

mod alerts;
mod authority;
mod cluster;
mod container;
mod dashboard;
mod kubernetes;
mod pods;

use std::fs;
use std::path::{Path, PathBuf};

/// Where the files are that people deploy with.
fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

fn read(path: &str) -> String {
    fs::read_to_string(deploy().join(path)).unwrap_or_else(|error| panic!("deploy/{path}: {error}"))
}
