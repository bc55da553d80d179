//! What is in force is changed here: activated, compared, retired, rolled back, given other settings, let go.

use actix_web::HttpResponse;
use actix_web::web::{Data, Json, Path, Query};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, IntoResponses, ToSchema};
use watchpost_policies::Digest;

use super::{Line, StatfsWorker, lines, tagged};
use crate::api::body::OptionalJson;
use crate::api::error::ApiError;
use crate::api::latest::Latest;
use crate::api::permit::{Permit, RulesWrite};
use crate::rules::registry::{Activation, ChangeError, ChangeRequest, Changed, Registry};
use crate::store::rules::{Deleted, Mode};

/// Notes are for people, and stand in a list.
const NOTE_LETTERS: usize = 1000;

/// What somebody wants in force.
#[derive(Deserialize, ToSchema)]
#[schema(as = Activation)]
#[serde(deny_unknown_fields)]
pub struct ChangeBody {
    /// Which version.
    digest: Digest,
    /// Whether it counts, or is only compared.
    #[serde(default = "usual_mode")]
    mode: Mode,
    /// Its settings; without them it keeps those that it has.
    #[schema(value_type = Option<Object>)]
    settings: Option<Map<String, Value>>,
    /// Why, for the log.
    #[serde(default)]
    #[schema(max_length = 1000)]
    note: String,
    /// Even if you could not change rules any more then. Only for those whom `rules.break_glass` names.
    #[serde(default)]
    force: bool,
}

const fn usual_mode() -> Mode {
    Mode::Active
}

/// What else there is to say of a change.
#[derive(Default, Deserialize, IntoParams, ToSchema)]
#[schema(as = ChangeOptions)]
#[serde(default, deny_unknown_fields)]
pub struct ChangeOptions {
    /// Why, for the log.
    #[schema(max_length = 1000)]
    #[param(max_length = 1000, example = "after a week in shadow")]
    note: String,
    /// Even if you could not change rules any more then. Only for those whom `rules.break_glass` names.
    force: bool,
}

/// Settings of a rule: what they may be, its schema says.
#[derive(Deserialize, ToSchema)]
#[schema(as = RuleSettings, value_type = Object)]
pub struct Settings(Map<String, Value>);

#[derive(Serialize, ToSchema)]
#[schema(as = ChangeOutcome)]
struct ChangeResult {
    /// The generation that is in force now.
    generation: i64,
    /// Whether it is a new one; what was so already changes nothing.
    changed: bool,
    /// What is in force, in the order in which it judges.
    active: Vec<Line>,
}

/// How a change is refused.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only the document is made of it")]
enum ChangeProblems {
    /// It does not go with how things stand; `detail` says why.
    #[response(status = 409)]
    Conflict,
    /// Somebody else changed something since; look again.
    #[response(status = 412)]
    PendingGeneration,
    /// It was looked at, and will not do; `check` and `advice` say why and what to do.
    #[response(status = 422)]
    Refused,
}

/// Puts a version in force, or beside what is
///
/// What counts is changed between two requests; if anything fails, nothing has changed.
#[utoipa::path(
    put,
    path = "",
    operation_id = "activate_rule",
    responses(
        (status = 200, description = "What is in force now.", body = ChangeResult, headers(("etag" = String, description = "The generation in force, for `If-Match`."))),
        ChangeProblems
    )
)]
pub async fn activate(
    _: Permit<RulesWrite>,
    registry: Data<Registry>,
    latest: Data<Latest>,
    name: Path<String>,
    wanted: Json<ChangeBody>,
    asker: StatfsWorker,
) -> Result<HttpResponse, ApiError> {
    let wanted = wanted.into_inner();
    let activation = Activation {
        rule: name.into_inner(),
        digest: wanted.digest,
        mode: wanted.mode,
        settings: wanted.settings,
        force: wanted.force,
        note: noted(wanted.note)?,
        expected: asker.expected,
    };
    let changed = registry.activate(&activation, &asker.actor, &latest.moment()).await?;
    Ok(outcome(&changed))
}

