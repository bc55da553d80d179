//! Why a TLS handshake failed: a reason for the metrics and an explanation for the log, from OpenSSL's error codes. It
//! neither logs nor counts.

use openssl::error::ErrorStack;
use openssl::ssl::{Error, SslRef};

use crate::string_enum::{StringEnum as _, string_enum};

string_enum! {
    /// Why a connection to a TLS listener was rejected.
    pub enum RejectReason {
        /// The listener requires a client certificate, and the client sent none.
        NoCertificate = "no_certificate",
        /// The client's certificate is of no trusted authority.
        UnknownCa = "unknown_ca",
        /// A revocation list has the client's certificate.
        CertificateRevoked = "certificate_revoked",
        /// The client's certificate has expired.
        CertificateExpired = "certificate_expired",
        /// The client's certificate is not valid yet.
        CertificateNotYetValid = "certificate_not_yet_valid",
        /// The client's certificate cannot be used for another reason.
        BadCertificate = "bad_certificate",
        /// An authority has no revocation list, or an expired one, so none of its clients can be verified.
        RevocationListUnusable = "revocation_list_unusable",
        /// The client has no version of TLS that the server allows.
        ProtocolVersion = "protocol_version",
        /// The client and the server have no cipher, group or signature algorithm in common.
        NoSharedCipher = "no_shared_cipher",
        /// The client sent an HTTP request without TLS.
        PlainHttp = "plain_http",
        /// The client sent something that is neither TLS nor HTTP.
        NotTls = "not_tls",
        /// The handshake took longer than `http.header_timeout`.
        HandshakeTimeout = "handshake_timeout",
        /// The client closed the connection in the middle of the handshake.
        ConnectionClosed = "connection_closed",
        /// The client ended the handshake with an alert: it does not trust the server's certificate, for example.
        ClientAlert = "client_alert",
        /// Any other violation of the protocol.
        ProtocolError = "protocol_error",
    }
}

impl RejectReason {
    /// All reasons, in the order of their declaration.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::TEXTS.iter().filter_map(|text| Self::of_text(text))
    }

    /// What happened, and what to do about it, for the log.
    pub fn explanation(self) -> &'static str {
        match self {
            Self::NoCertificate => "the listener requires a client certificate, and the client sent none",
            Self::UnknownCa => "the client's certificate is not of an authority in tls.client_ca",
            Self::CertificateRevoked => "the client's certificate is revoked",
            Self::CertificateExpired => "the client's certificate or one of its authorities has expired",
            Self::CertificateNotYetValid => {
                "the client's certificate is not valid yet; compare the clocks of both machines"
            }
            Self::BadCertificate => "the client's certificate cannot be used to authenticate a client",
            Self::RevocationListUnusable => {
                "the authority of the client's certificate has no valid revocation list; renew the lists in tls.crl"
            }
            Self::ProtocolVersion => "the client supports no TLS version that tls.min_version allows",
            Self::NoSharedCipher => "the client and the server have no cipher, group or signature algorithm in common",
            Self::PlainHttp => "the client sent HTTP without TLS; it must use https:// for this listener",
            Self::NotTls => "the client sent neither TLS nor HTTP",
            Self::HandshakeTimeout => "the client did not finish the handshake within http.header_timeout",
            Self::ConnectionClosed => "the client closed the connection during the handshake",
            Self::ClientAlert => "the client ended the handshake",
            Self::ProtocolError => "the client violated the TLS protocol",
        }
    }
}

/// Why a handshake failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The reason.
    pub reason: RejectReason,
    /// The name of the client's alert, if there was one.
    pub alert: Option<&'static str>,
}

impl From<RejectReason> for Failure {
    fn from(reason: RejectReason) -> Self {
        Self { reason, alert: None }
    }
}

/// The number of OpenSSL's library of TLS functions.
const ERR_LIB_SSL: i32 = 20;
/// A received alert is this number and the alert's.
const ALERTS: i32 = 1000;

impl Failure {
    /// Why a server's handshake failed with this error.
    pub(super) fn of(ssl: &SslRef, error: &Error) -> Self {
        match error.ssl_error() {
            Some(stack) => Self::of_stack(stack, ssl.verify_result().as_raw()),
            // The system's error, or an end of the stream without an alert.
            None => RejectReason::ConnectionClosed.into(),
        }
    }

    fn of_stack(stack: &ErrorStack, verify_result: i32) -> Self {
        let errors = stack.errors().iter();
        let codes = errors.filter(|error| error.library_code() == ERR_LIB_SSL);
        // The first one is the cause of the others.
        let code = codes.map(|error| error.reason_code()).next();
        code.map_or(RejectReason::ProtocolError.into(), |code| {
            Self::of_code(code, verify_result)
        })
    }

