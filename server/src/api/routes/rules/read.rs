//! Reading rules: their versions, which versions are active, and the audit log.

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, ETAG, EntityTag};
use actix_web::web::{Data, Json, Path};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use watchpost_policies::{Digest, Kind, RuleModule};

use super::{Line as ActiveVersion, SETTINGS_SCHEMA, lines, stored_json, tagged};
use crate::api::access::AccessWarnings;
use crate::api::error::ApiError;
use crate::api::input::Query;
use crate::api::pagination::PageLimit;
use crate::api::permit::{Permit, RulesRead};
use crate::config::Warning;
use crate::rules::builtin;
use crate::rules::folder::{FileStatus, FolderSync};
use crate::rules::quarantine::{Quarantine, Quarantined};
use crate::rules::registry::{PendingGeneration, Registry};
use crate::rules::replication::Replication;
use crate::rules::shadow_queue::{ShadowDisabled, ShadowQueue};
use crate::store::rules::{AuditEntry, CONFIGURATION, StoredSettings, Version};

/// All rules.
#[derive(Serialize, ToSchema)]
#[schema(as = RulesOverview)]
struct Overview {
    /// The current generation.
    generation: i64,
    /// Time of the generation.
    #[serde(rename = "created_at", with = "watchpost_policies::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    created_ms: i64,
    /// A newer generation that other servers have activated and this process has not loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pending_generation: Option<PendingGeneration>,
    /// Rules in quarantine, because they kept failing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    quarantined: Vec<Quarantined>,
    /// The files of `rules.dir`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    folder: Vec<FileStatus>,
    /// The role rule in shadow that is no longer evaluated, because it kept failing.
    #[serde(skip_serializing_if = "Option::is_none")]
    shadow_disabled: Option<ShadowDisabled>,
    /// Clients that the active role rule gives no access, and whether no client can change rules.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<Warning>,
    /// The rules that take part, in the order of evaluation.
    active: Vec<ActiveVersion>,
    /// All rules.
    rules: Vec<Summary>,
}

/// A rule in the list of rules.
#[derive(Serialize, ToSchema)]
#[schema(as = RuleSummary)]
struct Summary {
    /// The name of the rule.
    name: String,
    /// The kind of rule: `threshold` or `role`.
    kind: Kind,
    /// Whether the rule is built in.
    built_in: bool,
    /// The number of stored versions.
    versions: usize,
    /// Whether the rule is active or runs in shadow mode.
    in_use: bool,
}

/// One rule.
#[derive(Serialize, ToSchema)]
#[schema(as = RuleDetail)]
struct RuleDetail {
    /// The name of the rule.
    name: String,
    /// The kind of rule: `threshold` or `role`.
    kind: Kind,
    /// The rule's own description.
    description: String,
    /// The JSON Schema of the settings.
    settings_schema: Value,
    /// The versions that take part: none, an active one, one in shadow mode, or both.
    active: Vec<VersionWithSettings>,
    /// All of its versions, the newest first.
    versions: Vec<RuleVersionRow>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RuleWithSettings)]
struct VersionWithSettings {
    #[serde(flatten)]
    line: ActiveVersion,
    /// The stored settings; null if the rule uses its defaults.
    settings: Value,
    /// The origin of the stored settings.
    settings_origin: SettingsOrigin,
    /// The actor who set them.
    #[serde(skip_serializing_if = "Option::is_none")]
    settings_updated_by: Option<String>,
    /// When they were set first.
    #[serde(
        rename = "settings_updated_at",
        skip_serializing_if = "Option::is_none",
        with = "watchpost_policies::rfc3339::option"
    )]
    #[schema(value_type = Option<String>, format = DateTime)]
    settings_updated_ms: Option<i64>,
    /// The settings that are active, with the rule's defaults filled in, if the rule shows them.
    #[serde(skip_serializing_if = "Option::is_none")]
    effective_settings: Option<Value>,
}

