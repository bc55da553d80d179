//! The current file of the chain: appends whole lines durably, rotates, and keeps the head in a second file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::line::{self, Head};
use super::{AuditEvent, Options};

/// The extension of the file with the head.
const HEAD_EXTENSION: &str = "head";

/// A line is shorter, so that the end of a file of this length has a whole line.
const TAIL_LENGTH: u64 = 1 << 20;

/// A file to which lines are appended.
pub(super) struct ChainedFile {
    path: PathBuf,
    max_size: u64,
    max_files: usize,
    open: Open,
    head_file: File,
    head: Head,
}

/// The open current file.
struct Open {
    file: File,
    /// The size after the last whole line. More than that is the rest of a line that could not be written.
    size: u64,
}

impl ChainedFile {
    /// Opens a chain, and describes what is irregular about its end.
    pub(super) fn open(options: &Options) -> io::Result<(Self, Vec<String>)> {
        let path = options.path.clone();
        let mut irregularities = Vec::new();
        let stored_head = read_head(&path)?;
        let mut open = Open::at(&path)?;
        let discarded = open.discard_partial_line()?;
        if discarded > 0 {
            irregularities.push(format!("discarded an incomplete last line of {discarded} bytes"));
        }
        let last = match open.last_line()? {
            Some(line) => Some(line),
            None => match rotated_files(&path)?.pop() {
                Some((_, newest)) => Open::at(&newest)?.last_line()?,
                None => None,
            },
        };
        let head = match (last, stored_head) {
            (None, None) => Head::empty(),
            (None, Some(stored)) => {
                irregularities.push(format!("the lines up to number {} are missing", stored.sequence));
                stored
            }
            (Some(line), stored) => {
                let last = line::read(&line).map(|line| line.head);
                if last.is_none() {
                    irregularities.push("the last line was changed".to_owned());
                }
                match (last, stored) {
                    (Some(last), Some(stored)) if stored.sequence > last.sequence => {
                        let (from, to) = (last.sequence + 1, stored.sequence);
                        irregularities.push(format!("the lines from number {from} to {to} are missing"));
                        stored
                    }
                    (Some(last), Some(stored)) => {
                        if stored.sequence == last.sequence && stored.hash != last.hash {
                            irregularities.push("the last line was replaced".to_owned());
                        }
                        last
                    }
                    (Some(last), None) => {
                        irregularities.push("the file with the head is missing".to_owned());
                        last
                    }
                    (None, stored) => stored.unwrap_or_else(Head::empty),
                }
            }
        };
        let head_file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(head_path(&path))?;
        sync_folder(&path)?;
        let file = Self {
            path,
            max_size: options.max_size,
            max_files: options.max_files,
            open,
            head_file,
            head,
        };
        Ok((file, irregularities))
    }

    /// The last line.
    pub(super) fn head(&self) -> Head {
        self.head.clone()
    }

    /// Appends an event. After an error, the event is not in the file.
    pub(super) fn append(&mut self, event: &AuditEvent, time_ms: u64) -> io::Result<()> {
        if self.reopen_if_moved()? {
            let last = self.head.sequence;
            log::error!(file:% = self.path.display(), last; "the audit file was moved or removed; it continues in a new one");
            let reason = format!("the file was moved or removed after number {last}");
            let recovery = AuditEvent::new("recovery", serde_json::json!({ "irregularities": [reason] }));
            self.append_line(&recovery, time_ms)?;
        }
        self.append_line(event, time_ms)
    }

    fn append_line(&mut self, event: &AuditEvent, time_ms: u64) -> io::Result<()> {
        let (line, head) = line::write(event, &self.head, time_ms);
        if self.open.size > 0 && self.open.size + line.len() as u64 > self.max_size {
            self.rotate()?;
        }
        self.open.append(line.as_bytes())?;
        self.head = head;
        // The line is on disk. A head that is behind it is valid, so it needs no sync, and a failure is no error.
        let head = format!("{:020}:{}\n", self.head.sequence, self.head.hash);
        if let Err(error) = self.head_file.write_all_at(head.as_bytes(), 0) {
            log::error!(reason:% = error; "could not write the head of the audit file");
        }
        Ok(())
    }

