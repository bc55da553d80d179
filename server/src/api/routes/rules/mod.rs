//! Rules over the API: listing (`read`), uploading (`upload`), trials on recorded history (`trial`), changing the
//! active rules (`change`) and signing them (`generation`). The work itself is done by the registry.

pub mod change;
pub mod generation;
pub mod read;
pub mod trial;
pub mod upload;

use std::future::{Ready, ready};
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header::{ETAG, EntityTag, IF_MATCH};
use actix_web::web::Data;
use actix_web::{FromRequest, HttpMessage, HttpRequest, HttpResponse, HttpResponseBuilder};
use serde::Serialize;
use serde_json::Value;
use utoipa::openapi::Required;
use utoipa::openapi::path::{ParameterBuilder, ParameterIn};
use utoipa::{PartialSchema, ToSchema};
use watchpost_policies::{Digest, Kind};

use crate::api::arguments::{Argument, HandlerSpec};
use crate::api::authn::Client;
use crate::api::error::{ApiError, Rejected};
use crate::rules::LoadedGeneration;
use crate::rules::compiler::CompileError;
use crate::rules::registry::{Actor, ChangeError, Registry};
use crate::store::rules::{AuditActor, Mode, SettingsRef};

/// A rule that is active or runs in shadow mode.
#[derive(Serialize, ToSchema)]
#[schema(as = ActiveRule)]
pub(super) struct Line {
    /// The name of the rule.
    name: String,
    /// The kind of rule: `threshold` or `role`.
    kind: Kind,
    /// Whether the rule is active or runs in shadow mode.
    mode: Mode,
    /// The digest of the version.
    #[schema(value_type = Digest)]
    digest: String,
    /// The version that the rule states.
    version: String,
    /// Whether the version is built in.
    built_in: bool,
    /// The id of the stored settings; zero for the settings of the configuration.
    #[schema(value_type = i64)]
    settings_id: SettingsRef,
}

/// All rules that take part, in the order of evaluation.
fn lines(active: &LoadedGeneration) -> Vec<Line> {
    let both = active.generation.entries.iter().zip(&active.rules);
    let mut lines: Vec<_> = both
        .map(|(entry, rule)| Line {
            name: entry.rule.clone(),
            kind: entry.kind,
            mode: entry.mode,
            digest: rule.module().digest().to_string(),
            version: rule.module().manifest().version.clone(),
            built_in: entry.digest.is_none(),
            settings_id: entry.settings,
        })
        .collect();
    lines.sort_by(|a, b| (a.kind == Kind::Role, &a.name, a.mode).cmp(&(b.kind == Kind::Role, &b.name, b.mode)));
    lines
}

/// A response that is valid as long as this generation is the latest; the `ETag` has its number.
fn tagged(mut answer: HttpResponseBuilder, generation: i64, body: impl Serialize) -> HttpResponse {
    answer.insert_header((ETAG, EntityTag::new_strong(generation.to_string())));
    answer.json(body)
}

/// The actor of a change, and the generation that the client expects, if it sends `If-Match`.
pub struct ChangeContext {
    actor: Actor,
    expected: Option<i64>,
}

impl FromRequest for ChangeContext {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let registry = request.app_data::<Data<Registry>>();
        let missing = || ApiError::Internal("the application was built without its registry of rules".to_owned());
        let context = || {
            Ok(Self {
                actor: actor(request, registry.ok_or_else(missing)?)?,
                expected: expected(request)?,
            })
        };
        ready(context())
    }
}

impl Argument for ChangeContext {
    fn describe(spec: &mut HandlerSpec) {
        let about = "The expected generation, from the `ETag` of a response about rules. If another generation is current, \
                     the request changes nothing.";
        let header = ParameterBuilder::new()
            .name("if-match")
            .parameter_in(ParameterIn::Header)
            .required(Required::False)
            .description(Some(about))
            .schema(Some(<String as PartialSchema>::schema()))
            .example(Some("\"1\"".into()));
        spec.parameters.push(header.build());
    }
}

/// The column of a version's JSON Schema.
const SETTINGS_SCHEMA: &str = "rule_versions.settings_schema";

/// JSON that the database has as text.
fn stored_json(text: &str, column: &str) -> Result<Value, ApiError> {
    serde_json::from_str(text)
        .map_err(|error| ApiError::Internal(format!("the database has invalid JSON in {column}: {error}")))
}

/// A rule in Rust compiles within this time; one that contains an interpreter takes longer, and the client polls.
const USUAL_WAIT: Duration = Duration::from_secs(2);
const MAX_WAIT: Duration = Duration::from_secs(60);

