//! A certificate and its key as two files. This module reads what is there; callers decide what should be there.

use std::path::{Path, PathBuf};

use openssl::pkey::{PKey, Private, Public};
use openssl::x509::X509;

use super::certificate::serial;
use super::error::PkiError;
use super::files::{self, Lock};
use super::record::Record;

/// The paths of a certificate and its key, which may not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The certificate in PEM format.
    pub certificate: PathBuf,
    /// The key in PEM format (PKCS #8), readable by its owner only.
    pub key: PathBuf,
}

impl Files {
    pub(crate) fn new(folder: &Path, name: &str) -> Self {
        Self {
            certificate: folder.join(format!("{name}.crt")),
            key: folder.join(format!("{name}.key")),
        }
    }

    /// Reads the existing ones of the two files. If both exist, they must match.
    pub(crate) fn read(&self) -> Result<LoadedPair, PkiError> {
        let pair = LoadedPair {
            certificate: read_certificate(&self.certificate)?,
            key: read_key(&self.key)?,
        };
        if let (Some(certificate), Some(key)) = (&pair.certificate, &pair.key) {
            check_pair(certificate, key, self)?;
        }
        Ok(pair)
    }

    /// Renames the two files, such as to `admin.revoked-6F1B…`, so that their names are free. The key is renamed first,
    /// because a key without a certificate would be treated as one whose certificate is not issued yet.
    pub(crate) fn rename_with_label(&self, lock: &Lock, label: &str) -> Result<(), PkiError> {
        for path in [&self.key, &self.certificate] {
            if path.exists() {
                let stem = path.file_stem().unwrap_or_default().to_string_lossy();
                let extension = path.extension().unwrap_or_default().to_string_lossy();
                lock.rename(path, &path.with_file_name(format!("{stem}.{label}.{extension}")))?;
            }
        }
        Ok(())
    }
}

/// The existing ones of a certificate and its key.
#[derive(Debug, Default)]
pub(crate) struct LoadedPair {
    pub(crate) certificate: Option<X509>,
    pub(crate) key: Option<PKey<Private>>,
}

impl LoadedPair {
    /// The record of the certificate, or of the latest certificate for the key that is not revoked; otherwise the
    /// latest revoked one.
    pub(crate) fn record<'r>(&self, records: &'r [Record]) -> Option<&'r Record> {
        if let Some(certificate) = &self.certificate {
            let serial = serial(certificate).ok()?;
            return records.iter().find(|record| record.issued.serial == serial);
        }
        let key = self.key.as_ref()?;
        let with_key = records.iter().filter(|record| record.has_key(key));
        with_key.max_by_key(|record| (!record.is_revoked(), record.issued.not_after))
    }
}

pub(crate) fn read_certificate(path: &Path) -> Result<Option<X509>, PkiError> {
    let Some(content) = files::read(path)? else {
        return Ok(None);
    };
    let certificate = X509::from_pem(&content).map_err(|source| PkiError::Malformed {
        path: path.to_owned(),
        what: "certificate",
        source: Some(source),
    })?;
    Ok(Some(certificate))
}

pub(crate) fn read_key(path: &Path) -> Result<Option<PKey<Private>>, PkiError> {
    let Some(content) = files::read(path)? else {
        return Ok(None);
    };
    // The empty passphrase keeps OpenSSL from prompting at the terminal for the passphrase of an encrypted key.
    let key = PKey::private_key_from_pem_passphrase(&content, b"").map_err(|source| PkiError::Malformed {
        path: path.to_owned(),
        what: "key without a passphrase",
        source: Some(source),
    })?;
    Ok(Some(key))
}

pub(crate) fn check_pair(certificate: &X509, key: &PKey<Private>, files: &Files) -> Result<(), PkiError> {
    let matches = certificate
        .public_key()
        .is_ok_and(|public_key| public_key.public_eq(key));
    if matches {
        Ok(())
    } else {
        Err(PkiError::KeyMismatch {
            certificate: files.certificate.clone(),
            key: files.key.clone(),
        })
    }
}

pub(crate) fn public_half(key: &PKey<Private>) -> Result<PKey<Public>, PkiError> {
    let der = key.public_key_to_der();
    der.and_then(|der| PKey::public_key_from_der(&der))
        .map_err(PkiError::openssl("read a key"))
}
