//! The certificate authority: opening, creating, and signing. `ensure` and `issue` decide what it signs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use openssl::pkey::{PKey, Private, Public};
use openssl::x509::{X509, X509Ref};

use super::certificate::{self, Holder, unix_seconds};
use super::error::PkiError;
use super::files::{self, Lock, Readers};
use super::pair::{Files, check_pair, read_certificate, read_key};
use super::record::{self, Issued};
use super::staging::StagingDir;

/// A folder with a key that signs certificates. Several processes may have it open at once.
#[derive(Debug)]
pub struct Authority {
    folder: PathBuf,
    pub(crate) certificate: X509,
    pub(crate) key: PKey<Private>,
}

impl Authority {
    /// Opens the authority in a folder, or creates one if the folder is empty or does not exist. If several processes
    /// start at once, one creates it and all use the same.
    pub fn open_or_create(folder: &Path, now: Timestamp) -> Result<Self, PkiError> {
        let first_attempt = Self::open(folder);
        if let Ok(Some(existing)) = first_attempt {
            return Ok(existing);
        }
        // Resolves a symbolic link, because a rename cannot replace a link with a folder.
        let folder = &fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
        let staging = match StagingDir::take(folder) {
            Ok(staging) => staging,
            Err(error) => return Err(first_attempt.err().unwrap_or(error)),
        };
        // Another process may have created it between two reads, so what was read without the lock is not reliable.
        if let Some(existing) = Self::open(folder)? {
            return Ok(existing);
        }
        let created = Self::create(&staging, folder, now)?;
        staging.place(&created.folder)?;
        Ok(created)
    }

    /// Opens the authority in a folder; `None` if the folder is empty or does not exist.
    pub fn open(folder: &Path) -> Result<Option<Self>, PkiError> {
        let files = Files::new(folder, "ca");
        let incomplete = |present, missing| PkiError::Incomplete {
            folder: folder.to_owned(),
            present,
            missing,
        };
        let (certificate, key) = match (read_certificate(&files.certificate)?, read_key(&files.key)?) {
            (Some(certificate), Some(key)) => (certificate, key),
            (Some(_), None) => return Err(incomplete("ca.crt", "ca.key")),
            (None, Some(_)) => return Err(incomplete("ca.key", "ca.crt")),
            (None, None) if files::is_empty(folder)? => return Ok(None),
            (None, None) => {
                return Err(PkiError::Occupied {
                    folder: folder.to_owned(),
                });
            }
        };
        check_pair(&certificate, &key, &files)?;
        check_signs(&certificate, &key, &files)?;
        check_secret(&files.key)?;
        Ok(Some(Self {
            folder: folder.to_owned(),
            certificate,
            key,
        }))
    }

    /// The folder of the authority.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file of the authority's certificate.
    pub fn certificate_path(&self) -> PathBuf {
        Files::new(&self.folder, "ca").certificate
    }

    /// The file of the certificate revocation list.
    pub fn crl_path(&self) -> PathBuf {
        self.folder.join("crl.pem")
    }

    /// The files of the server's certificate.
    pub fn server_files(&self) -> Files {
        Files::new(&self.folder, "server")
    }

    /// The files of a client's certificate.
    pub fn client_files(&self, name: &str) -> Result<Files, PkiError> {
        let name = super::names::Name::parse(name)?;
        Ok(Files::new(&clients(&self.folder), name.as_str()))
    }

    /// All issued certificates, ordered by name.
    pub fn list(&self) -> Result<Vec<Issued>, PkiError> {
        let records = record::read_all(&self.folder)?;
        Ok(records.into_iter().map(|record| record.issued).collect())
    }

    /// Locks the folder for writing. It also removes unfinished files, and checks that the folder is still this
    /// authority's.
    pub(crate) fn lock(&self) -> Result<Lock, PkiError> {
        let lock = Lock::take(&self.folder)?;
        let current = read_certificate(&self.certificate_path())?;
        if current.as_ref().map(fingerprint) != Some(fingerprint(&self.certificate)) {
            return Err(PkiError::Replaced {
                folder: self.folder.clone(),
            });
        }
        lock.remove_unfinished(&self.folder)?;
        for folder in [clients(&self.folder), record::folder(&self.folder)] {
            files::make_folder(&folder)?;
            lock.remove_unfinished(&folder)?;
        }
        Ok(lock)
    }

