//! The rules that this server accepted last. The database is no proof of itself: where signatures are required, a
//! generation that another process stored is compared with this record, and only what is new in it has to be verified.
//! The record is a file of this server, outside of the database, so it survives a restart and no other server writes it.

use std::fs;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use watchpost_policies::{Digest, Kind};

use super::ChangeError;
use crate::atomic_file::{self, PRIVATE};
use crate::rules::LoadedGeneration;
use crate::store::rules::{Entry, Mode};

/// A generation that this server accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Accepted {
    pub(super) generation: i64,
    pub(super) entries: Vec<AcceptedEntry>,
}

/// An entry of a generation with the digest of its settings, which are another row of the database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AcceptedEntry {
    rule: String,
    kind: Kind,
    mode: Mode,
    digest: Option<Digest>,
    settings: Digest,
}

impl AcceptedEntry {
    pub(super) fn new(entry: &Entry, settings: &str) -> Self {
        Self {
            rule: entry.rule.clone(),
            kind: entry.kind,
            mode: entry.mode,
            digest: entry.digest,
            settings: Digest::of(settings.as_bytes()),
        }
    }
}

impl Accepted {
    pub(super) fn of(loaded: &LoadedGeneration) -> Self {
        let both = loaded.generation.entries.iter().zip(&loaded.rules);
        Self {
            generation: loaded.generation.number,
            entries: both
                .map(|(entry, rule)| AcceptedEntry::new(entry, rule.settings()))
                .collect(),
        }
    }

    /// The text that a signature over the generation covers: its number, and the digests of its components and settings.
    pub(super) fn statement(&self) -> Result<String, ChangeError> {
        let json = serde_json::to_string_pretty(self).map_err(|error| ChangeError::Broken(error.to_string()))?;
        Ok(format!("watchpost rules\n{json}\n"))
    }

    /// Whether this component is accepted for this use, whatever its settings are.
    pub(super) fn has_component(&self, entry: &Entry) -> bool {
        self.entries.iter().any(|accepted| {
            (accepted.digest, accepted.mode) == (entry.digest, entry.mode) && accepted.rule == entry.rule
        })
    }

    /// Both generations together, under the later number.
    pub(super) fn and(mut self, other: &Self) -> Self {
        self.generation = self.generation.max(other.generation);
        self.entries.extend(other.entries.iter().cloned());
        self
    }
}

/// The file with the record; without a path, nothing is recorded.
pub struct AcceptedFile(pub Option<PathBuf>);

impl AcceptedFile {
    /// The record, if there is one. A file that cannot be read is an error, so that nothing is accepted instead.
    pub(super) fn read(&self) -> io::Result<Option<Accepted>> {
        let Some(path) = &self.0 else { return Ok(None) };
        match fs::read(path) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces the record.
    pub(super) fn write(&self, accepted: &Accepted) -> io::Result<()> {
        let Some(path) = &self.0 else { return Ok(()) };
        atomic_file::replace(path, &serde_json::to_vec(accepted)?, PRIVATE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::rules::SettingsRef;

    fn entry(digest: &[u8]) -> Entry {
        Entry {
            rule: "weekend".to_owned(),
            kind: Kind::Role,
            mode: Mode::Active,
            digest: Some(Digest::of(digest)),
            settings: SettingsRef::Stored(1),
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written_and_a_broken_one_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("accepted-rules.json");
        let file = AcceptedFile(Some(path.clone()));
        assert_eq!(file.read().expect("a missing record is no error"), None);
        let accepted = Accepted {
            generation: 7,
            entries: vec![AcceptedEntry::new(&entry(b"one"), "{}")],
        };
        file.write(&accepted).expect("written");
        assert_eq!(file.read().expect("read"), Some(accepted));
        fs::write(path, "{").expect("written");
        assert!(file.read().is_err());
    }

    #[test]
    fn a_component_is_accepted_with_any_settings_and_only_for_the_same_use() {
        let accepted = Accepted {
            generation: 7,
            entries: vec![AcceptedEntry::new(&entry(b"one"), "{}")],
        };
        let shadow = Entry {
            mode: Mode::Shadow,
            ..entry(b"one")
        };
        assert!(accepted.has_component(&entry(b"one")));
        assert!(!accepted.has_component(&entry(b"two")) && !accepted.has_component(&shadow));
    }
}
