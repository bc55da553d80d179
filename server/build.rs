//! Builds the rules that Watchpost brings, so that one binary carries them.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    // The profile of guests, and the versions of what is in them.
    for changed in [
        "Cargo.toml",
        "Cargo.lock",
        "policies/wit",
        "wasm-rules/sdk",
        "wasm-rules/threshold",
        "wasm-rules/role",
    ] {
        println!("cargo::rerun-if-changed={}", root.join(changed).display());
    }
    for (folder, package) in [("threshold", "watchpost-threshold"), ("role", "watchpost-role")] {
        if let Err(error) = watchpost_pack::build(&root.join("wasm-rules").join(folder), package) {
            println!("cargo::error={error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