/// How long the client wants to wait for a result: `Prefer: wait=N` in seconds (RFC 7240). A preference that cannot be
/// parsed is ignored, as the RFC demands.
fn preferred_wait(request: &HttpRequest) -> Duration {
    let header = request.headers().get("prefer").and_then(|header| header.to_str().ok());
    let mut preferences = header.unwrap_or_default().split([',', ';']);
    let seconds = preferences.find_map(|preference| preference.trim().strip_prefix("wait=")?.parse().ok());
    seconds.map_or(USUAL_WAIT, |seconds| Duration::from_secs(seconds).min(MAX_WAIT))
}

fn expected(request: &HttpRequest) -> Result<Option<i64>, ApiError> {
    let header = request.headers().get(IF_MATCH);
    let text = header.map(|header| header.to_str().unwrap_or_default().trim());
    let Some(text) = text.filter(|text| *text != "*") else {
        return Ok(None);
    };
    let quoted = text.strip_prefix("W/").unwrap_or(text);
    let quoted = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let number = quoted.and_then(|number| number.parse().ok());
    number.map(Some).ok_or_else(|| {
        ApiError::BadRequest(
            "If-Match must be one generation in double quotes, as in the ETag of a response about rules: \"7\""
                .to_owned(),
        )
    })
}

fn actor(request: &HttpRequest, registry: &Registry) -> Result<Actor, ApiError> {
    let client = request.extensions().get::<Client>().cloned();
    let client = client
        .ok_or_else(|| ApiError::Internal("a request passed the gate without an authenticated client".to_owned()))?;
    let break_glass = registry.breaks_glass(&client.identity);
    Ok(Actor {
        by: AuditActor {
            name: client.identity.to_string(),
            address: client.address.to_string(),
        },
        identity: Some(client.identity),
        break_glass,
    })
}

impl From<ChangeError> for ApiError {
    fn from(error: ChangeError) -> Self {
        (&error).into()
    }
}

impl From<&ChangeError> for ApiError {
    fn from(error: &ChangeError) -> Self {
        match error {
            ChangeError::Store(error) => error.into(),
            ChangeError::NoRule(_) | ChangeError::NoVersion { .. } => Self::Missing(error.to_string()),
            ChangeError::GenerationMismatch { .. } => Self::Precondition(error.to_string()),
            ChangeError::Conflict(_) | ChangeError::InTheWay { .. } | ChangeError::Set(_) => {
                Self::Conflict(error.to_string())
            }
            ChangeError::Busy(reason) => Self::Unavailable {
                reason: (*reason).to_owned(),
                after_seconds: 5,
            },
            ChangeError::ForceDenied(reason) => Self::Forbidden((*reason).to_owned()),
            ChangeError::Settings(refusal) => Self::Rejected(Box::new(Rejected {
                check: "accepts the given settings".to_owned(),
                advice: "correct the settings where they are wrong; GET the rule for their schema".to_owned(),
                more: serde_json::to_value(refusal).expect("a refusal has string keys, so it can be written as JSON"),
                reason: refusal.to_string(),
            })),
            ChangeError::Compile(error) => error.into(),
            ChangeError::Failed(failed) => Self::Rejected(Box::new(Rejected {
                check: failed.check.to_owned(),
                reason: failed.reason.clone(),
                advice: failed.advice.to_owned(),
                more: Value::Null,
            })),
            ChangeError::Broken(reason) => Self::Internal(reason.clone()),
        }
    }
}

impl From<&CompileError> for ApiError {
    fn from(error: &CompileError) -> Self {
        match error {
            CompileError::Busy => Self::Unavailable {
                reason: error.to_string(),
                after_seconds: 5,
            },
            CompileError::Broken(reason) => Self::Internal(reason.clone()),
            CompileError::TooLong { .. } | CompileError::TooMuch { .. } => Self::Rejected(Box::new(Rejected {
                check: "compiles within limits".to_owned(),
                reason: error.to_string(),
                advice: "split its largest functions, or remove what the rule does not need".to_owned(),
                more: Value::Null,
            })),
            CompileError::Refused(refusal) => Self::Rejected(Box::new(Rejected {
                check: "component is a valid rule".to_owned(),
                reason: error.to_string(),
                advice: "docs/WRITING-RULES.md describes the contract of a rule, under Contract".to_owned(),
                more: serde_json::to_value(refusal).expect("a refusal has string keys, so it can be written as JSON"),
            })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_text_that_is_not_json_is_an_internal_error_that_names_its_column() {
        assert_eq!(
            stored_json("{}", SETTINGS_SCHEMA).expect("it is JSON"),
            serde_json::json!({})
        );
        let error = stored_json("{", SETTINGS_SCHEMA).expect_err("it is not JSON");
        assert!(
            matches!(&error, ApiError::Internal(reason) if reason.contains(SETTINGS_SCHEMA)),
            "{error:?}"
        );
    }
}
