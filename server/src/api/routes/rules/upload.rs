//! Uploads of components: a WebAssembly body, or a multipart form with settings, a note and a signature. The body is
//! counted as it arrives, after decompression, and rejected as soon as it is too large.

use actix_multipart::{Multipart, MultipartError};
use actix_web::error::PayloadError;
use actix_web::http::header::{CONTENT_TYPE, HeaderMap, LOCATION};
use actix_web::web::{Bytes, Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::{Stream, StreamExt};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::change::noted;
use super::read::Component;
use super::{SETTINGS_SCHEMA, actor, preferred_wait, stored_json};
use crate::api::error::ApiError;
use crate::api::input::{DecodedBody, Query, payload_error};
use crate::api::latest::Latest;
use crate::api::permit::{Permit, RulesRead, RulesWrite};
use crate::api::table::{BodyClass, FORM};
use crate::jobs::JobState;
use crate::rules::registry::{Registry, UploadRequest, Uploaded};
use crate::rules::signing::Signature;
use crate::rules::uploads::{UploadJob, Uploads};
use crate::store::rules::Version;

/// Settings and notes are written by people.
const MAX_TEXT_FIELD_BYTES: usize = 1024 * 1024;

/// The fields settings, note and signature.
const TEXT_FIELDS: usize = 3;

/// The longest name of a field in an error.
const MAX_NAME_CHARS: usize = 40;

/// For the boundaries and the headers of the fields.
const MAX_FORM_OVERHEAD: usize = 64 * 1024;

/// The signature of a body that is the component itself.
const SIGNATURE: &str = "x-watchpost-signature";

/// Options of an upload whose body is the component itself.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct UploadQuery {
    /// A note for the audit log.
    #[serde(default)]
    #[param(max_length = 1000, example = "first try")]
    note: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = UploadedRule)]
struct UploadResult<'u> {
    /// The name of the rule.
    name: &'u str,
    #[serde(flatten)]
    version: &'u Version,
    /// The JSON Schema of the settings.
    settings_schema: Value,
    /// The checks that the component passed, in order.
    checks: Vec<Check>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = PassedCheck)]
struct Check {
    /// What the check verifies.
    check: &'static str,
    /// How long the check took.
    duration_ms: f64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = PendingUpload)]
struct PendingUpload {
    /// The id of the upload.
    upload: u64,
    /// The state of the upload.
    state: &'static str,
}

/// The fields of an upload form.
#[derive(ToSchema)]
#[schema(as = UploadForm)]
#[expect(dead_code, reason = "a form is read field by field, as it arrives")]
struct UploadForm {
    /// The WebAssembly component.
    #[schema(value_type = String, format = Binary)]
    component: Vec<u8>,
    /// Settings to check the rule with, as a JSON object.
    settings: Option<String>,
    /// A note for the audit log.
    #[schema(max_length = 1000)]
    note: Option<String>,
    /// An Ed25519 signature of the component, in base64.
    signature: Option<String>,
}

