//! A log file that is rotated when it is large, reopened when another program rotates it, and that survives write
//! errors. It only requires that lines are whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long it may take to notice that the file was moved or removed, and the delay before a failed rotation is
/// retried. Checking costs system calls, which not every line should pay.
const REOPEN_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// A log file.
pub(super) struct RotatingFile {
    path: PathBuf,
    max_size: u64,
    max_files: usize,
    /// `None` while the file cannot be opened.
    open: Option<Open>,
    checked: Instant,
    /// The number of lines dropped since the last successful write.
    dropped: u64,
    /// When the last rotation failed.
    rotation_failed: Option<Instant>,
    report: Report,
}

/// Reports problems of the log itself: to stderr.
pub(super) type Report = Box<dyn FnMut(&str) + Send>;

struct Open {
    file: File,
    size: u64,
    /// Devices and pipes are written to, but neither renamed nor truncated.
    regular: bool,
    /// Whether the file ends in a partial line that could not be removed.
    partial_line: bool,
}

impl RotatingFile {
    /// Opens the file for appending.
    pub(super) fn open(path: &Path, max_size: u64, max_files: usize, now: Instant, report: Report) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            max_size,
            max_files,
            open: Some(Open::at(path)?),
            checked: now,
            dropped: 0,
            rotation_failed: None,
            report,
        })
    }

    /// Writes a whole line or nothing; returns whether it was written.
    pub(super) fn write_line(&mut self, line: &[u8], now: Instant) -> bool {
        match self.try_write(line, now) {
            Ok(()) => {
                if self.dropped > 0 {
                    let message = format!("{} is written again; {} lines were dropped", self.name(), self.dropped);
                    (self.report)(&message);
                    self.dropped = 0;
                }
                true
            }
            Err(error) => {
                if self.dropped == 0 {
                    let message = format!("could not write {}; dropping lines: {error}", self.name());
                    (self.report)(&message);
                }
                self.dropped += 1;
                false
            }
        }
    }

    fn try_write(&mut self, line: &[u8], now: Instant) -> io::Result<()> {
        if self.open.is_none() || now.duration_since(self.checked) >= REOPEN_CHECK_INTERVAL {
            self.checked = now;
            self.reopen_if_moved()?;
        }
        self.rotate_before(line.len() as u64, now)?;
        match &mut self.open {
            Some(open) => open.append(line),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    /// Opens the file again if another program moved or removed it. A moved file is written to until a new one can be
    /// opened; a removed file is closed, because its lines would be lost.
    fn reopen_if_moved(&mut self) -> io::Result<()> {
        if self.is_in_place() {
            return Ok(());
        }
        match Open::at(&self.path) {
            Ok(open) => self.open = Some(open),
            Err(error) => {
                let exists = |open: &Open| open.file.metadata().is_ok_and(|now| now.nlink() > 0);
                self.open = self.open.take().filter(exists);
                if self.open.is_none() {
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Whether the path still leads to the open file. It also updates the size, in case another program truncated the
    /// file.
    fn is_in_place(&mut self) -> bool {
        let Some(open) = &mut self.open else { return false };
        let (Ok(at_path), Ok(opened)) = (fs::metadata(&self.path), open.file.metadata()) else {
            return false;
        };
        open.size = opened.len();
        (at_path.dev(), at_path.ino()) == (opened.dev(), opened.ino())
    }

    /// Rotates the file if it would become too large. If that fails, the file keeps growing: a large file is better
    /// than lost lines.
    fn rotate_before(&mut self, bytes: u64, now: Instant) -> io::Result<()> {
        let is_delayed = self
            .rotation_failed
            .is_some_and(|since| now.duration_since(since) < REOPEN_CHECK_INTERVAL);
        if is_delayed || !self.is_too_large_for(bytes) {
            return Ok(());
        }
        // Another program may have moved or truncated the file in the meantime.
        self.reopen_if_moved()?;
        if !self.is_too_large_for(bytes) {
            return Ok(());
        }
        match self.rotate() {
            Ok(()) => self.rotation_failed = None,
            Err(error) => {
                if self.rotation_failed.replace(now).is_none() {
                    let message = format!("could not rotate {}; it keeps growing: {error}", self.name());
                    (self.report)(&message);
                }
            }
        }
        Ok(())
    }

    fn is_too_large_for(&self, bytes: u64) -> bool {
        let Some(open) = &self.open else { return false };
        open.regular && self.max_size > 0 && open.size > 0 && open.size.saturating_add(bytes) > self.max_size
    }

    fn rotate(&mut self) -> io::Result<()> {
        if !self.is_in_place() {
            // Otherwise the older files would be renamed without need.
            return Err(ErrorKind::NotFound.into());
        }
        if self.max_files == 0 {
            return self.open.as_mut().map_or(Ok(()), Open::empty);
        }
        // Renames up to the first free number; the oldest file is overwritten.
        let taken = (1..self.max_files)
            .take_while(|number| self.numbered(*number).exists())
            .count();
        for number in (1..=taken).rev() {
            fs::rename(self.numbered(number), self.numbered(number + 1))?;
        }
        fs::rename(&self.path, self.numbered(1))?;
        // If this fails, the renamed file is written to until the next check.
        self.open = Some(Open::at(&self.path)?);
        Ok(())
    }

    fn numbered(&self, number: usize) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }

    fn name(&self) -> String {
        format!("the log file {}", self.path.display())
    }
}

impl Open {
    fn at(path: &Path) -> io::Result<Self> {
        // The group may read, for users who may see logs but not change the machine.
        let file = OpenOptions::new().append(true).create(true).mode(0o640).open(path)?;
        let metadata = file.metadata()?;
        Ok(Self {
            file,
            size: metadata.len(),
            regular: metadata.is_file(),
            partial_line: false,
        })
    }

    /// Appends the whole line, or nothing of it.
    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        if self.partial_line {
            // Ends the partial line, so that this line is separate from it.
            self.write(b"\n")?;
            self.partial_line = false;
        }
        self.write(line)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut written = 0;
        while written < bytes.len() {
            match self.file.write(&bytes[written..]) {
                Ok(0) => return self.undo_write(written as u64, ErrorKind::WriteZero.into()),
                Ok(more) => written += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return self.undo_write(written as u64, error),
            }
        }
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// Truncates a partly written line, unless another process has written to the file meanwhile.
    fn undo_write(&mut self, written: u64, error: io::Error) -> io::Result<()> {
        if written > 0 {
            let is_unchanged = self.regular && self.file.metadata().is_ok_and(|now| now.len() == self.size + written);
            if !(is_unchanged && self.file.set_len(self.size).is_ok()) {
                self.size += written;
                self.partial_line = true;
            }
        }
        Err(error)
    }

    fn empty(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.size = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
