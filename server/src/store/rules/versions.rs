//! Components that were uploaded, by the digest of their bytes.

use diesel::{
    ExpressionMethods, OptionalExtension, QueryDsl, QueryResult, Queryable, RunQueryDsl, Selectable, SelectableHelper,
    delete, insert_into, update,
};
use serde::Serialize;
use utoipa::ToSchema;
use watchpost_policies::{Digest, Kind};

use super::log::{self, AuditAction, AuditEntry};
use super::{AuditActor, generations};
use crate::store::column_types::ColumnValue;
use crate::store::connection::{Connection, on};
use crate::store::schema::rule_versions as columns;
use crate::store::{Store, StoreError};

/// A component and what it says of itself.
#[derive(Clone, Debug)]
pub struct Upload<'u> {
    /// Of the bytes.
    pub digest: Digest,
    /// The rule's name.
    pub name: &'u str,
    /// Which contract it keeps.
    pub kind: Kind,
    /// Its own version.
    pub version: &'u str,
    /// For the operator.
    pub description: &'u str,
    /// The JSON Schema of its settings.
    pub settings_schema: &'u str,
    /// The component.
    pub wasm: &'u [u8],
    /// What the one who brings it says.
    pub note: &'u str,
    /// Whose signature it bears.
    pub signed: Option<Signed<'u>>,
    /// The settings that it is brought with.
    pub settings: Option<i64>,
}

/// A signature over a component, and the name of the one whose it is.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'u> {
    /// Who vouches.
    pub signer: &'u str,
    /// With what.
    pub signature: &'u [u8],
}

/// A component that is kept, without its bytes, which may be many.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable, Serialize, ToSchema)]
#[diesel(table_name = columns)]
#[schema(as = StoredVersion)]
pub struct Version {
    /// Of the bytes.
    #[schema(value_type = String)]
    pub digest: Digest,
    /// The rule's name.
    #[serde(skip)]
    pub name: String,
    /// Which contract it keeps.
    #[schema(value_type = String)]
    pub kind: Kind,
    /// Its own version.
    pub version: String,
    /// For the operator.
    pub description: String,
    /// The JSON Schema of its settings.
    #[serde(skip)]
    pub settings_schema: String,
    /// How large it is.
    pub bytes: i64,
    /// When it was brought, in milliseconds since 1970 (UTC).
    pub uploaded_ms: i64,
    /// By whom.
    pub uploaded_by: String,
    /// What they said of it.
    pub note: String,
    /// Whose signature it bears.
    pub signer: Option<String>,
    /// The settings that it was brought with.
    pub settings_id: Option<i64>,
    /// The signature, to be held against the keys of another day.
    #[serde(skip)]
    pub signature: Option<Vec<u8>>,
}

/// What became of a version that somebody wanted gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// It is gone.
    Done,
    /// It was not there.
    Missing,
    /// It is part of what is in force.
    Active,
    /// Another generation is in force than the one that was looked at: this one.
    Pending(i64),
}

/// What became of a component that somebody brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is there from now on.
    New,
    /// It was there before.
    Known,
    /// Its name is the name of a rule that keeps this other contract.
    OtherKind(Kind),
}

impl Store {
    /// Keeps a component. The same bytes are kept once, as they came first, but with the settings and the signature that
    /// they came with last.
    pub fn keep_rule(&self, upload: &Upload<'_>, by: &AuditActor, now_ms: i64) -> Result<Kept, StoreError> {
        self.write(|connection| {
            // Of two that come in the same moment, the second sees the first.
            generations::turn(connection)?;
            if let Some(kind) = other_kind(connection, upload)? {
                return Ok(Kept::OtherKind(kind));
            }
            let fresh = insert(connection, upload, by, now_ms)? > 0;
            if fresh {
                let told = AuditEntry {
                    digest: Some(upload.digest),
                    note: upload.note.to_owned(),
                    ..AuditEntry::of(upload.name, AuditAction::Uploaded, by, now_ms)
                };
                log::write(connection, &told)?;
                generations::tell_others(connection, generations::VERSION)?;
                return Ok(Kept::New);
            }
            if let Some(settings) = upload.settings {
                let of_it = columns::table.find(ColumnValue(upload.digest));
                on!(connection, connection => update(of_it)
                    .set(columns::settings_id.eq(settings))
                    .execute(connection))?;
            }
            if let Some(signed) = upload.signed {
                sign(connection, upload.digest, signed, by, now_ms)?;
            }
            Ok(Kept::Known)
        })
    }

