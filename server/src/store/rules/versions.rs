//! Uploaded components, identified by the digest of their bytes.

use diesel::{
    ExpressionMethods, OptionalExtension, QueryDsl, QueryResult, Queryable, RunQueryDsl, Selectable, SelectableHelper,
    delete, insert_into, update,
};
use serde::Serialize;
use utoipa::ToSchema;
use watchpost_policies::{Digest, Kind};

use super::log::{self, AuditAction, AuditEntry};
use super::settings::{self, NewSettings};
use super::{AuditActor, generations};
use crate::store::column_types::ColumnValue;
use crate::store::connection::{Connection, on};
use crate::store::schema::rule_versions as columns;
use crate::store::{Store, StoreError};

/// A component and its description of itself.
#[derive(Clone, Debug)]
pub struct Upload<'u> {
    /// The digest of the bytes.
    pub digest: Digest,
    /// The rule's name.
    pub name: &'u str,
    /// The contract that the rule implements.
    pub kind: Kind,
    /// The version that the component declares.
    pub version: &'u str,
    /// The description for operators.
    pub description: &'u str,
    /// The JSON Schema of its settings.
    pub settings_schema: &'u str,
    /// The component.
    pub wasm: &'u [u8],
    /// The note of the uploading actor.
    pub note: &'u str,
    /// The signature, if there is one.
    pub signed: Option<Signed<'u>>,
    /// The settings that were uploaded with it, as JSON.
    pub settings: Option<&'u str>,
}

/// A signature of a component, and the name of its trusted key.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'u> {
    /// The name of the trusted key.
    pub signer: &'u str,
    /// The signature's bytes.
    pub signature: &'u [u8],
}

/// A stored component, without its bytes, which may be large.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable, Serialize, ToSchema)]
#[diesel(table_name = columns)]
#[schema(as = StoredVersion)]
pub struct Version {
    /// The digest of the bytes.
    #[schema(value_type = String)]
    pub digest: Digest,
    /// The rule's name.
    #[serde(skip)]
    pub name: String,
    /// The contract that the rule implements.
    #[schema(value_type = String)]
    pub kind: Kind,
    /// The version that the component declares.
    pub version: String,
    /// The description for operators.
    pub description: String,
    /// The JSON Schema of its settings.
    #[serde(skip)]
    pub settings_schema: String,
    /// The size in bytes.
    pub bytes: i64,
    /// When it was uploaded; missing for a built-in rule.
    #[serde(
        rename = "uploaded_at",
        skip_serializing_if = "is_built_in",
        with = "watchpost_policies::rfc3339"
    )]
    #[schema(value_type = String, format = DateTime, required = false)]
    pub uploaded_ms: i64,
    /// The actor who uploaded it.
    pub uploaded_by: String,
    /// The actor's note.
    pub note: String,
    /// The name of the trusted key that signed it.
    pub signer: Option<String>,
    /// The number of the settings that were uploaded with it.
    pub settings_id: Option<i64>,
    /// The signature, so that it can be verified again with other keys.
    #[serde(skip)]
    pub signature: Option<Vec<u8>>,
}

/// The result of deleting versions of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// The versions are deleted.
    Done,
    /// There is no such version.
    Missing,
    /// A version is part of the current generation.
    Active,
    /// The current generation is not the expected one, but this one.
    Superseded(i64),
}

/// How many versions are stored at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionQuota {
    /// Versions of one rule.
    pub max_versions: usize,
    /// Size of all versions together, in bytes.
    pub max_bytes: u64,
}

/// The quota that another version would exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotaExceeded {
    /// The rule has the maximum number of versions.
    Versions {
        /// The maximum.
        max: usize,
    },
    /// The versions of all rules would be larger than the maximum.
    Bytes {
        /// The maximum.
        max: u64,
    },
}

/// The result of storing a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreOutcome {
    /// The component is stored.
    New,
    /// The component was stored before.
    Known,
    /// A rule of the same name implements another contract.
    OtherKind(Kind),
    /// There is no room for another version.
    Full(QuotaExceeded),
}

fn is_built_in(uploaded_ms: &i64) -> bool {
    *uploaded_ms == 0
}

