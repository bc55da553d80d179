//! The server's side of a handshake. A client that is rejected receives a TLS alert, or, if it speaks HTTP without TLS,
//! a response that says so. The caller logs and counts.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::LazyLock;
use std::time::Duration;

use actix_tls::accept::openssl::TlsStream;
use actix_web::rt::net::TcpStream;
use openssl::ex_data::Index;
use openssl::ssl::{Ssl, SslAcceptor, SslRef};
use openssl::x509::X509StoreContextRef;
use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_openssl::SslStream;

use super::identity::distinguished;
use super::rejection::{Failure, RejectReason};
use crate::one_line::one_line;

/// A rejected client gets this time to read the alert and to close the connection.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// A rejected client may still send this many bytes, which are discarded.
const MAX_DISCARDED: usize = 64 << 10;
/// The first line of a plain HTTP request is recognized in this many bytes.
const MAX_FIRST_LINE: usize = 1 << 10;
/// The maximum number of characters of a certificate's subject in the log.
const MAX_SUBJECT: usize = 200;

/// The response to HTTP without TLS.
const USE_HTTPS: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    content-type: text/plain; charset=utf-8\r\n\
    content-length: 66\r\n\
    connection: close\r\n\r\n\
    This listener serves HTTPS only; use https:// instead of http://.\n";

/// The slot in which a connection stores the subject of the certificate that failed verification.
static FAILED_SUBJECT: LazyLock<Option<Index<Ssl, Mutex<Option<String>>>>> = LazyLock::new(|| Ssl::new_ex_index().ok());

/// A connection that was rejected.
pub struct Rejected {
    /// Why.
    pub failure: Failure,
    /// The subject of the certificate that failed verification: the client's or that of an authority in its chain. It
    /// is one line of limited length.
    pub subject: Option<String>,
    connection: Option<Connection>,
}

/// What is left of a rejected connection.
enum Connection {
    /// OpenSSL has sent its alert.
    Tls(SslStream<TcpStream>),
    Plain(TcpStream),
}

/// Performs the handshake. `Ok(None)` is a client that closed the connection before it sent anything, as checks of a
/// port do.
pub async fn accept(
    acceptor: &SslAcceptor,
    socket: TcpStream,
    max_duration: Duration,
) -> Result<Option<TlsStream<TcpStream>>, Rejected> {
    let deadline = Instant::now() + max_duration;
    let mut first = [0];
    match timeout_at(deadline, socket.peek(&mut first)).await {
        Ok(Ok(0) | Err(_)) => return Ok(None),
        Ok(Ok(_)) => {}
        Err(_) => return Err(Rejected::plain(RejectReason::HandshakeTimeout, socket)),
    }
    // A TLS record begins with a number below 32, and a request of HTTP with a letter.
    if first[0].is_ascii_alphabetic() {
        let reason = match timeout_at(deadline, is_http(&socket)).await {
            Ok(Ok(true)) => RejectReason::PlainHttp,
            _ => RejectReason::NotTls,
        };
        return Err(Rejected::plain(reason, socket));
    }
    let Ok(mut stream) = new_stream(acceptor, socket) else {
        return Err(Rejected {
            failure: RejectReason::ProtocolError.into(),
            subject: None,
            connection: None,
        });
    };
    let failure = match timeout_at(deadline, Pin::new(&mut stream).accept()).await {
        Ok(Ok(())) => return Ok(Some(stream.into())),
        Ok(Err(error)) => Failure::of(stream.ssl(), &error),
        Err(_) => RejectReason::HandshakeTimeout.into(),
    };
    let slot = FAILED_SUBJECT.and_then(|index| stream.ssl().ex_data(index));
    Err(Rejected {
        failure,
        subject: slot.and_then(|subject| subject.lock().take()),
        connection: Some(Connection::Tls(stream)),
    })
}

fn new_stream(acceptor: &SslAcceptor, socket: TcpStream) -> Result<SslStream<TcpStream>, openssl::error::ErrorStack> {
    let mut ssl = Ssl::new(acceptor.context())?;
    if let Some(index) = *FAILED_SUBJECT {
        ssl.set_ex_data(index, Mutex::default());
    }
    SslStream::new(ssl, socket)
}

