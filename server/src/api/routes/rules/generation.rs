//! The latest generation as a whole: the statement that is signed, and its signature.

use actix_web::web::{Data, Json};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ChangeContext;
use crate::api::error::ApiError;
use crate::api::input::JsonBody;
use crate::api::permit::{Permit, RulesRead, RulesWrite};
use crate::rules::registry::{Registry, Statement};
use crate::rules::signing::Signature;

/// What is signed about the latest generation.
#[derive(Serialize, ToSchema)]
pub struct GenerationStatement {
    /// The number of the generation.
    generation: i64,
    /// The text to sign: the number, and the SHA-256 digests of the components and settings. The digest of a built-in rule
    /// is null.
    statement: String,
    /// The name of the key that signed it; none if no key that this server trusts did.
    #[serde(skip_serializing_if = "Option::is_none")]
    signer: Option<String>,
}

impl From<Statement> for GenerationStatement {
    fn from(statement: Statement) -> Self {
        Self {
            generation: statement.generation,
            statement: statement.text,
            signer: statement.signer,
        }
    }
}

/// A signature over the statement of a generation.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GenerationSignature {
    /// The number of the generation.
    generation: i64,
    /// The Ed25519 signature over the statement, as base64.
    signature: String,
}

/// Get the statement about the latest generation
///
/// A signature over this text makes servers follow the generation that require signatures (`rules.require_signature`).
#[utoipa::path(
    get,
    path = "",
    operation_id = "generation_statement",
    responses((status = 200, description = "The latest generation of the database, even if this server has not loaded it.", body = GenerationStatement))
)]
pub async fn statement(_: Permit<RulesRead>, registry: Data<Registry>) -> Result<Json<GenerationStatement>, ApiError> {
    Ok(Json(registry.statement().await?.into()))
}

/// Sign the latest generation
///
/// The signature is verified with `rules.trusted_keys` and stored for all servers that share the database.
#[utoipa::path(
    put,
    path = "",
    operation_id = "sign_generation",
    responses(
        (status = 200, description = "The generation is signed.", body = GenerationStatement),
        (status = 409, description = "No trusted key verifies the signature."),
        (status = 412, description = "Another generation is the latest; read its statement.")
    )
)]
pub async fn sign(
    _: Permit<RulesWrite>,
    registry: Data<Registry>,
    body: JsonBody<GenerationSignature>,
    context: ChangeContext,
) -> Result<Json<GenerationStatement>, ApiError> {
    let GenerationSignature { generation, signature } = body.into_inner();
    let signature = Signature::read(signature.as_bytes())
        .map_err(|error| ApiError::BadRequest(format!("the field signature: {error}")))?;
    let signed = registry
        .sign_generation(generation, signature, &context.actor.by)
        .await?;
    Ok(Json(signed.into()))
}
