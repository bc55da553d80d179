//! The ready file lists the addresses that the server listens on, for scripts that let the system choose a port. It
//! does not say that the first round has finished: `/health/ready` does.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::api::process::Listening;
use crate::atomic_file::{self, PUBLIC};

/// The ready file; it is removed on drop.
#[derive(Debug)]
pub(super) struct ReadyFile(PathBuf);

#[derive(Serialize)]
struct Contents<'a> {
    /// In the order of the configuration.
    listeners: &'a [Listening],
}

impl ReadyFile {
    /// Removes the file of a process that was killed.
    pub(super) fn clear(path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Writes the addresses. The file is renamed into place, so a reader never sees a part of it.
    pub(super) fn write(path: PathBuf, listeners: &[Listening]) -> io::Result<Self> {
        let text = serde_json::to_string(&Contents { listeners }).map_err(io::Error::other)?;
        atomic_file::replace(&path, (text + "\n").as_bytes(), PUBLIC)?;
        Ok(Self(path))
    }
}

impl Drop for ReadyFile {
    fn drop(&mut self) {
        if let Err(error) = Self::clear(&self.0) {
            log::warn!(error:% = error; "cannot remove the ready file {}", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ApiProfile;

    fn listening() -> Listening {
        Listening {
            address: ([127, 0, 0, 1], 8443).into(),
            tls: true,
            client_auth: "required",
            api: ApiProfile::Full,
        }
    }

    #[test]
    fn it_has_each_address_and_is_removed_on_drop() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ready.json");
        let ready = ReadyFile::write(path.clone(), &[listening()]).expect("written");
        let content: serde_json::Value =
            serde_json::from_slice(&fs::read(&path).expect("it is there")).expect("it is JSON");
        assert_eq!(content["listeners"][0]["address"], "127.0.0.1:8443");
        assert_eq!(content["listeners"][0]["tls"], true);
        let all = fs::read_dir(folder.path()).expect("readable").count();
        assert_eq!(all, 1, "no temporary file remains");
        drop(ready);
        assert!(!path.exists());
    }

    #[test]
    fn a_stale_file_is_removed_and_a_missing_one_is_no_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ready.json");
        fs::write(&path, "{}").expect("written");
        ReadyFile::clear(&path).expect("removed");
        assert!(!path.exists());
        ReadyFile::clear(&path).expect("there is nothing to remove");
    }

    #[test]
    fn a_missing_folder_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("none/ready.json");
        let error = ReadyFile::write(path, &[listening()]).expect_err("there is no folder");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
