//! `watchpost rules push`: uploads a component to a server, which checks it; optionally activates it.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use actix_web::http::{Method, StatusCode};
use actix_web::rt::time::sleep;
use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};
use watchpost_policies::Digest;

use super::super::check::written;
use super::super::inputs::any_bytes;
use super::super::{CheckResult, CommandError, say};
use super::activate::put;
use super::change::{ChangeOptions, ChangeResponse};
use super::{Remote, object, short};
use crate::cli::client::{ApiClient, ApiRequest, ApiResponse};
use crate::cli::progress::Progress;
use crate::store::rules::Mode;

/// A rule that compiles slowly takes seconds.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// Uploads a rule.
#[derive(Args)]
pub(in crate::cli::rules) struct Push {
    /// The component.
    #[arg(value_name = "RULE.wasm")]
    file: PathBuf,
    /// Settings for the check and for the activation: JSON, or a file with JSON.
    #[arg(long, value_name = "FILE|JSON")]
    settings: Option<String>,
    /// The signature file, as written by `watchpost rules sign`; default: RULE.wasm.sig, if it exists.
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
    /// Activates the version if it passes the checks; with --json, prints the response to the activation.
    #[arg(long, conflicts_with = "shadow")]
    activate: bool,
    /// Runs the version in shadow mode if it passes the checks.
    #[arg(long)]
    shadow: bool,
    #[command(flatten)]
    options: ChangeOptions,
    #[command(flatten)]
    remote: Remote,
}

/// The response to an upload.
#[derive(Deserialize)]
struct UploadResponse {
    name: String,
    version: String,
    digest: String,
    checks: Vec<Check>,
}

#[derive(Deserialize)]
struct Check {
    check: String,
    duration_ms: f64,
}

impl Push {
    pub(super) async fn run(self, out: &mut dyn Write) -> Result<CheckResult, CommandError> {
        let request = self.request()?;
        let client = self.remote.client()?;
        let response = self.upload(&client, request).await?;
        let Some(mode) = self.mode() else {
            return self.remote.print(out, &response, |uploaded: UploadResponse| {
                let (name, digest) = (&uploaded.name, short(&uploaded.digest));
                let next = format!("watchpost rules activate {name} {digest}");
                format!(
                    "{}{name} {} ({digest}) is uploaded; to activate it: {next}\n",
                    uploaded.summary(),
                    uploaded.version
                )
            });
        };
        let uploaded: UploadResponse = response.read()?;
        if !self.remote.json {
            say(out, &uploaded.summary())?;
        }
        let body = json!({ "digest": uploaded.digest, "mode": mode });
        let response = put(&client, &uploaded.name, body, &self.options).await?;
        self.remote.print(out, &response, |changed: ChangeResponse| {
            changed.summary(&uploaded.name)
        })
    }

    fn mode(&self) -> Option<Mode> {
        let modes = [(self.activate, Mode::Active), (self.shadow, Mode::Shadow)];
        modes
            .into_iter()
            .find_map(|(is_requested, mode)| is_requested.then_some(mode))
    }

    /// The component alone, or a form if there are settings or a signature.
    fn request(&self) -> Result<ApiRequest, CommandError> {
        let wasm = any_bytes(&self.file)?;
        let request = ApiRequest::new(Method::POST, "/api/v1/rules").with("note", self.options.note.as_ref());
        let settings = object(self.settings.as_deref())?.map(|settings| Value::from(settings).to_string());
        let mut fields = Vec::new();
        fields.extend(settings.map(|settings| ("settings", settings.into_bytes())));
        fields.extend(self.signature()?.map(|signature| ("signature", signature)));
        if fields.is_empty() {
            return Ok(request.body("application/wasm", wasm));
        }
        let (kind, body) = form(wasm, fields);
        Ok(request.body(kind, body))
    }

    fn signature(&self) -> Result<Option<Vec<u8>>, CommandError> {
        let mut default_signature = self.file.clone().into_os_string();
        default_signature.push(".sig");
        let default_signature = PathBuf::from(default_signature);
        let file = self
            .signature
            .as_ref()
            .or_else(|| default_signature.exists().then_some(&default_signature));
        file.map(|file| any_bytes(file)).transpose()
    }

    /// Sends the component, and polls until the checks are finished.
    async fn upload(&self, client: &ApiClient, request: ApiRequest) -> Result<ApiResponse, CommandError> {
        let progress = Progress::show(&format!("sending {}", self.file.display()));
        let mut response = client.send_checked(request).await?;
        progress.now("the server compiles the rule");
        while let (StatusCode::ACCEPTED, Some(location)) = (response.status, response.location.clone()) {
            sleep(POLL_INTERVAL).await;
            response = client.send_checked(ApiRequest::get(location)).await?;
        }
        Ok(response)
    }
}

impl UploadResponse {
    /// A line for each check, in the format of `watchpost rules check`.
    fn summary(&self) -> String {
        let lines = self.checks.iter().map(|Check { check, duration_ms }| {
            let duration = Duration::try_from_secs_f64(duration_ms / 1e3).unwrap_or_default();
            format!("ok      {:>8}  {check}\n", written(duration))
        });
        let lines: String = lines.collect();
        if lines.is_empty() { lines } else { lines + "\n" }
    }
}

/// A multipart form and its content type. The boundary contains the component's digest, so no field contains it.
fn form(wasm: Vec<u8>, mut fields: Vec<(&str, Vec<u8>)>) -> (String, Vec<u8>) {
    let boundary = Digest::of(&wasm).to_string();
    fields.push(("component", wasm));
    let mut body = Vec::new();
    for (name, bytes) in fields {
        let head = format!("--{boundary}\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(&bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    (format!("multipart/form-data; boundary={boundary}"), body)
}
