//! Changes to the active rules: activate, run in shadow mode, deactivate, roll back, change settings, delete.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, IntoResponses, ToSchema};
use watchpost_policies::Digest;

use super::{ChangeContext, Line, lines, tagged};
use crate::api::error::ApiError;
use crate::api::input::{JsonBody, OptionalJson, Query};
use crate::api::latest::Latest;
use crate::api::permit::{Permit, RulesWrite};
use crate::rules::registry::{Activation, ChangeError, ChangeRequest, Changed, Registry};
use crate::store::rules::{Deleted, Mode};

/// Notes are short texts for people; lists show them.
const MAX_NOTE_CHARS: usize = 1000;

/// A request to activate a version.
#[derive(Deserialize, ToSchema)]
#[schema(as = Activation)]
#[serde(deny_unknown_fields)]
pub struct ChangeBody {
    /// The digest of the version.
    digest: Digest,
    /// Whether the version becomes active or runs in shadow mode.
    #[serde(default = "usual_mode")]
    mode: Mode,
    /// The rule's settings; without them, the rule keeps its current settings.
    #[schema(value_type = Option<Object>)]
    settings: Option<Map<String, Value>>,
    /// The reason for the change, recorded in the audit log.
    #[serde(default)]
    #[schema(max_length = 1000)]
    note: String,
    /// Accepts a change that removes your own permission to manage rules. Only for identities in `rules.break_glass`.
    #[serde(default)]
    force: bool,
}

const fn usual_mode() -> Mode {
    Mode::Active
}

/// Options of every change.
#[derive(Default, Deserialize, IntoParams, ToSchema)]
#[schema(as = ChangeOptions)]
#[serde(default, deny_unknown_fields)]
pub struct ChangeOptions {
    /// The reason for the change, recorded in the audit log.
    #[schema(max_length = 1000)]
    #[param(max_length = 1000, example = "after a week in shadow")]
    note: String,
    /// Accepts a change that removes your own permission to manage rules. Only for identities in `rules.break_glass`.
    force: bool,
}

/// Settings of a rule; its schema defines them.
#[derive(Deserialize, ToSchema)]
#[schema(as = RuleSettings, value_type = Object)]
pub struct Settings(Map<String, Value>);

#[derive(Serialize, ToSchema)]
#[schema(as = ChangeOutcome)]
struct ChangeResult {
    /// The current generation.
    generation: i64,
    /// Whether the request created a new generation; a request for the current state changes nothing.
    changed: bool,
    /// The rules that take part, in the order of evaluation.
    active: Vec<Line>,
    /// What is not monitored any more because of this change, and probable mistakes that did not prevent it, such as a
    /// metric that no source measures; missing without warnings.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    warnings: Vec<String>,
}

/// The errors of a change.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the type exists for the OpenAPI document only")]
enum ChangeProblems {
    /// Conflicts with the current state; see `detail`.
    #[response(status = 409)]
    Conflict,
    /// Another client has changed the rules since; read them again.
    #[response(status = 412)]
    PreconditionFailed,
    /// Validation failed; `check` and `advice` explain why.
    #[response(status = 422)]
    Refused,
}

/// Activate a version, or run it in shadow mode
///
/// The change takes effect between two requests; if any part fails, nothing changes.
#[utoipa::path(
    put,
    path = "",
    operation_id = "activate_rule",
    responses(
        (status = 200, description = "The rules that are active now.", body = ChangeResult, headers(("etag" = String, description = "The current generation, for `If-Match`."))),
        ChangeProblems
    )
)]
pub async fn activate(
    _: Permit<RulesWrite>,
    registry: Data<Registry>,
    latest: Data<Latest>,
    name: Path<String>,
    body: JsonBody<ChangeBody>,
    context: ChangeContext,
) -> Result<HttpResponse, ApiError> {
    let body = body.into_inner();
    let activation = Activation {
        rule: name.into_inner(),
        digest: body.digest,
        mode: body.mode,
        settings: body.settings,
        force: body.force,
        note: noted(body.note)?,
        expected: context.expected,
    };
    let changed = registry.activate(&activation, &context.actor, &latest.moment()).await?;
    Ok(outcome(&changed))
}

