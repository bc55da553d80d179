//! Why a request failed, for people: the cause and the remedy, without the words of OpenSSL and of the HTTP client.

use std::io::{self, ErrorKind};

use actix_http::error::ParseError;
use awc::error::{ConnectError, SendRequestError};

use crate::one_line::one_line;

/// The cause and the remedy. `is_tls` is whether the URL begins with `https://`.
pub(in crate::cli) fn explained(error: &SendRequestError, is_tls: bool) -> String {
    match error {
        SendRequestError::Connect(ConnectError::Timeout) => {
            "the server does not accept the connection in time; check the address, and firewalls in between".to_owned()
        }
        SendRequestError::Connect(ConnectError::Resolver(_) | ConnectError::NoRecords | ConnectError::Unresolved) => {
            "the host name is unknown; check its spelling".to_owned()
        }
        SendRequestError::Connect(ConnectError::SslError(error)) => tls_failure(&error.to_string()).to_owned(),
        SendRequestError::Connect(ConnectError::Io(error)) | SendRequestError::Send(error) => of_io(error, is_tls),
        // TLS 1.3 rejects a client certificate when the client reads the response.
        SendRequestError::Response(ParseError::Io(error)) => of_io(error, is_tls),
        SendRequestError::Response(_) if !is_tls => NO_HTTP.to_owned(),
        SendRequestError::Response(_) => {
            "the server closes the connection without a complete HTTP response; its log may have the reason".to_owned()
        }
        SendRequestError::Timeout => {
            "the server accepted the request and does not answer in time; its log may have the reason".to_owned()
        }
        other => one_line(&other.to_string()),
    }
}

/// A TLS port answers plain HTTP with a TLS alert, or closes the connection.
const NO_HTTP: &str = "the server closes the connection without an HTTP response; if the port uses TLS, write https://";

fn of_io(error: &io::Error, is_tls: bool) -> String {
    let text = error.to_string();
    match error.kind() {
        ErrorKind::ConnectionRefused => "nothing listens there; check the address, and that the server runs".to_owned(),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof if !is_tls => NO_HTTP.to_owned(),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof => {
            "the server closes the connection; it may require a client certificate, which --cert and --key name"
                .to_owned()
        }
        _ if text.contains("error:") || text.contains("alert") => tls_failure(&text).to_owned(),
        _ => one_line(&text),
    }
}

/// OpenSSL exposes only texts; a test verifies the ones that depend on a server.
fn tls_failure(text: &str) -> &'static str {
    let causes = [
        (
            "certificate verify failed",
            "cannot verify the server's certificate; name the CA that issued it with --cacert",
        ),
        (
            "certificate required",
            "the server requires a client certificate; name one with --cert and --key",
        ),
        (
            "handshake failure",
            "the server and this client have no TLS version and cipher in common, or the server requires a client \
             certificate; name one with --cert and --key",
        ),
        (
            "certificate revoked",
            "the server rejects the client certificate because it was revoked; use another one",
        ),
        (
            "certificate expired",
            "the server rejects the client certificate because it has expired; use a new one",
        ),
        (
            "unknown ca",
            "the server rejects the client certificate because it does not trust its CA; use a certificate of a CA in \
             the server's tls.client_ca",
        ),
        (
            "wrong version number",
            "the server does not use TLS on this port; write http://, or use the port with TLS",
        ),
        (
            "packet length too long",
            "the server does not use TLS on this port; write http://, or use the port with TLS",
        ),
        (
            "protocol version",
            "the server does not support the TLS versions of this client; use a newer client",
        ),
        (
            "certificate",
            "the server rejects the client certificate; its log has the reason",
        ),
    ];
    let found = causes.iter().find(|(part, _)| text.contains(part));
    found.map_or(
        "the TLS handshake failed; check that the port uses TLS, and the certificates",
        |(_, cause)| cause,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_has_a_cause_and_a_remedy_in_our_own_words() {
        let check = |error: SendRequestError, is_tls: bool, part: &str| {
            let text = explained(&error, is_tls);
            assert!(text.contains(part), "{part}: {text}");
            assert!(!text.contains("error:") && !text.contains(".c:"), "{text}");
        };
        let io = |kind: ErrorKind| SendRequestError::Send(kind.into());
        check(io(ErrorKind::ConnectionReset), false, "write https://");
        check(io(ErrorKind::ConnectionReset), true, "--cert and --key");
        check(SendRequestError::Connect(ConnectError::Timeout), true, "firewalls");
        check(SendRequestError::Connect(ConnectError::NoRecords), true, "host name");
        check(
            SendRequestError::Connect(ConnectError::Io(ErrorKind::ConnectionRefused.into())),
            true,
            "nothing listens there",
        );
        let alert = "error:0A00045C:SSL routines:ssl3_read_bytes:tlsv13 alert certificate required:../ssl/rec.c:1605";
        check(
            SendRequestError::Send(io::Error::other(alert)),
            true,
            "requires a client certificate",
        );
        let response = SendRequestError::Response(ParseError::Io(io::Error::other(alert)));
        check(response, true, "requires a client certificate");
        check(
            SendRequestError::Response(ParseError::Incomplete),
            false,
            "write https://",
        );
        check(
            SendRequestError::Response(ParseError::Incomplete),
            true,
            "without a complete",
        );
        let unknown = "error:0A000999:SSL routines:new_function:new reason:../ssl/new.c:1";
        check(
            SendRequestError::Send(io::Error::other(unknown)),
            true,
            "handshake failed",
        );
    }
}
