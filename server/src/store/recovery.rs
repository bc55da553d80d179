//! Prepares an SQLite file before it is opened: a lock file serializes programs that start at once, and a damaged file
//! is renamed and kept, so that an operator can recover data from it.

use std::fs;
use std::path::{Path, PathBuf};

use diesel::connection::SimpleConnection;
use diesel::{Connection as _, RunQueryDsl, SqliteConnection, sql_query, sql_types};

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
    let file = fs::File::create(&lock).and_then(|file| file.lock().map(|()| file));
    file.map_err(|error| StoreError::Unreachable(format!("{}: {error}", lock.display())))
}

/// Renames the database file if it is damaged. The whole file is only checked if damage was detected before.
pub(super) fn replace_damaged(path: &Path, now_ms: u64) -> Result<(), StoreError> {
    if !path.exists() {
        return Ok(());
    }
    let Err(StoreError::Damaged(reason)) = check(path, marker_of(path).exists()) else {
        // The caller reports other errors when it opens the file.
        let _ = fs::remove_file(marker_of(path));
        return Ok(());
    };
    let renamed = with_suffix(path, &format!(".damaged-{now_ms}"));
    let moved = SIDE_FILES.iter().fold(fs::rename(path, &renamed), |moved, suffix| {
        let from = with_suffix(path, suffix);
        if from.exists() {
            return moved.and(fs::rename(from, with_suffix(&renamed, suffix)));
        }
        moved
    });
    moved.map_err(|error| {
        StoreError::Damaged(format!("{reason}, and {} cannot be renamed ({error})", path.display()))
    })?;
    let _ = fs::remove_file(marker_of(path));
    log::error!(renamed_to:% = renamed.display(), reason = reason.as_str(); "the database was damaged; it was renamed and a new one is created");
    Ok(())
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
        let _ = fs::write(marker_of(path), reason);
    }
}

fn check(path: &Path, whole: bool) -> Result<(), StoreError> {
    let mut connection = SqliteConnection::establish(&path.display().to_string())?;
    connection.batch_execute("PRAGMA busy_timeout = 5000; SELECT count(*) FROM sqlite_master;")?;
    if whole {
        let found = sql_query("PRAGMA quick_check(1)").get_result::<Checked>(&mut connection)?;
        if found.quick_check != "ok" {
            return Err(StoreError::Damaged(found.quick_check));
        }
    }
    Ok(())
}

fn marker_of(path: &Path) -> PathBuf {
    with_suffix(path, ".damaged")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
