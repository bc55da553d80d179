//! A log file that is put aside when it is large, follows when somebody else puts it aside, and survives that
//! nothing can be written. It knows nothing of lines but that they are whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a file that was moved or removed may stay unnoticed, and how long it takes until a file that could not
/// be put aside is tried again. To look costs system calls, which not every line should pay.
const REOPEN_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// A log file.
pub(super) struct RotatingFile {
    path: PathBuf,
    max_size: u64,
    max_files: usize,
    /// `None` while it cannot be opened.
    open: Option<Open>,
    looked: Instant,
    /// How many lines could not be written since the last that could.
    dropped: u64,
    /// When it could not be put aside.
    stuck: Option<Instant>,
    tell: Tell,
}

/// Whom to tell what is wrong with the log itself: stderr.
pub(super) type Tell = Box<dyn FnMut(&str) + Send>;

struct Open {
    file: File,
    size: u64,
    /// Devices and pipes are written to, but neither moved nor cut.
    regular: bool,
    /// What was written last is half a line that could not be cut off.
    torn: bool,
}

impl RotatingFile {
    /// Opens it, to write behind what is there.
    pub(super) fn open(path: &Path, max_size: u64, max_files: usize, now: Instant, tell: Tell) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            max_size,
            max_files,
            open: Some(Open::at(path)?),
            looked: now,
            dropped: 0,
            stuck: None,
            tell,
        })
    }

    /// Writes a whole line, or nothing: whether it did.
    pub(super) fn write_line(&mut self, line: &[u8], now: Instant) -> bool {
        match self.try_write(line, now) {
            Ok(()) => {
                if self.dropped > 0 {
                    let told = format!("{} is written again; {} lines were dropped", self.name(), self.dropped);
                    (self.tell)(&told);
                    self.dropped = 0;
                }
                true
            }
            Err(error) => {
                if self.dropped == 0 {
                    let told = format!("{} cannot be written, lines are dropped: {error}", self.name());
                    (self.tell)(&told);
                }
                self.dropped += 1;
                false
            }
        }
    }

    fn try_write(&mut self, line: &[u8], now: Instant) -> io::Result<()> {
        if self.open.is_none() || now.duration_since(self.looked) >= REOPEN_CHECK_INTERVAL {
            self.looked = now;
            self.follow()?;
        }
        self.put_aside_before(line.len() as u64, now)?;
        match &mut self.open {
            Some(open) => open.append(line),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    /// Opens the file anew if it is not the one that is open any more. One that was only moved is written on for
    /// as long as there is no new one; one that was removed would swallow its lines.
    fn follow(&mut self) -> io::Result<()> {
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

    /// Whether the path leads to the file that is open. If somebody emptied it, its size is right afterwards.
    fn is_in_place(&mut self) -> bool {
        let Some(open) = &mut self.open else { return false };
        let (Ok(there), Ok(ours)) = (fs::metadata(&self.path), open.file.metadata()) else {
            return false;
        };
        open.size = ours.len();
        (there.dev(), there.ino()) == (ours.dev(), ours.ino())
    }

    /// A file that cannot be put aside grows on: a line too many is better than one too few.
    fn put_aside_before(&mut self, bytes: u64, now: Instant) -> io::Result<()> {
        let rests = self
            .stuck
            .is_some_and(|since| now.duration_since(since) < REOPEN_CHECK_INTERVAL);
        if rests || !self.is_too_large_for(bytes) {
            return Ok(());
        }
        // It may have been moved or emptied meanwhile.
        self.follow()?;
        if !self.is_too_large_for(bytes) {
            return Ok(());
        }
        match self.quarantined() {
            Ok(()) => self.stuck = None,
            Err(error) => {
                if self.stuck.replace(now).is_none() {
                    let told = format!("{} cannot be put aside and grows on: {error}", self.name());
                    (self.tell)(&told);
                }
            }
        }
        Ok(())
    }

    fn is_too_large_for(&self, bytes: u64) -> bool {
        let Some(open) = &self.open else { return false };
        open.regular && self.max_size > 0 && open.size > 0 && open.size.saturating_add(bytes) > self.max_size
    }

    fn quarantined(&mut self) -> io::Result<()> {
        if !self.is_in_place() {
            // The others would be moved on to make room for nothing.
            return Err(ErrorKind::NotFound.into());
        }
        if self.max_files == 0 {
            return self.open.as_mut().map_or(Ok(()), Open::empty);
        }
        // Up to the first number that is free; the one that is kept longest is overwritten.
        let taken = (1..self.max_files)
            .take_while(|number| self.numbered(*number).exists())
            .count();
        for number in (1..=taken).rev() {
            fs::rename(self.numbered(number), self.numbered(number + 1))?;
        }
        fs::rename(&self.path, self.numbered(1))?;
        // If this fails, the file that was moved is written on, and soon looked after.
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
        // The group may read: that is how those get at it who may see logs but not change the machine.
        let file = OpenOptions::new().append(true).create(true).mode(0o640).open(path)?;
        let metadata = file.metadata()?;
        Ok(Self {
            file,
            size: metadata.len(),
            regular: metadata.is_file(),
            torn: false,
        })
    }

    /// The whole line, or nothing of it.
    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        if self.torn {
            // The half line ends here, so that this one is not its other half.
            self.write(b"\n")?;
            self.torn = false;
        }
        self.write(line)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut written = 0;
        while written < bytes.len() {
            match self.file.write(&bytes[written..]) {
                Ok(0) => return self.take_back(written as u64, ErrorKind::WriteZero.into()),
                Ok(more) => written += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return self.take_back(written as u64, error),
            }
        }
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// Cuts off what was written of a line, if nobody else has written meanwhile.
    fn take_back(&mut self, written: u64, error: io::Error) -> io::Result<()> {
        if written > 0 {
            let ours_alone = self.regular && self.file.metadata().is_ok_and(|now| now.len() == self.size + written);
            if !(ours_alone && self.file.set_len(self.size).is_ok()) {
                self.size += written;
                self.torn = true;
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