/// The origin of a rule's settings.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum SettingsOrigin {
    /// No settings were set, so the rule uses its defaults.
    Default,
    /// The configuration of the server.
    Configuration,
    /// A client of the API, or the rules folder.
    Api,
}

impl SettingsOrigin {
    fn of(stored: Option<&StoredSettings>) -> Self {
        match stored {
            Some(stored) if stored.updated_by != CONFIGURATION => Self::Api,
            Some(stored) if stored.settings != "{}" => Self::Configuration,
            _ => Self::Default,
        }
    }
}

/// A version, built in or uploaded.
#[derive(Serialize, ToSchema)]
#[schema(as = RuleVersion)]
struct RuleVersionRow {
    #[serde(flatten)]
    version: Version,
    /// Whether the version is built in.
    built_in: bool,
}

/// The versions of a rule.
#[derive(Serialize, ToSchema)]
pub struct RuleVersions {
    /// The newest first; the built-in version last.
    versions: Vec<RuleVersionRow>,
}

/// One version of a rule, with the schema of its settings.
#[derive(Serialize, ToSchema)]
pub struct RuleVersionDetail {
    /// The name of the rule.
    name: String,
    #[serde(flatten)]
    row: RuleVersionRow,
    /// The JSON Schema of the settings.
    settings_schema: Value,
}

/// A WebAssembly component.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
pub(super) struct Component(Vec<u8>);

/// List all rules and the active versions
#[utoipa::path(
    get,
    path = "",
    operation_id = "rules",
    responses((
        status = 200,
        description = "`active` is in the order of evaluation.",
        body = Overview,
        headers(("etag" = String, description = "The current generation, for `If-Match`."))
    ))
)]
pub async fn list(
    _: Permit<RulesRead>,
    registry: Data<Registry>,
    replication: Data<Replication>,
    quarantine: Data<Quarantine>,
    folder: Data<FolderSync>,
    shadow_queue: Data<ShadowQueue>,
    access: Data<AccessWarnings>,
) -> Result<HttpResponse, ApiError> {
    let versions = registry.store().ask(|store| store.rule_versions(None)).await?;
    let active = registry.rules().current();
    let mut rules: Vec<Summary> = Vec::new();
    let both = [Kind::Threshold, Kind::Role].map(|kind| (row(&registry, kind), true));
    let all = both
        .into_iter()
        .chain(versions.into_iter().map(|version| (version, false)));
    for (version, built_in) in all {
        match rules.iter_mut().find(|rule| rule.name == version.name) {
            Some(rule) => rule.versions += 1,
            None => rules.push(Summary {
                kind: version.kind,
                built_in,
                versions: 1,
                in_use: active.generation.entries.iter().any(|entry| entry.rule == version.name),
                name: version.name,
            }),
        }
    }
    rules.sort_by(|a, b| a.name.cmp(&b.name));
    let overview = Overview {
        generation: active.generation.number,
        created_ms: active.generation.created_ms,
        pending_generation: replication.pending(),
        quarantined: quarantine.rules(),
        folder: folder.files(),
        shadow_disabled: shadow_queue.disabled(),
        warnings: access.list(),
        active: lines(&active),
        rules,
    };
    Ok(tagged(HttpResponse::Ok(), overview.generation, overview))
}

