//! The cipher suites and groups that the server offers. The defaults are Mozilla's intermediate configuration 5.7,
//! without the larger curves that OpenSSL would add.

use openssl::error::ErrorStack;
use openssl::ssl::{SslAcceptor, SslAcceptorBuilder, SslMethod};

/// The cipher suites of TLS 1.2, by OpenSSL's names. Each has forward secrecy and authenticated encryption.
pub const DEFAULT_CIPHERS: [&str; 9] = [
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "DHE-RSA-AES128-GCM-SHA256",
    "DHE-RSA-AES256-GCM-SHA384",
    "DHE-RSA-CHACHA20-POLY1305",
];

/// The cipher suites of TLS 1.3.
pub const DEFAULT_CIPHER_SUITES: [&str; 3] = [
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
];

/// The groups of the key exchange.
pub const DEFAULT_GROUPS: [&str; 3] = ["X25519", "prime256v1", "secp384r1"];

/// What the server offers to clients. Each list is in the order of preference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// The cipher suites of TLS 1.2.
    pub ciphers: Vec<String>,
    /// The cipher suites of TLS 1.3.
    pub cipher_suites: Vec<String>,
    /// The groups of the key exchange.
    pub groups: Vec<String>,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            ciphers: DEFAULT_CIPHERS.map(str::to_owned).to_vec(),
            cipher_suites: DEFAULT_CIPHER_SUITES.map(str::to_owned).to_vec(),
            groups: DEFAULT_GROUPS.map(str::to_owned).to_vec(),
        }
    }
}

impl Parameters {
    pub(super) fn apply(&self, builder: &mut SslAcceptorBuilder) -> Result<(), ErrorStack> {
        builder.set_cipher_list(&self.ciphers.join(":"))?;
        builder.set_ciphersuites(&self.cipher_suites.join(":"))?;
        builder.set_groups_list(&self.groups.join(":"))
    }
}

/// A kind of name in `Parameters`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parameter {
    /// A cipher suite of TLS 1.2.
    Cipher,
    /// A cipher suite of TLS 1.3.
    CipherSuite,
    /// A group.
    Group,
}

/// Whether OpenSSL has this one cipher suite or group. Its own notation for several (`HIGH`, `!aNULL`, `@SECLEVEL=0`) is
/// none, and neither is a cipher suite without encryption or authentication.
pub fn is_known(parameter: Parameter, name: &str) -> bool {
    let is_plain = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    let is_insecure = ["NULL", "ADH", "AECDH", "EXP"].iter().any(|part| name.contains(part));
    if !is_plain || is_insecure {
        return false;
    }
    let known = || -> Result<(), ErrorStack> {
        let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
        match parameter {
            Parameter::Cipher if !name.contains('-') => Err(ErrorStack::get()),
            Parameter::Cipher => builder.set_cipher_list(name),
            Parameter::CipherSuite => builder.set_ciphersuites(name),
            Parameter::Group => builder.set_groups_list(name),
        }
    };
    known().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_known() {
        let default = Parameters::default();
        for (parameter, names) in [
            (Parameter::Cipher, &default.ciphers),
            (Parameter::CipherSuite, &default.cipher_suites),
            (Parameter::Group, &default.groups),
        ] {
            for name in names {
                assert!(is_known(parameter, name), "{name}");
            }
        }
    }

    #[test]
    fn notations_for_several_ciphers_and_insecure_ones_are_rejected() {
        for name in [
            "",
            "HIGH",
            "ALL:@SECLEVEL=0",
            "!aNULL",
            "AES128-SHA:AES256-SHA",
            "AECDH-NULL-SHA",
            "NONE-SUCH",
        ] {
            assert!(!is_known(Parameter::Cipher, name), "{name}");
        }
        assert!(!is_known(Parameter::CipherSuite, "ECDHE-RSA-AES128-GCM-SHA256"));
        assert!(!is_known(Parameter::Group, "P-999"));
        assert!(
            is_known(Parameter::Group, "P-521"),
            "an operator may add what the default leaves out"
        );
    }
}
