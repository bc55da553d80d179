//! Prepares an SQLite file before it is opened: a lock file serializes programs that start at once, and a damaged file
//! is renamed and kept, so that an operator can recover data from it. A marker shows the registry of rules that
//! the database was replaced, because the rules and their settings are lost with it. All files are private.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use diesel::{RunQueryDsl, sql_query, sql_types};

use super::connection::{Connection, on};
use super::database_address::DatabaseAddress;
use super::error::StoreError;

/// The suffixes of the files that belong to a database file.
const SIDE_FILES: [&str; 2] = ["-wal", "-shm"];

#[derive(diesel::QueryableByName)]
struct Checked {
    #[diesel(sql_type = sql_types::Text)]
    quick_check: String,
}

/// Locks a file next to the database, until the returned file is dropped. SQLite's own locks do not cover all steps of
/// a migration.
pub(super) fn lock_for_startup(path: &Path) -> Result<fs::File, StoreError> {
    let lock = with_suffix(path, ".turn");
    let file = private_file(&lock).and_then(|file| file.lock().map(|()| file));
    file.map_err(|error| StoreError::Unreachable(format!("{}: {error}", lock.display())))
}

/// Renames the database file if it is damaged. The whole file is only checked if damage was detected before.
pub(super) fn replace_damaged(path: &Path, now_ms: u64) -> Result<(), StoreError> {
    let cannot_rename = |reason: &str, error: &io::Error| {
        StoreError::Damaged(format!("{reason}, and {} cannot be renamed ({error})", path.display()))
    };
    finish_replacement(path).map_err(|error| cannot_rename("it was found before", &error))?;
    if !path.exists() {
        return Ok(());
    }
    let reason = match check(path, marker_of(path).exists()) {
        Err(StoreError::Damaged(reason)) => reason,
        Ok(()) => {
            let _ = fs::remove_file(marker_of(path));
            return Ok(());
        }
        // The caller reports it when it opens the file, and the next start checks again.
        Err(_) => return Ok(()),
    };
    let renamed = with_suffix(path, &format!(".damaged-{now_ms}"));
    replace(path, &renamed).map_err(|error| cannot_rename(&reason, &error))?;
    let _ = fs::remove_file(marker_of(path));
    log::error!(renamed_to:% = renamed.display(), reason = reason.as_str(); "the database was damaged; it was renamed and a new one is created");
    Ok(())
}

/// Gives the files of a database another name. A crash at any point loses none of them: the marker comes first, the side
/// files have both names before the database file is renamed, and [`finish_replacement`] does the rest.
fn replace(path: &Path, renamed: &Path) -> io::Result<()> {
    let name = renamed.file_name().unwrap_or_default();
    let mut marker = private_file(&replaced_marker_of(path))?;
    marker.set_len(0)?;
    marker.write_all(name.as_encoded_bytes())?;
    marker.sync_all()?;
    for suffix in SIDE_FILES {
        let from = with_suffix(path, suffix);
        if from.exists() {
            keep_as(&from, &with_suffix(renamed, suffix))?;
        }
    }
    sync_folder_of(path)?;
    fs::rename(path, renamed)?;
    sync_folder_of(path)?;
    remove_side_files(path)
}

/// Ends a replacement that a crash interrupted after the database file was renamed. If the crash came earlier, the
/// damaged file still has its name, and is found damaged again.
fn finish_replacement(path: &Path) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    let Ok(name) = fs::read_to_string(replaced_marker_of(path)) else {
        return Ok(());
    };
    for suffix in SIDE_FILES {
        let (from, to) = (
            with_suffix(path, suffix),
            with_suffix(&path.with_file_name(&name), suffix),
        );
        if from.exists() && !to.exists() {
            keep_as(&from, &to)?;
        }
    }
    sync_folder_of(path)?;
    // SQLite would take them for those of the new database.
    remove_side_files(path)
}

