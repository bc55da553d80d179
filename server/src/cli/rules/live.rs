//! The snapshot of a running Watchpost, asked for as any client asks. It has to prove who it is: what it says is
//! believed here.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use openssl::ssl::{SslConnector, SslFiletype, SslMethod};
use watchpost_policies::Snapshot;

use super::Stopped;
use super::given::snapshot_of;
use super::progress::Progress;
use crate::cli::{IO, SOFTWARE, UNAVAILABLE, USAGE};

/// A round is there or it is not; nobody computes anything for us.
const PATIENCE: Duration = Duration::from_secs(10);

/// More than a snapshot of a hundred thousand series has.
const MOST_BYTES: usize = 64 << 20;

/// Which server, and as whom.
#[derive(Args)]
pub(super) struct Live {
    /// Asks a running Watchpost for its latest snapshot: https://HOST:PORT.
    #[arg(long, value_name = "URL")]
    live: Option<String>,
    /// The certificate to show to it.
    #[arg(long, value_name = "FILE", requires = "key", requires = "live")]
    cert: Option<PathBuf>,
    /// Its key.
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// The authority that vouches for the server, where the machine does not know it.
    #[arg(long, value_name = "FILE", requires = "live")]
    cacert: Option<PathBuf>,
    /// A file with the bearer token to show, in place of a certificate.
    #[arg(long, value_name = "FILE", requires = "live", conflicts_with = "cert")]
    token_file: Option<PathBuf>,
}

impl Live {
    pub(super) fn snapshot(&self) -> Result<Snapshot, Stopped> {
        let base = self.live.as_deref().unwrap_or_default().trim_end_matches('/');
        if !base.starts_with("https://") && !base.starts_with("http://") {
            let what = format!("{base} is no place to ask; write https://HOST:PORT");
            return Err(Stopped::new(USAGE, what));
        }
        let url = format!("{base}/api/v1/snapshot");
        let (tls, token) = (self.tls()?, self.token()?);
        let _progress = Progress::show(&format!("asking {url}"));
        let answer = actix_web::rt::System::new().block_on(ask(&url, tls, token));
        let body = answer.map_err(|why| Stopped::new(UNAVAILABLE, format!("{url}: {why}")))?;
        snapshot_of(&body, &url)
    }

    fn tls(&self) -> Result<SslConnector, Stopped> {
        let unusable = |file: &Path, error| Stopped::new(IO, format!("{} cannot be used: {error}", file.display()));
        let mut tls = SslConnector::builder(SslMethod::tls_client())
            .map_err(|error| Stopped::new(SOFTWARE, error.to_string()))?;
        if let Some(authority) = &self.cacert {
            tls.set_ca_file(authority).map_err(|error| unusable(authority, error))?;
        }
        if let (Some(certificate), Some(key)) = (&self.cert, &self.key) {
            tls.set_certificate_chain_file(certificate)
                .map_err(|error| unusable(certificate, error))?;
            tls.set_private_key_file(key, SslFiletype::PEM)
                .map_err(|error| unusable(key, error))?;
        }
        Ok(tls.build())
    }

    fn token(&self) -> Result<Option<String>, Stopped> {
        let Some(file) = &self.token_file else { return Ok(None) };
        let token = fs::read_to_string(file)
            .map_err(|error| Stopped::new(IO, format!("{} cannot be read: {error}", file.display())))?;
        Ok(Some(token.trim().to_owned()))
    }
}

/// OpenSSL's words have to do, for it hands out nothing else; a test holds them.
fn explained(error: &str) -> String {
    if error.contains("certificate verify failed") {
        return "it could not prove who it is; give the authority that vouches for it with --cacert".to_owned();
    }
    error.split_whitespace().collect::<Vec<_>>().join(" ")
}

async fn ask(url: &str, tls: SslConnector, token: Option<String>) -> Result<String, String> {
    let client = awc::Client::builder()
        .connector(awc::Connector::new().openssl(tls))
        .timeout(PATIENCE)
        .finish();
    let mut request = client.get(url);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let mut response = request.send().await.map_err(|error| explained(&error.to_string()))?;
    let status = response.status();
    let body = response.body().limit(MOST_BYTES).await;
    let body = body.map_err(|error| format!("the answer cannot be read: {error}"))?;
    let body = String::from_utf8_lossy(&body).into_owned();
    if status.is_success() {
        return Ok(body);
    }
    let told: Option<String> = serde_json::from_str::<serde_json::Value>(&body)
        .ok()
        .and_then(|problem| Some(problem.get("detail")?.as_str()?.to_owned()));
    Err(match told {
        Some(detail) => format!("it answers {status}: {detail}"),
        None => format!("it answers {status}"),
    })
}
