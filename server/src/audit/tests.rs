//! Tests of the audit file: what is written is verified, and each kind of damage is found.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::*;

struct Chain {
    _folder: tempfile::TempDir,
    options: Options,
}

impl Chain {
    fn new(max_size: u64, max_files: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.log");
        Self {
            _folder: folder,
            options: Options {
                path,
                max_size,
                max_files,
            },
        }
    }

    /// A chain with this many lines in one file.
    fn with(lines: u32) -> Self {
        let chain = Self::new(1 << 20, 10);
        chain.append(lines);
        chain
    }

    fn path(&self) -> &Path {
        &self.options.path
    }

    fn append(&self, lines: u32) {
        let file = AuditFile::open(&self.options).expect("it opens");
        for number in 0..lines {
            let event = AuditEvent::new("test", json!({ "number": number, "hash": "no", "sequence": "no" }));
            file.append(&event).expect("written");
        }
    }

    fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path()).expect("read");
        text.lines().map(str::to_owned).collect()
    }

    fn replace(&self, lines: &[String]) {
        fs::write(self.path(), lines.join("\n") + "\n").expect("written");
    }

    fn problems(&self) -> Vec<String> {
        let verified = verify(self.path(), &[]).expect("read");
        verified.damages.iter().map(ToString::to_string).collect()
    }

    /// Asserts one damage at this line of the current file.
    fn damaged(&self, line: u64, problem: &str) {
        let file = self.path().display();
        let expected = match line {
            0 => format!("{file}: {problem}"),
            line => format!("{file}:{line}: {problem}"),
        };
        assert_eq!(self.problems(), [expected]);
    }

    fn rotated(&self) -> Vec<PathBuf> {
        let all = file::rotated_files(self.path()).expect("listed");
        all.into_iter().map(|(_, path)| path).collect()
    }
}

#[test]
fn a_chain_is_intact_over_restarts_and_its_fields_cannot_be_replaced() {
    let chain = Chain::with(5);
    chain.append(5);
    let verified = verify(chain.path(), &[]).expect("read");
    assert_eq!(verified.damages, []);
    assert_eq!((verified.files, verified.lines, verified.first), (1, 10, 1));
    assert_eq!(verified.head.sequence, 10);
    let last: Value = serde_json::from_str(&chain.lines()[9]).expect("JSON");
    assert_eq!((&last["sequence"], &last["number"]), (&json!(10), &json!(4)));
    assert_eq!(last["hash"], json!(verified.head.hash));
}

#[test]
fn a_changed_line_is_found() {
    for line in [0, 2, 4] {
        let chain = Chain::with(5);
        let mut lines = chain.lines();
        lines[line] = lines[line].replace("\"event\":\"test\"", "\"event\":\"rest\"");
        chain.replace(&lines);
        chain.damaged(line as u64 + 1, "the line was changed");
    }
}

#[test]
fn a_line_that_was_replaced_with_a_valid_hash_is_found() {
    let chain = Chain::with(5);
    let mut lines = chain.lines();
    let third = line::read(lines[2].as_bytes()).expect("a line");
    let before = Head {
        sequence: 2,
        hash: third.previous,
    };
    let (forged, _) = line::write(&AuditEvent::new("forged", json!({})), &before, 1);
    lines[2] = forged.trim_end().to_owned();
    chain.replace(&lines);
    chain.damaged(4, "the line before this one was replaced");
    // The last line has no successor, but a head.
    let chain = Chain::with(3);
    let mut lines = chain.lines();
    lines[2] = forged.trim_end().to_owned();
    chain.replace(&lines);
    assert!(!chain.problems().is_empty());
}

#[test]
fn a_removed_line_is_found() {
    let chain = Chain::with(5);
    let mut lines = chain.lines();
    lines.remove(2);
    chain.replace(&lines);
    chain.damaged(3, "the lines from number 3 to 3 are missing");
}

#[test]
fn missing_lines_at_the_end_are_found() {
    let chain = Chain::with(5);
    chain.replace(&chain.lines()[..3]);
    chain.damaged(0, "the end is missing: it ends at number 3 instead of 5");
    fs::write(chain.path(), "").expect("written");
    chain.damaged(0, "the end is missing: it ends at number 0 instead of 5");
}

#[test]
fn reordered_lines_are_found() {
    let chain = Chain::with(5);
    let mut lines = chain.lines();
    lines.swap(1, 2);
    chain.replace(&lines);
    let problems = chain.problems();
    assert!(
        problems[0].ends_with(":2: the lines from number 2 to 2 are missing"),
        "{problems:?}"
    );
    assert!(
        problems[1].contains(":3: the line has number 2 instead of 4"),
        "{problems:?}"
    );
}

#[test]
fn a_truncated_line_is_found_and_removed_by_the_next_start_which_records_it() {
    let chain = Chain::with(3);
    let text = fs::read(chain.path()).expect("read");
    fs::write(chain.path(), &text[..text.len() - 10]).expect("written");
    let problems = chain.problems();
    assert!(problems[0].ends_with(":3: the line is truncated"), "{problems:?}");
    chain.append(1);
    let recovery = chain.lines()[2].clone();
    assert!(
        recovery.contains("\"event\":\"recovery\"") && recovery.contains("incomplete last line"),
        "{recovery}"
    );
    let problems = chain.problems();
    assert!(
        problems[0].ends_with("the lines from number 3 to 3 are missing"),
        "it stays visible: {problems:?}"
    );
}

