//! What lies in the folder: components, and their settings and signatures beside them. It reads and compares; what
//! becomes of a rule is not known here.

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

/// What is in a file may change once more without a trace in its times: those of most file systems tick some hundred
/// times a second, of the coarsest every two seconds.
const MIN_FILE_AGE_MS: i64 = 3000;

/// Settings are for people to write.
const MAX_SETTINGS_BYTES: usize = 1024 * 1024;

/// 64 bytes, or the same as text.
const MAX_SIGNATURE_BYTES: usize = 1024;

/// A report with findings of so many rules is read by nobody.
pub(super) const MAX_FILES: usize = 1000;

/// What was seen of all rules in the folder, by the names of their files.
pub(super) type ScannedFiles = BTreeMap<String, ScannedFile>;

/// What was seen of one rule.
#[derive(Clone, Debug)]
pub(super) struct ScannedFile {
    /// Of the component, of `.json`, of `.toml` and of `.sig`.
    stamps: [Option<Stamp>; 4],
    /// Whether nothing can have changed since without another stamp.
    is_old: bool,
    /// What stands there.
    pub(super) content: Content,
}

/// What stands in a file and in those beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Something that may be a rule.
    Whole(Digest),
    /// Something that is none, whatever is in the component.
    Wrong(String),
}

/// A rule as it lies there.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) wasm: Bytes,
    pub(super) settings: Option<Map<String, Value>>,
    pub(super) signature: Option<Signature>,
    /// Of all of it.
    pub(super) digest: Digest,
}

/// How a file was. It says only whether reading it again can be spared.
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

/// Looks at everything. What has the stamps that it had before, and had them for long enough, is not read again.
pub(super) fn look(folder: &Path, largest: usize, before: &ScannedFiles, now_ms: i64) -> io::Result<ScannedFiles> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        // Kubernetes keeps what its links lead to under names that begin with dots, and others keep there what is not
        // whole yet.
        let name = entry?.file_name().into_string().ok();
        names.extend(name.filter(|name| name.ends_with(".wasm") && !name.starts_with('.')));
    }
    names.sort_unstable();
    let sights = names.into_iter().enumerate().map(|(at, name)| {
        let seen = match at < MAX_FILES {
            true => sight(folder, &name, largest, before.get(&name), now_ms),
            false => ScannedFile::wrong(format!(
                "the folder has more than {MAX_FILES} rules, and this is one too many"
            )),
        };
        (name, seen)
    });
    Ok(sights.collect())
}

fn sight(folder: &Path, name: &str, largest: usize, before: Option<&ScannedFile>, now_ms: i64) -> ScannedFile {
    let mut stamps = [None; 4];
    for (place, beside) in stamps.iter_mut().zip(files_of(name)) {
        match stamp(&folder.join(&beside)) {
            Ok(stamp) => *place = stamp,
            Err(error) => return ScannedFile::wrong(format!("{beside} cannot be read: {error}")),
        }
    }
    if let Some(same) = before.filter(|before| before.is_old && before.stamps == stamps) {
        return same.clone();
    }
    ScannedFile {
        stamps,
        is_old: stamps.iter().flatten().all(|stamp| stamp.is_old(now_ms)),
        content: match read(folder, name, largest) {
            Ok(found) => Content::Whole(found.digest),
            Err(why) => Content::Wrong(why),
        },
    }
}

impl ScannedFile {
    fn wrong(why: String) -> Self {
        Self {
            stamps: [None; 4],
            is_old: false,
            content: Content::Wrong(why),
        }
    }
}

/// A link that leads nowhere is not the same as nothing: what it led to may be back in a moment.
fn stamp(path: &Path) -> io::Result<Option<Stamp>> {
    let told = match fs::metadata(path) {
        Ok(told) => told,
        Err(error) if error.kind() == ErrorKind::NotFound && fs::symlink_metadata(path).is_err() => return Ok(None),
        Err(error) => return Err(error),
    };
    // A pipe would be waited for without an end.
    if !told.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    Ok(Some(Stamp {
        device: told.dev(),
        inode: told.ino(),
        bytes: told.size(),
        modified: (told.mtime(), told.mtime_nsec()),
        changed: (told.ctime(), told.ctime_nsec()),
    }))
}

/// Reads a rule with what is beside it, or says what is wrong.
pub(super) fn read(folder: &Path, name: &str, largest: usize) -> Result<Found, String> {
    let [component, json, toml, signature] = files_of(name);
    let Some(wasm) = bytes(folder, &component, largest)? else {
        return Err("it is gone".to_owned());
    };
    let by_json = bytes(folder, &json, MAX_SETTINGS_BYTES)?;
    let by_toml = bytes(folder, &toml, MAX_SETTINGS_BYTES)?;
    let signed = bytes(folder, &signature, MAX_SIGNATURE_BYTES)?;
    let parts = [Some(&wasm), by_json.as_ref(), by_toml.as_ref(), signed.as_ref()];
    let digests = parts.map(|part| part.map_or([0; 32], |part| *Digest::of(part).as_bytes()));
    let settings = match (by_json, by_toml) {
        (Some(_), Some(_)) => return Err(format!("there are {json} and {toml}; keep one of them")),
        (Some(text), None) => Some(
            serde_json::from_slice(&text).map_err(|error| format!("{json} is no JSON object: {error}; correct it"))?,
        ),
        (None, Some(text)) => Some(of_toml(text).map_err(|why| format!("{toml} cannot be read: {why}; correct it"))?),
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

/// The component, its settings in either form, and its signature.
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
    let text = String::from_utf8(text).map_err(|_| "it is no text".to_owned())?;
    object_from_toml(&text)
}

/// All bytes, but no more than these; nothing where there is no file.
fn bytes(folder: &Path, name: &str, most: usize) -> Result<Option<Vec<u8>>, String> {
    let path = folder.join(name);
    let told = |error: io::Error| format!("{name} cannot be read: {error}");
    if stamp(&path).map_err(told)?.is_none() {
        return Ok(None);
    }
    let mut all = Vec::new();
    let file = File::open(&path).map_err(told)?;
    file.take(most as u64 + 1).read_to_end(&mut all).map_err(told)?;
    if all.len() > most {
        return Err(format!(
            "{name} has more than {most} bytes, which are the most that are taken"
        ));
    }
    Ok(Some(all))
}

#[cfg(test)]
mod tests;
