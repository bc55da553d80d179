//! What is in force is changed here: activated, compared, retired, rolled back, given other settings, let go.

use actix_web::web::{Data, Json, Path, Query};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use watchpost_policies::Digest;

use super::{Line, actor, expected, lines, tagged};
use crate::api::body::IfAny;
use crate::api::error::ApiError;
use crate::api::latest::Latest;
use crate::api::permit::{Permit, RulesWrite};
use crate::rules::registry::{Activation, ChangeError, Changed, Registry, Wish};
use crate::store::rules::{Deleted, Mode};

/// Notes are for people, and stand in a list.
const NOTE_LETTERS: usize = 1000;

/// What somebody wants in force.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    digest: Digest,
    #[serde(default = "usual_mode")]
    mode: Mode,
    settings: Option<Map<String, Value>>,
    #[serde(default)]
    note: String,
    #[serde(default)]
    force: bool,
}

const fn usual_mode() -> Mode {
    Mode::Active
}

/// What else there is to say of a change.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Manner {
    note: String,
    force: bool,
}

#[derive(Serialize)]
struct Outcome {
    generation: i64,
    changed: bool,
    in_force: Vec<Line>,
}

/// Puts a version in force, or beside what is.
pub async fn activate(
    _: Permit<RulesWrite>,
    registry: Data<Registry>,
    latest: Data<Latest>,
    name: Path<String>,
    wanted: Json<Wanted>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let wanted = wanted.into_inner();
    let activation = Activation {
        rule: name.into_inner(),
        digest: wanted.digest,
        mode: wanted.mode,
        settings: wanted.settings,
        force: wanted.force,
        note: noted(wanted.note)?,
        expected: expected(&request)?,
    };
    let actor = actor(&request, &registry)?;
    let changed = registry.activate(&activation, &actor, &latest.moment()).await?;
    Ok(outcome(&changed))
}

/// Takes a rule out of what counts.
pub async fn retire(
    _: Permit<RulesWrite>,
    registry: Data<Registry>,
    name: Path<String>,
    manner: Query<Manner>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    out(Mode::Active, &registry, &name, manner.into_inner(), &request).await
}

/// Takes a rule out of what is compared.
pub async fn end_shadow(
    _: Permit<RulesWrite>,
    registry: Data<Registry>,
    name: Path<String>,
    manner: Query<Manner>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    out(Mode::Shadow, &registry, &name, manner.into_inner(), &request).await
}

async fn out(
    mode: Mode,
    registry: &Registry,
    name: &str,
    manner: Manner,
    request: &HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let (actor, note) = (actor(request, registry)?, noted(manner.note)?);
    let wish = Wish {
        rule: name,
        expected: expected(request)?,
        force: manner.force,
        note: &note,
    };
    let changed = registry.retire(&wish, mode, &actor).await?;
    Ok(outcome(&changed))
}

/// Puts in force what was before the last change of a rule.
pub async fn roll_back(
    _: Permit<RulesWrite>,
    registry: Data<Registry>,
    latest: Data<Latest>,
    name: Path<String>,
    IfAny(manner): IfAny<Manner>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let (actor, note) = (actor(&request, &registry)?, noted(manner.note)?);
    let now = latest.moment();
    let wish = Wish {
        rule: &name,
        expected: expected(&request)?,
        force: manner.force,
        note: &note,
    };
    Ok(outcome(&registry.roll_back(&wish, &actor, &now).await?))
}

/// Gives a rule other settings: the body, which is an object.
pub async fn set_settings(
    _: Permit<RulesWrite>,
    registry: Data<Registry>,
    latest: Data<Latest>,
    name: Path<String>,
    manner: Query<Manner>,
    settings: Json<Map<String, Value>>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let settings = Some(settings.into_inner());
    configure(settings, &registry, &latest, &name, manner.into_inner(), &request).await
}

/// Takes settings back: those of the configuration are in force again, or none.
pub async fn unset_settings(
    _: Permit<RulesWrite>,
    registry: Data<Registry>,
    latest: Data<Latest>,
    name: Path<String>,
    manner: Query<Manner>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    configure(None, &registry, &latest, &name, manner.into_inner(), &request).await
}

async fn configure(
    settings: Option<Map<String, Value>>,
    registry: &Registry,
    latest: &Latest,
    name: &str,
    manner: Manner,
    request: &HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let (actor, note) = (actor(request, registry)?, noted(manner.note)?);
    let wish = Wish {
        rule: name,
        expected: expected(request)?,
        force: manner.force,
        note: &note,
    };
    let now = latest.moment();
    Ok(outcome(&registry.set_settings(&wish, settings, &actor, &now).await?))
}

/// Lets all versions of a rule go.
pub async fn delete(
    _: Permit<RulesWrite>,
    registry: Data<Registry>,
    name: Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let_go(&registry, name.into_inner(), None, &request).await
}

/// Lets one version go.
pub async fn delete_version(
    _: Permit<RulesWrite>,
    registry: Data<Registry>,
    path: Path<(String, Digest)>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let (name, digest) = path.into_inner();
    let_go(&registry, name, Some(digest), &request).await
}

async fn let_go(
    registry: &Registry,
    name: String,
    version: Option<Digest>,
    request: &HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let actor = actor(request, registry)?;
    match registry.let_go(&name, version, expected(request)?, &actor).await? {
        Deleted::Done => Ok(HttpResponse::NoContent().finish()),
        Deleted::Behind(latest) => Err(ChangeError::Behind { latest }.into()),
        Deleted::Missing if version.is_none() && registry.brings(&name) => Err(ApiError::Conflict(format!(
            "Watchpost brings the rule {name} itself, and nobody brought another version of it"
        ))),
        Deleted::Missing => Err(ApiError::Missing(match version {
            Some(digest) => format!("nobody brought a version {digest} of a rule {name}"),
            None => format!("nobody brought a rule {name}"),
        })),
        Deleted::InForce => Err(ApiError::Conflict(format!(
            "the rule {name} takes part; put another version in force or DELETE /api/v1/rules/{name}/active first"
        ))),
    }
}

fn outcome(changed: &Changed) -> HttpResponse {
    let generation = changed.in_force.generation.number;
    let outcome = Outcome {
        generation,
        changed: changed.changed,
        in_force: lines(&changed.in_force),
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
