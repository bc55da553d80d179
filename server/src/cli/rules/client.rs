//! A Watchpost that runs, asked as any client asks. What is asked, and what the answers mean, is for those who ask.

use std::future::Future;
use std::time::Duration;

use actix_web::http::header::{CONTENT_TYPE, IF_MATCH, LOCATION};
use actix_web::http::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::credentials::Credentials;
use super::{CommandError, EXIT_FAILED_CHECK};
use crate::cli::{SOFTWARE, UNAVAILABLE, USAGE};

/// Nobody who is there takes longer to take a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A server makes a change while it is waited for, and may have to compile what it kept for it.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);

/// What a slow line carries in a second; a component of many megabytes has to get there too.
const MIN_UPLOAD_BYTES_PER_SECOND: usize = 64 << 10;

/// More than a snapshot of a hundred thousand series has.
const MAX_RESPONSE_BYTES: usize = 64 << 20;

/// Somebody to ask.
pub(super) struct ApiClient {
    base: String,
    client: awc::Client,
    token: Option<String>,
}

/// What to ask.
pub(super) struct ApiRequest {
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    generation: Option<i64>,
    body: Option<(String, Vec<u8>)>,
}

/// What came back.
pub(super) struct ApiResponse {
    pub(super) status: StatusCode,
    /// Where to ask after it; always a path of the same server.
    pub(super) place: Option<String>,
    pub(super) body: String,
    url: String,
}

/// A problem document, as far as people read it.
#[derive(Deserialize)]
struct Problem {
    detail: String,
    check: Option<String>,
    advice: Option<String>,
}

/// Waits for what is asked of a server.
pub(super) fn wait<T>(asking: impl Future<Output = T>) -> T {
    actix_web::rt::System::new().block_on(asking)
}

impl ApiClient {
    /// The one at this place. Nothing is sent yet.
    pub(super) fn new(base: &str, proof: &Credentials) -> Result<Self, CommandError> {
        let base = base.trim_end_matches('/');
        if !base.starts_with("https://") && !base.starts_with("http://") {
            let what = format!("{base} is no place to ask; write https://HOST:PORT");
            return Err(CommandError::new(USAGE, what));
        }
        let connector = awc::Connector::new().openssl(proof.tls()?).timeout(CONNECT_TIMEOUT);
        let client = awc::Client::builder()
            .connector(connector)
            // A token is for the one who was named, and for nobody whom they name.
            .disable_redirects();
        Ok(Self {
            base: base.to_owned(),
            client: client.finish(),
            token: proof.token()?,
        })
    }

    /// Asks, and comes back with whatever is answered.
    pub(super) async fn ask(&self, question: ApiRequest) -> Result<ApiResponse, CommandError> {
        let url = format!("{}{}", self.base, question.path);
        let away = |why: String| CommandError::new(UNAVAILABLE, format!("{url}: {why}"));
        let mut request = self.client.request(question.method, &url);
        if !question.query.is_empty() {
            let queried = request.query(&question.query);
            request = queried.map_err(|error| CommandError::new(SOFTWARE, error.to_string()))?;
        }
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(generation) = question.generation {
            request = request.insert_header((IF_MATCH, format!("\"{generation}\"")));
        }
        let sent = match question.body {
            Some((kind, body)) => {
                let carrying = Duration::from_secs((body.len() / MIN_UPLOAD_BYTES_PER_SECOND) as u64);
                let request = request.timeout(RESPONSE_TIMEOUT + carrying);
                request.insert_header((CONTENT_TYPE, kind)).send_body(body)
            }
            None => request.timeout(RESPONSE_TIMEOUT).send(),
        };
        let mut response = sent.await.map_err(|error| away(explained(&error.to_string())))?;
        let body = response.body().limit(MAX_RESPONSE_BYTES).await;
        let body = body.map_err(|error| away(format!("the answer cannot be read: {error}")))?;
        let place = response.headers().get(LOCATION).and_then(|place| place.to_str().ok());
        Ok(ApiResponse {
            status: response.status(),
            place: place.filter(|place| place.starts_with('/')).map(str::to_owned),
            body: String::from_utf8_lossy(&body).into_owned(),
            url,
        })
    }

    /// The same, where only a yes is of use.
    pub(super) async fn demand(&self, question: ApiRequest) -> Result<ApiResponse, CommandError> {
        self.ask(question).await?.accepted()
    }
}

impl ApiRequest {
    /// Without a body.
    pub(super) fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            query: Vec::new(),
            generation: None,
            body: None,
        }
    }

    /// To look at something.
    pub(super) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    /// With this in the query, where there is something.
    pub(super) fn with(mut self, name: &'static str, value: Option<impl ToString>) -> Self {
        self.query.extend(value.map(|value| (name, value.to_string())));
        self
    }

    /// With this as its body.
    pub(super) fn json(self, value: &serde_json::Value) -> Self {
        self.body("application/json", value.to_string().into_bytes())
    }

    /// The same, with something else.
    pub(super) fn body(mut self, kind: impl Into<String>, body: Vec<u8>) -> Self {
        self.body = Some((kind.into(), body));
        self
    }

    /// To be heard only as long as this generation is in force.
    pub(super) fn after(mut self, generation: Option<i64>) -> Self {
        self.generation = generation;
        self
    }
}

impl ApiResponse {
    /// The same, if it is a yes. A refusal is told in the server's words; that it cannot answer now is told apart.
    pub(super) fn accepted(self) -> Result<Self, CommandError> {
        if self.status.is_success() {
            return Ok(self);
        }
        let code = if self.status.is_server_error() {
            UNAVAILABLE
        } else {
            EXIT_FAILED_CHECK
        };
        let (url, status) = (&self.url, self.status);
        let Ok(Problem { detail, check, advice }) = serde_json::from_str(&self.body) else {
            return Err(CommandError::new(code, format!("{url}: it answers {status}")));
        };
        let check = check.map(|check| format!("\n  not passed: {check}"));
        let advice = advice.map(|advice| format!("\n  {advice}"));
        let more = check.unwrap_or_default() + &advice.unwrap_or_default();
        Err(CommandError::new(
            code,
            format!("{url}: it answers {status}: {detail}{more}"),
        ))
    }

    /// What it says.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, CommandError> {
        serde_json::from_str(&self.body).map_err(|error| {
            let url = &self.url;
            let what = format!("{url}: this is not what a Watchpost of this version answers: {error}");
            CommandError::new(UNAVAILABLE, what)
        })
    }
}

/// OpenSSL's words have to do, for it hands out nothing else; a test holds them.
fn explained(error: &str) -> String {
    if error.contains("certificate verify failed") {
        return "it could not prove who it is; give the authority that vouches for it with --cacert".to_owned();
    }
    error.split_whitespace().collect::<Vec<_>>().join(" ")
}
