//! One request and its answer, by HTTP, within a time and a size. The one place of the source that knows `awc`; it does
//! not know what is asked.

use std::cell::OnceCell;
use std::fmt::Write;
use std::time::Duration;

use awc::error::{ConnectError, PayloadError, SendRequestError};
use awc::http::{Method, Version, header};

use super::error::AzureError;
use super::settings::MASK;

/// A batch of 50 resources with 20 metrics of ten minutes has less than 1 MiB.
const MAX_BODY_BYTES: usize = 4 << 20;

/// Asks. Connections are kept between rounds, and no proxy is used, for identities must not pass one.
pub(super) struct Wire {
    /// Made when the first question is asked, for it belongs to the thread that asks.
    client: OnceCell<awc::Client>,
    timeout: Duration,
}

/// A request.
pub(super) struct Request<'r> {
    url: &'r str,
    method: Method,
    headers: Vec<(&'static str, String)>,
    body: String,
    timeout: Option<Duration>,
}

impl<'r> Request<'r> {
    /// Reads.
    pub(super) fn get(url: &'r str) -> Self {
        Self {
            url,
            method: Method::GET,
            headers: Vec::new(),
            body: String::new(),
            timeout: None,
        }
    }

    /// Sends a body.
    pub(super) fn post(url: &'r str, kind: &str, body: String) -> Self {
        Self {
            method: Method::POST,
            body,
            ..Self::get(url)
        }
        .with("content-type", kind)
    }

