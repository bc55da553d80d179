//! Records of issued and revoked certificates, as files that are only added: `issued/SERIAL.crt` is written before the
//! holder gets the certificate, and `issued/SERIAL.revoked` before a revocation is reported. The files under `clients/`
//! may be deleted.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use openssl::nid::Nid;
use openssl::pkey::{HasPublic, PKeyRef};
use openssl::x509::{X509, X509Ref};
use serde::{Serialize, Serializer};

use super::certificate::{attribute, serial, unix_seconds};
use super::error::PkiError;
use super::files::{self, Lock, Readers};

/// An issued certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Issued {
    /// The common name.
    pub name: String,
    /// The client's role; `None` for a server.
    pub role: Option<String>,
    /// The serial number in hexadecimal, as OpenSSL writes it.
    pub serial: String,
    /// The time of expiry.
    #[serde(serialize_with = "as_text")]
    pub not_after: Timestamp,
    /// The time of the revocation.
    #[serde(serialize_with = "as_text_or_null")]
    pub revoked_at: Option<Timestamp>,
}

impl Issued {
    /// Whether the certificate is neither expired nor revoked.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.not_after > now
    }

    pub(crate) fn of(certificate: &X509Ref, revoked_at: Option<Timestamp>) -> Result<Self, PkiError> {
        let subject = certificate.subject_name();
        let read = || {
            let not_after = unix_seconds(certificate.not_after())?;
            Ok((serial(certificate)?, not_after))
        };
        let (serial, not_after) = read().map_err(PkiError::openssl("read a certificate"))?;
        Ok(Self {
            name: attribute(subject, Nid::COMMONNAME).unwrap_or_default(),
            role: attribute(subject, Nid::ORGANIZATIONALUNITNAME),
            serial,
            not_after: Timestamp::from_second(not_after).unwrap_or(Timestamp::MAX),
            revoked_at,
        })
    }
}

/// An issued certificate with its full content.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) issued: Issued,
    pub(crate) certificate: X509,
}

impl Record {
    pub(crate) fn is_of_client(&self, name: &str) -> bool {
        self.issued.role.is_some() && self.issued.name == name
    }

    pub(crate) fn is_revoked(&self) -> bool {
        self.issued.revoked_at.is_some()
    }

    pub(crate) fn has_key<T: HasPublic>(&self, key: &PKeyRef<T>) -> bool {
        self.certificate
            .public_key()
            .is_ok_and(|public_key| public_key.public_eq(key))
    }
}

/// The folder of the records.
pub(crate) fn folder(authority: &Path) -> PathBuf {
    authority.join("issued")
}

/// All records, ordered by name and expiry.
pub(crate) fn read_all(authority: &Path) -> Result<Vec<Record>, PkiError> {
    let mut records = Vec::new();
    for path in recorded(authority, "crt")? {
        // The file may only be missing if it was deleted just now, and records are never removed.
        let Some(content) = files::read(&path)? else { continue };
        let certificate = X509::from_pem(&content).map_err(|source| PkiError::Malformed {
            path: path.clone(),
            what: "certificate",
            source: Some(source),
        })?;
        let revoked_at = revoked_at(&path.with_extension("revoked"))?;
        records.push(Record {
            issued: Issued::of(&certificate, revoked_at)?,
            certificate,
        });
    }
    let order = |record: &Record| {
        (
            record.issued.name.clone(),
            record.issued.not_after,
            record.issued.serial.clone(),
        )
    };
    records.sort_by_cached_key(order);
    Ok(records)
}

/// The revoked serial numbers with the time of revocation. This works without the certificates' records.
pub(crate) fn read_revoked(authority: &Path) -> Result<Vec<(String, Timestamp)>, PkiError> {
    let mut revoked = Vec::new();
    for path in recorded(authority, "revoked")? {
        let serial = path.file_stem().and_then(OsStr::to_str).unwrap_or_default();
        if let Some(time) = revoked_at(&path)? {
            revoked.push((serial.to_owned(), time));
        }
    }
    revoked.sort();
    Ok(revoked)
}

pub(crate) fn add(lock: &Lock, authority: &Path, serial: &str, pem: &[u8]) -> Result<(), PkiError> {
    let path = folder(authority).join(format!("{serial}.crt"));
    lock.create(&path, pem, Readers::Everyone)
}

/// An earlier revocation is not overwritten.
pub(crate) fn revoke(lock: &Lock, authority: &Path, serial: &str, now: Timestamp) -> Result<(), PkiError> {
    let path = folder(authority).join(format!("{serial}.revoked"));
    lock.create(&path, format!("{now}\n").as_bytes(), Readers::Everyone)
}

fn recorded(authority: &Path, extension: &str) -> Result<Vec<PathBuf>, PkiError> {
    let folder = folder(authority);
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(files::read_error(&folder))?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(files::read_error(&folder))?.path();
        // An unfinished file starts with a dot.
        let is_serial = path
            .file_stem()
            .and_then(OsStr::to_str)
            .is_some_and(|stem| !stem.is_empty() && stem.bytes().all(|byte| byte.is_ascii_hexdigit()));
        if is_serial && path.extension() == Some(OsStr::new(extension)) {
            paths.push(path);
        }
    }
    Ok(paths)
}

fn revoked_at(path: &Path) -> Result<Option<Timestamp>, PkiError> {
    let Some(content) = files::read(path)? else {
        return Ok(None);
    };
    let time = std::str::from_utf8(&content)
        .ok()
        .and_then(|text| text.trim().parse().ok());
    time.map(Some).ok_or_else(|| PkiError::Malformed {
        path: path.to_owned(),
        what: "time of a revocation, such as 2026-01-31T12:00:00Z",
        source: None,
    })
}

fn as_text<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}

fn as_text_or_null<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => as_text(time, serializer),
        None => serializer.serialize_none(),
    }
}