/// Takes a rule out of what counts
#[utoipa::path(
    delete,
    path = "",
    operation_id = "retire_rule",
    responses(
        (status = 200, description = "What is in force now.", body = ChangeResult, headers(("etag" = String, description = "The generation in force, for `If-Match`."))),
        ChangeProblems
    )
)]
pub async fn retire(
    _: Permit<RulesWrite>,
    registry: Data<Registry>,
    name: Path<String>,
    manner: Query<ChangeOptions>,
    asker: StatfsWorker,
) -> Result<HttpResponse, ApiError> {
    out(Mode::Active, &registry, &name, manner.into_inner(), &asker).await
}

/// Takes a rule out of what is compared
#[utoipa::path(
    delete,
    path = "",
    operation_id = "end_shadow",
    responses(
        (status = 200, description = "What is in force now.", body = ChangeResult, headers(("etag" = String, description = "The generation in force, for `If-Match`."))),
        ChangeProblems
    )
)]
pub async fn end_shadow(
    _: Permit<RulesWrite>,
    registry: Data<Registry>,
    name: Path<String>,
    manner: Query<ChangeOptions>,
    asker: StatfsWorker,
) -> Result<HttpResponse, ApiError> {
    out(Mode::Shadow, &registry, &name, manner.into_inner(), &asker).await
}

async fn out(
    mode: Mode,
    registry: &Registry,
    name: &str,
    manner: ChangeOptions,
    asker: &StatfsWorker,
) -> Result<HttpResponse, ApiError> {
    let note = noted(manner.note)?;
    let wish = ChangeRequest {
        rule: name,
        expected: asker.expected,
        force: manner.force,
        note: &note,
    };
    let changed = registry.retire(&wish, mode, &asker.actor).await?;
    Ok(outcome(&changed))
}

/// Puts in force what was before the last change of a rule
#[utoipa::path(
    post,
    path = "",
    operation_id = "roll_back_rule",
    responses(
        (status = 200, description = "What is in force now.", body = ChangeResult, headers(("etag" = String, description = "The generation in force, for `If-Match`."))),
        ChangeProblems
    )
)]
pub async fn roll_back(
    _: Permit<RulesWrite>,
    registry: Data<Registry>,
    latest: Data<Latest>,
    name: Path<String>,
    OptionalJson(manner): OptionalJson<ChangeOptions>,
    asker: StatfsWorker,
) -> Result<HttpResponse, ApiError> {
    let note = noted(manner.note)?;
    let now = latest.moment();
    let wish = ChangeRequest {
        rule: &name,
        expected: asker.expected,
        force: manner.force,
        note: &note,
    };
    Ok(outcome(&registry.roll_back(&wish, &asker.actor, &now).await?))
}

/// Gives a rule other settings
///
/// The body is all of them. The rule itself says what is wrong with them.
#[utoipa::path(
    put,
    path = "",
    operation_id = "set_rule_settings",
    responses(
        (status = 200, description = "What is in force now.", body = ChangeResult, headers(("etag" = String, description = "The generation in force, for `If-Match`."))),
        ChangeProblems
    )
)]
pub async fn set_settings(
    _: Permit<RulesWrite>,
    registry: Data<Registry>,
    latest: Data<Latest>,
    name: Path<String>,
    manner: Query<ChangeOptions>,
    settings: Json<Settings>,
    asker: StatfsWorker,
) -> Result<HttpResponse, ApiError> {
    let settings = Some(settings.into_inner().0);
    configure(settings, &registry, &latest, &name, manner.into_inner(), &asker).await
}

