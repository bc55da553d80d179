//! An HTTP client for a server's API. The commands define the requests and interpret the responses.

pub(in crate::cli) mod credentials;
mod failure;
pub(in crate::cli) mod remote;

use std::future::Future;
use std::io::{self, Write};
use std::net::IpAddr;
use std::time::Duration;

use actix_web::http::header::{CONTENT_TYPE, IF_MATCH, LOCATION};
use actix_web::http::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use self::credentials::{Credentials, LocalDefaults};
pub(in crate::cli) use self::failure::explained;
use super::{CommandError, EXIT_FAILED_CHECK, SOFTWARE, UNAVAILABLE, USAGE};
use crate::config::nearest;
use crate::one_line::one_line;
use crate::tls::client::SslConnector;

/// A reachable server accepts a connection in less time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The server responds when a change is complete, and may have to compile stored versions for it.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);

/// The throughput of a slow connection; extends the timeout for components of many megabytes.
const MIN_UPLOAD_BYTES_PER_SECOND: usize = 64 << 10;

/// Larger than a snapshot of a hundred thousand series.
const MAX_RESPONSE_BYTES: usize = 64 << 20;

/// A client for one server.
pub(in crate::cli) struct ApiClient {
    base: String,
    client: awc::Client,
    token: Option<String>,
    /// What is added to the error if the server denies a request.
    denial_remedy: Option<&'static str>,
}

/// A request to the API.
pub(in crate::cli) struct ApiRequest {
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    generation: Option<i64>,
    body: Option<(String, Vec<u8>)>,
}

/// A response of the API.
pub(in crate::cli) struct ApiResponse {
    pub(in crate::cli) status: StatusCode,
    /// The path in `Location`, on the same server.
    pub(in crate::cli) location: Option<String>,
    pub(in crate::cli) body: String,
    url: String,
}

/// A problem document, with the fields for people.
#[derive(Deserialize)]
struct Problem {
    detail: String,
    check: Option<String>,
    advice: Option<String>,
}

/// The part of the list of rules that has their names.
#[derive(Deserialize)]
struct RuleNames {
    rules: Vec<RuleName>,
}

#[derive(Deserialize)]
struct RuleName {
    name: String,
}

/// The rule that a path is about: `/api/v1/rules/NAME`.
fn rule_in(path: &str) -> Option<&str> {
    path.strip_prefix("/api/v1/rules/")?.split('/').next()
}

/// Whether others on the network can read what is sent to this URL.
fn is_unprotected(base: &str) -> bool {
    let Some(authority) = base.strip_prefix("http://") else {
        return false;
    };
    let host = authority.split('/').next().unwrap_or_default();
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let host = match host.strip_prefix('[') {
        Some(six) => six.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(host, _)| host),
    };
    let is_loopback = |ip: IpAddr| ip.to_canonical().is_loopback();
    host != "localhost" && !host.parse().is_ok_and(is_loopback)
}

/// Runs a request to its end on a new runtime.
pub(in crate::cli) fn wait<T>(request: impl Future<Output = T>) -> T {
    actix_web::rt::System::new().block_on(request)
}

impl ApiClient {
    /// A client for the server at this URL. It does not connect yet.
    pub(in crate::cli) fn new(base: &str, credentials: &Credentials) -> Result<Self, CommandError> {
        Self::with(base, credentials, credentials.tls(None)?)
    }

    /// A client for the server on this machine.
    fn local(base: &str, credentials: &Credentials, defaults: &LocalDefaults) -> Result<Self, CommandError> {
        Self::with(base, credentials, credentials.tls(Some(defaults))?)
    }

    fn with(base: &str, credentials: &Credentials, tls: SslConnector) -> Result<Self, CommandError> {
        let base = base.trim_end_matches('/');
        if !base.starts_with("https://") && !base.starts_with("http://") {
            let what = format!("{base} is not a valid server URL; write https://HOST:PORT");
            return Err(CommandError::new(USAGE, what));
        }
        let token = credentials.token()?;
        if token.is_some() && is_unprotected(base) {
            // The warning is for people; a program that closes standard error needs none.
            let _ = writeln!(
                io::stderr(),
                "watchpost: warning: the bearer token is sent to {base} without encryption; use https://"
            );
        }
        let connector = awc::Connector::new().openssl(tls).timeout(CONNECT_TIMEOUT);
        let client = awc::Client::builder()
            .connector(connector)
            // A token is for the named server only, not for the target of a redirect.
            .disable_redirects();
        Ok(Self {
            base: base.to_owned(),
            client: client.finish(),
            token,
            denial_remedy: None,
        })
    }

    /// Adds this to the error if the server denies a request.
    fn with_denial_remedy(self, remedy: &'static str) -> Self {
        Self {
            denial_remedy: Some(remedy),
            ..self
        }
    }

