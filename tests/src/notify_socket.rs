//! A socket that receives the notifications of a service, as systemd does. It sends no responses.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::server::eventually;

/// A receiver of `sd_notify` messages.
pub struct Notified {
    socket: UnixDatagram,
    folder: tempfile::TempDir,
    heard: Vec<String>,
}

impl Notified {
    /// Binds a new socket.
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

    /// The value for `NOTIFY_SOCKET`.
    pub fn address(&self) -> PathBuf {
        self.folder.path().join("notify")
    }

    /// The lines of all messages so far, in their order.
    pub fn heard(&mut self) -> &[String] {
        let mut message = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut message) {
            let lines = String::from_utf8_lossy(&message[..length]).into_owned();
            self.heard.extend(lines.lines().map(str::to_owned));
        }
        &self.heard
    }

    /// Waits for a message with this prefix, drops the earlier ones, and returns it.
    pub fn hears(&mut self, beginning: &str) -> String {
        eventually(beginning, || {
            let at = self.heard().iter().position(|line| line.starts_with(beginning))?;
            self.heard.drain(..=at).next_back()
        })
    }

    /// Receives for this time, and returns the time of the last message with this prefix.
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
