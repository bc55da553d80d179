//! `watchpost rules sign-generation`: signs the rules of a server as a whole. The private key stays on this machine.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use actix_web::http::Method;
use clap::Args;
use serde::Deserialize;
use serde_json::json;

use super::super::{CheckResult, CommandError};
use super::Remote;
use crate::cli::client::ApiRequest;
use crate::cli::{CONFIG, IO};
use crate::rules::signing::PrivateKey;

/// Signs the latest generation: its number, components and settings.
///
/// Servers that share the database and require signatures then follow the generation, although it has settings of the role
/// rule that were set on another server. The command prints what it signs.
#[derive(Args)]
pub(in crate::cli::rules) struct SignGeneration {
    /// The private key, as written by `keygen`.
    #[arg(long, value_name = "KEY")]
    signing_key: PathBuf,
    /// The generation to sign; if another one is the latest, nothing is signed.
    #[arg(long, value_name = "NUMBER")]
    if_generation: Option<i64>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Deserialize)]
struct GenerationStatement {
    generation: i64,
    statement: String,
    signer: Option<String>,
}

impl SignGeneration {
    pub(super) async fn run(self, out: &mut dyn Write) -> Result<CheckResult, CommandError> {
        let path = self.signing_key.display();
        let pem = fs::read(&self.signing_key)
            .map_err(|error| CommandError::new(IO, format!("cannot read {path}: {error}")))?;
        let key = PrivateKey::of_pem(&pem).map_err(|error| CommandError::new(CONFIG, format!("{path}: {error}")))?;
        let client = self.remote.client()?;
        let response = client
            .send_checked(ApiRequest::get("/api/v1/generation/statement"))
            .await?;
        let latest: GenerationStatement = response.read()?;
        let number = latest.generation;
        if self.if_generation.is_some_and(|expected| expected != number) {
            let what = format!("generation {number} is the latest, not the expected one; nothing was signed");
            return Err(CommandError::new(super::super::EXIT_FAILED_CHECK, what));
        }
        let signature = key
            .sign(latest.statement.as_bytes())
            .map_err(|error| CommandError::new(CONFIG, format!("{path}: {error}")))?;
        let body = json!({ "generation": number, "signature": signature.to_string() });
        let request = ApiRequest::new(Method::PUT, "/api/v1/generation/signature").json(&body);
        let response = client.send_checked(request).await?;
        self.remote.print(out, &response, |signed: GenerationStatement| {
            let signer = signed.signer.as_deref().unwrap_or("no trusted key");
            format!("{}signed by {signer}\n", signed.statement)
        })
    }
}