impl Store {
    /// Stores a component. The same bytes are stored once, as they were uploaded first, but with the settings and the
    /// signature of the last upload.
    pub fn store_rule(
        &self,
        upload: &Upload<'_>,
        quota: VersionQuota,
        by: &AuditActor,
        now_ms: i64,
    ) -> Result<StoreOutcome, StoreError> {
        self.write(|connection| {
            // Serializes concurrent uploads, so that the second sees the first.
            generations::lock(connection)?;
            if let Some(kind) = other_kind(connection, upload)? {
                return Ok(StoreOutcome::OtherKind(kind));
            }
            if let Some(exceeded) = exceeded_quota(connection, upload, quota)? {
                return Ok(StoreOutcome::Full(exceeded));
            }
            // Settings of a rejected upload are not stored.
            let settings = match upload.settings {
                Some(text) => {
                    let fresh = NewSettings {
                        name: upload.name.to_owned(),
                        settings: text.to_owned(),
                        by: by.clone(),
                    };
                    Some(settings::insert(connection, &fresh, now_ms)?)
                }
                None => None,
            };
            let is_new = insert(connection, upload, settings, by, now_ms)? > 0;
            if is_new {
                let entry = AuditEntry {
                    digest: Some(upload.digest),
                    note: upload.note.to_owned(),
                    ..AuditEntry::of(upload.name, AuditAction::Uploaded, by, now_ms)
                };
                log::write(connection, &entry)?;
                generations::notify(connection, generations::VERSION)?;
                return Ok(StoreOutcome::New);
            }
            if let Some(settings) = settings {
                let row = columns::table.find(ColumnValue(upload.digest));
                on!(connection, connection => update(row)
                    .set(columns::settings_id.eq(settings))
                    .execute(connection))?;
            }
            if let Some(signed) = upload.signed {
                sign(connection, upload.digest, signed, by, now_ms)?;
            }
            Ok(StoreOutcome::Known)
        })
    }

    /// Stores a signature of a component that is stored already.
    pub fn sign_rule(
        &self,
        digest: Digest,
        signed: Signed<'_>,
        by: &AuditActor,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        self.write(|connection| sign(connection, digest, signed, by, now_ms))
    }

    /// All versions, or those of one rule, the newest first.
    pub fn rule_versions(&self, of: Option<&str>) -> Result<Vec<Version>, StoreError> {
        self.read(|connection| {
            on!(connection, connection => {
                let mut query = columns::table.select(Version::as_select()).into_boxed();
                if let Some(name) = of {
                    query = query.filter(columns::name.eq(name));
                }
                query.order((columns::name, columns::uploaded_ms.desc(), columns::digest)).load(connection)
            })
        })
    }

    /// The versions that were uploaded since this moment, each with its rule's name, the oldest first.
    pub fn rules_uploaded_since(&self, since_ms: i64) -> Result<Vec<(String, Digest)>, StoreError> {
        self.read(|connection| {
            on!(connection, connection => columns::table
                .select((columns::name, columns::digest))
                .filter(columns::uploaded_ms.ge(since_ms))
                .order((columns::uploaded_ms, columns::digest))
                .load(connection))
        })
    }

    /// One version.
    pub fn rule_version(&self, digest: Digest) -> Result<Option<Version>, StoreError> {
        self.read(|connection| {
            on!(connection, connection => columns::table
                .find(ColumnValue(digest))
                .select(Version::as_select())
                .first(connection)
                .optional())
        })
    }

    /// The component itself.
    pub fn rule_component(&self, digest: Digest) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|connection| {
            on!(connection, connection => columns::table
                .find(ColumnValue(digest))
                .select(columns::wasm)
                .first(connection)
                .optional())
        })
    }

    /// Deletes a version that is not part of the current generation, or all versions of a rule if `version` is `None`.
    /// Deletes nothing if the current generation is not the expected one.
    pub fn delete_rule(
        &self,
        name: &str,
        version: Option<Digest>,
        expected: Option<i64>,
        by: &AuditActor,
        now_ms: i64,
    ) -> Result<Deleted, StoreError> {
        self.write(|connection| {
            // Serializes with changes that may create a generation with this version.
            generations::lock(connection)?;
            let last = generations::last(connection)?;
            let number = last.as_ref().map_or(0, |last| last.number);
            if expected.is_some_and(|expected| expected != number) {
                return Ok(Deleted::Superseded(number));
            }
            let entries = last.map(|last| last.entries).unwrap_or_default();
            let is_selected = |digest: &Option<Digest>| digest.is_some() && (version.is_none() || *digest == version);
            if entries
                .iter()
                .any(|entry| entry.rule == name && is_selected(&entry.digest))
            {
                return Ok(Deleted::Active);
            }
            let deleted = remove(connection, name, version)?;
            if deleted == 0 {
                return Ok(Deleted::Missing);
            }
            let entry = AuditEntry {
                digest: version,
                ..AuditEntry::of(name, AuditAction::Deleted, by, now_ms)
            };
            log::write(connection, &entry)?;
            Ok(Deleted::Done)
        })
    }
}