    /// Continues in a new file if another program moved or removed the current one, and returns whether it did.
    fn reopen_if_moved(&mut self) -> io::Result<bool> {
        let opened = self.open.file.metadata()?;
        match fs::metadata(&self.path) {
            Ok(at_path) if (at_path.dev(), at_path.ino()) == (opened.dev(), opened.ino()) => Ok(false),
            Ok(_) => {
                self.open = Open::at(&self.path)?;
                self.open.discard_partial_line().map(|_| true)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.open = Open::at(&self.path)?;
                sync_folder(&self.path).map(|()| true)
            }
            Err(error) => Err(error),
        }
    }

    /// Renames the current file to the number of its last line, and deletes the oldest files.
    fn rotate(&mut self) -> io::Result<()> {
        fs::rename(&self.path, rotated_path(&self.path, self.head.sequence))?;
        self.open = Open::at(&self.path)?;
        sync_folder(&self.path)?;
        let rotated = rotated_files(&self.path)?;
        let excess = rotated.len().saturating_sub(self.max_files);
        for (_, oldest) in &rotated[..excess] {
            if let Err(error) = fs::remove_file(oldest) {
                log::error!(file:% = oldest.display(), reason:% = error; "could not delete an old audit file");
            }
        }
        Ok(())
    }
}

impl Open {
    fn at(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)?;
        let size = file.metadata()?.len();
        Ok(Self { file, size })
    }

    /// Removes the end of the file after the last line break, and returns its length.
    fn discard_partial_line(&mut self) -> io::Result<u64> {
        let tail = self.tail()?;
        let partial = tail.len() - tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        if partial > 0 {
            self.size -= partial as u64;
            self.file.set_len(self.size)?;
            self.file.sync_data()?;
        }
        Ok(partial as u64)
    }

    /// The last whole line without its line break; none if the file is empty.
    fn last_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut tail = self.tail()?;
        if tail.pop() != Some(b'\n') {
            return Ok(None);
        }
        let begin = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        Ok(Some(tail.split_off(begin)))
    }

    fn tail(&mut self) -> io::Result<Vec<u8>> {
        self.file.seek(SeekFrom::Start(self.size.saturating_sub(TAIL_LENGTH)))?;
        let mut tail = Vec::new();
        self.file.read_to_end(&mut tail)?;
        Ok(tail)
    }

    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        if self.file.metadata()?.len() > self.size {
            self.file.set_len(self.size)?;
        }
        let written = self.file.write_all(line).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // If this fails too, the next append removes the rest of the line.
            let _ = self.file.set_len(self.size);
            return Err(error);
        }
        self.size += line.len() as u64;
        Ok(())
    }
}

/// Opens the file for appending without creating it, or verifies that its folder exists.
pub(super) fn check(path: &Path) -> io::Result<()> {
    match OpenOptions::new().append(true).open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let folder = folder_of(path);
            match folder.is_dir() {
                true => Ok(()),
                false => Err(error),
            }
        }
        opened => opened.map(drop),
    }
}

/// The stored head; none if there is no file or it is empty.
pub(super) fn read_head(path: &Path) -> io::Result<Option<Head>> {
    match fs::read_to_string(head_path(path)) {
        Ok(text) if text.trim().is_empty() => Ok(None),
        Ok(text) => Ok(text.parse().ok()),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidData) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The rotated files with the numbers of their last lines, the oldest first.
pub(super) fn rotated_files(path: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut found = Vec::new();
    for entry in fs::read_dir(folder_of(path))? {
        let entry = entry?;
        let other = entry.file_name();
        let number = other
            .to_str()
            .and_then(|other| other.strip_prefix(&name)?.strip_prefix('.')?.parse().ok());
        found.extend(number.map(|number: u64| (number, entry.path())));
    }
    found.sort();
    Ok(found)
}

fn rotated_path(path: &Path, last: u64) -> PathBuf {
    with_extension(path, &format!("{last:012}"))
}

fn head_path(path: &Path) -> PathBuf {
    with_extension(path, HEAD_EXTENSION)
}

fn with_extension(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    name.into()
}

fn folder_of(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

/// Makes created and renamed files durable.
fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}
