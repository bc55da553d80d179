//! Builds the guests that misbehave, and the one that does nothing.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    // The profile of guests, and the versions of what is in them.
    for changed in [
        "../Cargo.toml",
        "../Cargo.lock",
        "../policies/wit",
        "../wasm-rules/sdk",
        "guests",
    ] {
        println!("cargo::rerun-if-changed={}", here.join(changed).display());
    }
    for guest in ["hostile", "numbered", "tyrant", "yes"] {
        let package = format!("watchpost-{guest}");
        if let Err(error) = watchpost_pack::build(&here.join("guests").join(guest), &package) {
            println!("cargo::error={error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
