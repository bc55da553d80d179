//! The audit file: what was changed with which authorization, in lines that are chained by hashes. A line is on disk
//! before [`AuditFile::record`] returns. Which events are recorded is the task of the callers.
//!
//! The file is append-only, one JSON object a line. Each line has the hash of the previous one, also across rotated
//! files, so `watchpost audit verify` finds lines that were changed, removed, reordered or truncated. A second file with
//! the extension `head` has the number and the hash of the last line, so that missing lines at the end are found too.
//! The chain has no secret: someone who may write both files can replace them with a new chain. Nor does it show
//! whether rotation removed the oldest files. Against the former, keep the head elsewhere.

mod file;
mod line;
mod verify;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Map, Value};

pub use self::line::Head;
pub use self::verify::{Damage, Verified, verify};

use self::file::ChainedFile;
use crate::{clock, tasks};

/// The operator's options of the audit file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The current file. Rotated files are next to it, with the number of their last line as the extension.
    pub path: PathBuf,
    /// The size in bytes at which the file is rotated.
    pub max_size: u64,
    /// The number of rotated files that are kept.
    pub max_files: usize,
}

/// Something that is recorded.
#[derive(Clone, Debug)]
pub struct AuditEvent {
    /// The kind of event.
    pub event: &'static str,
    /// The details.
    pub fields: Map<String, Value>,
}

/// Why an event is not recorded, or the file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the audit file {}: {source}; free space or correct its permissions, or change audit.file", path.display())]
pub struct AuditError {
    /// The audit file.
    pub path: PathBuf,
    /// The system's error.
    #[source]
    pub source: io::Error,
}

/// The audit file of this process. Cheap to clone.
#[derive(Clone)]
pub struct AuditFile(Arc<Inner>);

struct Inner {
    path: PathBuf,
    file: Mutex<ChainedFile>,
}

impl AuditEvent {
    /// An event with these details, which must be a JSON object.
    pub fn new(event: &'static str, fields: Value) -> Self {
        let fields = match fields {
            Value::Object(fields) => fields,
            other => Map::from_iter([("details".to_owned(), other)]),
        };
        Self { event, fields }
    }
}

impl AuditFile {
    /// Opens the file, or creates it, and continues its chain. An incomplete last line, which was never acknowledged, is
    /// removed; that, and lines that are missing at the end, are recorded.
    pub fn open(options: &Options) -> Result<Self, AuditError> {
        let path = options.path.clone();
        let failed = |source| AuditError {
            path: path.clone(),
            source,
        };
        let (mut file, irregularities) = ChainedFile::open(options).map_err(failed)?;
        if !irregularities.is_empty() {
            log::error!(file:% = path.display(), irregularities:? = irregularities; "the audit file was damaged; run `watchpost audit verify`");
            let event = AuditEvent::new("recovery", serde_json::json!({ "irregularities": irregularities }));
            file.append(&event, clock::now_ms()).map_err(failed)?;
        }
        let head = file.head();
        log::info!(file:% = path.display(), head:%; "the audit file is open");
        Ok(Self(Arc::new(Inner {
            path,
            file: Mutex::new(file),
        })))
    }

    /// Verifies that the file can be opened, and changes nothing.
    pub fn check(options: &Options) -> Result<(), AuditError> {
        file::check(&options.path).map_err(|source| AuditError {
            path: options.path.clone(),
            source,
        })
    }

    /// Appends an event and waits until it is on disk.
    pub async fn record(&self, event: AuditEvent) -> Result<(), AuditError> {
        let file = self.clone();
        let written = tasks::block(move || file.append(&event)).await;
        written.unwrap_or_else(|panic| Err(self.error(io::Error::other(panic))))
    }

    /// The same on the thread of the caller.
    pub fn append(&self, event: &AuditEvent) -> Result<(), AuditError> {
        let written = self.0.file.lock().append(event, clock::now_ms());
        written.map_err(|source| self.error(source))
    }

    fn error(&self, source: io::Error) -> AuditError {
        AuditError {
            path: self.0.path.clone(),
            source,
        }
    }
}

#[cfg(test)]
mod tests;