/// Get a rule with its settings and their schema
#[utoipa::path(
    get,
    path = "",
    operation_id = "rule",
    responses((
        status = 200,
        description = "The description and the schema are those of the active version, or else of the newest.",
        body = RuleDetail,
        headers(("etag" = String, description = "The current generation, for `If-Match`."))
    ))
)]
pub async fn one(_: Permit<RulesRead>, registry: Data<Registry>, name: Path<String>) -> Result<HttpResponse, ApiError> {
    let versions = versions_of(&registry, &name).await?;
    let active = registry.rules().current();
    let mut parts = Vec::new();
    for line in lines(&active).into_iter().filter(|line| line.name == *name) {
        let given = match line.settings_id.id() {
            Some(id) => registry.store().ask(move |store| store.rule_settings(id)).await?,
            None => None,
        };
        let mut loaded = active.generation.entries.iter().zip(&active.rules);
        let rule = loaded.find(|(entry, _)| entry.rule == line.name && entry.mode == line.mode);
        parts.push(VersionWithSettings {
            effective_settings: rule.and_then(|(_, rule)| rule.effective_settings().cloned()),
            settings_origin: SettingsOrigin::of(given.as_ref()),
            settings_updated_ms: given.as_ref().map(|given| given.updated_ms),
            settings: match &given {
                Some(given) => stored_json(&given.settings, "rule_settings.settings")?,
                None => Value::Null,
            },
            settings_updated_by: given.map(|given| given.updated_by),
            line,
        });
    }
    // The description and the schema are those of the active version, or else of the newest.
    let described = parts.first().and_then(|part| {
        let digest = &part.line.digest;
        versions.iter().find(|row| row.version.digest.to_string() == *digest)
    });
    let Some(described) = described.or(versions.first()).map(|row| &row.version) else {
        return Err(no_rule(&name));
    };
    let whole = RuleDetail {
        name: described.name.clone(),
        kind: described.kind,
        description: described.description.clone(),
        settings_schema: stored_json(&described.settings_schema, SETTINGS_SCHEMA)?,
        active: parts,
        versions,
    };
    Ok(tagged(HttpResponse::Ok(), active.generation.number, whole))
}

/// List the versions of a rule, the newest first
#[utoipa::path(
    get,
    path = "",
    operation_id = "rule_versions",
    responses((status = 200, description = "The uploaded versions and the built-in one.", body = RuleVersions))
)]
pub async fn versions(
    _: Permit<RulesRead>,
    registry: Data<Registry>,
    name: Path<String>,
) -> Result<Json<RuleVersions>, ApiError> {
    let versions = versions_of(&registry, &name).await?;
    Ok(Json(RuleVersions { versions }))
}

/// Get one version of a rule
#[utoipa::path(
    get,
    path = "",
    operation_id = "rule_version",
    responses((status = 200, description = "The version, and the schema of its settings.", body = RuleVersionDetail))
)]
pub async fn version(
    _: Permit<RulesRead>,
    registry: Data<Registry>,
    path: Path<(String, Digest)>,
) -> Result<Json<RuleVersionDetail>, ApiError> {
    let (name, digest) = path.into_inner();
    let row = versions_of(&registry, &name).await?;
    let found = row.into_iter().find(|row| row.version.digest == digest);
    let row = found.ok_or_else(|| no_version(&name, digest))?;
    Ok(Json(RuleVersionDetail {
        name,
        settings_schema: stored_json(&row.version.settings_schema, SETTINGS_SCHEMA)?,
        row,
    }))
}

/// Download the component of a version
#[utoipa::path(
    get,
    path = "",
    operation_id = "rule_component",
    responses((
        status = 200,
        description = "The WebAssembly component, byte for byte as it was uploaded.",
        body = Component,
        content_type = "application/wasm",
        headers(("etag" = String, description = "The digest of the version."))
    ))
)]
pub async fn component(
    _: Permit<RulesRead>,
    registry: Data<Registry>,
    path: Path<(String, Digest)>,
) -> Result<HttpResponse, ApiError> {
    let (name, digest) = path.into_inner();
    let kinds = [Kind::Threshold, Kind::Role].into_iter();
    let is_it = |module: &RuleModule| module.digest() == digest && module.manifest().name == name;
    let component = match kinds
        .map(|kind| registry.rules().builtin(kind))
        .find(|module| is_it(module))
    {
        Some(module) => Component(builtin::bytes(module.kind()).to_vec()),
        None => {
            let version = registry.store().ask(move |store| store.rule_version(digest)).await?;
            if version.is_none_or(|version| version.name != name) {
                return Err(no_version(&name, digest));
            }
            let kept = registry.store().ask(move |store| store.rule_component(digest)).await?;
            kept.map(Component).ok_or_else(|| no_version(&name, digest))?
        }
    };
    let name = format!("attachment; filename=\"{}.wasm\"", &digest.to_string()[..12]);
    Ok(HttpResponse::Ok()
        .content_type("application/wasm")
        .insert_header((ETAG, EntityTag::new_strong(digest.to_string())))
        .insert_header((CACHE_CONTROL, "private, max-age=31536000, immutable"))
        .insert_header((CONTENT_DISPOSITION, name))
        .body(component.0))
}

