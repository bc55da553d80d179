//! Signatures of rules (Ed25519 over the bytes of a component) and the operator's requirements. The keys are not
//! certificates: no authority issues them and they do not expire; the configuration lists the trusted ones. The
//! registry stores signatures and decides on activation.

use std::fmt;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use openssl::error::ErrorStack;
use openssl::pkey::{Id, PKey, Private};
use openssl::sign::{Signer, Verifier};
use watchpost_policies::Digest;

use super::checks::Failed;

/// Length of an Ed25519 signature.
const SIGNATURE_BYTES: usize = 64;

/// Length of an Ed25519 key, private or public.
const KEY_BYTES: usize = 32;

const ALLOWED: &str = "digest is allowed";
const CHECK_SIGNED: &str = "component is signed";
/// The check of a signature by a trusted key.
pub const CHECK_TRUSTED_KEY: &str = "signed by a trusted key";

/// The operator's requirements for uploaded rules. Built-in rules need no signature.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provenance {
    /// Keys whose signatures are trusted.
    pub trusted_keys: Vec<TrustedKey>,
    /// Whether a component without a signature is rejected.
    pub require_signature: bool,
    /// The digests of components that are accepted; any, if the list is empty.
    pub allowed_digests: Vec<Digest>,
}

/// A key whose signatures are trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedKey {
    /// The name of the signer.
    pub name: String,
    /// The public key.
    pub key: PublicKey,
}

impl Provenance {
    /// Verifies an upload and returns the key that signed it; `None` if it has no signature and needs none.
    pub fn check(
        &self,
        digest: Digest,
        wasm: &[u8],
        signature: Option<&Signature>,
    ) -> Result<Option<&TrustedKey>, Failed> {
        if !self.allows(digest) {
            return Err(Failed {
                check: ALLOWED,
                reason: format!("the digest {digest} is not in rules.allowed_digests"),
                advice: "add it to rules.allowed_digests to accept the component",
            });
        }
        match signature {
            None if self.require_signature => Err(Failed {
                check: CHECK_SIGNED,
                reason: "the component has no signature, and rules.require_signature is set".to_owned(),
                advice: "watchpost rules sign FILE --key KEY, and upload the signature with the component",
            }),
            None => Ok(None),
            Some(signature) => self.signer(wasm, signature).map(Some).ok_or_else(|| Failed {
                check: CHECK_TRUSTED_KEY,
                reason: "the signature is not by a key in rules.trusted_keys, or not over these bytes".to_owned(),
                advice: "sign exactly these bytes, with a key whose public half is in rules.trusted_keys",
            }),
        }
    }

    /// Whether any component could be rejected.
    pub fn is_enforced(&self) -> bool {
        self.require_signature || !self.allowed_digests.is_empty()
    }

    /// Whether the allowlist accepts this component.
    pub fn allows(&self, digest: Digest) -> bool {
        self.allowed_digests.is_empty() || self.allowed_digests.contains(&digest)
    }

    /// The trusted key that made the signature, if any.
    pub fn signer(&self, wasm: &[u8], signature: &Signature) -> Option<&TrustedKey> {
        self.trusted_keys
            .iter()
            .find(|trusted| trusted.key.verifies(wasm, signature))
    }
}

/// A signature, not verified yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature([u8; SIGNATURE_BYTES]);

/// The length is not that of a signature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a signature is {SIGNATURE_BYTES} bytes, raw or as base64; found {0} bytes that are neither")]
pub struct InvalidSignatureLength(usize);

impl Signature {
    /// Reads the output of `openssl pkeyutl -sign -rawin`, or the same as base64.
    pub fn read(bytes: &[u8]) -> Result<Self, InvalidSignatureLength> {
        let raw = |bytes: &[u8]| bytes.try_into().ok().map(Self);
        let decoded = || BASE64_STANDARD.decode(bytes.trim_ascii()).ok();
        raw(bytes)
            .or_else(|| raw(&decoded()?))
            .ok_or(InvalidSignatureLength(bytes.len()))
    }

    /// The raw signature.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Base64, for headers and terminals.
impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64_STANDARD.encode(self.0))
    }
}