    /// Keeps the signature of somebody over a component that is kept already.
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

    /// The versions that were brought since this moment, each with its rule's name, the oldest first.
    pub fn rules_brought_since(&self, since_ms: i64) -> Result<Vec<(String, Digest)>, StoreError> {
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

    /// Lets a version go that is not in force; all of a rule's, if none is told. Nothing is done if there is another
    /// generation than the one that is expected.
    pub fn delete_rule(
        &self,
        name: &str,
        version: Option<Digest>,
        expected: Option<i64>,
        by: &AuditActor,
        now_ms: i64,
    ) -> Result<Deleted, StoreError> {
        self.write(|connection| {
            // Whoever makes a generation of it at the same time comes before or after.
            generations::turn(connection)?;
            let last = generations::last(connection)?;
            let number = last.as_ref().map_or(0, |last| last.number);
            if expected.is_some_and(|expected| expected != number) {
                return Ok(Deleted::Pending(number));
            }
            let entries = last.map(|last| last.entries).unwrap_or_default();
            let is_meant = |digest: &Option<Digest>| digest.is_some() && (version.is_none() || *digest == version);
            if entries
                .iter()
                .any(|entry| entry.rule == name && is_meant(&entry.digest))
            {
                return Ok(Deleted::Active);
            }
            let gone = remove(connection, name, version)?;
            if gone == 0 {
                return Ok(Deleted::Missing);
            }
            let told = AuditEntry {
                digest: version,
                ..AuditEntry::of(name, AuditAction::Deleted, by, now_ms)
            };
            log::write(connection, &told)?;
            Ok(Deleted::Done)
        })
    }
}

/// The contract that other versions of this name keep, if it is not the same.
fn other_kind(connection: &mut Connection, upload: &Upload<'_>) -> QueryResult<Option<Kind>> {
    on!(connection, connection => columns::table
        .filter(columns::name.eq(upload.name))
        .filter(columns::kind.ne(ColumnValue(upload.kind)))
        .select(columns::kind)
        .first(connection)
        .optional())
}

fn insert(connection: &mut Connection, upload: &Upload<'_>, by: &AuditActor, now_ms: i64) -> QueryResult<usize> {
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
            columns::uploaded_by.eq(&by.who),
            columns::note.eq(upload.note),
            columns::signer.eq(upload.signed.map(|signed| signed.signer)),
            columns::settings_id.eq(upload.settings),
            columns::signature.eq(upload.signed.map(|signed| signed.signature)),
        ))
        .on_conflict_do_nothing()
        .execute(connection))
}

/// The same signature again is no news.
fn sign(
    connection: &mut Connection,
    digest: Digest,
    signed: Signed<'_>,
    by: &AuditActor,
    now_ms: i64,
) -> QueryResult<()> {
    let of_it = columns::table.find(ColumnValue(digest));
    let kept: Option<(String, Option<String>, Option<Vec<u8>>)> = on!(connection, connection => of_it
        .select((columns::name, columns::signer, columns::signature))
        .first(connection)
        .optional())?;
    let Some((name, signer, signature)) = kept else {
        return Ok(());
    };
    if (signer.as_deref(), signature.as_deref()) == (Some(signed.signer), Some(signed.signature)) {
        return Ok(());
    }
    let now = (
        columns::signer.eq(signed.signer),
        columns::signature.eq(signed.signature),
    );
    on!(connection, connection => update(of_it).set(now).execute(connection))?;
    let told = AuditEntry {
        digest: Some(digest),
        note: format!("by {}", signed.signer),
        ..AuditEntry::of(&name, AuditAction::Signed, by, now_ms)
    };
    log::write(connection, &told)?;
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
