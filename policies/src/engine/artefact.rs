//! Serializes compiled components. The bytes are machine code, and loading forged code would run it outside the
//! sandbox, so an artefact carries a MAC over everything it depends on, and only artefacts with a valid MAC are loaded.
//! It opens no file.

use std::hash::{Hash, Hasher};

use hmac::{Hmac, Mac};
use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::digest::Digest;
use crate::fault::ComponentError;

/// The first bytes of an artefact; a new layout gets a new number.
const MAGIC: &[u8; 16] = b"watchpost-rule-1";
const MAC_BYTES: usize = 32;
const HEAD_BYTES: usize = MAGIC.len() + MAC_BYTES;

/// The key of the MAC. Store it where only Watchpost can read it, and not next to the artefacts.
pub struct ArtefactKey([u8; 32]);

impl ArtefactKey {
    /// A key of thirty-two secret bytes.
    pub fn new(secret: [u8; 32]) -> Self {
        Self(secret)
    }
}

impl std::fmt::Debug for ArtefactKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ArtefactKey(…)")
    }
}

/// Why an artefact is not loaded. This is harmless: the rule is compiled again.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum ArtefactError {
    /// The bytes are not a complete artefact.
    #[error("it is not a compiled rule")]
    NotAnArtefact,
    /// The artefact was made of other bytes, by another engine or with another key, or was modified.
    #[error("its MAC does not match this rule, engine and key: it was modified, or made by another version")]
    WrongSeal,
    /// wasmtime rejects the code.
    #[error("the engine cannot load it: {0}")]
    Incompatible(String),
    /// The code loads and violates the contract.
    #[error("it was loaded, but {0}")]
    Refused(Box<ComponentError>),
    /// The artefact could not be created.
    #[error("it could not be written: {0}")]
    NotWritten(String),
}

pub(super) fn seal(
    engine: &Engine,
    wasm: Digest,
    component: &Component,
    key: &ArtefactKey,
) -> Result<Vec<u8>, ArtefactError> {
    let code = component
        .serialize()
        .map_err(|error| ArtefactError::NotWritten(format!("{error:#}")))?;
    Ok(sealed(engine, wasm, &code, key))
}

/// Like [`seal`], for code that is not loaded in an engine.
pub(super) fn sealed(engine: &Engine, wasm: Digest, code: &[u8], key: &ArtefactKey) -> Vec<u8> {
    let mac = mac(engine, wasm, code, key).finalize().into_bytes();
    [MAGIC.as_slice(), &mac, code].concat()
}

pub(super) fn open(
    engine: &Engine,
    wasm: Digest,
    artefact: &[u8],
    key: &ArtefactKey,
) -> Result<Component, ArtefactError> {
    let (head, code) = artefact
        .split_first_chunk::<HEAD_BYTES>()
        .ok_or(ArtefactError::NotAnArtefact)?;
    let seal = head.strip_prefix(MAGIC).ok_or(ArtefactError::NotAnArtefact)?;
    mac(engine, wasm, code, key)
        .verify_slice(seal)
        .map_err(|_| ArtefactError::WrongSeal)?;
    load(engine, code).map_err(|error| ArtefactError::Incompatible(format!("{error:#}")))
}

#[expect(
    unsafe_code,
    reason = "machine code cannot be checked, only known; the caller has verified its MAC"
)]
fn load(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the MAC over these bytes was made by `sealed` with a secret key, for this very engine; they are
    // what `Component::serialize` or `Engine::precompile_component` once returned.
    unsafe { Component::deserialize(engine, code) }
}

fn mac(engine: &Engine, wasm: Digest, code: &[u8], key: &ArtefactKey) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&key.0).expect("HMAC takes keys of any length");
    mac.update(MAGIC);
    mac.update(wasm.as_bytes());
    mac.update(&compatibility(engine));
    mac.update(code);
    mac
}

/// wasmtime's compatibility hash: its version, the features of the processor, the settings.
fn compatibility(engine: &Engine) -> [u8; 32] {
    struct Sha(Sha256);
    impl Hasher for Sha {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
        fn finish(&self) -> u64 {
            unreachable!("the digest is taken whole")
        }
    }
    let mut sha = Sha(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut sha);
    sha.0.finalize().into()
}