/// Upload a rule
///
/// The server compiles and checks the component within limits of time and memory, and does not activate it. Uploading
/// the same bytes again yields the same version.
#[utoipa::path(
    post,
    path = "",
    operation_id = "upload_rule",
    params(
        ("x-watchpost-signature" = Option<String>, Header, description = "An Ed25519 signature of the component in base64, if the body is the component itself."),
        ("prefer" = Option<String>, Header, description = "How long to wait for the result: `wait=N` seconds (RFC 7240), at most 60; 2 by default.", example = "wait=10")
    ),
    request_body(
        description = "The component, or a form with the component, settings, a note and a signature.",
        content((Component = "application/wasm"), (Component = "application/octet-stream"), (UploadForm = "multipart/form-data"))
    ),
    responses(
        (
            status = 201,
            description = "The version is stored, and new.",
            body = UploadResult<'static>,
            headers(("location" = String, description = "The URL of the version."))
        ),
        (status = 200, description = "The version existed already.", body = UploadResult<'static>),
        (
            status = 202,
            description = "Compiling takes longer; poll the URL in `Location`.",
            body = PendingUpload,
            headers(("location" = String, description = "The URL of the upload."))
        ),
        (status = 409, description = "Conflicts with the current state; see `detail`."),
        (status = 422, description = "Validation failed; `check` and `advice` explain why.")
    )
)]
pub async fn upload(
    _: Permit<RulesWrite>,
    registry: Data<Registry>,
    uploads: Data<Uploads>,
    latest: Data<Latest>,
    query: Query<UploadQuery>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let limit = registry.rules().engine().limits().component_bytes;
    let actor = actor(&request, &registry)?;
    let max_form_bytes = limit + TEXT_FIELDS * MAX_TEXT_FIELD_BYTES + MAX_FORM_OVERHEAD;
    let body = DecodedBody::of(&request, payload.into_inner(), max_form_bytes as u64)?;
    let kind = request
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if !BodyClass::Component.content_types().contains(&kind.as_str()) {
        return Err(BodyClass::Component.wrong_form());
    }
    let mut upload_request = if kind == FORM {
        form(Multipart::new(request.headers(), body), limit).await?
    } else {
        UploadRequest {
            wasm: all_of(body, limit).await?.into(),
            settings: None,
            note: String::new(),
            signature: None,
        }
    };
    if upload_request.note.is_empty() {
        upload_request.note = query.into_inner().note;
    }
    upload_request.note = noted(upload_request.note)?;
    if upload_request.signature.is_none() {
        upload_request.signature = signature(request.headers())?;
    }
    let mut job = uploads.start(upload_request, actor, latest.moment().snapshot);
    job.ended_within(preferred_wait(&request)).await;
    response_to(&job)
}

/// Get the state or the result of an upload
#[utoipa::path(
    get,
    path = "",
    operation_id = "upload",
    responses(
        (status = 201, description = "The version is stored, and new.", body = UploadResult<'static>),
        (status = 200, description = "The version existed already.", body = UploadResult<'static>),
        (status = 202, description = "The upload is being processed.", body = PendingUpload),
        (status = 409, description = "Conflicted with the current state; see `detail`."),
        (status = 422, description = "Validation failed; `check` and `advice` explain why.")
    )
)]
pub async fn outcome(_: Permit<RulesRead>, uploads: Data<Uploads>, id: Path<u64>) -> Result<HttpResponse, ApiError> {
    let job = uploads.find(*id).ok_or_else(|| {
        ApiError::Missing(format!(
            "no upload {id} exists; finished uploads are removed after a while, so get the rule itself"
        ))
    })?;
    response_to(&job)
}

fn response_to(job: &UploadJob) -> Result<HttpResponse, ApiError> {
    match job.state() {
        JobState::Finished(Ok(uploaded)) => whole(&uploaded),
        JobState::Finished(Err(error)) => Err((&*error).into()),
        JobState::Lost(reason) => Err(ApiError::Internal(reason)),
        JobState::Pending => Ok(HttpResponse::Accepted()
            .insert_header((LOCATION, format!("/api/v1/uploads/{}", job.id())))
            .json(PendingUpload {
                upload: job.id(),
                state: "the component is being compiled; poll the URL in Location",
            })),
    }
}

fn whole(uploaded: &Uploaded) -> Result<HttpResponse, ApiError> {
    let version = &uploaded.version;
    let mut answer = match uploaded.fresh {
        true => HttpResponse::Created(),
        false => HttpResponse::Ok(),
    };
    answer.insert_header((
        LOCATION,
        format!("/api/v1/rules/{}/versions/{}", version.name, version.digest),
    ));
    Ok(answer.json(UploadResult {
        name: &version.name,
        version,
        settings_schema: stored_json(&version.settings_schema, SETTINGS_SCHEMA)?,
        checks: uploaded
            .checks
            .iter()
            .map(|passed| Check {
                check: passed.check,
                duration_ms: passed.duration.as_secs_f64() * 1000.0,
            })
            .collect(),
    }))
}