/// OpenSSL's verification callback: it keeps the result and remembers the first certificate that failed.
pub(super) fn remember_failed(verified: bool, context: &mut X509StoreContextRef) -> bool {
    if !verified {
        let ssl = openssl::x509::X509StoreContext::ssl_idx()
            .ok()
            .and_then(|index| context.ex_data(index));
        let slot = ssl.and_then(|ssl: &SslRef| ssl.ex_data((*FAILED_SUBJECT)?));
        if let Some(slot) = slot {
            let subject = context
                .current_cert()
                .and_then(|certificate| distinguished(certificate.subject_name()).ok());
            slot.lock().get_or_insert_with(|| {
                let subject = subject.map(|subject| subject.rfc4514()).unwrap_or_default();
                one_line(&subject.chars().take(MAX_SUBJECT).collect::<String>())
            });
        }
    }
    verified
}

/// Reads the first line without TLS. True if it is one of HTTP.
async fn is_http(socket: &TcpStream) -> io::Result<bool> {
    let mut line = Vec::new();
    let mut piece = [0; 256];
    while line.len() < MAX_FIRST_LINE && !line.contains(&b'\n') {
        socket.readable().await?;
        match socket.try_read(&mut piece) {
            Ok(0) => break,
            Ok(read) => line.extend_from_slice(&piece[..read]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(is_http_request(&line))
}

/// Whether bytes are the beginning of an HTTP request: a method, a target, and the version if the line is complete.
fn is_http_request(bytes: &[u8]) -> bool {
    let (line, complete) = match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&bytes[..end], true),
        None => (bytes, false),
    };
    let mut words = line.split(|byte| *byte == b' ');
    let method = words.next().unwrap_or_default();
    let is_method = !method.is_empty() && method.len() <= 20 && method.iter().all(u8::is_ascii_uppercase);
    let target = words.next().unwrap_or_default();
    let is_target = matches!(target.first(), Some(b'/' | b'*')) || target.contains(&b':');
    let version = words.next().unwrap_or_default();
    is_method && is_target && (!complete || version.starts_with(b"HTTP/"))
}

impl Rejected {
    fn plain(reason: RejectReason, socket: TcpStream) -> Self {
        Self {
            failure: reason.into(),
            subject: None,
            connection: Some(Connection::Plain(socket)),
        }
    }

    /// Closes the connection so that the client can read why it was rejected. If a socket is closed while bytes of the
    /// client are unread, the kernel sends a reset, which makes the client discard the alert.
    pub async fn close(self) {
        let Some(mut connection) = self.connection else { return };
        let socket = match &mut connection {
            Connection::Tls(stream) => stream.get_mut(),
            Connection::Plain(socket) => socket,
        };
        if self.failure.reason == RejectReason::PlainHttp {
            // The send buffer of a new connection has space for it.
            let _ = socket.try_write(USE_HTTPS);
        }
        let close = async {
            poll_fn(|context| Pin::new(&mut *socket).poll_shutdown(context)).await?;
            discard(socket).await
        };
        // A client that neither reads nor closes gets a reset.
        let _ = timeout(CLOSE_TIMEOUT, close).await;
    }
}

/// Reads until the client closes the connection.
async fn discard(socket: &TcpStream) -> io::Result<()> {
    let mut piece = [0; 4096];
    let mut discarded = 0;
    while discarded < MAX_DISCARDED {
        socket.readable().await?;
        match socket.try_read(&mut piece) {
            Ok(0) => break,
            Ok(read) => discarded += read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_response_to_plain_http_has_the_length_that_it_states() {
        let text = std::str::from_utf8(USE_HTTPS).expect("ASCII");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        assert!(
            head.contains(&format!("content-length: {}", body.len())),
            "{}",
            body.len()
        );
        assert_eq!(body.lines().count(), 1);
    }

    #[test]
    fn a_request_line_is_recognized() {
        for request in [
            "GET / HTTP/1.1\r\n",
            "OPTIONS * HTTP/1.1\r\n",
            "POST /api/v1/chunks HTTP/1.0\r\n",
            "PROPFIND /files HTTP/1.1\r\n",
            "CONNECT example.org:443 HTTP/1.1\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "GET http://example.org/ HTTP/1.1\n",
            "GET /an/incomplete/line",
        ] {
            assert!(is_http_request(request.as_bytes()), "{request}");
        }
        for other in [
            "SSH-2.0-OpenSSH_9.2\r\n",
            "EHLO example.org\r\n",
            "GET / SMTP\r\n",
            "GET",
            "get / HTTP/1.1\r\n",
            "QUIT\r\n",
            "",
        ] {
            assert!(!is_http_request(other.as_bytes()), "{other}");
        }
    }
}
