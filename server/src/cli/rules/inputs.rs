//! What authors hand in: components, settings, snapshots. Each is read whole and within a bound; what is wrong with it
//! is told with its file.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use watchpost_policies::{Engine, Rule, RuleModule, Snapshot};

use super::progress::Progress;
use super::{CommandError, EXIT_FAILED_CHECK};
use crate::cli::{CONFIG, DATA, IO, SOFTWARE, USAGE};
use crate::config::{Config, Sources};
use crate::rules::checks::{self, Failed};

/// Settings and cases are written by hand, and a snapshot of a hundred thousand series has a third of this.
const MAX_TEXT_BYTES: u64 = 64 << 20;

/// The most that `rules.limits.component_bytes` can be.
const MAX_COMPONENT_BYTES: u64 = 256 << 20;

/// A rule, and what it is set to.
#[derive(Args)]
pub(super) struct Inputs {
    /// The component.
    #[arg(value_name = "RULE.wasm")]
    pub(super) file: PathBuf,
    /// Its settings: JSON, or a file with JSON in it.
    #[arg(long, value_name = "FILE|JSON", default_value = "{}")]
    pub(super) settings: String,
}

impl Inputs {
    /// The rule under its settings; the answer is no where it is refused, or refuses them.
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

/// Settings of a file, or as they were given: what begins like JSON is JSON.
pub(super) fn settings(given: &str) -> Result<String, CommandError> {
    if given.trim_start().starts_with('{') {
        return Ok(given.to_owned());
    }
    text(Path::new(given))
}

/// An engine with the limits that a server of this configuration has.
pub(super) fn engine(sources: &Sources) -> Result<Engine, CommandError> {
    let config = Config::load(sources).map_err(|mistakes| CommandError::new(CONFIG, mistakes.to_string()))?;
    Engine::new(config.rules.limits.limits()).map_err(|error| CommandError::new(SOFTWARE, error.to_string()))
}

/// A module of this file; the answer is no where it is refused.
pub(super) fn module(engine: &Engine, file: &Path) -> Result<RuleModule, CommandError> {
    let wasm = component(engine, file)?;
    let _progress = Progress::show(&format!("compiling {}", file.display()));
    let loaded = checks::load(engine, &wasm, |_| {});
    let (module, _) = loaded.map_err(|Failed { why, advice, .. }| {
        CommandError::new(
            EXIT_FAILED_CHECK,
            format!("{} is refused: {why}\n  {advice}", file.display()),
        )
    })?;
    Ok(module)
}

/// The bytes; of what is too large so many that the engine sees it.
pub(super) fn component(engine: &Engine, file: &Path) -> Result<Vec<u8>, CommandError> {
    bytes(file, engine.limits().component_bytes as u64 + 1)
}

/// The bytes, for a server that has limits of its own: no more than any component may have.
pub(super) fn any_bytes(file: &Path) -> Result<Vec<u8>, CommandError> {
    bytes(file, MAX_COMPONENT_BYTES + 1)
}

/// A text of a file.
pub(super) fn text(file: &Path) -> Result<String, CommandError> {
    let bytes = bytes(file, MAX_TEXT_BYTES + 1)?;
    readable(bytes, &file.display().to_string())
}

/// What `GET /api/v1/snapshot` answered; `-` is what comes in.
pub(super) fn snapshot(file: &Path) -> Result<Snapshot, CommandError> {
    let (text, name) = if file == Path::new("-") {
        let name = "the input".to_owned();
        let mut bytes = Vec::new();
        let read = io::stdin().take(MAX_TEXT_BYTES + 1).read_to_end(&mut bytes);
        read.map_err(|error| CommandError::new(IO, format!("{name} cannot be read: {error}")))?;
        (readable(bytes, &name)?, name)
    } else {
        (text(file)?, file.display().to_string())
    };
    snapshot_of(&text, &name)
}

/// The same, from a text that was read already.
pub(super) fn snapshot_of(text: &str, name: &str) -> Result<Snapshot, CommandError> {
    serde_json::from_str(text).map_err(|error| {
        let what = format!("{name} is no snapshot, as /api/v1/snapshot gives it: {error}");
        CommandError::new(DATA, what)
    })
}

fn readable(bytes: Vec<u8>, name: &str) -> Result<String, CommandError> {
    if bytes.len() as u64 > MAX_TEXT_BYTES {
        let what = format!("{name} has more than {MAX_TEXT_BYTES} bytes; is it what you meant?");
        return Err(CommandError::new(USAGE, what));
    }
    String::from_utf8(bytes).map_err(|_| CommandError::new(DATA, format!("{name} is not text")))
}

fn bytes(file: &Path, most: u64) -> Result<Vec<u8>, CommandError> {
    let mut bytes = Vec::new();
    let read = File::open(file).and_then(|open| open.take(most).read_to_end(&mut bytes));
    read.map_err(|error| CommandError::new(IO, format!("{} cannot be read: {error}", file.display())))?;
    Ok(bytes)
}