fn remove_side_files(path: &Path) -> io::Result<()> {
    for suffix in SIDE_FILES {
        match fs::remove_file(with_suffix(path, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Gives a file another name in addition, or copies it where the file system has no links.
fn keep_as(from: &Path, to: &Path) -> io::Result<()> {
    let _ = fs::remove_file(to);
    if fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    fs::copy(from, to)?;
    fs::File::open(to)?.sync_all()
}

fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// Whether a damaged database was replaced by this one, and nothing has been done about it yet.
pub(super) fn was_replaced(path: &Path) -> bool {
    replaced_marker_of(path).exists()
}

/// Forgets that the database was replaced.
pub(super) fn forget_replacement(path: &Path) {
    // If the marker stays, the next start finds rules in the database and removes it.
    let _ = fs::remove_file(replaced_marker_of(path));
}

/// Creates a missing database file, for its owner only; SQLite gives the files next to it the same mode.
pub(super) fn create_private(path: &Path) {
    if !path.exists() {
        // SQLite reports why the file cannot be created.
        let _ = private_file(path);
    }
}

fn private_file(path: &Path) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Whether this process may create files next to the database file.
pub(super) fn check_folder(path: &Path) -> Result<(), StoreError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    check_writable(folder.unwrap_or(Path::new(".")))
}

/// Whether this process may write a file or a folder.
pub(super) fn check_writable(path: &Path) -> Result<(), StoreError> {
    let allowed = rustix::fs::access(path, rustix::fs::Access::EXISTS | rustix::fs::Access::WRITE_OK);
    allowed.map_err(|error| {
        let error = std::io::Error::from(error);
        StoreError::Unreachable(format!("{}: {error}", path.display()))
    })
}

/// Why the next start replaces the database file, if it does. Nothing is changed.
pub(super) fn damage(path: &Path) -> Result<Option<String>, StoreError> {
    match check(path, marker_of(path).exists()) {
        Ok(()) => Ok(None),
        Err(StoreError::Damaged(reason)) => Ok(Some(reason)),
        Err(other) => Err(other),
    }
}

/// Leaves a marker file for the next start.
pub(super) fn leave_marker(path: &Path, reason: &str) {
    if !marker_of(path).exists() {
        log::error!(database:% = path.display(), reason; "the database is damaged; the next start renames it and creates a new one");
        // Without the marker, the next start only checks the beginning of the file, as it always does.
        let _ = private_file(&marker_of(path)).and_then(|mut marker| marker.write_all(reason.as_bytes()));
    }
}

/// Reads only: a connection that may write would copy the log into the damaged file when it is closed, and delete the log.
fn check(path: &Path, whole: bool) -> Result<(), StoreError> {
    let read_only = DatabaseAddress::File {
        path: path.to_owned(),
        read_only: true,
    };
    let mut connection = Connection::establish(&read_only)?;
    connection.run("SELECT count(*) FROM sqlite_master")?;
    if whole {
        let found: Checked =
            on!(&mut connection, connection => sql_query("PRAGMA quick_check(1)").get_result(connection))?;
        if found.quick_check != "ok" {
            return Err(StoreError::Damaged(found.quick_check));
        }
    }
    Ok(())
}

fn marker_of(path: &Path) -> PathBuf {
    with_suffix(path, ".damaged")
}

fn replaced_marker_of(path: &Path) -> PathBuf {
    with_suffix(path, ".replaced")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with a damaged database and its side files.
    fn damaged() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("watchpost.db");
        fs::write(&path, vec![b'x'; 4096]).expect("written");
        fs::write(folder.path().join("watchpost.db-wal"), "committed").expect("written");
        fs::write(folder.path().join("watchpost.db-shm"), "index").expect("written");
        (folder, path)
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("it is read");
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
            .collect();
        names.sort();
        names
    }

    const REPLACED: [&str; 4] = [
        "watchpost.db.damaged-7",
        "watchpost.db.damaged-7-shm",
        "watchpost.db.damaged-7-wal",
        "watchpost.db.replaced",
    ];

    #[test]
    fn a_damaged_database_is_renamed_with_its_side_files() {
        let (folder, path) = damaged();
        assert!(!was_replaced(&path));
        replace_damaged(&path, 7).expect("renamed");
        assert_eq!(names(folder.path()), REPLACED);
        assert!(was_replaced(&path));
        forget_replacement(&path);
        assert!(!was_replaced(&path));
    }

    #[test]
    fn a_crash_before_the_database_is_renamed_separates_no_files() {
        let (folder, path) = damaged();
        // The marker and the second name of one side file are written, and nothing else.
        fs::write(replaced_marker_of(&path), "watchpost.db.damaged-6").expect("written");
        keep_as(
            &with_suffix(&path, "-wal"),
            &folder.path().join("watchpost.db.damaged-6-wal"),
        )
        .expect("kept");
        replace_damaged(&path, 7).expect("renamed");
        let mut expected = vec!["watchpost.db.damaged-6-wal"];
        expected.extend(REPLACED);
        assert_eq!(names(folder.path()), expected);
    }

    #[test]
    fn a_crash_after_the_database_is_renamed_loses_no_side_file() {
        // With and without the second names, which a server before this one did not write.
        for linked in [true, false] {
            let (folder, path) = damaged();
            fs::write(replaced_marker_of(&path), "watchpost.db.damaged-7").expect("written");
            if linked {
                for suffix in SIDE_FILES {
                    let to = folder.path().join(format!("watchpost.db.damaged-7{suffix}"));
                    keep_as(&with_suffix(&path, suffix), &to).expect("kept");
                }
            }
            fs::rename(&path, folder.path().join("watchpost.db.damaged-7")).expect("renamed");
            replace_damaged(&path, 8).expect("nothing is damaged any more");
            assert_eq!(names(folder.path()), REPLACED);
            let wal = fs::read(folder.path().join("watchpost.db.damaged-7-wal")).expect("it is kept");
            assert_eq!(wal, b"committed");
        }
    }

    #[test]
    fn side_files_of_the_new_database_are_left_alone() {
        let (folder, path) = damaged();
        replace_damaged(&path, 7).expect("renamed");
        // The new database is in use when the server is killed, before anything is done about the replacement.
        let address = DatabaseAddress::File {
            path: path.clone(),
            read_only: false,
        };
        let mut new = Connection::establish(&address).expect("it is created");
        new.run("CREATE TABLE written (id INTEGER)")
            .expect("it is written to the log");
        let wal = || fs::read(with_suffix(&path, "-wal")).expect("it is there");
        let before = wal();
        replace_damaged(&path, 8).expect("nothing is damaged");
        assert!(!before.is_empty() && wal() == before);
        assert!(was_replaced(&path) && names(folder.path()).len() == 7);
    }
}
