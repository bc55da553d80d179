//! Client assertions: JWTs signed with the key of an application's certificate. A new one, valid for ten
//! minutes, is created for each token request.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::error::ErrorStack;
use openssl::hash::{MessageDigest, hash};
use openssl::pkcs12::Pkcs12;
use openssl::pkey::{Id, PKey, Private};
use openssl::rand::rand_bytes;
use openssl::sign::Signer;
use openssl::x509::X509;
use serde_json::json;

use watchpost_secret::Secret;

/// The tolerated difference between the local and Azure's clock.
const CLOCK_SKEW_SECONDS: u64 = 60;
const LIFETIME_SECONDS: u64 = 600;

/// A certificate and its key.
pub(crate) struct Identity {
    certificate: X509,
    key: PKey<Private>,
}

/// Why no assertion could be created.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AssertionError {
    #[error("cannot read {file} ({source}); check azure.credentials.certificate")]
    File { file: String, source: std::io::Error },
    #[error("no certificate in {file} ({source}); use PEM, or PKCS#12 with its password")]
    Certificate { file: String, source: ErrorStack },
    #[error("no readable private key in {file} ({source}); add the key to the file, and set its password")]
    Key { file: String, source: ErrorStack },
    #[error("{file} contains a certificate or a key, but not both; put both into one file")]
    Half { file: String },
    #[error("the key in {file} is not RSA, which Azure requires; create an RSA key")]
    NotRsa { file: String },
    #[error("the key in {file} does not match the certificate; use the key that the certificate was issued for")]
    Mismatch { file: String },
    #[error("cannot sign the assertion ({0})")]
    Sign(#[from] ErrorStack),
}

impl Identity {
    /// Reads the certificate and its key from a file.
    pub(crate) fn read(file: &Path, password: Option<&Secret>) -> Result<Self, AssertionError> {
        let name = file.display().to_string();
        let bytes = std::fs::read(file).map_err(|source| AssertionError::File {
            file: name.clone(),
            source,
        })?;
        Self::of_bytes(&bytes, name, password.map_or("", |secret| secret.expose().as_str()))
    }

    fn of_bytes(bytes: &[u8], file: String, password: &str) -> Result<Self, AssertionError> {
        let is_pem = bytes.windows(10).any(|window| window == b"-----BEGIN");
        let (certificate, key) = if is_pem {
            of_pem(bytes, &file, password)?
        } else {
            of_pkcs12(bytes, &file, password)?
        };
        if key.id() != Id::RSA {
            return Err(AssertionError::NotRsa { file });
        }
        if !certificate.public_key()?.public_eq(&key) {
            return Err(AssertionError::Mismatch { file });
        }
        Ok(Self { certificate, key })
    }

    /// Creates an assertion that authenticates the application to `audience`.
    pub(crate) fn assertion(&self, client: &str, audience: &str, now_ms: u64) -> Result<String, AssertionError> {
        let now = now_ms / 1000;
        let fingerprint = hash(MessageDigest::sha256(), &self.certificate.to_der()?)?;
        let header = json!({ "alg": "RS256", "typ": "JWT", "x5t#S256": URL_SAFE_NO_PAD.encode(fingerprint) });
        let mut number = [0; 16];
        rand_bytes(&mut number)?;
        let claims = json!({
            "aud": audience,
            "iss": client,
            "sub": client,
            "jti": URL_SAFE_NO_PAD.encode(number),
            "iat": now,
            "nbf": now.saturating_sub(CLOCK_SKEW_SECONDS),
            "exp": now.saturating_add(LIFETIME_SECONDS),
        });
        let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let mut signer = Signer::new(MessageDigest::sha256(), &self.key)?;
        let signature = signer.sign_oneshot_to_vec(signed.as_bytes())?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

fn of_pem(bytes: &[u8], file: &str, password: &str) -> Result<(X509, PKey<Private>), AssertionError> {
    let certificate = X509::from_pem(bytes).map_err(|source| AssertionError::Certificate {
        file: file.to_owned(),
        source,
    })?;
    // With an explicit password, OpenSSL never prompts on the terminal. It is ignored for an unencrypted key.
    let key = PKey::private_key_from_pem_passphrase(bytes, password.as_bytes());
    let key = key.map_err(|source| AssertionError::Key {
        file: file.to_owned(),
        source,
    })?;
    Ok((certificate, key))
}

fn of_pkcs12(bytes: &[u8], file: &str, password: &str) -> Result<(X509, PKey<Private>), AssertionError> {
    let of_certificate = |source| AssertionError::Certificate {
        file: file.to_owned(),
        source,
    };
    let of_key = |source| AssertionError::Key {
        file: file.to_owned(),
        source,
    };
    let parsed = Pkcs12::from_der(bytes)
        .map_err(of_certificate)?
        .parse2(password)
        .map_err(of_key)?;
    parsed
        .cert
        .zip(parsed.pkey)
        .ok_or_else(|| AssertionError::Half { file: file.to_owned() })
}

#[cfg(test)]
mod tests {
    use openssl::asn1::Asn1Time;
    use openssl::ec::{EcGroup, EcKey};
    use openssl::nid::Nid;
    use openssl::rsa::Rsa;
    use openssl::sign::Verifier;
    use openssl::symm::Cipher;

    use super::*;

    fn rsa() -> PKey<Private> {
        PKey::from_rsa(Rsa::generate(2048).expect("a key")).expect("a key")
    }

    fn certificate(key: &PKey<Private>) -> X509 {
        let mut certificate = X509::builder().expect("a certificate");
        certificate.set_pubkey(key).expect("its key");
        certificate
            .set_not_before(&Asn1Time::from_unix(0).expect("a time"))
            .expect("its beginning");
        certificate
            .set_not_after(&Asn1Time::days_from_now(1).expect("a time"))
            .expect("its end");
        certificate.sign(key, MessageDigest::sha256()).expect("signed");
        certificate.build()
    }

    fn pem(key: &PKey<Private>, password: Option<&[u8]>) -> Vec<u8> {
        let mut pem = certificate(key).to_pem().expect("PEM");
        pem.extend(match password {
            None => key.private_key_to_pem_pkcs8().expect("PEM"),
            Some(password) => key
                .private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), password)
                .expect("PEM"),
        });
        pem
    }