    /// Sends a request, and returns any response.
    pub(in crate::cli) async fn send(&self, api_request: ApiRequest) -> Result<ApiResponse, CommandError> {
        let url = format!("{}{}", self.base, api_request.path);
        let unavailable = |reason: String| CommandError::new(UNAVAILABLE, format!("{url}: {reason}"));
        let is_post = api_request.method == Method::POST;
        let mut request = self.client.request(api_request.method, &url);
        if !api_request.query.is_empty() {
            let queried = request.query(&api_request.query);
            request = queried.map_err(|error| CommandError::new(SOFTWARE, error.to_string()))?;
        }
        // A form without it could be that of a page in a browser.
        request = request.insert_header(("x-requested-with", "watchpost"));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(generation) = api_request.generation {
            request = request.insert_header((IF_MATCH, format!("\"{generation}\"")));
        }
        let sent = match api_request.body {
            Some((kind, body)) => {
                let carrying = Duration::from_secs((body.len() / MIN_UPLOAD_BYTES_PER_SECOND) as u64);
                let request = request.timeout(RESPONSE_TIMEOUT + carrying);
                request.insert_header((CONTENT_TYPE, kind)).send_body(body)
            }
            None if is_post => {
                let json = (CONTENT_TYPE, "application/json");
                request.timeout(RESPONSE_TIMEOUT).insert_header(json).send()
            }
            None => request.timeout(RESPONSE_TIMEOUT).send(),
        };
        let mut response = sent
            .await
            .map_err(|error| unavailable(explained(&error, self.base.starts_with("https"))))?;
        let body = response.body().limit(MAX_RESPONSE_BYTES).await;
        let body = body.map_err(|error| unavailable(format!("cannot read the response: {error}")))?;
        let location = response
            .headers()
            .get(LOCATION)
            .and_then(|location| location.to_str().ok());
        Ok(ApiResponse {
            status: response.status(),
            location: location.filter(|location| location.starts_with('/')).map(str::to_owned),
            body: String::from_utf8_lossy(&body).into_owned(),
            url,
        })
    }

    /// Sends a request, and returns an error unless the response is a success.
    pub(in crate::cli) async fn send_checked(&self, api_request: ApiRequest) -> Result<ApiResponse, CommandError> {
        let rule = rule_in(&api_request.path).map(str::to_owned);
        let response = self.send(api_request).await?;
        if response.status == StatusCode::NOT_FOUND
            && let Some(rule) = rule
            && let Some(unknown) = self.unknown_rule(&rule).await
        {
            return Err(unknown);
        }
        let is_denied = matches!(response.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        let remedy = self.denial_remedy.filter(|_| is_denied);
        response.accepted().map_err(|error| match remedy {
            Some(remedy) => CommandError::new(error.code, format!("{}; {remedy}", error.what)),
            None => error,
        })
    }

    /// An error with the most similar name, if the server has no rule of this name.
    async fn unknown_rule(&self, name: &str) -> Option<CommandError> {
        let response = self.send(ApiRequest::get("/api/v1/rules")).await.ok()?;
        let known: RuleNames = response.accepted().ok()?.read().ok()?;
        let names: Vec<_> = known.rules.iter().map(|rule| rule.name.as_str()).collect();
        if names.contains(&name) {
            return None;
        }
        let similar = nearest(name, names).map(|name| format!("did you mean {name}? "));
        let what = format!(
            "there is no rule {name}; {}`watchpost rules list` lists the rules of the server",
            similar.unwrap_or_default()
        );
        Some(CommandError::new(EXIT_FAILED_CHECK, what))
    }
}

impl ApiRequest {
    /// A request without a body.
    pub(in crate::cli) fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            query: Vec::new(),
            generation: None,
            body: None,
        }
    }

    /// A GET request.
    pub(in crate::cli) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    /// Adds a query parameter, if there is a value.
    pub(in crate::cli) fn with(mut self, name: &'static str, value: Option<impl ToString>) -> Self {
        self.query.extend(value.map(|value| (name, value.to_string())));
        self
    }

    /// Sets a JSON body.
    pub(in crate::cli) fn json(self, value: &serde_json::Value) -> Self {
        self.body("application/json", value.to_string().into_bytes())
    }

    /// Sets a body of another type.
    pub(in crate::cli) fn body(mut self, kind: impl Into<String>, body: Vec<u8>) -> Self {
        self.body = Some((kind.into(), body));
        self
    }

    /// Adds `If-Match`: the server rejects the request unless this generation is the current one.
    pub(in crate::cli) fn after(mut self, generation: Option<i64>) -> Self {
        self.generation = generation;
        self
    }
}

impl ApiResponse {
    /// The response if it is a success. An error has the server's message; unavailability has an exit code of its own.
    pub(in crate::cli) fn accepted(self) -> Result<Self, CommandError> {
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
            // A TLS port answers plain HTTP with a line of text.
            let hint = Some(self.body.trim()).filter(|body| body.contains("https://") && body.len() < 200);
            let hint = hint.map(|hint| format!(": {}", one_line(hint))).unwrap_or_default();
            return Err(CommandError::new(
                code,
                format!("{url}: the server responds with {status}{hint}"),
            ));
        };
        let check = check.map(|check| format!("\n  failed check: {check}"));
        let advice = advice.map(|advice| format!("\n  {advice}"));
        let more = check.unwrap_or_default() + &advice.unwrap_or_default();
        Err(CommandError::new(
            code,
            format!("{url}: the server responds with {status}: {detail}{more}"),
        ))
    }

    /// Parses the body.
    pub(in crate::cli) fn read<T: DeserializeOwned>(&self) -> Result<T, CommandError> {
        serde_json::from_str(&self.body).map_err(|error| {
            let url = &self.url;
            let what = format!("{url}: the response is not that of a compatible Watchpost version: {error}");
            CommandError::new(UNAVAILABLE, what)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_on_another_machine_without_tls_is_unprotected() {
        for base in [
            "https://example.org",
            "http://localhost:8080",
            "http://127.0.0.1:8080/prefix",
            "http://127.8.0.1",
            "http://[::1]:8080",
            "http://[::ffff:127.0.0.1]:8080",
        ] {
            assert!(!is_unprotected(base), "{base}");
        }
        for base in [
            "http://example.org",
            "http://localhost.example.org:8080",
            "http://127.0.0.1@example.org:8080",
            "http://10.0.0.1:8080",
            "http://[2001:db8::1]",
        ] {
            assert!(is_unprotected(base), "{base}");
        }
    }
}
