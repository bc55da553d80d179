//! Atomic writes: one writer at a time, and each file is written under a temporary name and renamed, so that it is
//! complete at every moment. This module does not know the files' content.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::error::PkiError;

/// The prefix of a file that is not complete yet. Only the holder of the [`Lock`] has such files, so those that the
/// next holder finds are left over.
const UNFINISHED: &str = ".new-";

/// The users who may read a file.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Readers {
    /// Only the owner, for keys.
    Owner,
    /// Every user, for certificates, which are public anyway.
    Everyone,
}

/// The right to write into a folder. It ends when the value is dropped, or with the process.
#[derive(Debug)]
pub(crate) struct Lock {
    folder: File,
}

impl Lock {
    /// Waits for the current writer. The folder itself is locked, so no lock file is left over.
    pub(crate) fn take(folder: &Path) -> Result<Self, PkiError> {
        let file = File::open(folder).map_err(read_error(folder))?;
        loop {
            match file.lock() {
                Ok(()) => return Ok(Self { folder: file }),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(PkiError::Lock {
                        path: folder.to_owned(),
                        source,
                    });
                }
            }
        }
    }

    /// Removes unfinished files of a writer that was killed.
    pub(crate) fn remove_unfinished(&self, folder: &Path) -> Result<(), PkiError> {
        for entry in fs::read_dir(folder).map_err(read_error(folder))? {
            let entry = entry.map_err(read_error(folder))?;
            if entry.file_name().as_encoded_bytes().starts_with(UNFINISHED.as_bytes()) {
                fs::remove_file(entry.path()).map_err(write_error(&entry.path()))?;
            }
        }
        Ok(())
    }

    /// Writes a file, and replaces an existing one.
    pub(crate) fn replace(&self, path: &Path, content: &[u8], readers: Readers) -> Result<(), PkiError> {
        let unfinished = self.write_unfinished(path, content, readers)?;
        fs::rename(&unfinished, path)
            .and_then(|()| sync_folder_of(path))
            .map_err(write_error(path))
    }

    /// Writes a file that must not exist.
    pub(crate) fn create(&self, path: &Path, content: &[u8], readers: Readers) -> Result<(), PkiError> {
        let unfinished = self.write_unfinished(path, content, readers)?;
        self.rename(&unfinished, path).inspect_err(|_| {
            // The next writer removes it otherwise.
            let _ = fs::remove_file(&unfinished);
        })
    }

    /// Renames a file to a name that must not exist.
    pub(crate) fn rename(&self, from: &Path, to: &Path) -> Result<(), PkiError> {
        rename_to_free_name(from, to)
            .and_then(|()| sync_folder_of(to))
            .map_err(write_error(to))
    }

    /// Whether the locked folder is still the one at this path.
    pub(crate) fn is_of(&self, path: &Path) -> Result<bool, PkiError> {
        let locked = self.folder.metadata().map_err(read_error(path))?;
        match fs::symlink_metadata(path) {
            Ok(current) => Ok((current.dev(), current.ino()) == (locked.dev(), locked.ino())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(source) => Err(read_error(path)(source)),
        }
    }

    fn write_unfinished(&self, path: &Path, content: &[u8], readers: Readers) -> Result<PathBuf, PkiError> {
        let mode = match readers {
            Readers::Owner => 0o600,
            Readers::Everyone => 0o644,
        };
        let mut name = OsString::from(UNFINISHED);
        name.push(path.file_name().unwrap_or_default());
        let unfinished = path.with_file_name(name);
        let write = || {
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(mode)
                .open(&unfinished)?;
            file.write_all(content)?;
            file.sync_all()
        };
        write().map_err(write_error(path))?;
        Ok(unfinished)
    }
}

/// Creates a folder that only its owner may enter, unless it exists.
pub(crate) fn make_folder(path: &Path) -> Result<(), PkiError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        other => other.map_err(write_error(path)),
    }
}

/// The content of a file; `None` if it does not exist.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, PkiError> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(read_error(path)(source)),
    }
}

/// Whether the folder is empty or does not exist.
pub(crate) fn is_empty(folder: &Path) -> Result<bool, PkiError> {
    match fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(source) => Err(read_error(folder)(source)),
    }
}

pub(crate) fn read_error(path: &Path) -> impl Fn(io::Error) -> PkiError {
    let path = path.to_owned();
    move |source| PkiError::Read {
        path: path.clone(),
        source,
    }
}

pub(crate) fn write_error(path: &Path) -> impl Fn(io::Error) -> PkiError {
    let path = path.to_owned();
    move |source| PkiError::Write {
        path: path.clone(),
        source,
    }
}

fn rename_to_free_name(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some file systems do not support it; then only the lock keeps other processes from taking the name in
        // between.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            if fs::symlink_metadata(to).is_ok() {
                return Err(ErrorKind::AlreadyExists.into());
            }
            fs::rename(from, to)
        }
        other => Ok(other?),
    }
}

/// Without it, a power failure may undo a rename.
pub(crate) fn sync_folder_of(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}

pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_that_is_there_is_never_overwritten_by_create() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        let lock = Lock::take(folder.path()).expect("the lock");
        lock.create(&path, b"first", Readers::Owner).expect("the first");
        let error = lock.create(&path, b"second", Readers::Owner).expect_err("error");
        assert!(matches!(error, PkiError::Write { source, .. } if source.kind() == ErrorKind::AlreadyExists));
        assert_eq!(fs::read(&path).expect("the file"), b"first");
        assert_eq!(
            fs::read_dir(folder.path()).expect("the folder").count(),
            1,
            "nothing is left over"
        );
        assert_eq!(
            fs::metadata(&path).expect("the file").permissions().mode() & 0o777,
            0o600
        );
        lock.replace(&path, b"third", Readers::Owner).expect("replaced");
        assert_eq!(fs::read(&path).expect("the file"), b"third");
    }

    #[test]
    fn only_unfinished_files_of_a_killed_writer_are_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in [".new-admin.key", "admin.key", ".hidden"] {
            fs::write(folder.path().join(name), b"x").expect("written");
        }
        Lock::take(folder.path())
            .expect("the lock")
            .remove_unfinished(folder.path())
            .expect("removed");
        assert!(!folder.path().join(".new-admin.key").exists());
        assert!(folder.path().join("admin.key").exists());
        assert!(folder.path().join(".hidden").exists());
    }
}
