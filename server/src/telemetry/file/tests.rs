//! Tests of the log file, with the file moved, removed and the disk full.

use std::os::unix::fs::symlink;
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use super::*;

/// A log file in a separate folder, the time, and the reported problems.
struct Log {
    folder: TempDir,
    path: PathBuf,
    file: RotatingFile,
    now: Instant,
    reports: Arc<Mutex<Vec<String>>>,
}

impl Log {
    fn new(max_size: u64, max_files: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("inner").join("watchpost.log");
        fs::create_dir(folder.path().join("inner")).expect("a folder");
        let reports = Arc::new(Mutex::new(Vec::new()));
        let reported = Arc::clone(&reports);
        let report: Report = Box::new(move |text| reported.lock().expect("sound").push(text.to_owned()));
        let now = Instant::now();
        let file = RotatingFile::open(&path, max_size, max_files, now, report).expect("opened");
        Self {
            folder,
            path,
            file,
            now,
            reports,
        }
    }

    fn write(&mut self, line: &str) -> bool {
        self.file.write_line(line.as_bytes(), self.now)
    }

    fn later(&mut self) {
        self.now += REOPEN_CHECK_INTERVAL;
    }

    fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.path.with_file_name(name)).ok()
    }

    fn reports(&self) -> Vec<String> {
        self.reports.lock().expect("sound").clone()
    }
}

#[test]
fn a_file_that_would_be_too_large_is_rotated_and_only_the_oldest_lines_are_lost() {
    let mut log = Log::new(8, 2);
    for line in [
        "one\n",
        "two\n",
        "three\n",
        "four\n",
        "five\n",
        "a line that is too long by itself\n",
    ] {
        assert!(log.write(line));
    }
    assert_eq!(
        log.read("watchpost.log").as_deref(),
        Some("a line that is too long by itself\n")
    );
    assert_eq!(log.read("watchpost.log.1").as_deref(), Some("five\n"));
    assert_eq!(log.read("watchpost.log.2").as_deref(), Some("four\n"));
    assert_eq!(log.read("watchpost.log.3"), None);
    assert!(log.reports().is_empty());
}

#[test]
fn without_rotated_files_the_file_is_truncated_and_without_a_limit_it_is_not() {
    let mut log = Log::new(8, 0);
    assert!(log.write("one\n") && log.write("two\n") && log.write("three\n"));
    assert_eq!(log.read("watchpost.log").as_deref(), Some("three\n"));
    assert_eq!(log.read("watchpost.log.1"), None);

    let mut log = Log::new(0, 3);
    let line = "x".repeat(1000);
    assert!((0..100).all(|_| log.write(&line)));
    assert_eq!(log.read("watchpost.log").map(|text| text.len()), Some(100_000));
}

#[test]
fn existing_content_counts_and_is_kept() {
    let mut log = Log::new(8, 1);
    fs::write(&log.path, "before\n").expect("written");
    log.file = RotatingFile::open(&log.path, 8, 1, log.now, Box::new(|_| {})).expect("opened");
    assert!(log.write("after\n"));
    assert_eq!(log.read("watchpost.log.1").as_deref(), Some("before\n"));
    assert_eq!(log.read("watchpost.log").as_deref(), Some("after\n"));
}

#[test]
fn after_the_file_was_moved_a_new_one_is_opened() {
    let mut log = Log::new(0, 1);
    assert!(log.write("one\n"));
    fs::rename(&log.path, log.path.with_file_name("moved")).expect("moved");
    assert!(log.write("two\n"));
    log.later();
    assert!(log.write("three\n"));
    assert_eq!(log.read("moved").as_deref(), Some("one\ntwo\n"));
    assert_eq!(log.read("watchpost.log").as_deref(), Some("three\n"));
}

