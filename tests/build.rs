//! Builds the guests: rules for tests that misbehave on request, a role rule that allows everything, and a rule whose
//! name can be changed in its bytes.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    // The profile and the dependencies of the guests are set in the first two files.
    for changed in [
        "../Cargo.toml",
        "../Cargo.lock",
        "../policies/wit",
        "../wasm-rules/sdk",
        "guests",
    ] {
        println!("cargo::rerun-if-changed={}", here.join(changed).display());
    }
    for guest in ["allow_all", "hostile", "lockout_rule", "numbered_rule"] {
        let package = format!("watchpost-{}", guest.replace('_', "-"));
        if let Err(error) = watchpost_pack::build(&here.join("guests").join(guest), &package) {
            println!("cargo::error={error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
