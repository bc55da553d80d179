//! The HTTP client of the Azure source: one request and its response, with a timeout and a size limit. Only this
//! module uses `awc`.

use std::cell::OnceCell;
use std::fmt::Write;
use std::time::Duration;

use awc::error::{ConnectError, PayloadError, SendRequestError};
use awc::http::{Method, Version, header};

use super::error::AzureError;
use watchpost_secret::MASK;

/// A batch of 50 resources with 20 metrics over ten minutes is smaller than 1 MiB.
const MAX_BODY_BYTES: usize = 4 << 20;

/// The HTTP client. Connections are reused between rounds. Proxies are not used, because tokens must not pass
/// through them.
pub(crate) struct HttpClient {
    /// Created on first use, because it belongs to the thread that uses it.
    client: OnceCell<awc::Client>,
    timeout: Duration,
}

/// A request.
pub(crate) struct Request<'r> {
    url: &'r str,
    method: Method,
    headers: Vec<(&'static str, String)>,
    body: String,
    timeout: Option<Duration>,
}

impl<'r> Request<'r> {
    pub(crate) fn get(url: &'r str) -> Self {
        Self {
            url,
            method: Method::GET,
            headers: Vec::new(),
            body: String::new(),
            timeout: None,
        }
    }

    pub(crate) fn post(url: &'r str, kind: &str, body: String) -> Self {
        Self {
            method: Method::POST,
            body,
            ..Self::get(url)
        }
        .with("content-type", kind)
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// Replaces the default timeout.
    pub(crate) fn within(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

/// A response.
pub(crate) struct HttpResponse {
    status: u16,
    /// The `Retry-After` header.
    pub(crate) retry_after: Option<String>,
    /// The `WWW-Authenticate` header.
    pub(crate) challenge: Option<String>,
    body: Vec<u8>,
}

impl HttpResponse {
    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    /// The body of a successful response. Secrets are masked in an error, because it may repeat the request.
    pub(crate) fn answer(&self, hidden: &[&str]) -> Result<&[u8], AzureError> {
        if (200..300).contains(&self.status) {
            return Ok(&self.body);
        }
        let mut text = String::from_utf8_lossy(&self.body).into_owned();
        for secret in hidden.iter().filter(|secret| !secret.is_empty()) {
            text = text.replace(secret, MASK);
        }
        Err(AzureError::read(self.status, &text))
    }
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransportError {
    #[error("{0} is not a valid URL; check azure.endpoints")]
    Address(String),
    #[error("cannot resolve {host} ({reason}); check DNS and azure.endpoints")]
    Name { host: String, reason: String },
    #[error("cannot connect to {host} ({reason}); check the network and azure.endpoints")]
    Unreachable { host: String, reason: String },
    #[error("{host} did not answer within {timeout:?}; check the network, or increase azure.request_timeout")]
    TimedOut { host: String, timeout: Duration },
    #[error("{host} closed the connection before it answered ({reason})")]
    Closed { host: String, reason: String },
    #[error("the response of {host} is incomplete ({reason})")]
    Incomplete { host: String, reason: String },
    #[error("the response of {host} has more than {} MiB; check azure.endpoints", MAX_BODY_BYTES >> 20)]
    TooLong { host: String },
}

impl HttpClient {
    pub(crate) fn new(timeout: Duration) -> Self {
        let client = OnceCell::new();
        Self { client, timeout }
    }

    /// Sends the request once.
    pub(crate) async fn send(&self, request: &Request<'_>) -> Result<HttpResponse, TransportError> {
        let timeout = request.timeout.unwrap_or(self.timeout);
        let host = host(request.url);
        // Created outside the timeout, because it loads the system's certificate authorities.
        let client = self.client.get_or_init(|| self.client());
        let result = tokio::time::timeout(timeout, exchange(client, request, &host)).await;
        result.unwrap_or(Err(TransportError::TimedOut { host, timeout }))
    }

    fn client(&self) -> awc::Client {
        let connector = awc::Connector::new()
            .timeout(self.timeout)
            .handshake_timeout(self.timeout);
        // Redirects are disabled, because they could send the token to another host. The timeout is applied in
        // `send`, to the complete exchange.
        awc::Client::builder()
            .connector(connector)
            .max_http_version(Version::HTTP_11)
            .disable_redirects()
            .disable_timeout()
            .finish()
    }
}

async fn exchange(client: &awc::Client, request: &Request<'_>, host: &str) -> Result<HttpResponse, TransportError> {
    let mut request_builder = client.request(request.method.clone(), request.url);
    for (name, value) in &request.headers {
        request_builder = request_builder.insert_header((*name, value.as_str()));
    }
    let mut response = if request.method == Method::POST {
        request_builder.send_body(request.body.clone()).await
    } else {
        request_builder.send().await
    }
    .map_err(|error| send_error(error, host))?;
    let header_value = |name| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
    let (retry_after, challenge) = (
        header_value(header::RETRY_AFTER),
        header_value(header::WWW_AUTHENTICATE),
    );
    let status = response.status().as_u16();
    let body = response
        .body()
        .limit(MAX_BODY_BYTES)
        .await
        .map_err(|error| body_error(&error, host))?;
    Ok(HttpResponse {
        status,
        retry_after,
        challenge,
        body: body.to_vec(),
    })
}

fn send_error(error: SendRequestError, host: &str) -> TransportError {
    let (host, reason) = (host.to_owned(), error.to_string());
    match error {
        SendRequestError::Url(_) | SendRequestError::Http(_) => TransportError::Address(host),
        SendRequestError::Connect(ConnectError::Resolver(_) | ConnectError::NoRecords) => {
            TransportError::Name { host, reason }
        }
        SendRequestError::Connect(_) => TransportError::Unreachable { host, reason },
        _ => TransportError::Closed { host, reason },
    }
}

fn body_error(error: &PayloadError, host: &str) -> TransportError {
    let host = host.to_owned();
    match error {
        PayloadError::Overflow => TransportError::TooLong { host },
        other => TransportError::Incomplete {
            host,
            reason: other.to_string(),
        },
    }
}

/// Scheme and host of a URL, for error messages.
fn host(url: &str) -> String {
    let scheme = url.find("://").map_or(0, |at| at + 3);
    let end = url[scheme..].find('/').map_or(url.len(), |at| scheme + at);
    url[..end].to_owned()
}

/// Pairs encoded for a query string or a form.
pub(crate) fn encoded(pairs: &[(&str, String)]) -> String {
    let pair = |(name, value): &(&str, String)| format!("{}={}", percent(name, b""), percent(value, b""));
    let pairs: Vec<_> = pairs.iter().map(pair).collect();
    pairs.join("&")
}

/// A path encoded except for its slashes.
pub(crate) fn encoded_path(path: &str) -> String {
    percent(path, b"/")
}

fn percent(text: &str, plain: &[u8]) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || plain.contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("writing to a String cannot fail");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_characters_are_encoded() {
        let pairs = [("$filter", "LUN eq '*'".to_owned()), ("names", "a%2b,ä".to_owned())];
        assert_eq!(encoded(&pairs), "%24filter=LUN%20eq%20%27%2A%27&names=a%252b%2C%C3%A4");
        assert_eq!(encoded_path("/a b/(c)"), "/a%20b/%28c%29");
    }

    #[test]
    fn errors_name_only_scheme_and_host() {
        assert_eq!(host("https://host:1/a?token=b"), "https://host:1");
        assert_eq!(host("https://host"), "https://host");
        assert_eq!(host("nonsense"), "nonsense");
    }

    #[test]
    fn a_secret_in_an_error_response_is_masked() {
        let reply = HttpResponse {
            status: 400,
            retry_after: None,
            challenge: None,
            body: br#"{"code":"X","message":"what is hunter2?"}"#.to_vec(),
        };
        let error = reply.answer(&["", "hunter2"]).expect_err("refused");
        let text = error.of_metrics("here");
        assert!(text.contains(MASK) && !text.contains("hunter2"), "{text}");
    }
}