async fn form(mut form: Multipart, limit: usize) -> Result<UploadRequest, ApiError> {
    let (mut wasm, mut settings, mut note, mut signature) = (None, None, None, None);
    while let Some(field) = form.next().await {
        let field = field.map_err(|error| refused(&error))?;
        let name = field.name().unwrap_or_default().to_owned();
        let max_bytes = if name == "component" {
            limit
        } else {
            MAX_TEXT_FIELD_BYTES
        };
        // Before the field is read, so that a form with a million fields is rejected at the first of them.
        let is_duplicate = match name.as_str() {
            "component" => wasm.is_some(),
            "settings" => settings.is_some(),
            "note" => note.is_some(),
            "signature" => signature.is_some(),
            _ => {
                let reason = format!(
                    "the form has an unknown field \"{}\"; use component, settings, note and signature",
                    shortened(&name)
                );
                return Err(ApiError::BadRequest(reason));
            }
        };
        if is_duplicate {
            let reason = format!("the form has the field {name} twice; send it once");
            return Err(ApiError::BadRequest(reason));
        }
        let bytes = all_of(field, max_bytes).await?;
        match name.as_str() {
            "component" => wasm = Some(bytes),
            "settings" => settings = Some(object(&bytes)?),
            "note" => note = Some(text(bytes)?),
            _ => signature = Some(signed(&bytes, "the field signature")?),
        }
    }
    let missing = || ApiError::BadRequest("the form lacks the field component, which contains the rule".to_owned());
    Ok(UploadRequest {
        wasm: wasm.ok_or_else(missing)?.into(),
        settings,
        note: note.unwrap_or_default(),
        signature,
    })
}

/// The beginning of a name that the client chose.
fn shortened(name: &str) -> String {
    name.chars().take(MAX_NAME_CHARS).collect()
}

fn signature(headers: &HeaderMap) -> Result<Option<Signature>, ApiError> {
    let header = headers.get(SIGNATURE);
    header
        .map(|value| signed(value.as_bytes(), "the header x-watchpost-signature"))
        .transpose()
}

fn signed(bytes: &[u8], location: &str) -> Result<Signature, ApiError> {
    Signature::read(bytes)
        .map_err(|error| ApiError::BadRequest(format!("{location} is not a valid signature: {error}")))
}

fn object(bytes: &[u8]) -> Result<Map<String, Value>, ApiError> {
    serde_json::from_slice(bytes)
        .map_err(|error| ApiError::BadRequest(format!("the field settings is not a JSON object: {error}")))
}

fn text(bytes: Vec<u8>) -> Result<String, ApiError> {
    String::from_utf8(bytes).map_err(|_| ApiError::BadRequest("the field note is not UTF-8 text".to_owned()))
}

/// Reads a stream of at most `max_bytes` bytes.
async fn all_of<S, E>(stream: S, max_bytes: usize) -> Result<Vec<u8>, ApiError>
where
    S: Stream<Item = Result<Bytes, E>>,
    E: Into<FormError>,
{
    let mut stream = std::pin::pin!(stream);
    let mut all = Vec::new();
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(|error| error.into().0)?;
        if all.len() + piece.len() > max_bytes {
            return Err(ApiError::ComponentTooLarge { limit: max_bytes });
        }
        all.extend_from_slice(&piece);
    }
    Ok(all)
}

/// Why a body could not be read to its end.
struct FormError(ApiError);

impl From<PayloadError> for FormError {
    fn from(error: PayloadError) -> Self {
        Self(payload_error(&error))
    }
}

impl From<MultipartError> for FormError {
    fn from(error: MultipartError) -> Self {
        Self(refused(&error))
    }
}

fn refused(error: &MultipartError) -> ApiError {
    match error {
        MultipartError::Payload(error) => payload_error(error),
        error => ApiError::BadRequest(format!("cannot read the form: {error}")),
    }
}
