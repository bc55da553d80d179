//! The authority itself: how it is opened or made, and what it signs. What it has to sign is told in `ensure` and
//! `issue`.

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

/// A folder with a key that signs certificates. Processes may have it open at once.
#[derive(Debug)]
pub struct Authority {
    folder: PathBuf,
    pub(super) certificate: X509,
    pub(super) key: PKey<Private>,
}

impl Authority {
    /// Opens the authority in a folder, or makes one if the folder is empty or does not exist. Of many processes
    /// that start at once one makes it and all have the same.
    pub fn open_or_create(folder: &Path, now: Timestamp) -> Result<Self, PkiError> {
        let first_look = Self::open(folder);
        if let Ok(Some(there)) = first_look {
            return Ok(there);
        }
        // Where a link leads, for a link cannot be replaced by a folder.
        let folder = &fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
        let aside = match StagingDir::take(folder) {
            Ok(aside) => aside,
            Err(error) => return Err(first_look.err().unwrap_or(error)),
        };
        // Somebody may have made it between two files that we read, so what was seen without the lock says nothing.
        if let Some(there) = Self::open(folder)? {
            return Ok(there);
        }
        let made = Self::make(&aside, folder, now)?;
        aside.place(&made.folder)?;
        Ok(made)
    }

    /// Opens the authority in a folder; `None` if the folder is empty or does not exist.
    pub fn open(folder: &Path) -> Result<Option<Self>, PkiError> {
        let files = Files::new(folder, "ca");
        let half = |there, missing| PkiError::Half {
            folder: folder.to_owned(),
            there,
            missing,
        };
        let (certificate, key) = match (read_certificate(&files.certificate)?, read_key(&files.key)?) {
            (Some(certificate), Some(key)) => (certificate, key),
            (Some(_), None) => return Err(half("ca.crt", "ca.key")),
            (None, Some(_)) => return Err(half("ca.key", "ca.crt")),
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

    /// Where the authority lives.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file of the authority's own certificate.
    pub fn certificate_path(&self) -> PathBuf {
        Files::new(&self.folder, "ca").certificate
    }

    /// The file that lists what is revoked.
    pub fn crl_path(&self) -> PathBuf {
        self.folder.join("crl.pem")
    }

    /// The files of the server.
    pub fn server_files(&self) -> Files {
        Files::new(&self.folder, "server")
    }

    /// The files of a client.
    pub fn client_files(&self, name: &str) -> Result<Files, PkiError> {
        let name = super::names::Name::parse(name)?;
        Ok(Files::new(&clients(&self.folder), name.as_str()))
    }

    /// All that was issued, by name.
    pub fn list(&self) -> Result<Vec<Issued>, PkiError> {
        let records = record::read_all(&self.folder)?;
        Ok(records.into_iter().map(|record| record.issued).collect())
    }

    /// The right to write into the folder. It is tidy then, and still the folder of this authority.
    pub(super) fn lock(&self) -> Result<Lock, PkiError> {
        let lock = Lock::take(&self.folder)?;
        let there = read_certificate(&self.certificate_path())?;
        if there.as_ref().map(fingerprint) != Some(fingerprint(&self.certificate)) {
            return Err(PkiError::Replaced {
                folder: self.folder.clone(),
            });
        }
        lock.sweep(&self.folder)?;
        for folder in [clients(&self.folder), record::folder(&self.folder)] {
            files::make_folder(&folder)?;
            lock.sweep(&folder)?;
        }
        Ok(lock)
    }

    /// Whether this authority signed it.
    pub(super) fn signed(&self, certificate: &X509Ref) -> bool {
        certificate.verify(&self.key).unwrap_or(false)
    }

    /// Signs a certificate, and hands it out only after it was recorded: what nobody remembers, nobody can revoke.
    pub(super) fn certify(
        &self,
        lock: &Lock,
        public_key: &PKey<Public>,
        holder: &Holder,
        days: u32,
        now: Timestamp,
    ) -> Result<X509, PkiError> {
        let own_end = unix_seconds(self.certificate.not_after()).map_err(PkiError::openssl("read a certificate"))?;
        if own_end <= now.as_second() {
            return Err(PkiError::Ended {
                folder: self.folder.clone(),
                not_after: day(Timestamp::from_second(own_end).unwrap_or(Timestamp::MIN)),
            });
        }
        let leaf = certificate::leaf(&self.certificate, &self.key, public_key, holder, days, now)
            .map_err(PkiError::openssl("sign a certificate"))?;
        let serial = certificate::serial(&leaf).map_err(PkiError::openssl("read a certificate"))?;
        record::add(lock, &self.folder, &serial, &pem(&leaf)?)?;
        Ok(leaf)
    }

    /// A key that was just made and written; there was none.
    pub(super) fn new_key(&self, lock: &Lock, path: &Path) -> Result<PKey<Private>, PkiError> {
        let (key, pem) = fresh_key()?;
        lock.create(path, &pem, Readers::Owner)?;
        Ok(key)
    }

    fn make(aside: &StagingDir, folder: &Path, now: Timestamp) -> Result<Self, PkiError> {
        let (key, key_pem) = fresh_key()?;
        let certificate = certificate::authority(&key, now).map_err(PkiError::openssl("sign a certificate"))?;
        let files = Files::new(aside.path(), "ca");
        aside.lock().create(&files.key, &key_pem, Readers::Owner)?;
        aside
            .lock()
            .create(&files.certificate, &pem(&certificate)?, Readers::Everyone)?;
        files::make_folder(&clients(aside.path()))?;
        files::make_folder(&record::folder(aside.path()))?;
        Ok(Self {
            folder: folder.to_owned(),
            certificate,
            key,
        })
    }
}

/// A certificate as it is written into files.
pub(super) fn pem(certificate: &X509Ref) -> Result<Vec<u8>, PkiError> {
    certificate.to_pem().map_err(PkiError::openssl("write a certificate"))
}

/// A day as people write it.
pub(super) fn day(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d").to_string()
}

fn clients(authority: &Path) -> PathBuf {
    authority.join("clients")
}

fn fresh_key() -> Result<(PKey<Private>, Vec<u8>), PkiError> {
    let make = || {
        let key = certificate::new_key()?;
        let pem = key.private_key_to_pem_pkcs8()?;
        Ok((key, pem))
    };
    make().map_err(PkiError::openssl("make a key"))
}

fn fingerprint(certificate: &X509) -> Option<Vec<u8>> {
    certificate.to_der().ok()
}

/// A certificate for a server would be accepted by nobody as an authority, and that would be found out late.
fn check_signs(certificate: &X509, key: &PKey<Private>, files: &Files) -> Result<(), PkiError> {
    let reason = if !certificate.verify(key).unwrap_or(false) {
        "it was signed by another one; name the folder of an authority that signed itself"
    } else if certificate.subject_key_id().is_none() {
        "it has no subject key identifier; make one that has"
    } else if certificate.issued(certificate) != openssl::x509::X509VerifyResult::OK {
        "it may not sign certificates; make one that may"
    } else {
        return Ok(());
    };
    Err(PkiError::NoAuthority {
        path: files.certificate.clone(),
        reason,
    })
}

/// Whoever can read the key can be anybody.
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
