//! Accepts an uploaded component as a version of a rule: verifies its signature, compiles it, tests it and stores it.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};
use watchpost_policies::{Digest, Kind, RuleModule, Snapshot};

use super::signature::Verified;
use super::{ChangeError, Registry};
use crate::rules::checks::{self, Passed};
use crate::rules::signing::Signature;
use crate::store::Store;
use crate::store::rules::{AuditActor, QuotaExceeded, StoreOutcome, Upload, Version};
use crate::{clock, tasks};

/// An upload.
#[derive(Clone, Debug)]
pub struct UploadRequest {
    /// The component (WebAssembly).
    pub wasm: Bytes,
    /// Settings for this version.
    pub settings: Option<Map<String, Value>>,
    /// The client's note for the audit log.
    pub note: String,
    /// The signature over the component.
    pub signature: Option<Signature>,
}

/// The result of an upload.
#[derive(Clone, Debug)]
pub struct Uploaded {
    /// The stored version.
    pub version: Version,
    /// Whether the version is new.
    pub fresh: bool,
    /// The checks that it passed, with their durations.
    pub checks: Vec<Passed>,
}

impl Registry {
    /// Checks an upload and stores it if all checks pass.
    pub async fn upload(
        &self,
        upload: UploadRequest,
        by: &AuditActor,
        latest: Option<Arc<Snapshot>>,
    ) -> Result<Uploaded, ChangeError> {
        let (digest, verified, mut passed) = self.verify_signature(&upload).await?;
        if upload.settings.is_none()
            && let Some(version) = self.known(digest, verified.as_ref(), by).await?
        {
            return Ok(Uploaded {
                version,
                fresh: false,
                checks: passed,
            });
        }
        let compiled = self.0.compiler.module(upload.wasm.clone()).await?;
        passed.push(Passed {
            check: "component is a valid rule and compiles",
            duration: compiled.duration,
        });
        let module = compiled.module;
        self.check_kind(&module).await?;
        let settings = upload.settings.map(|settings| Value::Object(settings).to_string());
        let text = settings.clone().unwrap_or_else(|| "{}".to_owned());
        passed.extend(self.run_checks(module.clone(), text, latest).await?);
        let (by, note, wasm) = (by.clone(), upload.note, upload.wasm);
        let (name, kind) = (module.manifest().name.clone(), module.kind());
        let quota = self.0.options.load().quota;
        let keep = move |store: &Store| {
            let manifest = module.manifest();
            let new_version = Upload {
                digest,
                name: &manifest.name,
                kind: module.kind(),
                version: &manifest.version,
                description: &manifest.description,
                settings_schema: &manifest.settings_schema.to_string(),
                wasm: &wasm,
                note: &note,
                signed: verified.as_ref().map(Verified::signed),
                settings: settings.as_deref(),
            };
            let kept = store.store_rule(&new_version, quota, &by, clock::now_ms_signed())?;
            Ok((kept, store.rule_version(digest)?))
        };
        let (kept, version) = self.0.store.ask(keep).await?;
        // Another version of the same name may have been stored since the check.
        if let StoreOutcome::OtherKind(known) = &kept {
            return Err(kind_conflict(&name, *known, kind));
        }
        if let StoreOutcome::Full(exceeded) = &kept {
            return Err(quota_exceeded(&name, *exceeded));
        }
        let deleted = || ChangeError::Conflict("the version was deleted at the same time; upload it again".to_owned());
        Ok(Uploaded {
            version: version.ok_or_else(deleted)?,
            fresh: kept == StoreOutcome::New,
            checks: passed,
        })
    }

    /// A version that is stored already. The signature of this upload is stored with it.
    async fn known(
        &self,
        digest: Digest,
        verified: Option<&Verified>,
        by: &AuditActor,
    ) -> Result<Option<Version>, ChangeError> {
        let (verified, by) = (verified.cloned(), by.clone());
        let sign = move |store: &Store| {
            if let Some(verified) = &verified {
                store.sign_rule(digest, verified.signed(), &by, clock::now_ms_signed())?;
            }
            store.rule_version(digest)
        };
        Ok(self.0.store.ask(sign).await?)
    }

    /// Tests a rule with a sample round and the latest snapshot.
    pub(super) async fn run_checks(
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

    /// Rejects a rule whose name belongs to a rule of another kind, because the two could not be distinguished.
    async fn check_kind(&self, module: &RuleModule) -> Result<(), ChangeError> {
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
            Some(kind) => Err(kind_conflict(&name, kind, module.kind())),
            None => Ok(()),
        }
    }
}

fn quota_exceeded(name: &str, exceeded: QuotaExceeded) -> ChangeError {
    ChangeError::Conflict(match exceeded {
        QuotaExceeded::Versions { max } => format!(
            "the rule {name} has {max} stored versions, and rules.max_versions allows no more; delete versions that are \
             not needed (DELETE /api/v1/rules/{name}/versions/DIGEST), or raise the setting"
        ),
        QuotaExceeded::Bytes { max } => format!(
            "with this version, the stored versions of all rules would have more than {max} bytes, the maximum by \
             rules.max_stored_size; delete versions that are not needed, or raise the setting"
        ),
    })
}

fn kind_conflict(name: &str, known: Kind, uploaded: Kind) -> ChangeError {
    let (known, uploaded) = (known.as_str(), uploaded.as_str());
    ChangeError::Conflict(format!(
        "a {known} rule named {name} exists, and this component is a {uploaded} rule; rename it"
    ))
}
