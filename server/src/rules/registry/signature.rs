//! Verifies the signatures of rules: on upload, on each activation, because the trusted keys may have changed, and
//! whenever a generation is loaded that another process may have stored. What this server accepted before stays accepted:
//! an active rule that loses its trusted signature stays active, with a warning in the log.

use std::time::Instant;

use watchpost_policies::{Digest, Kind};

use super::accepted::{Accepted, AcceptedEntry};
use super::build::SettingsTexts;
use super::{ChangeError, Registry, UploadRequest};
use crate::error_chain::error_chain;
use crate::rules::LoadedGeneration;
use crate::rules::checks::{Failed, Passed};
use crate::rules::closure::Closure;
use crate::rules::signing::{CHECK_TRUSTED_KEY, Provenance, Signature};
use crate::store::rules::{Entry, Generation, Mode, SettingsRef, Signed};
use crate::tasks;

/// A verified signature and the name of its key.
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

/// A change that this server makes. Its settings of the role rule come from its author or from the configuration; others
/// are only in the database, where any client of it may have written them.
#[derive(Clone, Copy, Debug)]
pub(super) struct OwnChange<'c> {
    /// The entries before the change.
    pub(super) before: &'c [Entry],
    /// The settings that the author gave.
    pub(super) requested: Option<&'c str>,
}

impl OwnChange<'_> {
    fn makes(&self, entry: &Entry) -> bool {
        !self.before.contains(entry)
    }
}

/// The settings with which a generation was verified; none where nothing has to be.
#[derive(Debug, Default)]
pub(super) struct VerifiedSettings(pub(super) Option<SettingsTexts>);

impl VerifiedSettings {
    /// Rejects a loaded generation with other settings: a client of the database may have changed them in between.
    pub(super) fn check(&self, built: &LoadedGeneration) -> Result<(), ChangeError> {
        let Some(texts) = &self.0 else { return Ok(()) };
        let mut loaded = built.generation.entries.iter().zip(&built.rules);
        match loaded.find(|(entry, rule)| !texts.has(entry, rule)) {
            None => Ok(()),
            Some((entry, _)) => Err(ChangeError::Conflict(format!(
                "the settings of the rule {} changed in the database after they were verified; settings of a number never \
                 change, so check who writes to the database",
                entry.rule
            ))),
        }
    }
}

impl Registry {
    /// Verifies the signature of an upload and computes its digest. Nothing of the component is parsed before, so an
    /// untrusted one is not even compiled where signatures are required.
    pub(super) async fn verify_signature(
        &self,
        upload: &UploadRequest,
    ) -> Result<(Digest, Option<Verified>, Vec<Passed>), ChangeError> {
        let (options, wasm) = (self.0.options.load_full(), upload.wasm.clone());
        let signature = upload.signature.clone();
        let checked = tasks::block(move || {
            let (began, digest) = (Instant::now(), Digest::of(&wasm));
            let signer = options.provenance.check(digest, &wasm, signature.as_ref())?;
            let verified = signer.zip(signature).map(|(trusted, signature)| Verified {
                signer: trusted.name.clone(),
                signature,
            });
            let passed = verified.as_ref().map(|_| Passed {
                check: CHECK_TRUSTED_KEY,
                duration: began.elapsed(),
            });
            Ok::<_, Failed>((digest, verified, passed.into_iter().collect()))
        });
        Ok(checked.await.map_err(ChangeError::Broken)??)
    }

    /// Rejects a generation with anything that this server has not accepted and that is not trusted: a component without a
    /// trusted signature, even if it was uploaded long ago, or settings of the role rule from elsewhere, unless the whole
    /// generation is signed. `own` is the change of this server that makes the generation. The caller compares the result
    /// with what it loads.
    pub(super) async fn verify_generation(
        &self,
        generation: &Generation,
        own: Option<OwnChange<'_>>,
    ) -> Result<VerifiedSettings, ChangeError> {
        if !self.options().provenance.is_enforced() {
            return Ok(VerifiedSettings::default());
        }
        let texts = self.settings_of(generation).await?;
        self.verify_with(generation, &texts, own).await?;
        Ok(VerifiedSettings(Some(texts)))
    }

    async fn verify_with(
        &self,
        generation: &Generation,
        texts: &SettingsTexts,
        own: Option<OwnChange<'_>>,
    ) -> Result<(), ChangeError> {
        let options = self.options();
        if options.provenance.require_signature
            && let Some(form) = Accepted::stored(generation, texts)
            && self.is_signed(&form).await?
        {
            return match generation
                .entries
                .iter()
                .find_map(|entry| not_allowed(&options.provenance, entry))
            {
                Some(reason) => Err(ChangeError::Conflict(reason)),
                None => Ok(()),
            };
        }
        for entry in &generation.entries {
            if let Some(reason) = self.rejection(generation, texts, entry, own).await? {
                return Err(ChangeError::Conflict(reason));
            }
        }
        Ok(())
    }

