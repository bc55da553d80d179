//! Whether a rule has a signature by a trusted key: when it is uploaded, and again whenever it is to be activated, for
//! keys come and go. A rule that is active stays so without one, and the log warns of it.

use std::time::Instant;

use watchpost_policies::Digest;

use super::{ChangeError, Registry, UploadRequest};
use crate::error_chain::error_chain;
use crate::rules::checks::{Failed, Passed};
use crate::rules::signing::{CHECK_TRUSTED_KEY, Signature};
use crate::store::rules::{Entry, Generation, Signed};
use crate::tasks;

/// A signature that was verified, and the name of its key.
#[derive(Clone, Debug)]
pub(super) struct Verified {
    signer: String,
    signature: Signature,
}

impl Verified {
    pub(super) fn signed(&self) -> Signed<'_> {
        Signed {
            signer: &self.signer,
            signature: self.signature.as_bytes(),
        }
    }
}

impl Registry {
    /// The digest of an upload, and its signature. Nothing of it was parsed by then, so an untrusted component is not
    /// even compiled where signatures are required.
    pub(super) async fn verify_signature(
        &self,
        brought: &UploadRequest,
    ) -> Result<(Digest, Option<Verified>, Vec<Passed>), ChangeError> {
        let (options, wasm) = (self.0.options.load_full(), brought.wasm.clone());
        let signature = brought.signature.clone();
        let checked = tasks::block(move || {
            let (began, digest) = (Instant::now(), Digest::of(&wasm));
            let signer = options.provenance.check(digest, &wasm, signature.as_ref())?;
            let verified = signer.zip(signature).map(|(trusted, signature)| Verified {
                signer: trusted.name.clone(),
                signature,
            });
            let passed = verified.as_ref().map(|_| Passed {
                check: CHECK_TRUSTED_KEY,
                took: began.elapsed(),
            });
            Ok::<_, Failed>((digest, verified, passed.into_iter().collect()))
        });
        Ok(checked.await.map_err(ChangeError::Broken)??)
    }

    /// Refuses a generation in which a new entry lacks a trusted signature, also where it was uploaded long ago.
    pub(super) async fn require_signatures(&self, latest: &Generation, next: &Generation) -> Result<(), ChangeError> {
        let is_there = |entry: &Entry| {
            let mut known = latest.entries.iter();
            known.any(|known| (known.digest, known.mode) == (entry.digest, entry.mode) && known.rule == entry.rule)
        };
        for entry in next.entries.iter().filter(|entry| !is_there(entry)) {
            if let Some(why) = self.untrusted(&entry.rule, entry.digest).await? {
                return Err(ChangeError::Conflict(why));
            }
        }
        Ok(())
    }

    /// Why a version may not be activated, if so. Its signature is verified anew, for the key behind a name may be
    /// another one now.
    pub(in crate::rules) async fn untrusted(
        &self,
        rule: &str,
        digest: Option<Digest>,
    ) -> Result<Option<String>, ChangeError> {
        let Some(digest) = digest else { return Ok(None) };
        let options = self.0.options.load_full();
        if !options.provenance.allows(digest) {
            return Ok(Some(format!(
                "the version {digest} of {rule} is not in rules.allowed_digests; add it there if it shall judge here"
            )));
        }
        if !options.provenance.require_signature {
            return Ok(None);
        }
        let version = self.0.store.ask(move |store| store.rule_version(digest)).await?;
        let (signer, signature) = version.map_or((None, None), |version| (version.signer, version.signature));
        let Some(signature) = signature.and_then(|bytes| Signature::read(&bytes).ok()) else {
            return Ok(Some(format!(
                "nobody signed the version {digest} of {rule}, and rules.require_signature wants a signature; upload it \
                 again with one"
            )));
        };
        let wasm = self.0.store.ask(move |store| store.rule_component(digest)).await?;
        let is_believed = tasks::block(move || {
            let signer = wasm.and_then(|wasm| options.provenance.signer(&wasm, &signature).map(drop));
            signer.is_some()
        });
        Ok(match is_believed.await.map_err(ChangeError::Broken)? {
            true => None,
            false => Some(format!(
                "the version {digest} of {rule} was signed by {}, whose key is not in rules.trusted_keys any more; upload \
                 it again with another signature",
                signer.as_deref().unwrap_or("somebody")
            )),
        })
    }

    /// Logs which active rules could not be activated any more.
    pub(super) async fn warn_unsigned(&self) {
        let current = self.0.rules.current();
        for entry in &current.generation.entries {
            match self.untrusted(&entry.rule, entry.digest).await {
                Ok(None) => {}
                Ok(Some(why)) => {
                    log::warn!(rule = entry.rule.as_str(), reason = why.as_str(); "nobody who is trusted vouches for a rule that is in force; it stays until somebody changes it");
                }
                Err(error) => {
                    log::warn!(rule = entry.rule.as_str(), reason = error_chain(&error).as_str(); "the signature of a rule that is in force could not be verified again");
                }
            }
        }
    }
}
