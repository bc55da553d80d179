//! A client's certificate and key as one PKCS #12 file, which browsers and mail programs import.

use jiff::Timestamp;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkcs12::Pkcs12;
use openssl::rand::rand_bytes;
use openssl::stack::Stack;
use openssl::x509::X509Ref;

use super::authority::Authority;
use super::error::PkiError;
use super::record::Issued;

/// Letters and digits that cannot be confused with each other. 256 is a multiple of their number, so all are equally
/// likely.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// Four groups of five characters of five bits each.
const PASSWORD_CHARS: usize = 20;
/// The password is random and long enough for one iteration; more cost only the import.
const ITERATIONS: u32 = 10_000;

/// The encryption of a PKCS #12 file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// AES-256 with PBKDF2 and SHA-256.
    Aes,
    /// Triple DES and SHA-1, for macOS and iOS, which import nothing else.
    Legacy,
}

/// A PKCS #12 file and its password, which is stored nowhere.
pub struct Exported {
    /// The file's content.
    pub file: Vec<u8>,
    /// The password that decrypts it.
    pub password: String,
}

impl Authority {
    /// Exports the certificate and the key of a client, with the authority's certificate. A revoked or expired certificate
    /// is an error.
    pub fn export(&self, name: &str, encryption: Encryption, now: Timestamp) -> Result<Exported, PkiError> {
        let pair = self.client_files(name)?.read()?;
        let (Some(certificate), Some(key)) = (pair.certificate, pair.key) else {
            return Err(PkiError::Unknown {
                client: name.to_owned(),
            });
        };
        self.check_usable(name, &certificate, now)?;
        let failed = PkiError::openssl("write a PKCS #12 file");
        let build = || {
            let mut authorities = Stack::new()?;
            authorities.push(self.certificate.clone())?;
            let password = password()?;
            let mut builder = Pkcs12::builder();
            builder.name(name).pkey(&key).cert(&certificate).ca(authorities);
            builder.key_iter(ITERATIONS).mac_iter(ITERATIONS);
            match encryption {
                Encryption::Aes => builder
                    .key_algorithm(Nid::AES_256_CBC)
                    .cert_algorithm(Nid::AES_256_CBC)
                    .mac_md(MessageDigest::sha256()),
                Encryption::Legacy => builder
                    .key_algorithm(Nid::PBE_WITHSHA1AND3_KEY_TRIPLEDES_CBC)
                    .cert_algorithm(Nid::PBE_WITHSHA1AND3_KEY_TRIPLEDES_CBC)
                    .mac_md(MessageDigest::sha1()),
            };
            let file = builder.build2(&password)?.to_der()?;
            Ok(Exported { file, password })
        };
        build().map_err(failed)
    }

    /// A revoked or expired certificate would be rejected only when a browser sends it.
    fn check_usable(&self, name: &str, certificate: &X509Ref, now: Timestamp) -> Result<(), PkiError> {
        let exported = Issued::of(certificate, None)?;
        let is_revoked = |issued: &Issued| issued.serial == exported.serial && issued.revoked_at.is_some();
        let reason = if self.list()?.iter().any(is_revoked) {
            "was revoked"
        } else if exported.not_after <= now {
            "has expired"
        } else {
            return Ok(());
        };
        Err(PkiError::Unusable {
            client: name.to_owned(),
            reason,
        })
    }
}

fn password() -> Result<String, openssl::error::ErrorStack> {
    let mut random = [0; PASSWORD_CHARS];
    rand_bytes(&mut random)?;
    let mut password = String::new();
    for (at, byte) in random.into_iter().enumerate() {
        if at > 0 && at % 5 == 0 {
            password.push('-');
        }
        password.push(char::from(ALPHABET[usize::from(byte) % ALPHABET.len()]));
    }
    Ok(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_has_a_hundred_random_bits_in_groups() {
        let (one, other) = (password().expect("random bytes"), password().expect("random bytes"));
        assert_ne!(one, other);
        let groups: Vec<_> = one.split('-').map(str::len).collect();
        assert_eq!(groups, [5; 4]);
        assert!(
            one.bytes().all(|byte| byte == b'-' || ALPHABET.contains(&byte)),
            "{one}"
        );
    }
}
