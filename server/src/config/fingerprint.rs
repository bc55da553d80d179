//! SHA-256 digests of certificates and rules as settings. Colons and capital letters, as OpenSSL prints them,
//! are accepted.

use serde_json::Value;
use watchpost_policies::Digest;

use super::errors::ConfigErrors;
use super::origin::SettingLocation;
use super::scalar::refused;
use super::setting::Setting;

impl Setting for Digest {
    fn kind() -> String {
        "SHA-256 digest".to_owned()
    }

    fn read(value: &Value, location: &SettingLocation, errors: &mut ConfigErrors) -> Option<Self> {
        let read = value.as_str().and_then(parsed);
        let expected = "64 hexadecimal digits, as `openssl x509 -noout -fingerprint -sha256 -in FILE` prints them for a \
                      certificate and `sha256sum FILE` for a rule";
        read.or_else(|| refused(value, location, errors, expected))
    }

    fn written(&self) -> Value {
        Value::from(self.to_string())
    }
}

fn parsed(text: &str) -> Option<Digest> {
    text.replace(':', "").to_ascii_lowercase().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_as_openssl_prints_it() {
        let digest = Digest::of(b"a certificate");
        let pairs: Vec<_> = digest.as_bytes().iter().map(|byte| format!("{byte:02X}")).collect();
        assert_eq!(parsed(&digest.to_string()), Some(digest));
        assert_eq!(parsed(&pairs.join(":")), Some(digest));
        assert_eq!(parsed("AB:CD"), None);
    }
}