/// The contract that other versions of this name implement, if it is another one.
fn other_kind(connection: &mut Connection, upload: &Upload<'_>) -> QueryResult<Option<Kind>> {
    on!(connection, connection => columns::table
        .filter(columns::name.eq(upload.name))
        .filter(columns::kind.ne(ColumnValue(upload.kind)))
        .select(columns::kind)
        .first(connection)
        .optional())
}

/// The quota that this component would exceed. Storing the same bytes again needs no room.
fn exceeded_quota(
    connection: &mut Connection,
    upload: &Upload<'_>,
    quota: VersionQuota,
) -> QueryResult<Option<QuotaExceeded>> {
    let stored: Vec<(String, Digest, i64)> = on!(connection, connection => columns::table
        .select((columns::name, columns::digest, columns::bytes))
        .load(connection))?;
    if stored.iter().any(|(_, digest, _)| *digest == upload.digest) {
        return Ok(None);
    }
    let versions = stored.iter().filter(|(name, _, _)| name == upload.name).count();
    if versions >= quota.max_versions {
        let max = quota.max_versions;
        return Ok(Some(QuotaExceeded::Versions { max }));
    }
    let sizes = stored.iter().map(|(_, _, bytes)| u64::try_from(*bytes).unwrap_or(0));
    let bytes = sizes.fold(upload.wasm.len() as u64, u64::saturating_add);
    let max = quota.max_bytes;
    Ok((bytes > max).then_some(QuotaExceeded::Bytes { max }))
}

fn insert(
    connection: &mut Connection,
    upload: &Upload<'_>,
    settings: Option<i64>,
    by: &AuditActor,
    now_ms: i64,
) -> QueryResult<usize> {
    let bytes = i64::try_from(upload.wasm.len()).unwrap_or(i64::MAX);
    on!(connection, connection => insert_into(columns::table)
        .values((
            columns::digest.eq(ColumnValue(upload.digest)),
            columns::name.eq(upload.name),
            columns::kind.eq(ColumnValue(upload.kind)),
            columns::version.eq(upload.version),
            columns::description.eq(upload.description),
            columns::settings_schema.eq(upload.settings_schema),
            columns::bytes.eq(bytes),
            columns::wasm.eq(upload.wasm),
            columns::uploaded_ms.eq(now_ms),
            columns::uploaded_by.eq(&by.name),
            columns::note.eq(upload.note),
            columns::signer.eq(upload.signed.map(|signed| signed.signer)),
            columns::settings_id.eq(settings),
            columns::signature.eq(upload.signed.map(|signed| signed.signature)),
        ))
        .on_conflict_do_nothing()
        .execute(connection))
}

/// Storing the same signature again writes no audit entry.
fn sign(
    connection: &mut Connection,
    digest: Digest,
    signed: Signed<'_>,
    by: &AuditActor,
    now_ms: i64,
) -> QueryResult<()> {
    let row = columns::table.find(ColumnValue(digest));
    let stored: Option<(String, Option<String>, Option<Vec<u8>>)> = on!(connection, connection => row
        .select((columns::name, columns::signer, columns::signature))
        .first(connection)
        .optional())?;
    let Some((name, signer, signature)) = stored else {
        return Ok(());
    };
    if (signer.as_deref(), signature.as_deref()) == (Some(signed.signer), Some(signed.signature)) {
        return Ok(());
    }
    let new_values = (
        columns::signer.eq(signed.signer),
        columns::signature.eq(signed.signature),
    );
    on!(connection, connection => update(row).set(new_values).execute(connection))?;
    let entry = AuditEntry {
        digest: Some(digest),
        note: format!("by {}", signed.signer),
        ..AuditEntry::of(&name, AuditAction::Signed, by, now_ms)
    };
    log::write(connection, &entry)?;
    Ok(())
}

fn remove(connection: &mut Connection, name: &str, version: Option<Digest>) -> QueryResult<usize> {
    let of_rule = columns::name.eq(name);
    match version {
        Some(digest) => on!(connection, connection =>
            delete(columns::table.filter(of_rule).filter(columns::digest.eq(ColumnValue(digest)))).execute(connection)),
        None => on!(connection, connection => delete(columns::table.filter(of_rule)).execute(connection)),
    }
}
