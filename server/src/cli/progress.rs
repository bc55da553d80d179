//! A progress line on stderr, which is erased in the end. It appears only on a terminal.

use std::io::{self, IsTerminal, Write};

/// The line is visible until this is dropped.
pub(in crate::cli) struct Progress {
    is_shown: bool,
}

impl Progress {
    /// Shows a progress line.
    pub(in crate::cli) fn show(what: &str) -> Self {
        let is_shown = io::stderr().is_terminal();
        let progress = Self { is_shown };
        progress.now(what);
        progress
    }

    /// Replaces the line.
    pub(in crate::cli) fn now(&self, what: &str) {
        if self.is_shown {
            let mut screen = io::stderr();
            // Progress is not essential, so write errors are ignored.
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