    /// From a reason of OpenSSL's TLS library (`SSL_R_*` in `openssl/sslerr.h`).
    fn of_code(code: i32, verify_result: i32) -> Self {
        let reason = match code {
            // PEER_DID_NOT_RETURN_A_CERTIFICATE
            199 => RejectReason::NoCertificate,
            // CERTIFICATE_VERIFY_FAILED
            134 => of_verify_result(verify_result),
            // UNSUPPORTED_PROTOCOL, VERSION_TOO_LOW, UNKNOWN_SSL_VERSION, NO_PROTOCOLS_AVAILABLE,
            // INAPPROPRIATE_FALLBACK
            258 | 396 | 254 | 191 | 373 => RejectReason::ProtocolVersion,
            // NO_SHARED_CIPHER, NO_SUITABLE_KEY_SHARE, NO_SUITABLE_SIGNATURE_ALGORITHM,
            // NO_SHARED_SIGNATURE_ALGORITHMS, NO_SHARED_GROUPS, NO_SUITABLE_GROUPS, NO_CIPHERS_SPECIFIED
            193 | 101 | 118 | 376 | 410 | 295 | 183 => RejectReason::NoSharedCipher,
            // HTTP_REQUEST, HTTPS_PROXY_REQUEST
            156 | 155 => RejectReason::PlainHttp,
            // WRONG_VERSION_NUMBER, UNKNOWN_PROTOCOL
            267 | 252 => RejectReason::NotTls,
            // UNEXPECTED_EOF_WHILE_READING
            294 => RejectReason::ConnectionClosed,
            alert if (ALERTS..ALERTS + 256).contains(&alert) => {
                return Self {
                    reason: RejectReason::ClientAlert,
                    alert: Some(alert_name(alert - ALERTS)),
                };
            }
            _ => RejectReason::ProtocolError,
        };
        reason.into()
    }
}

/// From a result of OpenSSL's verification (`X509_V_ERR_*` in `openssl/x509_vfy.h`).
pub(super) fn of_verify_result(result: i32) -> RejectReason {
    match result {
        // CERT_REVOKED
        23 => RejectReason::CertificateRevoked,
        // CERT_HAS_EXPIRED
        10 => RejectReason::CertificateExpired,
        // CERT_NOT_YET_VALID
        9 => RejectReason::CertificateNotYetValid,
        // UNABLE_TO_GET_CRL, CRL_SIGNATURE_FAILURE, CRL_NOT_YET_VALID, CRL_HAS_EXPIRED, UNABLE_TO_GET_CRL_ISSUER
        3 | 8 | 11 | 12 | 33 => RejectReason::RevocationListUnusable,
        // UNABLE_TO_GET_ISSUER_CERT, CERT_SIGNATURE_FAILURE (another authority of the same name),
        // DEPTH_ZERO_SELF_SIGNED_CERT, SELF_SIGNED_CERT_IN_CHAIN, UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
        // UNABLE_TO_VERIFY_LEAF_SIGNATURE, CERT_UNTRUSTED
        2 | 7 | 18 | 19 | 20 | 21 | 27 => RejectReason::UnknownCa,
        _ => RejectReason::BadCertificate,
    }
}

/// The name of an alert in RFC 8446, section 6.
fn alert_name(number: i32) -> &'static str {
    match number {
        10 => "unexpected_message",
        20 => "bad_record_mac",
        40 => "handshake_failure",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        86 => "inappropriate_fallback",
        90 => "user_canceled",
        109 => "missing_extension",
        112 => "unrecognized_name",
        116 => "certificate_required",
        120 => "no_application_protocol",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_text_and_an_explanation() {
        let reasons: Vec<_> = RejectReason::all().collect();
        assert_eq!(reasons.len(), RejectReason::TEXTS.len());
        for reason in reasons {
            let explanation = reason.explanation();
            assert!(
                explanation.starts_with("the ") && !explanation.ends_with('.'),
                "{explanation}"
            );
        }
    }

    #[test]
    fn an_alert_of_the_client_is_named() {
        let failure = Failure::of_code(1048, 0);
        assert_eq!(failure.reason, RejectReason::ClientAlert);
        assert_eq!(failure.alert, Some("unknown_ca"));
    }

    #[test]
    fn the_result_of_verification_is_the_reason_only_if_verification_failed() {
        assert_eq!(Failure::of_code(134, 23), RejectReason::CertificateRevoked.into());
        assert_eq!(Failure::of_code(193, 23), RejectReason::NoSharedCipher.into());
    }

    #[test]
    fn an_unusable_revocation_list_is_not_the_clients_fault() {
        for result in [3, 12] {
            assert_eq!(of_verify_result(result), RejectReason::RevocationListUnusable);
        }
    }
}
