//! Inputs of the commands: components, settings, snapshots. Each file is read whole up to a maximum size; errors name
//! the file.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use watchpost_policies::{Engine, Rule, RuleModule, Snapshot};

use super::{CommandError, EXIT_FAILED_CHECK};
use crate::cli::progress::Progress;
use crate::cli::{CONFIG, DATA, IO, SOFTWARE, USAGE};
use crate::config::{Config, Sources};
use crate::rules::checks::{self, Failed};

/// Settings and cases are written by hand; a snapshot of a hundred thousand series has a third of this size.
const MAX_TEXT_BYTES: u64 = 64 << 20;

/// The maximum of `rules.limits.component_bytes`.
const MAX_COMPONENT_BYTES: u64 = 256 << 20;

/// A rule and its settings.
#[derive(Args)]
pub(super) struct Inputs {
    /// The component.
    #[arg(value_name = "RULE.wasm")]
    pub(super) file: PathBuf,
    /// The settings: JSON, or a file with JSON.
    #[arg(long, value_name = "FILE|JSON", default_value = "{}")]
    pub(super) settings: String,
}

impl Inputs {
    /// The rule with its settings; a check that fails ends the command with exit code 1.
    pub(super) fn rule(&self, sources: &Sources) -> Result<Rule, CommandError> {
        let settings = self.settings()?;
        let module = module(&engine(sources)?, &self.file)?;
        let rule = module.with_settings(&settings);
        rule.map_err(|refusal| CommandError::new(EXIT_FAILED_CHECK, format!("{}: {refusal}", self.file.display())))
    }

    pub(super) fn settings(&self) -> Result<String, CommandError> {
        settings(&self.settings)
    }
}

/// Settings from a file or from the argument itself: an argument that begins like JSON is JSON.
pub(super) fn settings(given: &str) -> Result<String, CommandError> {
    if given.trim_start().starts_with('{') {
        return Ok(given.to_owned());
    }
    text(Path::new(given))
}

/// An engine with the limits of this configuration.
pub(super) fn engine(sources: &Sources) -> Result<Engine, CommandError> {
    let config = Config::load(sources).map_err(|errors| CommandError::new(CONFIG, errors.to_string()))?;
    Engine::new(config.rules.limits.limits()).map_err(|error| CommandError::new(SOFTWARE, error.to_string()))
}

/// Compiles this file; a check that fails ends the command with exit code 1.
pub(super) fn module(engine: &Engine, file: &Path) -> Result<RuleModule, CommandError> {
    let wasm = component(engine, file)?;
    let _progress = Progress::show(&format!("compiling {}", file.display()));
    let loaded = checks::load(engine, &wasm, |_| {});
    let (module, _) = loaded.map_err(|Failed { reason, advice, .. }| {
        CommandError::new(
            EXIT_FAILED_CHECK,
            format!("{} is rejected: {reason}\n  {advice}", file.display()),
        )
    })?;
    Ok(module)
}

/// Reads the component, one byte beyond the limit at most, so the engine rejects one that is too large.
pub(super) fn component(engine: &Engine, file: &Path) -> Result<Vec<u8>, CommandError> {
    bytes(file, engine.limits().component_bytes as u64 + 1)
}

/// Reads a component for a server with limits of its own, up to the size that any server may allow.
pub(super) fn any_bytes(file: &Path) -> Result<Vec<u8>, CommandError> {
    bytes(file, MAX_COMPONENT_BYTES + 1)
}

/// Reads a text file.
pub(super) fn text(file: &Path) -> Result<String, CommandError> {
    let bytes = bytes(file, MAX_TEXT_BYTES + 1)?;
    readable(bytes, &file.display().to_string())
}

/// Reads a snapshot, as returned by `GET /api/v1/snapshot`; `-` is standard input.
pub(super) fn snapshot(file: &Path) -> Result<Snapshot, CommandError> {
    let (text, name) = if file == Path::new("-") {
        let name = "standard input".to_owned();
        let mut bytes = Vec::new();
        let read = io::stdin().take(MAX_TEXT_BYTES + 1).read_to_end(&mut bytes);
        read.map_err(|error| CommandError::new(IO, format!("cannot read {name}: {error}")))?;
        (readable(bytes, &name)?, name)
    } else {
        (text(file)?, file.display().to_string())
    };
    snapshot_of(&text, &name)
}

/// Parses a snapshot.
pub(super) fn snapshot_of(text: &str, name: &str) -> Result<Snapshot, CommandError> {
    serde_json::from_str(text).map_err(|error| {
        let what = format!("{name} is not a snapshot in the format of /api/v1/snapshot: {error}");
        CommandError::new(DATA, what)
    })
}

fn readable(bytes: Vec<u8>, name: &str) -> Result<String, CommandError> {
    if bytes.len() as u64 > MAX_TEXT_BYTES {
        let what = format!("{name} has more than {MAX_TEXT_BYTES} bytes; check that it is the right file");
        return Err(CommandError::new(USAGE, what));
    }
    String::from_utf8(bytes).map_err(|_| CommandError::new(DATA, format!("{name} is not UTF-8 text")))
}

fn bytes(file: &Path, max_bytes: u64) -> Result<Vec<u8>, CommandError> {
    let mut bytes = Vec::new();
    let read = File::open(file).and_then(|open| open.take(max_bytes).read_to_end(&mut bytes));
    read.map_err(|error| CommandError::new(IO, format!("cannot read {}: {error}", file.display())))?;
    Ok(bytes)
}
