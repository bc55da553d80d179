//! The notification socket: datagrams to a socket that systemd names by a path, or by an abstract name after `@`.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// How long a send may block if systemd does not read.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);

/// An open socket.
pub(super) struct Socket {
    socket: UnixDatagram,
    to: SocketAddr,
}

impl Socket {
    pub(super) fn new(address: &OsStr) -> io::Result<Self> {
        let to = match address.as_bytes() {
            [b'@', name @ ..] if !name.is_empty() => SocketAddr::from_abstract_name(name)?,
            [b'/', ..] => SocketAddr::from_pathname(address)?,
            _ => {
                let reason = format!("{} is neither a path nor an abstract name", address.display());
                return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
            }
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(SEND_TIMEOUT))?;
        Ok(Self { socket, to })
    }

    pub(super) fn send(&self, message: &[u8]) -> io::Result<()> {
        self.socket.send_to_addr(message, &self.to).map(drop)
    }
}
