//! Reads files of `proc` and `sys`. Callers parse them.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

/// Reads a required file. Invalid UTF-8, such as in a device name, is replaced.
pub(super) fn text(path: &Path) -> Result<String, String> {
    bytes(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// Reads a required file without conversion.
pub(super) fn bytes(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| message(path, &error))
}

/// Reads a file that some kernels and machines lack.
pub(super) fn optional(path: &Path) -> Result<Option<String>, String> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if is_absence(&error) => Ok(None),
        Err(error) => Err(message(path, &error)),
    }
}

/// Reads a number from a file that some machines lack. Other content counts as absent.
pub(super) fn number(path: &Path) -> Option<f64> {
    optional(path)
        .ok()??
        .trim()
        .parse()
        .ok()
        .filter(|number: &f64| number.is_finite())
}

/// Reads a file that some machines lack, and trims it.
pub(super) fn trimmed(path: &Path) -> Option<String> {
    let text = optional(path).ok()??;
    let trimmed = text.trim();
    (!trimmed.is_empty()).then(|| trimmed.to_owned())
}

/// The sorted names in a directory that some machines lack.
pub(super) fn names(directory: &Path) -> Result<Vec<String>, String> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if is_absence(&error) => return Ok(Vec::new()),
        Err(error) => return Err(message(directory, &error)),
    };
    let mut names: Vec<String> = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort_unstable();
    Ok(names)
}

/// The text, shortened to this number of bytes.
pub(super) fn cut(text: &str, max_bytes: usize) -> String {
    text[..text.floor_char_boundary(max_bytes)].to_owned()
}

/// Whether the error means that the file or its device is absent, which kernels report in several ways.
pub(super) fn is_absence(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let absent = [Errno::NODEV, Errno::NXIO, Errno::NODATA, Errno::OPNOTSUPP, Errno::SRCH];
    let code = error.raw_os_error();
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
        || absent.iter().any(|errno| code == Some(errno.raw_os_error()))
}

/// The percentage, between 0 and 100; `None` if the whole is zero.
pub(super) fn percent(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| (part / whole * 100.0).clamp(0.0, 100.0))
}

fn message(path: &Path, error: &io::Error) -> String {
    format!("cannot read {}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_file_and_the_cause() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("stat");
        let error = text(&path).expect_err("not there");
        assert!(error.contains("/stat: "), "{error}");
        assert!(error.contains("No such file or directory"), "{error}");
        assert_eq!(optional(&path), Ok(None));
        assert!(optional(directory.path()).is_err(), "a directory is no file");
    }

    #[test]
    fn names_that_are_not_unicode_are_converted() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("x");
        fs::write(&path, b"dev\xff 1\n").expect("written");
        assert_eq!(text(&path).as_deref(), Ok("dev\u{fffd} 1\n"));
    }

    #[test]
    fn percentages_stay_in_bounds() {
        assert_eq!(percent(1.0, 0.0), None);
        assert_eq!(percent(1.0, 4.0), Some(25.0));
        assert_eq!(percent(5.0, 4.0), Some(100.0));
        assert_eq!(percent(-1.0, 4.0), Some(0.0));
    }
}
