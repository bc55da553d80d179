//! `watchpost rules pack`: packs a core module into a component. It does not run the component; `check` does.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use super::{CheckResult, CommandError, EXIT_FAILED_CHECK, say};
use crate::atomic_file::{self, PUBLIC};
use crate::cli::IO;

/// Packs a component.
#[derive(Args)]
pub(super) struct Pack {
    /// The core module of the compiler; for Rust, of the target wasm32-unknown-unknown.
    #[arg(value_name = "CORE.wasm")]
    core: PathBuf,
    /// The path of the component.
    #[arg(short, long, value_name = "FILE", default_value = "rule.wasm")]
    output: PathBuf,
}

impl Pack {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<CheckResult, CommandError> {
        let core = fs::read(&self.core)
            .map_err(|error| CommandError::new(IO, format!("cannot read {}: {error}", self.core.display())))?;
        let component = component(&core).map_err(|reason| {
            CommandError::new(
                EXIT_FAILED_CHECK,
                format!("cannot pack {} as a rule: {reason}", self.core.display()),
            )
        })?;
        write(&self.output, &component)
            .map_err(|error| CommandError::new(IO, format!("cannot write {}: {error}", self.output.display())))?;
        say(
            out,
            &format!("{} has {} bytes\n", self.output.display(), component.len()),
        )?;
        Ok(CheckResult::Yes)
    }
}

fn component(core: &[u8]) -> Result<Vec<u8>, String> {
    if core.starts_with(b"\0asm\x0d\0\x01\0") {
        return Err("it is a component already; run `watchpost rules check` on it".to_owned());
    }
    if !core.starts_with(b"\0asm") {
        return Err("it is not WebAssembly; give the output of the compiler, a file that ends in .wasm".to_owned());
    }
    let carried = wit_component::metadata::decode(core).map_err(|error| format!("{error:#}"))?;
    let (_, bindings) = carried;
    if bindings.resolve.worlds[bindings.world].exports.is_empty() {
        return Err(
            "it has no component type; build it with the SDK, or with bindings generated from rules.wit".to_owned(),
        );
    }
    let encoded = wit_component::ComponentEncoder::default()
        .validate(true)
        .module(core)
        .and_then(|mut encoder| encoder.encode());
    encoded.map_err(|error| format!("{error:#}. A rule cannot import anything: remove what needs the imports"))
}

/// Writes the file atomically, because `make` considers an existing file complete.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    atomic_file::replace(path, bytes, PUBLIC)
}