#[test]
fn a_line_that_was_never_acknowledged_is_removed_without_a_trace_in_the_chain() {
    let chain = Chain::with(3);
    let mut open = fs::OpenOptions::new().append(true).open(chain.path()).expect("opened");
    open.write_all(b"{\"event\":\"half a li").expect("written");
    chain.append(1);
    assert_eq!(chain.problems(), [""; 0]);
    assert!(chain.lines()[3].contains("incomplete last line of 19 bytes"));
}

#[test]
fn a_missing_head_is_found_and_recorded_by_the_next_start() {
    let chain = Chain::with(3);
    fs::remove_file(chain.path().with_extension("log.head")).expect("removed");
    chain.damaged(0, "the file with the head is missing");
    chain.append(0);
    assert_eq!(chain.problems(), [""; 0]);
    assert!(chain.lines()[3].contains("the file with the head is missing"));
}

#[test]
fn rotation_keeps_the_chain_and_the_newest_files() {
    let chain = Chain::new(1000, 3);
    chain.append(30);
    chain.append(30);
    assert_eq!(chain.rotated().len(), 3);
    let verified = verify(chain.path(), &[]).expect("read");
    assert_eq!(verified.damages, []);
    assert_eq!((verified.files, verified.head.sequence), (4, 60));
    assert_eq!(verified.first + verified.lines - 1, 60);
    for file in chain.rotated().iter().chain([&chain.options.path]) {
        assert!(fs::metadata(file).expect("it is there").len() <= 1000);
    }
    let middle = chain.rotated().remove(1);
    fs::remove_file(middle).expect("removed");
    let problems = chain.problems();
    assert!(
        problems.len() == 1 && problems[0].contains("are missing"),
        "{problems:?}"
    );
}

#[test]
fn an_event_that_is_larger_than_a_file_is_recorded() {
    let chain = Chain::new(100, 3);
    chain.append(3);
    assert_eq!(verify(chain.path(), &[]).expect("read").lines, 3);
    assert_eq!(chain.problems(), [""; 0]);
}

#[test]
fn a_head_that_was_kept_elsewhere_finds_a_chain_that_was_forged() {
    let chain = Chain::with(3);
    let head = verify(chain.path(), &[]).expect("read").head;
    assert_eq!(head.to_string().parse::<Head>().as_ref(), Ok(&head));
    let forged = Chain::with(0);
    let file = AuditFile::open(&forged.options).expect("it opens");
    for _ in 0..5 {
        file.append(&AuditEvent::new("forged", json!({}))).expect("written");
    }
    assert_eq!(verify(forged.path(), &[]).expect("read").damages, []);
    let damages = verify(forged.path(), std::slice::from_ref(&head))
        .expect("read")
        .damages;
    assert!(damages[0].problem.contains("another hash"), "{damages:?}");
    let later = Head { sequence: 9, ..head };
    let damages = verify(chain.path(), &[later]).expect("read").damages;
    assert!(
        damages[0].problem.contains("number 9 of --head is missing"),
        "{damages:?}"
    );
}

#[test]
fn a_file_that_is_removed_while_it_is_open_is_created_again_and_the_gap_is_found() {
    let chain = Chain::with(0);
    let file = AuditFile::open(&chain.options).expect("it opens");
    let event = AuditEvent::new("test", json!({}));
    for _ in 0..3 {
        file.append(&event).expect("written");
    }
    fs::rename(chain.path(), chain.path().with_extension("moved")).expect("moved");
    file.append(&event).expect("written");
    let verified = verify(chain.path(), &[]).expect("read");
    assert_eq!((verified.first, verified.head.sequence), (4, 5));
    assert!(
        verified.damages[0].to_string().contains("the beginning is missing"),
        "{:?}",
        verified.damages
    );
    let text = fs::read_to_string(chain.path()).expect("readable");
    let first = text.lines().next().expect("a line");
    assert!(
        first.contains("\"event\":\"recovery\"") && first.contains("after number 3"),
        "{first}"
    );
}

#[test]
fn an_event_that_cannot_be_written_is_an_error_with_the_path_and_a_remedy() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options {
        path: folder.path().join("missing/audit.log"),
        max_size: 1000,
        max_files: 1,
    };
    let error = AuditFile::check(&options).expect_err("no folder").to_string();
    assert!(
        error.contains("missing/audit.log") && error.contains("audit.file"),
        "{error}"
    );
    assert!(AuditFile::open(&options).is_err());
    assert!(
        AuditFile::check(&Options {
            path: folder.path().join("audit.log"),
            ..options
        })
        .is_ok()
    );
    assert_eq!(
        fs::read_dir(folder.path()).expect("listed").count(),
        0,
        "a check creates nothing"
    );
}
