//! What rules there are, in which versions, which are in force, and who did what to them.

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, ETAG, EntityTag};
use actix_web::web::{Data, Json, Path, Query};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use watchpost_policies::{Digest, Kind, RuleModule};

use super::{Line as ActiveRule, lines, tagged};
use crate::api::error::ApiError;
use crate::api::pagination::PageLimit;
use crate::api::permit::{Permit, RulesRead};
use crate::rules::builtin;
use crate::rules::folder::{FileStatus, FolderSync};
use crate::rules::quarantine::{Quarantine, Quarantined};
use crate::rules::registry::{PendingGeneration, Registry};
use crate::rules::replication::Replication;
use crate::rules::shadow_queue::{ShadowDisabled, ShadowQueue};
use crate::store::rules::{AuditEntry, Version};

/// All rules.
#[derive(Serialize, ToSchema)]
#[schema(as = RulesOverview)]
struct Overview {
    /// The generation in force.
    generation: i64,
    /// When it was made, in milliseconds since 1970 (UTC).
    created_ms: i64,
    /// A newer one that others have in force and this process has not loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    behind: Option<PendingGeneration>,
    /// Rules that failed too often.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    quarantined: Vec<Quarantined>,
    /// The files of `rules.dir`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    folder: Vec<FileStatus>,
    /// The role rule in shadow that failed too often to be asked on.
    #[serde(skip_serializing_if = "Option::is_none")]
    shadow_disabled: Option<ShadowDisabled>,
    /// What is in force, in the order in which it judges.
    active: Vec<ActiveRule>,
    /// All rules.
    rules: Vec<Summary>,
}

/// A rule among others.
#[derive(Serialize, ToSchema)]
#[schema(as = RuleSummary)]
struct Summary {
    /// Its name.
    name: String,
    /// Which contract it keeps.
    kind: Kind,
    /// Whether Watchpost brings it itself.
    built_in: bool,
    /// How many versions of it there are.
    versions: usize,
    /// Whether it is in force or in shadow.
    in_use: bool,
}

/// A rule alone.
#[derive(Serialize, ToSchema)]
#[schema(as = RuleDetail)]
struct RuleDetail {
    /// Its name.
    name: String,
    /// Which contract it keeps.
    kind: Kind,
    /// What it says of itself.
    description: String,
    /// A JSON Schema.
    settings_schema: Value,
    /// How it takes part: not at all, in force, in shadow, or both.
    active: Vec<VersionWithSettings>,
    /// All of its versions, the newest first.
    versions: Vec<RuleVersionRow>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RuleWithSettings)]
struct VersionWithSettings {
    #[serde(flatten)]
    line: ActiveRule,
    /// Its settings; null for those that it has by itself.
    settings_updated_ms: Value,
    /// Who gave them.
    #[serde(skip_serializing_if = "Option::is_none")]
    settings_updated_by: Option<String>,
}

/// A version, brought by the program or by somebody.
#[derive(Serialize, ToSchema)]
#[schema(as = RuleVersion)]
struct RuleVersionRow {
    #[serde(flatten)]
    version: Version,
    /// Whether Watchpost brings it itself.
    built_in: bool,
}

/// The versions of a rule.
#[derive(Serialize, ToSchema)]
pub struct RuleVersions {
    /// The newest first, and what Watchpost brings itself last.
    versions: Vec<RuleVersionRow>,
}

/// One version of a rule, with the schema of its settings.
#[derive(Serialize, ToSchema)]
pub struct RuleVersionDetail {
    /// The rule's name.
    name: String,
    #[serde(flatten)]
    known: RuleVersionRow,
    /// A JSON Schema.
    settings_schema: Value,
}

/// WebAssembly.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
pub(super) struct Component(Vec<u8>);

/// All rules, and what is in force
#[utoipa::path(
    get,
    path = "",
    operation_id = "rules",
    responses((
        status = 200,
        description = "What is in force comes in the order in which it judges.",
        body = Overview,
        headers(("etag" = String, description = "The generation in force, for `If-Match`."))
    ))
)]
pub async fn list(
    _: Permit<RulesRead>,
    registry: Data<Registry>,
    replication: Data<Replication>,
    quarantine: Data<Quarantine>,
    folder: Data<FolderSync>,
    shadow_queue: Data<ShadowQueue>,
) -> Result<HttpResponse, ApiError> {
    let versions = registry.store().ask(|store| store.rule_versions(None)).await?;
    let active = registry.rules().current();
    let mut rules: Vec<Summary> = Vec::new();
    let both = [Kind::Threshold, Kind::Role].map(|kind| (known(&registry, kind), true));
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
        behind: replication.pending(),
        quarantined: quarantine.rules(),
        folder: folder.files(),
        shadow_disabled: shadow_queue.disabled(),
        active: lines(&active),
        rules,
    };
    Ok(tagged(HttpResponse::Ok(), overview.generation, overview))
}