/// Takes settings back
///
/// Those of the configuration are in force again, or none.
#[utoipa::path(
    delete,
    path = "",
    operation_id = "unset_rule_settings",
    responses(
        (status = 200, description = "What is in force now.", body = ChangeResult, headers(("etag" = String, description = "The generation in force, for `If-Match`."))),
        ChangeProblems
    )
)]
pub async fn unset_settings(
    _: Permit<RulesWrite>,
    registry: Data<Registry>,
    latest: Data<Latest>,
    name: Path<String>,
    manner: Query<ChangeOptions>,
    asker: StatfsWorker,
) -> Result<HttpResponse, ApiError> {
    configure(None, &registry, &latest, &name, manner.into_inner(), &asker).await
}

async fn configure(
    settings: Option<Map<String, Value>>,
    registry: &Registry,
    latest: &Latest,
    name: &str,
    manner: ChangeOptions,
    asker: &StatfsWorker,
) -> Result<HttpResponse, ApiError> {
    let note = noted(manner.note)?;
    let wish = ChangeRequest {
        rule: name,
        expected: asker.expected,
        force: manner.force,
        note: &note,
    };
    let now = latest.moment();
    Ok(outcome(
        &registry.set_settings(&wish, settings, &asker.actor, &now).await?,
    ))
}

/// Lets all versions of a rule go
#[utoipa::path(
    delete,
    path = "",
    operation_id = "delete_rule",
    responses(
        (status = 204, description = "It is gone."),
        (status = 409, description = "It takes part in what is in force, or Watchpost brings it itself."),
        (status = 412, description = "Somebody else changed something since; look again.")
    )
)]
pub async fn delete(
    _: Permit<RulesWrite>,
    registry: Data<Registry>,
    name: Path<String>,
    asker: StatfsWorker,
) -> Result<HttpResponse, ApiError> {
    let_go(&registry, name.into_inner(), None, &asker).await
}

/// Lets one version of a rule go
#[utoipa::path(
    delete,
    path = "",
    operation_id = "delete_rule_version",
    responses(
        (status = 204, description = "It is gone."),
        (status = 409, description = "It takes part in what is in force, or Watchpost brings it itself."),
        (status = 412, description = "Somebody else changed something since; look again.")
    )
)]
pub async fn delete_version(
    _: Permit<RulesWrite>,
    registry: Data<Registry>,
    path: Path<(String, Digest)>,
    asker: StatfsWorker,
) -> Result<HttpResponse, ApiError> {
    let (name, digest) = path.into_inner();
    let_go(&registry, name, Some(digest), &asker).await
}

async fn let_go(
    registry: &Registry,
    name: String,
    version: Option<Digest>,
    asker: &StatfsWorker,
) -> Result<HttpResponse, ApiError> {
    match registry.delete(&name, version, asker.expected, &asker.actor).await? {
        Deleted::Done => Ok(HttpResponse::NoContent().finish()),
        Deleted::Pending(latest) => Err(ChangeError::PendingGeneration { latest }.into()),
        Deleted::Missing if version.is_none() && registry.is_builtin(&name) => Err(ApiError::Conflict(format!(
            "Watchpost brings the rule {name} itself, and nobody brought another version of it"
        ))),
        Deleted::Missing => Err(ApiError::Missing(match version {
            Some(digest) => format!("nobody brought a version {digest} of a rule {name}"),
            None => format!("nobody brought a rule {name}"),
        })),
        Deleted::Active => Err(ApiError::Conflict(format!(
            "the rule {name} takes part; put another version in force or DELETE /api/v1/rules/{name}/active first"
        ))),
    }
}

fn outcome(changed: &Changed) -> HttpResponse {
    let generation = changed.active.generation.number;
    let outcome = ChangeResult {
        generation,
        changed: changed.changed,
        active: lines(&changed.active),
    };
    tagged(HttpResponse::Ok(), generation, outcome)
}

pub(super) fn noted(note: String) -> Result<String, ApiError> {
    if note.chars().count() > NOTE_LETTERS || note.contains('\0') {
        let why = format!("a note has {NOTE_LETTERS} letters at most, and no zero among them");
        return Err(ApiError::BadRequest(why));
    }
    Ok(note)
}