/// Deactivate a rule
///
/// If no other rule evaluates the subjects of a threshold rule, `warnings` names them.
#[utoipa::path(
    delete,
    path = "",
    operation_id = "deactivate_rule",
    responses(
        (status = 200, description = "The rules that are active now.", body = ChangeResult, headers(("etag" = String, description = "The current generation, for `If-Match`."))),
        ChangeProblems
    )
)]
pub async fn deactivate(
    _: Permit<RulesWrite>,
    registry: Data<Registry>,
    latest: Data<Latest>,
    name: Path<String>,
    options: Query<ChangeOptions>,
    context: ChangeContext,
) -> Result<HttpResponse, ApiError> {
    let options = options.into_inner();
    out(Mode::Active, &registry, &latest, &name, options, &context).await
}

/// End a rule's shadow
#[utoipa::path(
    delete,
    path = "",
    operation_id = "end_shadow",
    responses(
        (status = 200, description = "The rules that are active now.", body = ChangeResult, headers(("etag" = String, description = "The current generation, for `If-Match`."))),
        ChangeProblems
    )
)]
pub async fn end_shadow(
    _: Permit<RulesWrite>,
    registry: Data<Registry>,
    latest: Data<Latest>,
    name: Path<String>,
    options: Query<ChangeOptions>,
    context: ChangeContext,
) -> Result<HttpResponse, ApiError> {
    let options = options.into_inner();
    out(Mode::Shadow, &registry, &latest, &name, options, &context).await
}

async fn out(
    mode: Mode,
    registry: &Registry,
    latest: &Latest,
    name: &str,
    options: ChangeOptions,
    context: &ChangeContext,
) -> Result<HttpResponse, ApiError> {
    let note = noted(options.note)?;
    let change = ChangeRequest {
        rule: name,
        expected: context.expected,
        force: options.force,
        note: &note,
    };
    let changed = registry
        .deactivate(&change, mode, &context.actor, &latest.moment())
        .await?;
    Ok(outcome(&changed))
}

/// Roll back the last change of a rule
#[utoipa::path(
    post,
    path = "",
    operation_id = "roll_back_rule",
    responses(
        (status = 200, description = "The rules that are active now.", body = ChangeResult, headers(("etag" = String, description = "The current generation, for `If-Match`."))),
        ChangeProblems
    )
)]
pub async fn roll_back(
    _: Permit<RulesWrite>,
    registry: Data<Registry>,
    latest: Data<Latest>,
    name: Path<String>,
    OptionalJson(options): OptionalJson<ChangeOptions>,
    context: ChangeContext,
) -> Result<HttpResponse, ApiError> {
    let note = noted(options.note)?;
    let now = latest.moment();
    let change = ChangeRequest {
        rule: &name,
        expected: context.expected,
        force: options.force,
        note: &note,
    };
    Ok(outcome(&registry.roll_back(&change, &context.actor, &now).await?))
}

/// Replace a rule's settings
///
/// The body has all settings. The rule validates them and explains what is wrong.
#[utoipa::path(
    put,
    path = "",
    operation_id = "set_rule_settings",
    responses(
        (status = 200, description = "The rules that are active now.", body = ChangeResult, headers(("etag" = String, description = "The current generation, for `If-Match`."))),
        ChangeProblems
    )
)]
pub async fn set_settings(
    _: Permit<RulesWrite>,
    registry: Data<Registry>,
    latest: Data<Latest>,
    name: Path<String>,
    options: Query<ChangeOptions>,
    settings: JsonBody<Settings>,
    context: ChangeContext,
) -> Result<HttpResponse, ApiError> {
    let settings = Some(settings.into_inner().0);
    configure(settings, &registry, &latest, &name, options.into_inner(), &context).await
}

