//! Verifies a chain of audit files: all rotated files, the current one, and the head.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use super::file::{read_head, rotated_files};
use super::line::{self, Head};

/// After this many damages, the rest says nothing more.
const MAX_DAMAGES: usize = 20;

/// The server may rotate the files while they are read; then they are read again.
const MAX_ATTEMPTS: u32 = 5;

/// The result of a verification.
#[derive(Debug)]
pub struct Verified {
    /// The number of files.
    pub files: usize,
    /// The number of lines.
    pub lines: u64,
    /// The number of the first line; more than 1 if older files were deleted.
    pub first: u64,
    /// The last line.
    pub head: Head,
    /// What is wrong; empty if the chain is intact.
    pub damages: Vec<Damage>,
}

/// Something that is wrong with a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub file: PathBuf,
    /// The line in the file, from 1; 0 for the file as a whole.
    pub line: u64,
    /// What is wrong.
    pub problem: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file.display(), self.problem),
            line => write!(f, "{}:{line}: {}", self.file.display(), self.problem),
        }
    }
}

/// Verifies the chain of this current file. Each of the `anchors` must be a line of the chain.
pub fn verify(path: &Path, anchors: &[Head]) -> io::Result<Verified> {
    for _ in 0..MAX_ATTEMPTS {
        let files = files(path)?;
        // The head is read first, because lines may be added meanwhile.
        let stored = read_head(path)?;
        let verified = Chain::new(path, stored, anchors).read(&files)?;
        if files == self::files(path)? {
            return Ok(verified);
        }
    }
    Err(io::Error::other("the files are rotated faster than they can be read"))
}

/// All files of the chain, the oldest first.
fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    let rotated = rotated_files(path)?.into_iter().map(|(_, file)| file);
    Ok(rotated.chain([path.to_owned()]).collect())
}

/// The state while the lines are read.
struct Chain<'c> {
    path: &'c Path,
    stored: Option<Head>,
    anchors: &'c [Head],
    last: Option<Head>,
    first: u64,
    lines: u64,
    damages: Vec<Damage>,
}

impl<'c> Chain<'c> {
    fn new(path: &'c Path, stored: Option<Head>, anchors: &'c [Head]) -> Self {
        Self {
            path,
            stored,
            anchors,
            last: None,
            first: 0,
            lines: 0,
            damages: Vec::new(),
        }
    }

    fn read(mut self, files: &[PathBuf]) -> io::Result<Verified> {
        for file in files {
            self.read_file(file)?;
        }
        // Rotation deletes only the oldest of several files.
        if self.first > 1 && files.len() == 1 && self.damages.is_empty() {
            let first = self.first;
            let problem =
                format!("the beginning is missing: it begins with number {first}, and there is no rotated file");
            self.add(self.path, 0, problem);
        }
        let last = self.last.clone().unwrap_or_else(Head::empty);
        match &self.stored {
            None if self.lines > 0 => self.add(self.path, 0, "the file with the head is missing".to_owned()),
            Some(stored) if stored.sequence > last.sequence => {
                let (last, stored) = (last.sequence, stored.sequence);
                self.add(
                    self.path,
                    0,
                    format!("the end is missing: it ends at number {last} instead of {stored}"),
                );
            }
            _ => {}
        }
        for anchor in self.anchors {
            if anchor.sequence > last.sequence || anchor.sequence < self.first {
                let number = anchor.sequence;
                self.add(
                    self.path,
                    0,
                    format!("the line with number {number} of --head is missing"),
                );
            }
        }
        Ok(Verified {
            files: files.len(),
            lines: self.lines,
            first: self.first,
            head: last,
            damages: self.damages,
        })
    }

    fn read_file(&mut self, path: &Path) -> io::Result<()> {
        let mut reader = BufReader::new(File::open(path)?);
        let (mut line, mut number) = (Vec::new(), 0);
        while self.damages.len() < MAX_DAMAGES {
            line.clear();
            if reader.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            number += 1;
            self.lines += 1;
            match line.strip_suffix(b"\n") {
                None => self.add(path, number, "the line is truncated".to_owned()),
                Some(whole) => self.read_line(path, number, whole),
            }
        }
        Ok(())
    }

    fn read_line(&mut self, path: &Path, number: u64, text: &[u8]) {
        let Some(line) = line::read(text) else {
            self.add(path, number, "the line was changed".to_owned());
            // The next line is compared with what this one should have been.
            if let Some(last) = &mut self.last {
                last.sequence += 1;
                last.hash.clear();
            }
            return;
        };
        if let Some(last) = &self.last {
            let expected = last.sequence + 1;
            let found = line.head.sequence;
            let was_changed = last.hash.is_empty();
            if found > expected {
                self.add(
                    path,
                    number,
                    format!("the lines from number {expected} to {} are missing", found - 1),
                );
            } else if found < expected {
                self.add(
                    path,
                    number,
                    format!("the line has number {found} instead of {expected}: it was moved or copied"),
                );
            } else if line.previous != last.hash && !was_changed {
                self.add(path, number, "the line before this one was replaced".to_owned());
            }
        } else {
            self.first = line.head.sequence;
            if line.head.sequence == 1 && line.previous != Head::empty().hash {
                self.add(path, number, "the first line was replaced".to_owned());
            }
        }
        let heads = self.stored.iter().chain(self.anchors);
        let differs = |head: &Head| head.sequence == line.head.sequence && head.hash != line.head.hash;
        if heads.into_iter().any(differs) {
            self.add(
                path,
                number,
                "the line was replaced: the head has another hash".to_owned(),
            );
        }
        self.last = Some(line.head);
    }

    fn add(&mut self, file: &Path, line: u64, problem: String) {
        self.damages.push(Damage {
            file: file.to_owned(),
            line,
            problem,
        });
    }
}