    /// Whether this authority signed the certificate.
    pub(crate) fn signed(&self, certificate: &X509Ref) -> bool {
        certificate.verify(&self.key).unwrap_or(false)
    }

    /// Signs a certificate, and returns it only after it was recorded, because a certificate without a record cannot be
    /// revoked.
    pub(crate) fn certify(
        &self,
        lock: &Lock,
        public_key: &PKey<Public>,
        holder: &Holder,
        days: u32,
        now: Timestamp,
    ) -> Result<X509, PkiError> {
        let not_after = unix_seconds(self.certificate.not_after()).map_err(PkiError::openssl("read a certificate"))?;
        if not_after <= now.as_second() {
            return Err(PkiError::Expired {
                folder: self.folder.clone(),
                not_after: day(Timestamp::from_second(not_after).unwrap_or(Timestamp::MIN)),
            });
        }
        let leaf = certificate::leaf(&self.certificate, &self.key, public_key, holder, days, now)
            .map_err(PkiError::openssl("sign a certificate"))?;
        let serial = certificate::serial(&leaf).map_err(PkiError::openssl("read a certificate"))?;
        record::add(lock, &self.folder, &serial, &pem(&leaf)?)?;
        Ok(leaf)
    }

    /// Creates a key and writes it to a file that must not exist.
    pub(crate) fn new_key(&self, lock: &Lock, path: &Path) -> Result<PKey<Private>, PkiError> {
        let (key, pem) = fresh_key()?;
        lock.create(path, &pem, Readers::Owner)?;
        Ok(key)
    }

    fn create(staging: &StagingDir, folder: &Path, now: Timestamp) -> Result<Self, PkiError> {
        let (key, key_pem) = fresh_key()?;
        let certificate = certificate::authority(&key, now).map_err(PkiError::openssl("sign a certificate"))?;
        let files = Files::new(staging.path(), "ca");
        staging.lock().create(&files.key, &key_pem, Readers::Owner)?;
        staging
            .lock()
            .create(&files.certificate, &pem(&certificate)?, Readers::Everyone)?;
        files::make_folder(&clients(staging.path()))?;
        files::make_folder(&record::folder(staging.path()))?;
        Ok(Self {
            folder: folder.to_owned(),
            certificate,
            key,
        })
    }
}

/// A certificate in PEM format.
pub(crate) fn pem(certificate: &X509Ref) -> Result<Vec<u8>, PkiError> {
    certificate.to_pem().map_err(PkiError::openssl("write a certificate"))
}

/// A date as `YYYY-MM-DD`.
pub(crate) fn day(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d").to_string()
}

fn clients(authority: &Path) -> PathBuf {
    authority.join("clients")
}

fn fresh_key() -> Result<(PKey<Private>, Vec<u8>), PkiError> {
    let create = || {
        let key = certificate::new_key()?;
        let pem = key.private_key_to_pem_pkcs8()?;
        Ok((key, pem))
    };
    create().map_err(PkiError::openssl("create a key"))
}

fn fingerprint(certificate: &X509) -> Option<Vec<u8>> {
    certificate.to_der().ok()
}

/// A server's certificate would be used for signing, and clients would reject everything that it signed.
fn check_signs(certificate: &X509, key: &PKey<Private>, files: &Files) -> Result<(), PkiError> {
    let reason = if !certificate.verify(key).unwrap_or(false) {
        "it is not self-signed; use the folder of a self-signed authority"
    } else if certificate.subject_key_id().is_none() {
        "it has no subject key identifier; create an authority that has one"
    } else if certificate.issued(certificate) != openssl::x509::X509VerifyResult::OK {
        "it is not allowed to sign certificates; create an authority that is"
    } else {
        return Ok(());
    };
    Err(PkiError::NotAnAuthority {
        path: files.certificate.clone(),
        reason,
    })
}

/// Only the owner may read the key, because it allows to impersonate every client.
fn check_secret(path: &Path) -> Result<(), PkiError> {
    let mode = fs::metadata(path)
        .map_err(files::read_error(path))?
        .permissions()
        .mode();
    if mode & 0o077 == 0 {
        Ok(())
    } else {
        Err(PkiError::Exposed { path: path.to_owned() })
    }
}
