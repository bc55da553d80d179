//! The PKCS #12 file that `watchpost certs` writes.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use watchpost_pki::{Authority, Encryption, Exported, PkiError};

/// A new file for a private key. It is created first, so that no certificate is issued when it cannot be, and removed
/// again if nothing is written.
pub(super) struct Destination {
    path: PathBuf,
    file: File,
    is_written: bool,
}

impl Destination {
    pub(super) fn create(path: &Path) -> Result<Self, PkiError> {
        let file = File::options().write(true).create_new(true).mode(0o600).open(path);
        let file = file.map_err(|source| PkiError::Export {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            path: path.to_owned(),
            file,
            is_written: false,
        })
    }

    pub(super) fn export(
        mut self,
        authority: &Authority,
        name: &str,
        legacy: bool,
        now: Timestamp,
    ) -> Result<String, PkiError> {
        let encryption = match legacy {
            true => Encryption::Legacy,
            false => Encryption::Aes,
        };
        let Exported { file, password } = authority.export(name, encryption, now)?;
        let written = self.file.write_all(&file).and_then(|()| self.file.sync_all());
        written.map_err(|source| PkiError::Export {
            path: self.path.clone(),
            source,
        })?;
        self.is_written = true;
        Ok(format!(
            "PKCS #12     {}\npassword     {password}\n\nImport the file with this password, which is not shown again, and trust {} for \
             websites.\n",
            self.path.display(),
            authority.certificate_path().display(),
        ))
    }
}

impl Drop for Destination {
    fn drop(&mut self) {
        if !self.is_written {
            let _ = fs::remove_file(&self.path);
        }
    }
}
