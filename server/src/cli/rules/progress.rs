//! What is being waited for, on a line that goes away. Nobody is told who does not sit in front of a terminal.

use std::io::{self, IsTerminal, Write};

/// It is on the screen for as long as this lives.
pub(super) struct Progress {
    is_shown: bool,
}

impl Progress {
    /// Begins to show it.
    pub(super) fn show(what: &str) -> Self {
        let is_shown = io::stderr().is_terminal();
        let progress = Self { is_shown };
        progress.now(what);
        progress
    }

    /// Shows this in its place.
    pub(super) fn now(&self, what: &str) {
        if self.is_shown {
            let mut screen = io::stderr();
            // Where it cannot be written, nobody misses it.
            let _ = write!(screen, "\r\x1b[K{what} …").and_then(|()| screen.flush());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown {
            let mut screen = io::stderr();
            let _ = screen.write_all(b"\r\x1b[K").and_then(|()| screen.flush());
        }
    }
}