    /// Why an entry of a generation is not trusted, if so.
    pub(super) async fn rejection(
        &self,
        generation: &Generation,
        texts: &SettingsTexts,
        entry: &Entry,
        own: Option<OwnChange<'_>>,
    ) -> Result<Option<String>, ChangeError> {
        let is_accepted = self.0.record.lock().has_component(entry);
        if !is_accepted && let Some(reason) = self.untrusted(&entry.rule, entry.digest).await? {
            return Ok(Some(reason));
        }
        let is_role = entry.kind == Kind::Role && entry.mode == Mode::Active;
        if !is_role || !self.0.options.load().provenance.require_signature {
            return Ok(None);
        }
        let own = own.filter(|own| own.makes(entry));
        if own.is_some() && entry.settings == SettingsRef::New {
            return Ok(None);
        }
        let settings = match texts.text(&entry.rule, entry.settings) {
            Ok(settings) => settings,
            Err(error) => return Ok(Some(error_chain(&error))),
        };
        let is_configured = settings == self.configured(&entry.rule);
        if let Some(own) = own
            && (is_configured || own.requested == Some(settings.as_str()))
        {
            return Ok(None);
        }
        let record = self.0.record.lock();
        let is_builtin_trusted = entry.digest.is_none()
            && (Closure::of_settings(&settings).is_some() || (is_configured && record.allows_configured()));
        if is_builtin_trusted || record.has_entry(&AcceptedEntry::new(entry, &settings)) {
            return Ok(None);
        }
        if own.is_some() {
            return Ok(Some(format!(
                "the settings of the role rule {} are not in this request, and rules.require_signature is set; pass them, \
                 because those in the database are not trusted",
                entry.rule
            )));
        }
        Ok(Some(format!(
            "the settings of the role rule {} in generation {} were not set on this server, and rules.require_signature \
             is set; sign the generation (`watchpost rules sign-generation`), or set them through the API of this server",
            entry.rule, generation.number
        )))
    }

    /// Why a version must not be activated, if so. The signature is verified again, because the key with the stored
    /// name may have been replaced.
    pub(in crate::rules) async fn untrusted(
        &self,
        rule: &str,
        digest: Option<Digest>,
    ) -> Result<Option<String>, ChangeError> {
        let Some(digest) = digest else { return Ok(None) };
        let options = self.0.options.load_full();
        if !options.provenance.allows(digest) {
            return Ok(Some(not_listed(rule, digest)));
        }
        if !options.provenance.require_signature {
            return Ok(None);
        }
        let version = self.0.store.ask(move |store| store.rule_version(digest)).await?;
        let (signer, signature) = version.map_or((None, None), |version| (version.signer, version.signature));
        let Some(signature) = signature.and_then(|bytes| Signature::read(&bytes).ok()) else {
            return Ok(Some(format!(
                "the version {digest} of {rule} has no signature, and rules.require_signature is set; upload it \
                 again with one"
            )));
        };
        let wasm = self.0.store.ask(move |store| store.rule_component(digest)).await?;
        // The signature has to cover the bytes that are loaded under this digest.
        if wasm.as_ref().is_some_and(|wasm| Digest::of(wasm) != digest) {
            return Ok(Some(modified(digest)));
        }
        let is_trusted = tasks::block(move || {
            let signer = wasm.and_then(|wasm| options.provenance.signer(&wasm, &signature).map(drop));
            signer.is_some()
        });
        Ok(match is_trusted.await.map_err(ChangeError::Broken)? {
            true => None,
            false => Some(format!(
                "the version {digest} of {rule} was signed by {}, whose key is no longer in rules.trusted_keys; upload \
                 it again with another signature",
                signer.as_deref().unwrap_or("an unknown key")
            )),
        })
    }

    /// Logs the active rules that could not be activated again with the current keys.
    pub(super) async fn warn_unsigned(&self) {
        let current = self.0.rules.current();
        // A signature over the generation covers its components.
        if self.is_signed(&Accepted::of(&current)).await.unwrap_or(false) {
            return;
        }
        for entry in &current.generation.entries {
            match self.untrusted(&entry.rule, entry.digest).await {
                Ok(None) => {}
                Ok(Some(reason)) => {
                    log::warn!(rule = entry.rule.as_str(), reason = reason.as_str(); "active rule has no trusted signature; leaving it active");
                }
                Err(error) => {
                    log::warn!(rule = entry.rule.as_str(), reason = error_chain(&error).as_str(); "could not verify the signature of an active rule");
                }
            }
        }
    }
}

/// Why the allowlist rejects an entry, if so.
fn not_allowed(provenance: &Provenance, entry: &Entry) -> Option<String> {
    let digest = entry.digest.filter(|digest| !provenance.allows(*digest))?;
    Some(not_listed(&entry.rule, digest))
}

/// Why a component is not loaded whose bytes have another digest.
pub(super) fn modified(digest: Digest) -> String {
    format!(
        "the component stored as {digest} has been modified in the database; delete the version and upload it again"
    )
}

fn not_listed(rule: &str, digest: Digest) -> String {
    format!("the version {digest} of {rule} is not in rules.allowed_digests; add it to activate this version")
}
