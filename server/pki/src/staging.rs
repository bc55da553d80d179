//! Creates a folder atomically: one process at a time fills it under a temporary name and renames it. This module does
//! not know its content.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::error::PkiError;
use super::files::{Lock, folder_of, make_folder, read_error, sync_folder_of, write_error};

/// A folder under a temporary name next to its final path, used by one process at a time.
#[derive(Debug)]
pub(crate) struct StagingDir {
    path: PathBuf,
    placed: bool,
    lock: Lock,
}

impl StagingDir {
    /// Waits for another process that creates the same folder; check whether the folder exists before filling it.
    pub(crate) fn take(folder: &Path) -> Result<Self, PkiError> {
        let unnamed = || PkiError::Unnamed {
            folder: folder.to_owned(),
        };
        let name = folder.file_name().ok_or_else(unnamed)?;
        let path = folder.with_file_name([".".as_ref(), name, ".new".as_ref()].join(OsStr::new("")));
        let parent = folder_of(folder);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent)
            .map_err(write_error(parent))?;
        // A link or a file with the temporary name is removed, because it would never become a folder.
        if fs::symlink_metadata(&path).is_ok_and(|metadata| !metadata.is_dir()) {
            fs::remove_file(&path).map_err(write_error(&path))?;
        }
        loop {
            make_folder(&path)?;
            let lock = match Lock::take(&path) {
                Err(PkiError::Read { source, .. }) if source.kind() == ErrorKind::NotFound => continue,
                other => other?,
            };
            // While this process waited, the folder may have been renamed or removed; then the lock is useless.
            if lock.is_of(&path)? {
                empty(&path)?;
                return Ok(Self {
                    path,
                    placed: false,
                    lock,
                });
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn lock(&self) -> &Lock {
        &self.lock
    }

    /// Moves the folder to its final path atomically. An empty folder there is replaced; any other is an error.
    pub(crate) fn place(mut self, folder: &Path) -> Result<(), PkiError> {
        File::open(&self.path)
            .and_then(|staging| staging.sync_all())
            .map_err(write_error(&self.path))?;
        fs::rename(&self.path, folder).map_err(write_error(folder))?;
        self.placed = true;
        sync_folder_of(folder).map_err(write_error(folder))
    }
}

impl Drop for StagingDir {
    /// The lock is still held here, because fields are dropped after this.
    fn drop(&mut self) {
        if !self.placed {
            // The next process that uses it empties it anyway.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

fn empty(folder: &Path) -> Result<(), PkiError> {
    for entry in fs::read_dir(folder).map_err(read_error(folder))? {
        let entry = entry.map_err(read_error(folder))?;
        let is_folder = entry.file_type().map_err(read_error(&entry.path()))?.is_dir();
        let removed = if is_folder {
            fs::remove_dir_all(entry.path())
        } else {
            fs::remove_file(entry.path())
        };
        removed.map_err(write_error(&entry.path()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::files::is_empty;

    #[test]
    fn a_staging_folder_that_is_not_placed_is_removed() {
        let parent = tempfile::tempdir().expect("a folder");
        let folder = parent.path().join("pki");
        let left_over = parent.path().join(".pki.new");
        fs::create_dir_all(left_over.join("clients")).expect("made");
        fs::write(left_over.join("ca.key"), b"half a k").expect("written");
        let staging = StagingDir::take(&folder).expect("taken");
        assert!(
            is_empty(staging.path()).expect("readable"),
            "left-over files are removed"
        );
        drop(staging);
        assert!(is_empty(parent.path()).expect("readable"));
    }

    #[test]
    fn a_staging_folder_does_not_replace_a_folder_that_is_not_empty() {
        let parent = tempfile::tempdir().expect("a folder");
        let folder = parent.path().join("pki");
        fs::create_dir(&folder).expect("made");
        StagingDir::take(&folder)
            .expect("taken")
            .place(&folder)
            .expect("an empty one is replaced");
        fs::write(folder.join("mine"), b"x").expect("written");
        assert!(StagingDir::take(&folder).expect("taken").place(&folder).is_err());
        assert!(folder.join("mine").exists());
    }

    #[test]
    fn a_path_that_is_not_a_folder_is_not_waited_for() {
        let parent = tempfile::tempdir().expect("a folder");
        let folder = parent.path().join("pki");
        let in_the_way = parent.path().join(".pki.new");
        symlink(parent.path().join("nowhere"), &in_the_way).expect("linked");
        drop(StagingDir::take(&folder).expect("taken"));
        symlink(parent.path(), &in_the_way).expect("linked");
        drop(StagingDir::take(&folder).expect("taken"));
        fs::write(&in_the_way, b"x").expect("written");
        drop(StagingDir::take(&folder).expect("taken"));
        assert!(parent.path().exists(), "the target of a link is not changed");
    }

    #[test]
    fn a_folder_without_a_name_is_refused() {
        for folder in ["/", "..", "a/.."] {
            let error = StagingDir::take(Path::new(folder)).expect_err("error");
            assert!(matches!(error, PkiError::Unnamed { .. }), "{folder}");
        }
    }
}
