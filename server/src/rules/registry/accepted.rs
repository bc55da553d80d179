//! The rules that this server accepted last. The database is no proof of itself: where signatures are required, a
//! generation that another process stored is compared with this record, and only what is new in it has to be verified.
//! The record is a file of this server, outside of the database, so it survives a restart and no other server writes it.

use std::fs;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use watchpost_policies::{Digest, Kind};

use super::ChangeError;
use super::build::SettingsTexts;
use crate::atomic_file::{self, PRIVATE};
use crate::rules::LoadedGeneration;
use crate::store::rules::{Entry, Generation, Mode};

/// The record of this server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    /// The generation that this server accepted last; none before the first.
    pub(super) accepted: Option<Accepted>,
    /// The generation that this server is about to store. A crash must not make the next start reject it, so its entries
    /// count as accepted. Its number does not: the change may fail, and another server may use the number.
    pub(super) proposed: Option<Accepted>,
    /// Whether the role settings of the configuration are accepted from elsewhere: they were active, or this server closed
    /// access. Otherwise a client of the database could replace stricter settings by them.
    pub(super) follows_configuration: bool,
}

impl Record {
    fn both(&self) -> impl Iterator<Item = &Accepted> {
        self.accepted.iter().chain(&self.proposed)
    }

    /// Whether this component is accepted for this use, whatever its settings are.
    pub(super) fn has_component(&self, entry: &Entry) -> bool {
        self.both().any(|generation| generation.has_component(entry))
    }

    /// Whether this entry is accepted with these settings.
    pub(super) fn has_entry(&self, entry: &AcceptedEntry) -> bool {
        self.both().any(|generation| generation.entries.contains(entry))
    }

    /// Whether the role settings of the configuration are accepted from elsewhere.
    pub(super) fn allows_configured(&self) -> bool {
        self.accepted.is_none() || self.follows_configuration
    }
}

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

    /// A stored generation with these settings; none if some are missing, or not stored yet.
    pub(super) fn stored(generation: &Generation, texts: &SettingsTexts) -> Option<Self> {
        let entries = generation.entries.iter().map(|entry| {
            let settings = texts.text(&entry.rule, entry.settings).ok()?;
            Some(AcceptedEntry::new(entry, &settings))
        });
        Some(Self {
            generation: generation.number,
            entries: entries.collect::<Option<_>>()?,
        })
    }

    /// The text that a signature over the generation covers: its number, and the digests of its components and settings.
    pub(super) fn statement(&self) -> Result<String, ChangeError> {
        let json = serde_json::to_string_pretty(self).map_err(|error| ChangeError::Broken(error.to_string()))?;
        Ok(format!("watchpost rules\n{json}\n"))
    }

    /// Whether this component is accepted for this use, whatever its settings are.
    fn has_component(&self, entry: &Entry) -> bool {
        self.entries.iter().any(|accepted| {
            (accepted.digest, accepted.mode) == (entry.digest, entry.mode) && accepted.rule == entry.rule
        })
    }
}

/// The file with the record; without a path, nothing is recorded.
pub struct AcceptedFile(pub Option<PathBuf>);

impl AcceptedFile {
    /// The record, if there is one. A file that cannot be read is an error, so that nothing is accepted instead.
    pub(super) fn read(&self) -> io::Result<Option<Record>> {
        let Some(path) = &self.0 else { return Ok(None) };
        match fs::read(path) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces the record.
    pub(super) fn write(&self, record: &Record) -> io::Result<()> {
        let Some(path) = &self.0 else { return Ok(()) };
        atomic_file::replace(path, &serde_json::to_vec(record)?, PRIVATE)
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
        let generation = |number, digest| Accepted {
            generation: number,
            entries: vec![AcceptedEntry::new(&entry(digest), "{}")],
        };
        let record = Record {
            accepted: Some(generation(7, b"one")),
            proposed: Some(generation(8, b"two")),
            follows_configuration: true,
        };
        file.write(&record).expect("written");
        assert_eq!(file.read().expect("read"), Some(record));
        for broken in ["{", r#"{"generation": 7}"#] {
            fs::write(&path, broken).expect("written");
            assert!(file.read().is_err(), "{broken}");
        }
    }

    #[test]
    fn entries_of_a_proposed_generation_are_accepted() {
        let proposed = AcceptedEntry::new(&entry(b"two"), "{}");
        let mut record = Record {
            proposed: Some(Accepted {
                generation: 8,
                entries: vec![proposed.clone()],
            }),
            ..Record::default()
        };
        assert!(record.has_component(&entry(b"two")) && record.has_entry(&proposed));
        record.proposed = None;
        assert!(!record.has_component(&entry(b"two")) && !record.has_entry(&proposed));
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