/// A public key, which verifies signatures of its private key.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey([u8; KEY_BYTES]);

/// Why a text is not a key, with a remedy.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A private key where a public one is expected.
    #[error("this is a private key; keep it where rules are signed, and use the public key")]
    Private,
    /// A public key where a private one is expected.
    #[error("this is a public key, which cannot sign; use the private key")]
    Public,
    /// Another content, or a key with a passphrase.
    #[error("not a PEM key without a passphrase; `watchpost rules keygen` creates one")]
    Unreadable,
    /// A key of another type.
    #[error("not an Ed25519 key; `watchpost rules keygen` creates one")]
    OtherKind,
    /// OpenSSL failed.
    #[error("OpenSSL error: {0}")]
    OpenSsl(#[from] ErrorStack),
}

impl PublicKey {
    /// Reads a `.pub` file of `keygen`, or the output of `openssl pkey -pubout`.
    pub fn of_pem(pem: &str) -> Result<Self, KeyError> {
        if pem.contains("PRIVATE KEY-----") {
            return Err(KeyError::Private);
        }
        let key = PKey::public_key_from_pem(pem.as_bytes()).map_err(|_| KeyError::Unreadable)?;
        if key.id() != Id::ED25519 {
            return Err(KeyError::OtherKind);
        }
        let raw = key.raw_public_key()?;
        raw.try_into().map(Self).map_err(|_| KeyError::OtherKind)
    }

    /// The key as PEM.
    pub fn to_pem(&self) -> Result<String, KeyError> {
        let key = PKey::public_key_from_raw_bytes(&self.0, Id::ED25519)?;
        text(key.public_key_to_pem()?)
    }

    fn verifies(&self, bytes: &[u8], signature: &Signature) -> bool {
        let verified = PKey::public_key_from_raw_bytes(&self.0, Id::ED25519).and_then(|key| {
            let mut verifier = Verifier::new_without_digest(&key)?;
            verifier.verify_oneshot(&signature.0, bytes)
        });
        // A signature that OpenSSL cannot parse is invalid.
        verified.unwrap_or(false)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", BASE64_STANDARD.encode(self.0))
    }
}

/// A private key, which signs. It stays with the signer; no server has one.
pub struct PrivateKey(PKey<Private>);

impl PrivateKey {
    /// Generates a key.
    pub fn generate() -> Result<Self, KeyError> {
        Ok(Self(PKey::generate_ed25519()?))
    }

    /// Reads a `.key` file of `keygen`, or the output of `openssl genpkey -algorithm ed25519`.
    pub fn of_pem(pem: &[u8]) -> Result<Self, KeyError> {
        if String::from_utf8_lossy(pem).contains("PUBLIC KEY-----") {
            return Err(KeyError::Public);
        }
        // Without this callback, OpenSSL asks for a passphrase on the terminal.
        let key = PKey::private_key_from_pem_callback(pem, |_| Ok(0)).map_err(|_| KeyError::Unreadable)?;
        match key.id() {
            Id::ED25519 => Ok(Self(key)),
            _ => Err(KeyError::OtherKind),
        }
    }

    /// The key as PEM, for a file with restricted permissions.
    pub fn to_pem(&self) -> Result<String, KeyError> {
        text(self.0.private_key_to_pem_pkcs8()?)
    }

    /// The public key that verifies its signatures.
    pub fn public(&self) -> Result<PublicKey, KeyError> {
        let raw = self.0.raw_public_key()?;
        raw.try_into().map(PublicKey).map_err(|_| KeyError::OtherKind)
    }

    /// Signs these bytes.
    pub fn sign(&self, bytes: &[u8]) -> Result<Signature, KeyError> {
        let mut signature = [0; SIGNATURE_BYTES];
        Signer::new_without_digest(&self.0)?.sign_oneshot(&mut signature, bytes)?;
        Ok(Signature(signature))
    }
}

fn text(pem: Vec<u8>) -> Result<String, KeyError> {
    String::from_utf8(pem).map_err(|_| KeyError::Unreadable)
}

#[cfg(test)]
mod tests;