    fn read(bytes: &[u8], password: &str) -> Result<Identity, AssertionError> {
        Identity::of_bytes(bytes, "app.pem".to_owned(), password)
    }

    #[test]
    fn an_assertion_is_signed_by_the_key_and_names_the_certificates_fingerprint() {
        let key = rsa();
        let identity = read(&pem(&key, None), "").expect("an identity");
        let jwt = identity
            .assertion("app", "https://login/t/token", 1_000_000)
            .expect("an assertion");
        let (signed, signature) = jwt.rsplit_once('.').expect("three parts");
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).expect("base64");
        let mut verifier = Verifier::new(MessageDigest::sha256(), &key).expect("a verifier");
        assert!(
            verifier
                .verify_oneshot(&decode(signature), signed.as_bytes())
                .expect("checked")
        );
        let parts: Vec<serde_json::Value> = signed
            .split('.')
            .map(|part| serde_json::from_slice(&decode(part)).expect("JSON"))
            .collect();
        assert_eq!(parts[0]["alg"], "RS256");
        let fingerprint = identity
            .certificate
            .digest(MessageDigest::sha256())
            .expect("a fingerprint");
        assert_eq!(parts[0]["x5t#S256"], URL_SAFE_NO_PAD.encode(fingerprint));
        assert_eq!((&parts[1]["iss"], &parts[1]["sub"]), (&json!("app"), &json!("app")));
        assert_eq!(parts[1]["aud"], "https://login/t/token");
        assert_eq!((&parts[1]["nbf"], &parts[1]["exp"]), (&json!(940), &json!(1600)));
    }

    #[test]
    fn a_certificate_may_be_encrypted() {
        let key = rsa();
        let encrypted = pem(&key, Some(b"hunter2"));
        assert!(read(&encrypted, "hunter2").is_ok());
        assert!(matches!(read(&encrypted, "wrong"), Err(AssertionError::Key { .. })));
        assert!(matches!(read(&encrypted, ""), Err(AssertionError::Key { .. })));
        let certificate = certificate(&key);
        let mut pkcs12 = Pkcs12::builder();
        let pkcs12 = pkcs12
            .name("app")
            .pkey(&key)
            .cert(&certificate)
            .build2("hunter2")
            .expect("PKCS#12");
        let pkcs12 = pkcs12.to_der().expect("DER");
        assert!(read(&pkcs12, "hunter2").is_ok());
        assert!(matches!(read(&pkcs12, "wrong"), Err(AssertionError::Key { .. })));
    }

    #[test]
    fn an_unusable_key_is_rejected_with_the_reason() {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("a curve");
        let curve = PKey::from_ec_key(EcKey::generate(&group).expect("a key")).expect("a key");
        assert!(matches!(
            read(&pem(&curve, None), ""),
            Err(AssertionError::NotRsa { .. })
        ));
        let (one, other) = (rsa(), rsa());
        let mut mixed = certificate(&one).to_pem().expect("PEM");
        assert!(matches!(read(&mixed, ""), Err(AssertionError::Key { .. })));
        mixed.extend(other.private_key_to_pem_pkcs8().expect("PEM"));
        assert!(matches!(read(&mixed, ""), Err(AssertionError::Mismatch { .. })));
        assert!(matches!(read(b"nonsense", ""), Err(AssertionError::Certificate { .. })));
        assert!(matches!(
            Identity::read(Path::new("/nowhere/app.pem"), None),
            Err(AssertionError::File { .. })
        ));
    }
}
