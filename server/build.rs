//! Builds the built-in rules and the C bindings of the contract for embedding, and records the commit and compiler of
//! the build.
#![expect(
    clippy::disallowed_methods,
    reason = "Cargo speaks to build scripts by their environment"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

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
    let out = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default());
    if let Err(error) = watchpost_pack::bindings_for_c(&root.join("policies/wit"), &out.join("c")) {
        println!("cargo::error={error}");
        return ExitCode::FAILURE;
    }
    record_build(&root);
    ExitCode::SUCCESS
}

/// The commit comes from `BUILD_COMMIT` where there is no repository, such as in an archive or a container.
fn record_build(root: &Path) {
    println!("cargo::rerun-if-env-changed=BUILD_COMMIT");
    println!("cargo::rerun-if-changed={}", root.join(".git/HEAD").display());
    println!("cargo::rerun-if-changed={}", root.join(".git/logs/HEAD").display());
    let stated = std::env::var("BUILD_COMMIT").ok().filter(|commit| !commit.is_empty());
    let commit = stated.or_else(|| {
        output_of(
            Command::new("git")
                .args(["rev-parse", "--short=12", "HEAD"])
                .current_dir(root),
        )
    });
    println!(
        "cargo::rustc-env=BUILD_COMMIT={}",
        commit.as_deref().unwrap_or("unknown")
    );
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = output_of(Command::new(rustc).arg("--version"));
    println!("cargo::rustc-env=BUILD_RUSTC={}", version.as_deref().unwrap_or("rustc"));
}

fn output_of(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned())
}