    pub(super) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// Waits so long instead of as long as ever.
    pub(super) fn within(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

/// What came back.
pub(super) struct HttpResponse {
    status: u16,
    /// What `Retry-After` says.
    pub(super) retry_after: Option<String>,
    /// What `WWW-Authenticate` says.
    pub(super) challenge: Option<String>,
    body: Vec<u8>,
}

impl HttpResponse {
    pub(super) fn status(&self) -> u16 {
        self.status
    }

    /// The body, if the question was answered. A refusal may repeat what was sent, so secrets in it are masked.
    pub(super) fn answer(&self, hidden: &[&str]) -> Result<&[u8], AzureError> {
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

/// Why nothing came back.
#[derive(Debug, thiserror::Error)]
pub(super) enum TransportError {
    #[error("{0} is no address that can be asked; check azure.endpoints")]
    Address(String),
    #[error("{whom} has no address ({why}); check DNS and azure.endpoints")]
    Name { whom: String, why: String },
    #[error("{whom} cannot be reached ({why}); check the network and azure.endpoints")]
    Unreachable { whom: String, why: String },
    #[error("{whom} did not answer within {timeout:?}; check the network, or let azure.request_timeout be longer")]
    Late { whom: String, timeout: Duration },
    #[error("{whom} broke off before it answered ({why})")]
    BrokeOff { whom: String, why: String },
    #[error("the answer of {whom} broke off ({why})")]
    Incomplete { whom: String, why: String },
    #[error("the answer of {whom} has more than {} MiB; check azure.endpoints", MAX_BODY_BYTES >> 20)]
    TooLong { whom: String },
}

impl Wire {
    pub(super) fn new(timeout: Duration) -> Self {
        let client = OnceCell::new();
        Self { client, timeout }
    }

    /// Asks once.
    pub(super) async fn ask(&self, request: &Request<'_>) -> Result<HttpResponse, TransportError> {
        let timeout = request.timeout.unwrap_or(self.timeout);
        let whom = whom(request.url);
        // It reads the authorities of the system, which nobody else should pay for with his time.
        let client = self.client.get_or_init(|| self.client());
        let answered = tokio::time::timeout(timeout, exchange(client, request, &whom)).await;
        answered.unwrap_or(Err(TransportError::Late { whom, timeout }))
    }

    fn client(&self) -> awc::Client {
        let connector = awc::Connector::new()
            .timeout(self.timeout)
            .handshake_timeout(self.timeout);
        // A redirection would take our token to wherever it points. The time is kept in `ask`, for all of the answer.
        awc::Client::builder()
            .connector(connector)
            .max_http_version(Version::HTTP_11)
            .disable_redirects()
            .disable_timeout()
            .finish()
    }
}

async fn exchange(client: &awc::Client, request: &Request<'_>, whom: &str) -> Result<HttpResponse, TransportError> {
    let mut asked = client.request(request.method.clone(), request.url);
    for (name, value) in &request.headers {
        asked = asked.insert_header((*name, value.as_str()));
    }
    let mut response = if request.method == Method::POST {
        asked.send_body(request.body.clone()).await
    } else {
        asked.send().await
    }
    .map_err(|error| unsent(error, whom))?;
    let said = |name| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
    let (retry_after, challenge) = (said(header::RETRY_AFTER), said(header::WWW_AUTHENTICATE));
    let status = response.status().as_u16();
    let body = response
        .body()
        .limit(MAX_BODY_BYTES)
        .await
        .map_err(|error| unread(&error, whom))?;
    Ok(HttpResponse {
        status,
        retry_after,
        challenge,
        body: body.to_vec(),
    })
}

fn unsent(error: SendRequestError, whom: &str) -> TransportError {
    let (whom, why) = (whom.to_owned(), error.to_string());
    match error {
        SendRequestError::Url(_) | SendRequestError::Http(_) => TransportError::Address(whom),
        SendRequestError::Connect(ConnectError::Resolver(_) | ConnectError::NoRecords) => {
            TransportError::Name { whom, why }
        }
        SendRequestError::Connect(_) => TransportError::Unreachable { whom, why },
        _ => TransportError::BrokeOff { whom, why },
    }
}

fn unread(error: &PayloadError, whom: &str) -> TransportError {
    let whom = whom.to_owned();
    match error {
        PayloadError::Overflow => TransportError::TooLong { whom },
        other => TransportError::Incomplete {
            whom,
            why: other.to_string(),
        },
    }
}

/// Scheme and host of an address. The rest may be long, and says nothing to whoever reads about a broken network.
fn whom(url: &str) -> String {
    let scheme = url.find("://").map_or(0, |at| at + 3);
    let end = url[scheme..].find('/').map_or(url.len(), |at| scheme + at);
    url[..end].to_owned()
}

/// Pairs as they stand behind a `?` or in a form.
pub(super) fn encoded(pairs: &[(&str, String)]) -> String {
    let pair = |(name, value): &(&str, String)| format!("{}={}", percent(name, b""), percent(value, b""));
    let pairs: Vec<_> = pairs.iter().map(pair).collect();
    pairs.join("&")
}

/// A path, with its slashes.
pub(super) fn encoded_path(path: &str) -> String {
    percent(path, b"/")
}

fn percent(text: &str, plain: &[u8]) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || plain.contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("a text takes all that is written");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_plain_letter_is_encoded() {
        let pairs = [("$filter", "LUN eq '*'".to_owned()), ("names", "a%2b,ä".to_owned())];
        assert_eq!(encoded(&pairs), "%24filter=LUN%20eq%20%27%2A%27&names=a%252b%2C%C3%A4");
        assert_eq!(encoded_path("/a b/(c)"), "/a%20b/%28c%29");
    }

    #[test]
    fn only_the_host_of_an_address_is_told() {
        assert_eq!(whom("https://host:1/a?token=b"), "https://host:1");
        assert_eq!(whom("https://host"), "https://host");
        assert_eq!(whom("nonsense"), "nonsense");
    }

    #[test]
    fn a_refusal_that_repeats_a_secret_is_masked() {
        let reply = HttpResponse {
            status: 400,
            retry_after: None,
            challenge: None,
            body: br#"{"code":"X","message":"what is hunter2?"}"#.to_vec(),
        };
        let refusal = reply.answer(&["", "hunter2"]).expect_err("refused");
        let told = refusal.of_metrics("here");
        assert!(told.contains(MASK) && !told.contains("hunter2"), "{told}");
    }
}