/// One rule, its settings and their schema
#[utoipa::path(
    get,
    path = "",
    operation_id = "rule",
    responses((
        status = 200,
        description = "What it says of itself is what the version in force says, or else the newest.",
        body = RuleDetail,
        headers(("etag" = String, description = "The generation in force, for `If-Match`."))
    ))
)]
pub async fn one(_: Permit<RulesRead>, registry: Data<Registry>, name: Path<String>) -> Result<HttpResponse, ApiError> {
    let versions = versions_of(&registry, &name).await?;
    let active = registry.rules().current();
    let mut parts = Vec::new();
    for line in lines(&active).into_iter().filter(|line| line.name == *name) {
        let given = match line.settings.id() {
            Some(id) => registry.store().ask(move |store| store.rule_settings(id)).await?,
            None => None,
        };
        parts.push(VersionWithSettings {
            settings_updated_ms: given.as_ref().map_or(Value::Null, |given| json(&given.settings)),
            settings_updated_by: given.map(|given| given.given_by),
            line,
        });
    }
    // What it says of itself is what the version in force says, or else the newest.
    let spoken = parts.first().and_then(|part| {
        let digest = &part.line.digest;
        versions
            .iter()
            .find(|known| known.version.digest.to_string() == *digest)
    });
    let Some(spoken) = spoken.or(versions.first()).map(|known| &known.version) else {
        return Err(no_rule(&name));
    };
    let whole = RuleDetail {
        name: spoken.name.clone(),
        kind: spoken.kind,
        description: spoken.description.clone(),
        settings_schema: json(&spoken.settings_schema),
        active: parts,
        versions,
    };
    Ok(tagged(HttpResponse::Ok(), active.generation.number, whole))
}

/// The versions of a rule, the newest first
#[utoipa::path(
    get,
    path = "",
    operation_id = "rule_versions",
    responses((status = 200, description = "Those that were brought, and what Watchpost brings itself.", body = RuleVersions))
)]
pub async fn versions(
    _: Permit<RulesRead>,
    registry: Data<Registry>,
    name: Path<String>,
) -> Result<Json<RuleVersions>, ApiError> {
    let versions = versions_of(&registry, &name).await?;
    Ok(Json(RuleVersions { versions }))
}

/// One version of a rule
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
    let known = versions_of(&registry, &name).await?;
    let found = known.into_iter().find(|known| known.version.digest == digest);
    let known = found.ok_or_else(|| no_version(&name, digest))?;
    Ok(Json(RuleVersionDetail {
        name,
        settings_schema: json(&known.version.settings_schema),
        known,
    }))
}

/// The component of a version
#[utoipa::path(
    get,
    path = "",
    operation_id = "rule_component",
    responses((
        status = 200,
        description = "WebAssembly, byte for byte as it was brought.",
        body = Component,
        content_type = "application/wasm",
        headers(("etag" = String, description = "The digest."))
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

/// Which lines of the log to show.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    /// Only what was done before the line with this `id`: `next` of the page before.
    before: Option<i64>,
    /// At most so many lines.
    #[param(minimum = 1, maximum = 1000, default = 100, example = 20)]
    limit: Option<i64>,
}

/// A page of the log.
#[derive(Serialize, ToSchema)]
#[schema(as = RuleLogPage)]
pub struct Page {
    /// The lines.
    log: Vec<AuditEntry>,
    /// What `before` has to be for the next page; nothing on the last.
    next: Option<i64>,
}

/// Who did what to a rule, the latest first
#[utoipa::path(
    get,
    path = "",
    operation_id = "rule_log",
    responses((status = 200, description = "The lines that were asked for.", body = Page))
)]
pub async fn log(
    _: Permit<RulesRead>,
    registry: Data<Registry>,
    name: Path<String>,
    asked: Query<ListQuery>,
) -> Result<Json<Page>, ApiError> {
    let limit = PageLimit::parse(asked.limit)?;
    let (rule, before) = (name.clone(), asked.before);
    let mut log = registry
        .store()
        .ask(move |store| store.rule_log(&rule, before, limit.to_read()))
        .await?;
    if log.is_empty() && before.is_none() && versions_of(&registry, &name).await?.is_empty() {
        return Err(no_rule(&name));
    }
    let next = limit.cut(&mut log, |told| told.id);
    Ok(Json(Page { log, next }))
}

/// All versions of a rule: what was brought, and what the program brings.
async fn versions_of(registry: &Registry, name: &str) -> Result<Vec<RuleVersionRow>, ApiError> {
    let rule = name.to_owned();
    let kept = registry
        .store()
        .ask(move |store| store.rule_versions(Some(&rule)))
        .await?;
    let brought = kept.into_iter().map(|version| RuleVersionRow {
        version,
        built_in: false,
    });
    let own = [Kind::Threshold, Kind::Role].map(|kind| RuleVersionRow {
        version: known(registry, kind),
        built_in: true,
    });
    let all: Vec<_> = brought
        .chain(own.into_iter().filter(|known| known.version.name == name))
        .collect();
    match all.is_empty() {
        true => Err(no_rule(name)),
        false => Ok(all),
    }
}

/// A rule that the program brings, as if somebody had brought it.
fn known(registry: &Registry, kind: Kind) -> Version {
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

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

fn no_rule(name: &str) -> ApiError {
    ApiError::Missing(format!("there is no rule {name}; GET /api/v1/rules lists the rules"))
}

fn no_version(name: &str, digest: Digest) -> ApiError {
    ApiError::Missing(format!("the rule {name} has no version {digest}"))
}