/// Selects entries of the audit log.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    /// Only entries before the one with this `id`: the `next` of the previous page.
    before: Option<i64>,
    /// Maximum number of entries in the page.
    #[param(minimum = 1, maximum = 1000, default = 100, example = 20)]
    limit: Option<i64>,
}

/// A page of the audit log.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditLogPage)]
pub struct Page {
    /// The latest first.
    log: Vec<AuditEntry>,
    /// The value of `before` for the next page; null on the last page.
    next: Option<i64>,
}

/// Get the audit log of a rule, the latest entry first
#[utoipa::path(
    get,
    path = "",
    operation_id = "rule_log",
    responses((status = 200, description = "A page of entries.", body = Page))
)]
pub async fn log(
    _: Permit<RulesRead>,
    registry: Data<Registry>,
    name: Path<String>,
    query: Query<ListQuery>,
) -> Result<Json<Page>, ApiError> {
    let limit = PageLimit::parse(query.limit)?;
    let (rule, before) = (name.clone(), query.before);
    let mut log = registry
        .store()
        .ask(move |store| store.rule_log(&rule, before, limit.to_read()))
        .await?;
    if log.is_empty() && before.is_none() && versions_of(&registry, &name).await?.is_empty() {
        return Err(no_rule(&name));
    }
    let next = limit.cut(&mut log, |entry| entry.id);
    Ok(Json(Page { log, next }))
}

/// All versions of a rule: the uploaded ones and the built-in one.
async fn versions_of(registry: &Registry, name: &str) -> Result<Vec<RuleVersionRow>, ApiError> {
    let rule = name.to_owned();
    let kept = registry
        .store()
        .ask(move |store| store.rule_versions(Some(&rule)))
        .await?;
    let uploaded = kept.into_iter().map(|version| RuleVersionRow {
        version,
        built_in: false,
    });
    let built_in = [Kind::Threshold, Kind::Role].map(|kind| RuleVersionRow {
        version: row(registry, kind),
        built_in: true,
    });
    let all: Vec<_> = uploaded
        .chain(built_in.into_iter().filter(|row| row.version.name == name))
        .collect();
    match all.is_empty() {
        true => Err(no_rule(name)),
        false => Ok(all),
    }
}

/// A built-in rule in the form of an uploaded version.
fn row(registry: &Registry, kind: Kind) -> Version {
    let module = registry.rules().builtin(kind);
    let manifest = module.manifest();
    Version {
        digest: module.digest(),
        name: manifest.name.clone(),
        kind,
        version: manifest.version.clone(),
        description: manifest.description.clone(),
        settings_schema: manifest.settings_schema.to_string(),
        bytes: i64::try_from(builtin::bytes(kind).len()).unwrap_or(i64::MAX),
        uploaded_ms: 0,
        uploaded_by: "watchpost".to_owned(),
        note: String::new(),
        signer: None,
        settings_id: None,
        signature: None,
    }
}

fn no_rule(name: &str) -> ApiError {
    ApiError::Missing(format!("there is no rule {name}; GET /api/v1/rules lists the rules"))
}

fn no_version(name: &str, digest: Digest) -> ApiError {
    ApiError::Missing(format!("the rule {name} has no version {digest}"))
}
