//! Signatures over whole generations. One signature covers the number of a generation and the digests of its components
//! and settings, so servers that require signatures follow changes of the role rule that were made elsewhere. The number
//! must increase: an old generation with its signature does not come back.

use watchpost_policies::Kind;

use super::accepted::Accepted;
use super::{ChangeError, Registry, slot};
use crate::clock;
use crate::rules::signing::Signature;
use crate::store::Store;
use crate::store::rules::{AuditAction, AuditActor, AuditEntry, Generation, Signed};

/// What is signed about the latest generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The number of the generation.
    pub generation: i64,
    /// The text to sign.
    pub text: String,
    /// The key that signed it, if this server trusts the signature.
    pub signer: Option<String>,
}

impl Registry {
    /// The statement about the latest generation of the database, active here or not.
    pub async fn statement(&self) -> Result<Statement, ChangeError> {
        let latest = self.latest().await?;
        let form = self.stored_form(&latest).await?;
        Ok(Statement {
            generation: latest.number,
            text: form.statement()?,
            signer: self.signer_of(&form).await?,
        })
    }

    /// Verifies and stores a signature over the latest generation, which has this number.
    pub async fn sign_generation(
        &self,
        number: i64,
        signature: Signature,
        by: &AuditActor,
    ) -> Result<Statement, ChangeError> {
        let latest = self.latest().await?;
        if latest.number != number {
            return Err(ChangeError::GenerationMismatch { latest: latest.number });
        }
        let text = self.stored_form(&latest).await?.statement()?;
        let options = self.options();
        let signer = options.provenance.signer(text.as_bytes(), &signature).ok_or_else(|| {
            ChangeError::Conflict(format!(
                "the signature is not by a key in rules.trusted_keys, or not over the statement of generation {number}; \
                 sign exactly that text"
            ))
        })?;
        let role = slot(&latest.entries, Kind::Role, "").map_or_else(String::new, |entry| entry.rule.clone());
        let audit = AuditEntry {
            generation: Some(number),
            note: format!("generation {number} by {}", signer.name),
            ..AuditEntry::of(&role, AuditAction::Signed, by, clock::now_ms_signed())
        };
        let name = signer.name.clone();
        let sign = move |store: &Store| {
            let signed = Signed {
                signer: &name,
                signature: signature.as_bytes(),
            };
            store.sign_generation(number, signed, &audit)
        };
        if !self.store().ask(sign).await? {
            let latest = self.latest().await?.number;
            return Err(ChangeError::GenerationMismatch { latest });
        }
        Ok(Statement {
            generation: number,
            text,
            signer: Some(signer.name.clone()),
        })
    }

    /// Whether a trusted key has signed the generation, and it is not older than the accepted one.
    pub(super) async fn is_signed(&self, form: &Accepted) -> Result<bool, ChangeError> {
        if self.signer_of(form).await?.is_none() {
            return Ok(false);
        }
        let record = self.0.record.lock();
        Ok(match &record.accepted {
            Some(accepted) if accepted.generation >= form.generation => form == accepted,
            _ => true,
        })
    }

    async fn signer_of(&self, form: &Accepted) -> Result<Option<String>, ChangeError> {
        let number = form.generation;
        let stored = self
            .0
            .store
            .ask(move |store| store.generation_signature(number))
            .await?;
        // A generation that is not stored yet has no signature.
        let Some(signature) = stored.and_then(|stored| Signature::read(&stored.signature).ok()) else {
            return Ok(None);
        };
        let (text, options) = (form.statement()?, self.options());
        let signer = options.provenance.signer(text.as_bytes(), &signature);
        Ok(signer.map(|signer| signer.name.clone()))
    }

    async fn stored_form(&self, generation: &Generation) -> Result<Accepted, ChangeError> {
        let missing =
            || ChangeError::Broken("settings of the latest generation are missing in the database".to_owned());
        let texts = self.settings_of(generation).await?;
        Accepted::stored(generation, &texts).ok_or_else(missing)
    }

    async fn latest(&self) -> Result<Generation, ChangeError> {
        let latest = self.0.store.ask(|store| store.latest_generation()).await?;
        latest.ok_or_else(|| ChangeError::Broken("the database has no generation of rules".to_owned()))
    }
}
