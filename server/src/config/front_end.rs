//! Certificates of front ends as settings: a SHA-256 fingerprint, or a DNS name in the certificate.

use std::fmt;

use serde_json::Value;
use watchpost_policies::Digest;

use super::errors::ConfigErrors;
use super::origin::SettingLocation;
use super::scalar::refused;
use super::setting::Setting;

/// The maximum length of a DNS name.
const MAX_DNS_NAME: usize = 253;

/// What identifies the certificate of a front end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrontEndCertificate {
    /// SHA-256 over the certificate.
    Fingerprint(Digest),
    /// A DNS name among its subject alternative names, in lower case.
    DnsName(String),
}

impl fmt::Display for FrontEndCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fingerprint(fingerprint) => fingerprint.fmt(f),
            Self::DnsName(name) => f.write_str(name),
        }
    }
}

impl Setting for FrontEndCertificate {
    fn kind() -> String {
        "fingerprint or DNS name".to_owned()
    }

    fn read(value: &Value, location: &SettingLocation, errors: &mut ConfigErrors) -> Option<Self> {
        let expected = "the SHA-256 fingerprint of the front end's certificate, as `openssl x509 -noout -fingerprint -sha256 \
                        -in FILE` prints it, or a DNS name in it, such as \"proxy.example.org\"";
        let read = value.as_str().and_then(parsed);
        read.or_else(|| refused(value, location, errors, expected))
    }

    fn written(&self) -> Value {
        Value::from(self.to_string())
    }
}

fn parsed(text: &str) -> Option<FrontEndCertificate> {
    let hexadecimal = text.replace(':', "").to_ascii_lowercase();
    if let Ok(fingerprint) = hexadecimal.parse() {
        return Some(FrontEndCertificate::Fingerprint(fingerprint));
    }
    let is_label = |label: &str| {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        (1..=63).contains(&label.len()) && label.bytes().all(legal) && !label.starts_with('-') && !label.ends_with('-')
    };
    let is_name = text.len() <= MAX_DNS_NAME && text.split('.').all(is_label);
    is_name.then(|| FrontEndCertificate::DnsName(text.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_or_a_dns_name_is_read_and_nothing_else() {
        let digest = Digest::of(b"a certificate");
        let pairs: Vec<_> = digest.as_bytes().iter().map(|byte| format!("{byte:02X}")).collect();
        for text in [digest.to_string(), pairs.join(":")] {
            assert_eq!(parsed(&text), Some(FrontEndCertificate::Fingerprint(digest)));
        }
        let name = |text: &str| Some(FrontEndCertificate::DnsName(text.to_owned()));
        assert_eq!(parsed("Proxy.Example.org"), name("proxy.example.org"));
        assert_eq!(parsed("localhost"), name("localhost"));
        for other in ["", "*.example.org", "proxy..org", "AB:CD", "a b", "-a.org", "CN=proxy"] {
            assert_eq!(parsed(other), None, "{other}");
        }
    }
}