#[test]
fn a_file_that_another_program_truncated_is_not_rotated_for_its_old_size() {
    let mut log = Log::new(8, 1);
    assert!(log.write("one two\n"));
    fs::write(&log.path, "").expect("emptied");
    assert!(log.write("three\n"));
    assert_eq!(log.read("watchpost.log").as_deref(), Some("three\n"));
    assert_eq!(log.read("watchpost.log.1"), None);
}

#[test]
fn while_the_folder_is_missing_lines_are_dropped_and_the_problem_is_reported_once() {
    let mut log = Log::new(0, 1);
    let folder = log.folder.path().join("inner");
    assert!(log.write("one\n"));
    fs::remove_dir_all(&folder).expect("removed");
    log.later();
    assert!(!log.write("two\n"));
    assert!(!log.write("three\n"));
    fs::create_dir(&folder).expect("a folder");
    assert!(log.write("four\n"));
    assert_eq!(log.read("watchpost.log").as_deref(), Some("four\n"));
    let reports = log.reports();
    assert_eq!(reports.len(), 2, "{reports:?}");
    assert!(reports[0].contains("dropping lines: No such file"), "{reports:?}");
    assert!(
        reports[1].contains("is written again; 2 lines were dropped"),
        "{reports:?}"
    );
}

#[test]
fn on_a_full_disk_lines_are_dropped_until_there_is_room() {
    let mut log = Log::new(100, 1);
    fs::remove_file(&log.path).expect("removed");
    symlink("/dev/full", &log.path).expect("linked");
    log.later();
    assert!(!log.write("one\n"));
    assert!(!log.write("two\n"));
    fs::remove_file(&log.path).expect("removed");
    log.later();
    assert!(log.write("three\n"));
    assert_eq!(log.read("watchpost.log").as_deref(), Some("three\n"));
    let reports = log.reports();
    assert_eq!(reports.len(), 2, "{reports:?}");
    assert!(reports[0].contains("No space left"), "{reports:?}");
}

#[test]
fn a_device_is_never_rotated() {
    let mut log = Log::new(4, 3);
    fs::remove_file(&log.path).expect("removed");
    symlink("/dev/null", &log.path).expect("linked");
    log.later();
    assert!((0..10).all(|_| log.write("a line\n")));
    assert_eq!(log.read("watchpost.log.1"), None);
}

#[test]
fn a_file_that_cannot_be_rotated_keeps_growing_and_is_reported_once() {
    let mut log = Log::new(4, 1);
    // A folder that is not empty blocks the name of the rotated file.
    fs::create_dir_all(log.path.with_file_name("watchpost.log.1").join("x")).expect("a folder");
    for line in ["one\n", "two\n", "three\n"] {
        assert!(log.write(line));
        log.later();
    }
    assert_eq!(log.read("watchpost.log").as_deref(), Some("one\ntwo\nthree\n"));
    assert_eq!(log.reports().len(), 1, "{:?}", log.reports());
    fs::remove_dir_all(log.path.with_file_name("watchpost.log.1")).expect("removed");
    assert!(log.write("four\n"));
    assert_eq!(log.read("watchpost.log").as_deref(), Some("four\n"));
    assert_eq!(log.read("watchpost.log.1").as_deref(), Some("one\ntwo\nthree\n"));
}

#[test]
fn a_partial_line_is_removed_unless_another_process_wrote_after_it() {
    let mut log = Log::new(0, 1);
    assert!(log.write("one\n"));
    let full = || io::Error::from(ErrorKind::StorageFull);
    let open = log.file.open.as_mut().expect("open");
    open.file.write_all(b"tw").expect("written");
    assert!(open.undo_write(2, full()).is_err());
    assert!(open.append(b"three\n").is_ok());
    assert_eq!(log.read("watchpost.log").as_deref(), Some("one\nthree\n"));

    let open = log.file.open.as_mut().expect("open");
    open.file.write_all(b"fo!").expect("written");
    assert!(open.undo_write(2, full()).is_err());
    assert!(open.append(b"five\n").is_ok());
    assert_eq!(log.read("watchpost.log").as_deref(), Some("one\nthree\nfo!\nfive\n"));
}
