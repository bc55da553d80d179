//! The data directory: it is created, tried out by writing a file, and locked, so that two servers never share one.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::StartError;

/// The lock file in the data directory. The lock is the kernel's, not the file: it ends with the process that holds it,
/// however that process ends, so a file that is left over means nothing.
const LOCK_FILE: &str = "watchpost.lock";

/// `watchpost check` holds the lock for an instant, which must not make a start fail.
const LOCK_ATTEMPTS: u32 = 10;
const LOCK_RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// The lock on a data directory; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct DataDirLock(#[expect(dead_code, reason = "the open file is the lock")] File);

/// The server that uses a data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RunningServer {
    /// Its process ID, if it could be read.
    pub(super) pid: Option<u32>,
}

/// Creates the directory if it is missing, and verifies that files can be written there.
pub(super) fn prepare(path: &Path) -> Result<(), StartError> {
    let unusable = |source| StartError::DataDir {
        path: path.to_owned(),
        source,
    };
    let created = DirBuilder::new().recursive(true).mode(0o700).create(path);
    created.and_then(|()| try_writing(path)).map_err(unusable)
}

fn try_writing(path: &Path) -> io::Result<()> {
    let file = path.join(format!(".write-test-{}", std::process::id()));
    let written = File::create(&file).and_then(|mut open| open.write_all(b"\n"));
    let removed = fs::remove_file(&file);
    written.and(removed)
}

/// Locks the directory, or says which server uses it.
pub(super) async fn lock(path: &Path) -> Result<DataDirLock, StartError> {
    let unusable = |source| StartError::DataDir {
        path: path.to_owned(),
        source,
    };
    let mut file = open_lock_file(path).map_err(unusable)?;
    let mut attempts = 0;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
            Err(TryLockError::WouldBlock) if attempts < LOCK_ATTEMPTS => {
                attempts += 1;
                tokio::time::sleep(LOCK_RETRY_INTERVAL).await;
            }
            Err(TryLockError::WouldBlock) => {
                return Err(StartError::DataDirInUse {
                    path: path.to_owned(),
                    pid: pid_in(&mut file),
                });
            }
        }
    }
    let pid = format!("{}\n", std::process::id());
    let written = file.set_len(0).and_then(|()| file.write_all(pid.as_bytes()));
    written.map_err(unusable)?;
    Ok(DataDirLock(file))
}

/// The server that uses the directory now, if there is one. Nothing is created.
pub(super) fn running_server(path: &Path) -> Option<RunningServer> {
    let mut file = File::open(path.join(LOCK_FILE)).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Some(RunningServer { pid: pid_in(&mut file) }),
        _ => None,
    }
}

fn open_lock_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.open(path.join(LOCK_FILE))
}

fn pid_in(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Prepares a directory, and removes what that created when this is dropped.
pub(super) struct Trial(Vec<PathBuf>);

impl Trial {
    pub(super) fn of(path: &Path) -> (Self, Result<(), StartError>) {
        let missing = path
            .ancestors()
            .take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists());
        let trial = Self(missing.map(Path::to_owned).collect());
        let prepared = prepare(path);
        (trial, prepared)
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        for folder in &self.0 {
            // A folder that something was written to in between stays.
            let _ = fs::remove_dir(folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_directory_has_one_lock_that_names_its_process() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(running_server(folder.path()), None);
        let held = lock(folder.path()).await.expect("it is free");
        let pid = Some(std::process::id());
        assert_eq!(running_server(folder.path()), Some(RunningServer { pid }));
        let error = lock(folder.path()).await.expect_err("it is locked");
        let text = error.to_string();
        assert!(text.contains(&folder.path().display().to_string()), "{text}");
        assert!(text.contains(&std::process::id().to_string()), "{text}");
        drop(held);
        assert_eq!(running_server(folder.path()), None);
        lock(folder.path())
            .await
            .expect("a lock file that is left over is no lock");
    }

    #[tokio::test]
    async fn a_check_at_the_same_moment_does_not_make_a_start_fail() {
        let folder = tempfile::tempdir().expect("a folder");
        drop(lock(folder.path()).await.expect("it is free"));
        let checking = File::open(folder.path().join(LOCK_FILE)).expect("it is there");
        checking.try_lock_shared().expect("it is free");
        let (locked, ()) = tokio::join!(lock(folder.path()), async {
            tokio::task::yield_now().await;
            drop(checking);
        });
        locked.expect("it waits for the check");
    }

    #[test]
    fn a_trial_leaves_nothing_behind() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a/b");
        let (trial, prepared) = Trial::of(&path);
        prepared.expect("it can be created");
        assert!(path.is_dir());
        drop(trial);
        assert_eq!(fs::read_dir(folder.path()).expect("it is read").count(), 0);
        let (trial, prepared) = Trial::of(folder.path());
        prepared.expect("it is there");
        drop(trial);
        assert!(folder.path().is_dir(), "a directory that existed stays");
    }

    #[test]
    fn a_file_in_the_path_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("file"), "").expect("written");
        let (_, prepared) = Trial::of(&folder.path().join("file/data"));
        assert!(prepared.is_err());
    }
}
