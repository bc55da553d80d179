//! A certificate and its key as two files, and what may be found there. What should be there is for others to say.

use std::path::{Path, PathBuf};

use openssl::pkey::{PKey, Private, Public};
use openssl::x509::X509;

use super::certificate::serial;
use super::error::PkiError;
use super::files::{self, Lock};
use super::record::Record;

/// Where a certificate and its key are, or would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The certificate, in PEM form.
    pub certificate: PathBuf,
    /// Its key, in PEM form (PKCS #8), for its owner only.
    pub key: PathBuf,
}

impl Files {
    pub(super) fn new(folder: &Path, name: &str) -> Self {
        Self {
            certificate: folder.join(format!("{name}.crt")),
            key: folder.join(format!("{name}.key")),
        }
    }

    /// What there is of the two. They belong together if both are there.
    pub(super) fn read(&self) -> Result<LoadedPair, PkiError> {
        let held = LoadedPair {
            certificate: read_certificate(&self.certificate)?,
            key: read_key(&self.key)?,
        };
        if let (Some(certificate), Some(key)) = (&held.certificate, &held.key) {
            check_pair(certificate, key, self)?;
        }
        Ok(held)
    }

    /// Keeps the two under another name, so that theirs is free: `admin.revoked-6F1B…`. The key goes first: a key
    /// without a certificate would be taken for one that still waits for its own.
    pub(super) fn set_aside(&self, lock: &Lock, label: &str) -> Result<(), PkiError> {
        for path in [&self.key, &self.certificate] {
            if path.exists() {
                let stem = path.file_stem().unwrap_or_default().to_string_lossy();
                let ending = path.extension().unwrap_or_default().to_string_lossy();
                lock.rename(path, &path.with_file_name(format!("{stem}.{label}.{ending}")))?;
            }
        }
        Ok(())
    }
}

/// What there is of a certificate and its key.
#[derive(Debug, Default)]
pub(super) struct LoadedPair {
    pub(super) certificate: Option<X509>,
    pub(super) key: Option<PKey<Private>>,
}

impl LoadedPair {
    /// What was issued that is here: the certificate, or else one for the key. Of those one that is not revoked is
    /// meant, and the last one to end.
    pub(super) fn record<'r>(&self, records: &'r [Record]) -> Option<&'r Record> {
        if let Some(certificate) = &self.certificate {
            let serial = serial(certificate).ok()?;
            return records.iter().find(|record| record.issued.serial == serial);
        }
        let key = self.key.as_ref()?;
        let with_key = records.iter().filter(|record| record.has_key(key));
        with_key.max_by_key(|record| (!record.is_revoked(), record.issued.not_after))
    }
}

pub(super) fn read_certificate(path: &Path) -> Result<Option<X509>, PkiError> {
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

pub(super) fn read_key(path: &Path) -> Result<Option<PKey<Private>>, PkiError> {
    let Some(content) = files::read(path)? else {
        return Ok(None);
    };
    // With an empty passphrase, for OpenSSL would ask at the terminal for the one of an encrypted key.
    let key = PKey::private_key_from_pem_passphrase(&content, b"").map_err(|source| PkiError::Malformed {
        path: path.to_owned(),
        what: "key without a passphrase",
        source: Some(source),
    })?;
    Ok(Some(key))
}

pub(super) fn check_pair(certificate: &X509, key: &PKey<Private>, files: &Files) -> Result<(), PkiError> {
    let belongs = certificate
        .public_key()
        .is_ok_and(|service_metrics| service_metrics.public_eq(key));
    if belongs {
        Ok(())
    } else {
        Err(PkiError::Apart {
            certificate: files.certificate.clone(),
            key: files.key.clone(),
        })
    }
}

pub(super) fn public_half(key: &PKey<Private>) -> Result<PKey<Public>, PkiError> {
    let der = key.public_key_to_der();
    der.and_then(|der| PKey::public_key_from_der(&der))
        .map_err(PkiError::openssl("read a key"))
}
