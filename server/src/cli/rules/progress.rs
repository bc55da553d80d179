//! What is being waited for, on a line that goes away. Nobody is told who does not sit in front of a terminal.

use std::io::{self, IsTerminal, Write};

/// It is on the screen for as long as this lives.
pub(super) struct Progress {
    is_shown: bool,
}

impl Progress {
    /// Begins to show it.
    pub(super) fn show(what: &str) -> Self {
        let mut screen = io::stderr();
        let is_shown = screen.is_terminal();
        if is_shown {
            // Where it cannot be written, nobody misses it.
            let _ = write!(screen, "{what} …").and_then(|()| screen.flush());
        }
        Self { is_shown }
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
