//! What happens to an SQLite file before it is used: those who open it take turns, and one that is damaged is kept
//! beside a new one, for whoever can still read some of it.

use std::fs;
use std::path::{Path, PathBuf};

use diesel::connection::SimpleConnection;
use diesel::{Connection as _, RunQueryDsl, SqliteConnection, sql_query, sql_types};

use super::error::StoreError;

/// What belongs to a database besides its file.
const SIDE_FILES: [&str; 2] = ["-wal", "-shm"];

#[derive(diesel::QueryableByName)]
struct Checked {
    #[diesel(sql_type = sql_types::Text)]
    quick_check: String,
}

/// Waits for others who open the same file just now; the turn ends with what is returned. SQLite's own locks do not
/// last over the steps of a migration.
pub(super) fn take_turn(path: &Path) -> Result<fs::File, StoreError> {
    let turn = with_ending(path, ".turn");
    let file = fs::File::create(&turn).and_then(|file| file.lock().map(|()| file));
    file.map_err(|error| StoreError::Unreachable(format!("{}: {error}", turn.display())))
}

/// Leaves a sound file where it is, and moves a damaged one away. The whole file is only read if damage was seen.
pub(super) fn make_way(path: &Path, now_ms: u64) -> Result<(), StoreError> {
    if !path.exists() {
        return Ok(());
    }
    let Err(StoreError::Damaged(why)) = look(path, mark_of(path).exists()) else {
        // What is wrong otherwise is told by whoever opens it.
        let _ = fs::remove_file(mark_of(path));
        return Ok(());
    };
    let kept = with_ending(path, &format!(".damaged-{now_ms}"));
    let moved = SIDE_FILES.iter().fold(fs::rename(path, &kept), |moved, companion| {
        let from = with_ending(path, companion);
        if from.exists() {
            return moved.and(fs::rename(from, with_ending(&kept, companion)));
        }
        moved
    });
    moved.map_err(|error| {
        StoreError::Damaged(format!("{why}, and {} cannot be moved aside ({error})", path.display()))
    })?;
    let _ = fs::remove_file(mark_of(path));
    log::error!(kept:% = kept.display(), reason = why.as_str(); "the database was damaged; it is kept aside and a new one is begun");
    Ok(())
}

/// Leaves a mark for the next start.
pub(super) fn mark(path: &Path, why: &str) {
    if !mark_of(path).exists() {
        log::error!(database:% = path.display(), reason = why; "the database is damaged; it is kept aside at the next start");
        // Without the mark the next start looks only at the beginning of the file, as it always does.
        let _ = fs::write(mark_of(path), why);
    }
}

fn look(path: &Path, whole: bool) -> Result<(), StoreError> {
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

fn mark_of(path: &Path) -> PathBuf {
    with_ending(path, ".damaged")
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}