/// Reset a rule's settings
///
/// The rule uses the settings of the configuration again, or its defaults.
#[utoipa::path(
    delete,
    path = "",
    operation_id = "unset_rule_settings",
    responses(
        (status = 200, description = "The rules that are active now.", body = ChangeResult, headers(("etag" = String, description = "The current generation, for `If-Match`."))),
        ChangeProblems
    )
)]
pub async fn unset_settings(
    _: Permit<RulesWrite>,
    registry: Data<Registry>,
    latest: Data<Latest>,
    name: Path<String>,
    options: Query<ChangeOptions>,
    context: ChangeContext,
) -> Result<HttpResponse, ApiError> {
    configure(None, &registry, &latest, &name, options.into_inner(), &context).await
}

async fn configure(
    settings: Option<Map<String, Value>>,
    registry: &Registry,
    latest: &Latest,
    name: &str,
    options: ChangeOptions,
    context: &ChangeContext,
) -> Result<HttpResponse, ApiError> {
    let note = noted(options.note)?;
    let change = ChangeRequest {
        rule: name,
        expected: context.expected,
        force: options.force,
        note: &note,
    };
    let now = latest.moment();
    Ok(outcome(
        &registry.set_settings(&change, settings, &context.actor, &now).await?,
    ))
}

/// Delete all versions of a rule
#[utoipa::path(
    delete,
    path = "",
    operation_id = "delete_rule",
    responses(
        (status = 204, description = "The versions are deleted."),
        (status = 409, description = "The rule is active or in shadow mode, or it is built in."),
        (status = 412, description = "Another client has changed the rules since; read them again.")
    )
)]
pub async fn delete(
    _: Permit<RulesWrite>,
    registry: Data<Registry>,
    name: Path<String>,
    context: ChangeContext,
) -> Result<HttpResponse, ApiError> {
    delete_versions(&registry, name.into_inner(), None, &context).await
}

/// Delete one version of a rule
#[utoipa::path(
    delete,
    path = "",
    operation_id = "delete_rule_version",
    responses(
        (status = 204, description = "The version is deleted."),
        (status = 409, description = "The version is active or in shadow mode, or it is built in."),
        (status = 412, description = "Another client has changed the rules since; read them again.")
    )
)]
pub async fn delete_version(
    _: Permit<RulesWrite>,
    registry: Data<Registry>,
    path: Path<(String, Digest)>,
    context: ChangeContext,
) -> Result<HttpResponse, ApiError> {
    let (name, digest) = path.into_inner();
    delete_versions(&registry, name, Some(digest), &context).await
}

async fn delete_versions(
    registry: &Registry,
    name: String,
    version: Option<Digest>,
    context: &ChangeContext,
) -> Result<HttpResponse, ApiError> {
    match registry
        .delete(&name, version, context.expected, &context.actor)
        .await?
    {
        Deleted::Done => Ok(HttpResponse::NoContent().finish()),
        Deleted::Superseded(latest) => Err(ChangeError::GenerationMismatch { latest }.into()),
        Deleted::Missing if version.is_none() && registry.is_builtin(&name) => Err(ApiError::Conflict(format!(
            "the rule {name} is built in, and no other version of it has been uploaded"
        ))),
        Deleted::Missing => Err(ApiError::Missing(match version {
            Some(digest) => format!("no version {digest} of a rule {name} has been uploaded"),
            None => format!("no rule {name} has been uploaded"),
        })),
        Deleted::Active => Err(ApiError::Conflict(format!(
            "the rule {name} is in use; activate another version or DELETE /api/v1/rules/{name}/active first"
        ))),
    }
}

fn outcome(changed: &Changed) -> HttpResponse {
    let generation = changed.active.generation.number;
    let unknown = changed.unknown_metrics.iter().map(ToString::to_string);
    let warnings = changed.warnings.iter().cloned().chain(unknown).collect();
    let outcome = ChangeResult {
        generation,
        changed: changed.changed,
        active: lines(&changed.active),
        warnings,
    };
    tagged(HttpResponse::Ok(), generation, outcome)
}

pub(super) fn noted(note: String) -> Result<String, ApiError> {
    if note.chars().count() > MAX_NOTE_CHARS || note.contains('\0') {
        let reason = format!("a note can have at most {MAX_NOTE_CHARS} characters, and no zero character");
        return Err(ApiError::BadRequest(reason));
    }
    Ok(note)
}
