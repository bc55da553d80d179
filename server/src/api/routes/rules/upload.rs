//! Takes components: a body of WebAssembly, or a form with settings, a note and a signature beside it. It is counted as it comes,
//! after whatever compression, and ends where it grows too large.

use std::time::Duration;

use actix_multipart::{Multipart, MultipartError};
use actix_web::dev::Decompress;
use actix_web::error::PayloadError;
use actix_web::http::header::{CONTENT_TYPE, HeaderMap, LOCATION};
use actix_web::web::{Bytes, Data, Path, Payload, Query};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::{Stream, StreamExt};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::actor;
use super::change::noted;
use super::read::Component;
use crate::api::error::ApiError;
use crate::api::latest::Latest;
use crate::api::permit::{Permit, RulesRead, RulesWrite};
use crate::api::table::BodyClass;
use crate::jobs::JobState;
use crate::rules::registry::{Registry, UploadRequest, Uploaded};
use crate::rules::signing::Signature;
use crate::rules::uploads::{UploadJob, Uploads};
use crate::store::rules::Version;

/// A rule in Rust is there before; one that brings an interpreter takes seconds to compile, and is asked after.
const INLINE_WAIT: Duration = Duration::from_secs(2);

/// Settings and notes are for people to write.
const MAX_TEXT_FIELD_BYTES: usize = 1024 * 1024;

/// Who vouches for it, where the body has no room for it.
const SIGNATURE: &str = "x-watchpost-signature";

/// What else there is to say of it, where the body has no room for it.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct UploadQuery {
    /// What there is to say of it, for the log.
    #[serde(default)]
    #[param(max_length = 1000, example = "first try")]
    note: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = UploadedRule)]
struct UploadResult<'u> {
    /// Its name.
    name: &'u str,
    #[serde(flatten)]
    version: &'u Version,
    /// A JSON Schema.
    settings_schema: Value,
    /// What it was held to, in this order.
    checks: Vec<Check>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = PassedCheck)]
struct Check {
    /// What is true of it.
    check: &'static str,
    /// How long it took to find that out.
    duration_ms: f64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = UploadUnderWay)]
struct PendingUpload {
    /// Its number.
    upload: u64,
    /// What is being done.
    state: &'static str,
}

/// What a form may have.
#[derive(ToSchema)]
#[schema(as = UploadForm)]
#[expect(dead_code, reason = "a form is read field by field, as it comes")]
struct UploadForm {
    /// The component.
    #[schema(value_type = String, format = Binary)]
    component: Vec<u8>,
    /// Its settings, as a JSON object.
    settings: Option<String>,
    /// What there is to say of it, for the log.
    #[schema(max_length = 1000)]
    note: Option<String>,
    /// Who vouches for it: an Ed25519 signature in base64.
    signature: Option<String>,
}

/// Brings a component
///
/// It is compiled and tried in bounds of time and memory, and not in force. The same bytes again are the same version.
#[utoipa::path(
    post,
    path = "",
    operation_id = "upload_rule",
    params(("x-watchpost-signature" = Option<String>, Header, description = "Who vouches for it, where the body has no room for that.")),
    request_body(
        description = "The component, or a form with what there is to say of it.",
        content((Component = "application/wasm"), (Component = "application/octet-stream"), (UploadForm = "multipart/form-data"))
    ),
    responses(
        (
            status = 201,
            description = "It is a rule, and new here.",
            body = UploadResult<'static>,
            headers(("location" = String, description = "Where the version is."))
        ),
        (status = 200, description = "It was here already.", body = UploadResult<'static>),
        (
            status = 202,
            description = "It takes longer to compile; ask after it.",
            body = PendingUpload,
            headers(("location" = String, description = "Where to ask."))
        ),
        (status = 409, description = "It does not go with how things stand; `detail` says why."),
        (status = 422, description = "It was looked at, and is no rule; `check` and `advice` say why and what to do.")
    )
)]
pub async fn upload(
    _: Permit<RulesWrite>,
    registry: Data<Registry>,
    uploads: Data<Uploads>,
    latest: Data<Latest>,
    manner: Query<UploadQuery>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let limit = registry.rules().engine().limits().component_bytes;
    let actor = actor(&request, &registry)?;
    let body = Decompress::from_headers(payload, request.headers());
    let kind = request
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let mut brought = match kind.as_str() {
        "application/wasm" | "application/octet-stream" => UploadRequest {
            wasm: all_of(body, limit).await?.into(),
            settings: None,
            note: String::new(),
            signature: None,
        },
        "multipart/form-data" => form(Multipart::new(request.headers(), body), limit).await?,
        _ => return Err(BodyClass::Component.wrong_form()),
    };
    if brought.note.is_empty() {
        brought.note = manner.into_inner().note;
    }
    brought.note = noted(brought.note)?;
    if brought.signature.is_none() {
        brought.signature = signature(request.headers())?;
    }
    let mut job = uploads.start(brought, actor, latest.moment().snapshot);
    job.ended_within(INLINE_WAIT).await;
    told(&job)
}

