//! What the fuzz targets in `tests/fuzz` call: the parsers of certificates, which read bytes of any client. They are built
//! for the fuzzer only (`cfg(fuzzing)`), because the parsers themselves are private.

use openssl::x509::X509Ref;
use watchpost_policies::Certificate;

use super::identity::certificate_of;
use super::proxy::policy_language;

/// What the server reads from a certificate.
pub struct Contents {
    /// Whether it is a proxy certificate; `None` if it cannot be parsed, so that its client is rejected.
    pub is_proxy: Option<bool>,
    /// The names and the fingerprint; `None` if a name cannot be parsed, so that its client is rejected.
    pub certificate: Option<Certificate>,
}

/// Reads a certificate, without verifying it.
pub fn contents(certificate: &X509Ref) -> Contents {
    Contents {
        is_proxy: policy_language(certificate).ok().map(|language| language.is_some()),
        certificate: certificate_of(certificate).ok(),
    }
}
