//! From bytes that somebody brings to a version that can be put in force: it is compiled, described, tried, and only
//! then kept.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};
use watchpost_policies::{Digest, Kind, RuleModule, Snapshot};

use super::signature::Verified;
use super::{ChangeError, Registry};
use crate::rules::checks::{self, Passed};
use crate::rules::signing::Signature;
use crate::store::Store;
use crate::store::rules::{AuditActor, Kept, Upload, Version};
use crate::{clock, tasks};

/// What somebody brings.
#[derive(Clone, Debug)]
pub struct UploadRequest {
    /// The component.
    pub wasm: Bytes,
    /// The settings that it shall have.
    pub settings: Option<Map<String, Value>>,
    /// What the one who brings it says.
    pub note: String,
    /// Who vouches for it.
    pub signature: Option<Signature>,
}

/// A version that is kept.
#[derive(Clone, Debug)]
pub struct Uploaded {
    /// What it is.
    pub version: Version,
    /// Whether it was not there before.
    pub fresh: bool,
    /// What it passed, and how long that took.
    pub checks: Vec<Passed>,
}

impl Registry {
    /// Looks at what somebody brings, and keeps it if it will do.
    pub async fn upload(
        &self,
        brought: UploadRequest,
        by: &AuditActor,
        latest: Option<Arc<Snapshot>>,
    ) -> Result<Uploaded, ChangeError> {
        let (digest, verified, mut passed) = self.verify_signature(&brought).await?;
        if brought.settings.is_none()
            && let Some(version) = self.known(digest, verified.as_ref(), by).await?
        {
            return Ok(Uploaded {
                version,
                fresh: false,
                checks: passed,
            });
        }
        let compiled = self.0.compiler.module(brought.wasm.clone()).await?;
        passed.push(Passed {
            check: "it is a rule and compiles",
            took: compiled.took,
        });
        let module = compiled.module;
        self.is_of_its_kind(&module).await?;
        let settings = brought.settings.map(|settings| Value::Object(settings).to_string());
        let text = settings.clone().unwrap_or_else(|| "{}".to_owned());
        passed.extend(self.try_out(module.clone(), text, latest).await?);
        let kept_settings = match settings {
            Some(settings) => Some(self.keep_settings(&module.manifest().name, settings, by).await?),
            None => None,
        };
        let (by, note, wasm) = (by.clone(), brought.note, brought.wasm);
        let (name, kind) = (module.manifest().name.clone(), module.kind());
        let keep = move |store: &Store| {
            let manifest = module.manifest();
            let upload = Upload {
                digest,
                name: &manifest.name,
                kind: module.kind(),
                version: &manifest.version,
                description: &manifest.description,
                settings_schema: &manifest.settings_schema.to_string(),
                wasm: &wasm,
                note: &note,
                signed: verified.as_ref().map(Verified::signed),
                settings: kept_settings,
            };
            let kept = store.keep_rule(&upload, &by, clock::now_ms_signed())?;
            Ok((kept, store.rule_version(digest)?))
        };
        let (kept, version) = self.0.store.ask(keep).await?;
        // Another of its name may have come since it was looked at.
        if let Kept::OtherKind(known) = &kept {
            return Err(is_the_name_of(&name, *known, kind));
        }
        let gone = || ChangeError::Conflict("somebody deleted it in the same moment; upload it again".to_owned());
        Ok(Uploaded {
            version: version.ok_or_else(gone)?,
            fresh: kept == Kept::New,
            checks: passed,
        })
    }

    /// A version that was brought before. The signature that it comes with now is kept with it.
    async fn known(
        &self,
        digest: Digest,
        verified: Option<&Verified>,
        by: &AuditActor,
    ) -> Result<Option<Version>, ChangeError> {
        let (verified, by) = (verified.cloned(), by.clone());
        let look = move |store: &Store| {
            if let Some(verified) = &verified {
                store.sign_rule(digest, verified.signed(), &by, clock::now_ms_signed())?;
            }
            store.rule_version(digest)
        };
        Ok(self.0.store.ask(look).await?)
    }

    /// Lets a rule answer once, over a made-up round and this one.
    pub(super) async fn try_out(
        &self,
        module: RuleModule,
        settings: String,
        latest: Option<Arc<Snapshot>>,
    ) -> Result<Vec<Passed>, ChangeError> {
        let schemas = self.0.compiler.schemas();
        let trial = tasks::block(move || {
            let sample = crate::rules::sample::round();
            let snapshots: Vec<&Snapshot> = [Some(&sample), latest.as_deref()].into_iter().flatten().collect();
            checks::try_out(&module, &settings, &snapshots, &schemas).map(|(_, passed)| passed)
        });
        Ok(trial.await.map_err(ChangeError::Broken)??)
    }

    /// Two rules of one name and of different kinds could not be told apart.
    async fn is_of_its_kind(&self, module: &RuleModule) -> Result<(), ChangeError> {
        let name = module.manifest().name.clone();
        let known = match self.builtin_kind(&name) {
            Some(kind) => Some(kind),
            None => {
                let name = name.clone();
                let versions = self.0.store.ask(move |store| store.rule_versions(Some(&name))).await?;
                versions.first().map(|version| version.kind)
            }
        };
        match known.filter(|kind| *kind != module.kind()) {
            Some(kind) => Err(is_the_name_of(&name, kind, module.kind())),
            None => Ok(()),
        }
    }
}

fn is_the_name_of(name: &str, known: Kind, brought: Kind) -> ChangeError {
    let (known, brought) = (known.as_str(), brought.as_str());
    ChangeError::Conflict(format!(
        "{name} is the name of a {known} rule here, and this one is a {brought} rule; give it another name"
    ))
}
