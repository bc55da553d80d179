//! Scans the folder: components with their settings and signatures. It only reads and compares files.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use bytes::Bytes;
use serde_json::{Map, Value};
use watchpost_policies::Digest;

use crate::rules::signing::Signature;
use crate::toml_json::object_from_toml;

/// A file younger than this may change without a change of its timestamps: max file systems have a resolution of some
/// milliseconds, the coarsest of two seconds.
const MIN_FILE_AGE_MS: i64 = 3000;

/// Settings are written by hand, so this is ample.
const MAX_SETTINGS_BYTES: usize = 1024 * 1024;

/// A signature has 64 bytes, raw or as text.
const MAX_SIGNATURE_BYTES: usize = 1024;

/// A report with findings of more rules is unreadable.
pub(super) const MAX_FILES: usize = 1000;

/// The scanned rules by file name.
pub(super) type ScannedFiles = BTreeMap<String, ScannedFile>;

/// The scan of one rule.
#[derive(Clone, Debug)]
pub(super) struct ScannedFile {
    /// Stamps of the component, `.json`, `.toml` and `.sig`.
    stamps: [Option<Stamp>; 4],
    /// Whether every change since must have changed a stamp.
    is_old: bool,
    /// The content of the files.
    pub(super) content: Content,
}

/// The content of a component file and the files next to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// A possible rule.
    Valid(Digest),
    /// No rule, whatever the component contains.
    Invalid(String),
}

/// A rule as read from its files.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) wasm: Bytes,
    pub(super) settings: Option<Map<String, Value>>,
    pub(super) signature: Option<Signature>,
    /// Digest over all files of the rule.
    pub(super) digest: Digest,
}

/// Metadata of a file, which only decides whether to read the file again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn is_old(&self, now_ms: i64) -> bool {
        let seconds = self.modified.0.max(self.changed.0);
        seconds.saturating_mul(1000) < now_ms - MIN_FILE_AGE_MS
    }
}

/// Scans all rules. Files with unchanged and sufficiently old stamps are not read again.
pub(super) fn scan(folder: &Path, max_bytes: usize, before: &ScannedFiles, now_ms: i64) -> io::Result<ScannedFiles> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        // Kubernetes keeps the targets of its links under names that begin with a dot, and other tools use such names
        // for incomplete files.
        let name = entry?.file_name().into_string().ok();
        names.extend(name.filter(|name| name.ends_with(".wasm") && !name.starts_with('.')));
    }
    names.sort_unstable();
    let files = names.into_iter().enumerate().map(|(at, name)| {
        let scanned = match at < MAX_FILES {
            true => scan_rule(folder, &name, max_bytes, before.get(&name), now_ms),
            false => ScannedFile::invalid(format!(
                "the folder has more than {MAX_FILES} rules; this one is ignored"
            )),
        };
        (name, scanned)
    });
    Ok(files.collect())
}

fn scan_rule(folder: &Path, name: &str, max_bytes: usize, before: Option<&ScannedFile>, now_ms: i64) -> ScannedFile {
    let mut stamps = [None; 4];
    for (place, name) in stamps.iter_mut().zip(files_of(name)) {
        match stamp(&folder.join(&name)) {
            Ok(stamp) => *place = stamp,
            Err(error) => return ScannedFile::invalid(format!("{name} cannot be read: {error}")),
        }
    }
    if let Some(same) = before.filter(|before| before.is_old && before.stamps == stamps) {
        return same.clone();
    }
    ScannedFile {
        stamps,
        is_old: stamps.iter().flatten().all(|stamp| stamp.is_old(now_ms)),
        content: match read(folder, name, max_bytes) {
            Ok(found) => Content::Valid(found.digest),
            Err(reason) => Content::Invalid(reason),
        },
    }
}

impl ScannedFile {
    /// A file with this content, for tests of what follows a scan.
    #[cfg(test)]
    pub(super) fn valid(digest: Digest) -> Self {
        Self {
            stamps: [None; 4],
            is_old: true,
            content: Content::Valid(digest),
        }
    }

    fn invalid(reason: String) -> Self {
        Self {
            stamps: [None; 4],
            is_old: false,
            content: Content::Invalid(reason),
        }
    }
}

/// A dangling link is not a missing file: its target may reappear in a moment.
fn stamp(path: &Path) -> io::Result<Option<Stamp>> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound && fs::symlink_metadata(path).is_err() => return Ok(None),
        Err(error) => return Err(error),
    };
    // Reading a pipe would block forever.
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    Ok(Some(Stamp {
        device: metadata.dev(),
        inode: metadata.ino(),
        bytes: metadata.size(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    }))
}

/// Reads a rule with its settings and signature; the error says which file is invalid and why.
pub(super) fn read(folder: &Path, name: &str, max_bytes: usize) -> Result<Found, String> {
    let [component, json, toml, signature] = files_of(name);
    let Some(wasm) = bytes(folder, &component, max_bytes)? else {
        return Err("the file is missing".to_owned());
    };
    let by_json = bytes(folder, &json, MAX_SETTINGS_BYTES)?;
    let by_toml = bytes(folder, &toml, MAX_SETTINGS_BYTES)?;
    let signed = bytes(folder, &signature, MAX_SIGNATURE_BYTES)?;
    let parts = [Some(&wasm), by_json.as_ref(), by_toml.as_ref(), signed.as_ref()];
    let digests = parts.map(|part| part.map_or([0; 32], |part| *Digest::of(part).as_bytes()));
    let settings = match (by_json, by_toml) {
        (Some(_), Some(_)) => return Err(format!("both {json} and {toml} exist; delete one of them")),
        (Some(text), None) => {
            Some(serde_json::from_slice(&text).map_err(|error| format!("{json} is not a JSON object: {error}"))?)
        }
        (None, Some(text)) => Some(of_toml(text).map_err(|reason| format!("{toml} is invalid: {reason}"))?),
        (None, None) => None,
    };
    let signed = signed.map(|bytes| Signature::read(&bytes));
    Ok(Found {
        digest: Digest::of(digests.as_flattened()),
        wasm: wasm.into(),
        settings,
        signature: signed.transpose().map_err(|error| format!("{signature}: {error}"))?,
    })
}

/// The names of the component, its settings as JSON and as TOML, and its signature.
fn files_of(name: &str) -> [String; 4] {
    let stem = name.strip_suffix(".wasm").unwrap_or(name);
    [
        name.to_owned(),
        format!("{stem}.json"),
        format!("{stem}.toml"),
        format!("{name}.sig"),
    ]
}

fn of_toml(text: Vec<u8>) -> Result<Map<String, Value>, String> {
    let text = String::from_utf8(text).map_err(|_| "not UTF-8 text".to_owned())?;
    object_from_toml(&text)
}

/// Reads a file of at max `max` bytes; `None` if the file does not exist.
fn bytes(folder: &Path, name: &str, max: usize) -> Result<Option<Vec<u8>>, String> {
    let path = folder.join(name);
    let unreadable = |error: io::Error| format!("{name} cannot be read: {error}");
    if stamp(&path).map_err(unreadable)?.is_none() {
        return Ok(None);
    }
    let mut all = Vec::new();
    let file = File::open(&path).map_err(unreadable)?;
    file.take(max as u64 + 1).read_to_end(&mut all).map_err(unreadable)?;
    if all.len() > max {
        return Err(format!("{name} is larger than {max} bytes"));
    }
    Ok(Some(all))
}

#[cfg(test)]
mod tests;
