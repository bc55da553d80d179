//! Who vouches for a rule: signatures (Ed25519) over the bytes of a component, and what the operator wants of them. Keys
//! are no certificates: nobody issues them and nothing ends them, they are trusted because the configuration names them.
//! So they stand here and not in `tls`. What is kept of a signature, and what is in force, is the registry's work.

use std::fmt;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use openssl::error::ErrorStack;
use openssl::pkey::{Id, PKey, Private};
use openssl::sign::{Signer, Verifier};
use watchpost_policies::Digest;

use super::checks::Failed;

/// Every signature has as many.
const SIGNATURE_BYTES: usize = 64;

/// Every key has as many, the private as well as the public.
const KEY_BYTES: usize = 32;

const ALLOWED: &str = "its digest is allowed";
const CHECK_SIGNED: &str = "it is signed";
/// What is true of a rule whose signature is believed.
pub const CHECK_TRUSTED_KEY: &str = "its signature is by a trusted key";

/// What the operator wants of rules that somebody brings. Those that Watchpost brings are vouched for by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provenance {
    /// Whose signatures are believed.
    pub trusted_keys: Vec<TrustedKey>,
    /// Whether one without a signature is refused.
    pub require_signature: bool,
    /// The components that may be brought; any, if none are named.
    pub allowed_digests: Vec<Digest>,
}

/// A key whose signatures are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedKey {
    /// Whose it is.
    pub name: String,
    /// The key.
    pub key: PublicKey,
}

impl Provenance {
    /// Who vouches for what somebody brings; nobody, where nobody has to.
    pub fn check(
        &self,
        digest: Digest,
        wasm: &[u8],
        signature: Option<&Signature>,
    ) -> Result<Option<&TrustedKey>, Failed> {
        if !self.allows(digest) {
            return Err(Failed {
                check: ALLOWED,
                why: format!("its digest is {digest}, and rules.allowed_digests does not name it"),
                advice: "add it to rules.allowed_digests if it shall judge here",
            });
        }
        match signature {
            None if self.require_signature => Err(Failed {
                check: CHECK_SIGNED,
                why: "it comes without a signature, and rules.require_signature wants one".to_owned(),
                advice: "watchpost rules sign FILE --key KEY, and send what it writes beside the component",
            }),
            None => Ok(None),
            Some(signature) => self.signer(wasm, signature).map(Some).ok_or_else(|| Failed {
                check: CHECK_TRUSTED_KEY,
                why: "its signature is by none of rules.trusted_keys, or over other bytes than these".to_owned(),
                advice: "sign these very bytes, with a key whose public half is in rules.trusted_keys",
            }),
        }
    }

    /// Whether it may be brought at all.
    pub fn allows(&self, digest: Digest) -> bool {
        self.allowed_digests.is_empty() || self.allowed_digests.contains(&digest)
    }

    /// Whose signature that is, if it is anybody's who is trusted.
    pub fn signer(&self, wasm: &[u8], signature: &Signature) -> Option<&TrustedKey> {
        self.trusted_keys
            .iter()
            .find(|trusted| trusted.key.verifies(wasm, signature))
    }
}

/// A signature, which may be anybody's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature([u8; SIGNATURE_BYTES]);

/// Why bytes are no signature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a signature is {SIGNATURE_BYTES} bytes, as they are or as base64; these are {0} bytes and neither")]
pub struct InvalidSignatureLength(usize);

impl Signature {
    /// As `openssl pkeyutl -sign -rawin` writes it, or the same as base64 in text.
    pub fn read(bytes: &[u8]) -> Result<Self, InvalidSignatureLength> {
        let raw = |bytes: &[u8]| bytes.try_into().ok().map(Self);
        let decoded = || BASE64_STANDARD.decode(bytes.trim_ascii()).ok();
        raw(bytes)
            .or_else(|| raw(&decoded()?))
            .ok_or(InvalidSignatureLength(bytes.len()))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// As base64, which goes through headers and terminals.
impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64_STANDARD.encode(self.0))
    }
}

/// Tells whether a signature is by the private key that belongs to it.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey([u8; KEY_BYTES]);

/// Why a text is no key, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The private half where the public one belongs.
    #[error("it is a private key; keep that where rules are signed, and give the public one")]
    Private,
    /// The public half where the private one belongs.
    #[error("it is a public key, which signs nothing; give the private one")]
    Public,
    /// It is something else, or it takes a passphrase.
    #[error("it is no PEM of a key without a passphrase; `watchpost rules keygen` makes one")]
    Unreadable,
    /// A key of another kind.
    #[error("it is a key of another kind than Ed25519; `watchpost rules keygen` makes one")]
    OtherKind,
    /// OpenSSL could not do it.
    #[error("OpenSSL gave up: {0}")]
    OpenSsl(#[from] ErrorStack),
}

impl PublicKey {
    /// Of what `keygen` writes into a `.pub` file, or `openssl pkey -pubout`.
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

    /// The same again.
    pub fn to_pem(&self) -> Result<String, KeyError> {
        let key = PKey::public_key_from_raw_bytes(&self.0, Id::ED25519)?;
        text(key.public_key_to_pem()?)
    }

    fn verifies(&self, bytes: &[u8], signature: &Signature) -> bool {
        let verified = PKey::public_key_from_raw_bytes(&self.0, Id::ED25519).and_then(|key| {
            let mut verifier = Verifier::new_without_digest(&key)?;
            verifier.verify_oneshot(&signature.0, bytes)
        });
        // What OpenSSL cannot make sense of is nobody's.
        verified.unwrap_or(false)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", BASE64_STANDARD.encode(self.0))
    }
}

/// Signs. It stays with those who sign; no server has one.
pub struct PrivateKey(PKey<Private>);

impl PrivateKey {
    /// A new one.
    pub fn generate() -> Result<Self, KeyError> {
        Ok(Self(PKey::generate_ed25519()?))
    }

    /// Of what `keygen` writes into a `.key` file, or `openssl genpkey -algorithm ed25519`.
    pub fn of_pem(pem: &[u8]) -> Result<Self, KeyError> {
        if String::from_utf8_lossy(pem).contains("PUBLIC KEY-----") {
            return Err(KeyError::Public);
        }
        // Without this, OpenSSL asks a terminal for a passphrase, and there may be none.
        let key = PKey::private_key_from_pem_callback(pem, |_| Ok(0)).map_err(|_| KeyError::Unreadable)?;
        match key.id() {
            Id::ED25519 => Ok(Self(key)),
            _ => Err(KeyError::OtherKind),
        }
    }

    /// For a file that nobody else can read.
    pub fn to_pem(&self) -> Result<String, KeyError> {
        text(self.0.private_key_to_pem_pkcs8()?)
    }

    /// What others need to believe its signatures.
    pub fn public(&self) -> Result<PublicKey, KeyError> {
        let raw = self.0.raw_public_key()?;
        raw.try_into().map(PublicKey).map_err(|_| KeyError::OtherKind)
    }

    /// Vouches for these bytes.
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
