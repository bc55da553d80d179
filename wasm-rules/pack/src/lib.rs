//! Builds rules in Rust and packs them as components in build scripts, and generates the contract's bindings for C. It
//! does not check the exports of a rule; the engine does.

mod bindings;

pub use bindings::bindings_for_c;

use std::env;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "wasm32-unknown-unknown";

/// Rules keep their data on the heap. A small stack saves time, because the host zeroes it after every call.
const STACK_BYTES: u32 = 16 << 10;

/// Why a rule could not be built or packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The compiler lacks the target of rules.
    #[error("rules are built for {TARGET}, which is not installed: run `rustup target add {TARGET}`")]
    TargetMissing,
    /// Cargo or rustc did not start.
    #[error("{program} could not be run: {source}")]
    NotRun {
        /// The name of the program.
        program: String,
        /// The error of the system.
        source: io::Error,
    },
    /// The rule's source does not compile.
    #[error("{package} does not compile; see cargo's output above")]
    NotBuilt {
        /// The name of the package.
        package: String,
    },
    /// A file could not be read or written.
    #[error("{} could not be read or written: {source}", path.display())]
    File {
        /// The path of the file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The generator failed.
    #[error("could not generate the contract's bindings for C: {reason}")]
    NoBindings {
        /// The error chain of wit-bindgen.
        reason: String,
    },
    /// The core module has no world, or does not match it.
    #[error("{package} was built, but is not a valid component: {reason}")]
    NotAComponent {
        /// The name of the package.
        package: String,
        /// The error chain of wit-component.
        reason: String,
    },
}

/// Packs a core module that was built with bindings to a world as a component.
pub fn component(package: &str, core: &[u8]) -> Result<Vec<u8>, PackError> {
    let encoded = wit_component::ComponentEncoder::default()
        .validate(true)
        .module(core)
        .and_then(|mut encoder| encoder.encode());
    encoded.map_err(|error| PackError::NotAComponent {
        package: package.to_owned(),
        reason: format!("{error:#}"),
    })
}

/// Builds the package whose manifest is in `folder` and writes its component to `$OUT_DIR/PACKAGE.wasm`, in a build
/// script. All build scripts of a workspace share one target folder for rules.
pub fn build(folder: &Path, package: &str) -> Result<PathBuf, PackError> {
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    // OUT_DIR is TARGET_DIR/PROFILE/build/PACKAGE-HASH/out.
    let target_dir = out.ancestors().nth(4).unwrap_or(&out).join("guests");
    is_target_installed()?;
    let mut cargo = command("CARGO", "cargo");
    cargo
        .args([
            "build",
            "--locked",
            "--profile",
            "guest",
            "--target",
            TARGET,
            "--package",
            package,
        ])
        .arg("--target-dir")
        .arg(&target_dir)
        .current_dir(folder)
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags(folder));
    // Variables of the outer build must not reach the build of the rule: clippy would lint it a second time, and flags
    // for the host do not fit the target.
    for name in [
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTFLAGS",
        "CARGO_BUILD_TARGET",
        "CARGO_TARGET_DIR",
    ] {
        cargo.env_remove(name);
    }
    let status = cargo.status().map_err(|source| not_run(&cargo, source))?;
    if !status.success() {
        return Err(PackError::NotBuilt {
            package: package.to_owned(),
        });
    }
    let file_name = format!("{}.wasm", package.replace('-', "_"));
    let core = target_dir.join(TARGET).join("guest").join(file_name);
    let core = std::fs::read(&core).map_err(|source| PackError::File { path: core, source })?;
    let path = out.join(format!("{package}.wasm"));
    std::fs::write(&path, component(package, &core)?).map_err(|source| PackError::File {
        path: path.clone(),
        source,
    })?;
    Ok(path)
}

/// Flags that remove local paths, so that the same source has the same digest in every folder.
fn rustflags(folder: &Path) -> String {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    let mut flags = vec![format!("-Clink-arg=-zstack-size={STACK_BYTES}")];
    flags.extend(home.map(|home| format!("--remap-path-prefix={}=cargo", home.display())));
    flags.push(format!("--remap-path-prefix={}=rule", folder.display()));
    flags.join("\x1f")
}

fn is_target_installed() -> Result<(), PackError> {
    let mut rustc = command("RUSTC", "rustc");
    rustc.args(["--print", "target-libdir", "--target", TARGET]);
    let output = rustc.output().map_err(|source| not_run(&rustc, source))?;
    let folder = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    if output.status.success() && folder.is_dir() {
        Ok(())
    } else {
        Err(PackError::TargetMissing)
    }
}

fn command(variable: &str, default: &str) -> Command {
    Command::new(env::var_os(variable).unwrap_or_else(|| OsString::from(default)))
}

fn not_run(command: &Command, source: io::Error) -> PackError {
    PackError::NotRun {
        program: command.get_program().to_string_lossy().into_owned(),
        source,
    }
}
