//! Replaces a file as a whole: a reader sees the old content or the new one, also after a crash. The development authority
//! has rules of its own for its files.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// For files that other users may read, as far as the umask allows.
pub(crate) const PUBLIC: u32 = 0o666;

/// For files that only the user of the server reads.
pub(crate) const PRIVATE: u32 = 0o600;

/// Writes a file next to this path, and renames it. Incomplete files end in `.new`.
pub(crate) fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(format!(".{}.new", std::process::id()));
    let unfinished = Path::new(&unfinished);
    let written = write(unfinished, content, mode).and_then(|()| fs::rename(unfinished, path));
    if written.is_err() {
        let _ = fs::remove_file(unfinished);
        return written;
    }
    // Otherwise a power failure could restore the old file after the caller went on.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn write(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(mode).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_replaced_with_its_mode_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        for content in ["first", "second"] {
            replace(&path, content.as_bytes(), PRIVATE).expect("written");
            assert_eq!(fs::read_to_string(&path).expect("readable"), content);
        }
        let mode = fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, PRIVATE);
        assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 1);
    }

    #[test]
    fn a_failure_keeps_the_file_and_leaves_nothing_unfinished() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        fs::create_dir(&path).expect("made");
        assert!(replace(&path, b"text", PUBLIC).is_err(), "a directory is in the way");
        assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 1);
    }
}
