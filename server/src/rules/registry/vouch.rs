//! Whether those whom the operator trusts vouch for a rule: when it is brought, and again whenever it is to be put in
//! force, for keys come and go. What is in force is not asked after; it stays, and the log tells.

use std::time::Instant;

use watchpost_policies::Digest;

use super::{Brought, ChangeError, Registry};
use crate::rules::checks::{Failed, Passed};
use crate::rules::provenance::{BY_TRUSTED_KEY, Signature};
use crate::store::rules::{Entry, Generation, Signed};
use crate::tasks;

/// A signature that is believed, and whose it is.
#[derive(Clone, Debug)]
pub(super) struct Vouched {
    signer: String,
    signature: Signature,
}

impl Vouched {
    pub(super) fn signed(&self) -> Signed<'_> {
        Signed {
            signer: &self.signer,
            signature: self.signature.as_bytes(),
        }
    }
}

impl Registry {
    /// What somebody brings, by its digest, and who vouches for it. Nothing of it was looked into by then, so what a
    /// stranger made is not even compiled where strangers are not trusted.
    pub(super) async fn vouched(
        &self,
        brought: &Brought,
    ) -> Result<(Digest, Option<Vouched>, Vec<Passed>), ChangeError> {
        let (options, wasm) = (self.0.options.load_full(), brought.wasm.clone());
        let signature = brought.signature.clone();
        let checked = tasks::block(move || {
            let (began, digest) = (Instant::now(), Digest::of(&wasm));
            let signer = options.provenance.check(digest, &wasm, signature.as_ref())?;
            let vouched = signer.zip(signature).map(|(trusted, signature)| Vouched {
                signer: trusted.name.clone(),
                signature,
            });
            let passed = vouched.as_ref().map(|_| Passed {
                check: BY_TRUSTED_KEY,
                took: began.elapsed(),
            });
            Ok::<_, Failed>((digest, vouched, passed.into_iter().collect()))
        });
        Ok(checked.await.map_err(ChangeError::Broken)??)
    }

    /// Whatever is new in a generation has to be vouched for, also where it was brought long ago.
    pub(super) async fn are_vouched_for(&self, latest: &Generation, next: &Generation) -> Result<(), ChangeError> {
        let is_there = |entry: &Entry| {
            let mut known = latest.entries.iter();
            known.any(|known| (known.digest, known.mode) == (entry.digest, entry.mode) && known.rule == entry.rule)
        };
        for entry in next.entries.iter().filter(|entry| !is_there(entry)) {
            if let Some(why) = self.unvouched(&entry.rule, entry.digest).await? {
                return Err(ChangeError::Conflict(why));
            }
        }
        Ok(())
    }

    /// Why a version may not be put in force, if so. Its signature is looked at anew, for the key behind a name may be
    /// another one now.
    pub(super) async fn unvouched(&self, rule: &str, digest: Option<Digest>) -> Result<Option<String>, ChangeError> {
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

    /// Tells the log what is in force and could not be put in force any more.
    pub(super) async fn tell_unvouched(&self) {
        let current = self.0.rules.current();
        for entry in &current.generation.entries {
            if let Ok(Some(why)) = self.unvouched(&entry.rule, entry.digest).await {
                log::warn!(rule = entry.rule.as_str(), reason = why.as_str(); "nobody who is trusted vouches for a rule that is in force; it stays until somebody changes it");
            }
        }
    }
}
