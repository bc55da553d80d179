//! What systemd would hear of a service, over a socket of its own. It answers nothing.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::server::eventually;

/// Somebody who listens as systemd does.
pub struct Notified {
    socket: UnixDatagram,
    folder: tempfile::TempDir,
    heard: Vec<String>,
}

impl Notified {
    /// On a socket of its own.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = UnixDatagram::bind(folder.path().join("notify")).expect("it is free");
        socket.set_nonblocking(true).expect("it can");
        Self {
            socket,
            folder,
            heard: Vec::new(),
        }
    }

    /// What `NOTIFY_SOCKET` has to say.
    pub fn address(&self) -> PathBuf {
        self.folder.path().join("notify")
    }

    /// All that was heard so far, a message a line, the oldest first.
    pub fn heard(&mut self) -> &[String] {
        let mut message = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut message) {
            let lines = String::from_utf8_lossy(&message[..length]).into_owned();
            self.heard.extend(lines.lines().map(str::to_owned));
        }
        &self.heard
    }

    /// Waits for a message that begins so, forgets those before it, and returns it.
    pub fn hears(&mut self, beginning: &str) -> String {
        eventually(beginning, || {
            let at = self.heard().iter().position(|line| line.starts_with(beginning))?;
            self.heard.drain(..=at).next_back()
        })
    }

    /// Listens for this long, and returns when the last message that begins so came.
    pub fn last(&mut self, beginning: &str, within: Duration) -> Option<Instant> {
        let (end, mut last) = (Instant::now() + within, None);
        self.heard();
        self.heard.clear();
        self.socket.set_nonblocking(false).expect("it can");
        let mut message = [0; 4096];
        while let Some(left) = end
            .checked_duration_since(Instant::now())
            .filter(|left| !left.is_zero())
        {
            self.socket.set_read_timeout(Some(left)).expect("it is some time");
            let Ok(length) = self.socket.recv(&mut message) else {
                continue;
            };
            if String::from_utf8_lossy(&message[..length])
                .lines()
                .any(|line| line.starts_with(beginning))
            {
                last = Some(Instant::now());
            }
        }
        self.socket.set_nonblocking(true).expect("it can");
        last
    }
}

impl Default for Notified {
    fn default() -> Self {
        Self::new()
    }
}
