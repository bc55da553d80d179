//! The files in `deploy/`, tested with the programs that read them and with a running server.

mod alerts;
mod authority;
mod base_images;
mod cluster;
mod container;
mod dashboard;
mod kubernetes;
mod pods;

use std::fs;
use std::path::{Path, PathBuf};

/// The folder of the deployment files.
fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

fn read(path: &str) -> String {
    fs::read_to_string(deploy().join(path)).unwrap_or_else(|error| panic!("deploy/{path}: {error}"))
}