/// What came of an upload that took longer
#[utoipa::path(
    get,
    path = "",
    operation_id = "upload",
    responses(
        (status = 201, description = "It is a rule, and new here.", body = UploadResult<'static>),
        (status = 200, description = "It was here already.", body = UploadResult<'static>),
        (status = 202, description = "It is under way.", body = PendingUpload),
        (status = 409, description = "It did not go with how things stood; `detail` says why."),
        (status = 422, description = "It was looked at, and is no rule; `check` and `advice` say why and what to do.")
    )
)]
pub async fn outcome(_: Permit<RulesRead>, uploads: Data<Uploads>, id: Path<u64>) -> Result<HttpResponse, ApiError> {
    let job = uploads.find(*id).ok_or_else(|| {
        ApiError::Missing(format!(
            "no upload {id} is known; old ones are forgotten, look for the rule itself"
        ))
    })?;
    told(&job)
}

fn told(job: &UploadJob) -> Result<HttpResponse, ApiError> {
    match job.state() {
        JobState::Finished(Ok(uploaded)) => Ok(whole(&uploaded)),
        JobState::Finished(Err(error)) => Err((&*error).into()),
        JobState::Lost(why) => Err(ApiError::Internal(why)),
        JobState::Pending => Ok(HttpResponse::Accepted()
            .insert_header((LOCATION, format!("/api/v1/uploads/{}", job.id())))
            .json(PendingUpload {
                upload: job.id(),
                state: "it is being compiled; GET the Location until it says more",
            })),
    }
}

fn whole(uploaded: &Uploaded) -> HttpResponse {
    let version = &uploaded.version;
    let mut answer = match uploaded.fresh {
        true => HttpResponse::Created(),
        false => HttpResponse::Ok(),
    };
    answer.insert_header((
        LOCATION,
        format!("/api/v1/rules/{}/versions/{}", version.name, version.digest),
    ));
    answer.json(UploadResult {
        name: &version.name,
        version,
        settings_schema: serde_json::from_str(&version.settings_schema).unwrap_or_default(),
        checks: uploaded
            .checks
            .iter()
            .map(|passed| Check {
                check: passed.check,
                duration_ms: passed.took.as_secs_f64() * 1000.0,
            })
            .collect(),
    })
}

async fn form(mut form: Multipart, limit: usize) -> Result<UploadRequest, ApiError> {
    let (mut wasm, mut settings, mut note, mut signature) = (None, None, String::new(), None);
    while let Some(field) = form.next().await {
        let field = field.map_err(|error| refused(&error))?;
        let name = field.name().unwrap_or_default().to_owned();
        let most = if name == "component" {
            limit
        } else {
            MAX_TEXT_FIELD_BYTES
        };
        let bytes = all_of(field, most).await?;
        match name.as_str() {
            "component" => wasm = Some(bytes),
            "settings" => settings = Some(object(&bytes)?),
            "note" => note = text(bytes)?,
            "signature" => signature = Some(signed(&bytes, "the field signature")?),
            _ => {
                let why =
                    format!("the form has a field \"{name}\"; it may have component, settings, note and signature");
                return Err(ApiError::BadRequest(why));
            }
        }
    }
    let missing = || ApiError::BadRequest("the form has no field component, which has the rule".to_owned());
    Ok(UploadRequest {
        wasm: wasm.ok_or_else(missing)?.into(),
        settings,
        note,
        signature,
    })
}

fn signature(headers: &HeaderMap) -> Result<Option<Signature>, ApiError> {
    let header = headers.get(SIGNATURE);
    header
        .map(|value| signed(value.as_bytes(), "the header x-watchpost-signature"))
        .transpose()
}

fn signed(bytes: &[u8], place: &str) -> Result<Signature, ApiError> {
    Signature::read(bytes).map_err(|error| ApiError::BadRequest(format!("{place} has no signature: {error}")))
}

fn object(bytes: &[u8]) -> Result<Map<String, Value>, ApiError> {
    serde_json::from_slice(bytes)
        .map_err(|error| ApiError::BadRequest(format!("the field settings is no JSON object: {error}")))
}

fn text(bytes: Vec<u8>) -> Result<String, ApiError> {
    String::from_utf8(bytes).map_err(|_| ApiError::BadRequest("the field note is no text".to_owned()))
}

/// All bytes, but no more than these.
async fn all_of<S, E>(stream: S, most: usize) -> Result<Vec<u8>, ApiError>
where
    S: Stream<Item = Result<Bytes, E>>,
    E: Into<FormError>,
{
    let mut stream = std::pin::pin!(stream);
    let mut all = Vec::new();
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(|error| error.into().0)?;
        if all.len() + piece.len() > most {
            return Err(ApiError::ComponentTooLarge { limit: most });
        }
        all.extend_from_slice(&piece);
    }
    Ok(all)
}

/// Why a body did not come to its end.
struct FormError(ApiError);

impl From<PayloadError> for FormError {
    fn from(error: PayloadError) -> Self {
        Self(match error {
            PayloadError::Overflow => ApiError::BodyTooLarge,
            PayloadError::Io(error) if error.kind() == std::io::ErrorKind::TimedOut => ApiError::BodyTooSlow,
            error => ApiError::BadRequest(format!("the body cannot be read: {error}")),
        })
    }
}

impl From<MultipartError> for FormError {
    fn from(error: MultipartError) -> Self {
        Self(refused(&error))
    }
}

fn refused(error: &MultipartError) -> ApiError {
    match error {
        MultipartError::Payload(PayloadError::Overflow) => ApiError::BodyTooLarge,
        MultipartError::Payload(PayloadError::Io(error)) if error.kind() == std::io::ErrorKind::TimedOut => {
            ApiError::BodyTooSlow
        }
        error => ApiError::BadRequest(format!("the form cannot be read: {error}")),
    }
}
