//! The ways to obtain an access token, in order: client secret, client certificate, workload identity, App
//! Service identity, Azure Arc identity, managed identity of the machine. It fetches tokens without caching
//! them.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::assertion::Identity;
use super::http::{self, HttpClient, HttpResponse, Request, TransportError};
use super::settings::{Credentials, Settings};
use super::{arc, backoff, error};
use watchpost_secret::Secret;

/// A short timeout for the first request to the instance metadata service, which is on the machine's own host
/// and answers at once if it exists.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// The delays before retries of the metadata service. Together they are shorter than the source's timeout.
const RETRY_DELAYS_MS: [u64; 4] = [250, 500, 1000, 2000];

/// The assumed lifetime of a token without an expiry.
const DEFAULT_LIFETIME_SECONDS: u64 = 600;

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A way to obtain a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Secret,
    Certificate,
    Workload,
    AppService,
    Arc,
    Machine,
}

impl Kind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Secret => "client secret",
            Self::Certificate => "client certificate",
            Self::Workload => "workload identity",
            Self::AppService => "App Service identity",
            Self::Arc => "Azure Arc identity",
            Self::Machine => "machine identity",
        }
    }
}

/// The configured ways, in the order in which they are tried.
pub(crate) fn chain(credentials: &Credentials) -> Vec<Kind> {
    let is_application = credentials.tenant_id.is_some() && credentials.client_id.is_some();
    let has_endpoint = credentials.identity_endpoint.is_some() && credentials.identity_header.is_some();
    let kinds = [
        (Kind::Secret, is_application && credentials.client_secret.is_some()),
        (Kind::Certificate, is_application && credentials.certificate.is_some()),
        (
            Kind::Workload,
            is_application && credentials.federated_token_file.is_some(),
        ),
        (Kind::AppService, has_endpoint),
        (Kind::Arc, credentials.arc_endpoint.is_some()),
        // No setting enables the managed identity of the machine; it is probed last.
        (Kind::Machine, true),
    ];
    kinds
        .into_iter()
        .filter_map(|(kind, is_configured)| is_configured.then_some(kind))
        .collect()
}

/// An access token and its expiry.
pub(crate) struct AccessToken {
    pub(crate) token: Secret,
    pub(crate) until_ms: u64,
}

/// Why no token was obtained.
pub(crate) enum Failure {
    Refused(String),
    Backoff {
        retry_after: Option<Duration>,
        reason: String,
    },
}

impl From<TransportError> for Failure {
    fn from(error: TransportError) -> Self {
        Self::Refused(error.to_string())
    }
}

/// Fetches a token. `is_first` means that it is not yet known whether the metadata service exists.
pub(crate) async fn fetch(
    kind: Kind,
    audience: &str,
    is_first: bool,
    settings: &Settings,
    http_client: &HttpClient,
    now_ms: u64,
) -> Result<AccessToken, Failure> {
    let credentials = &settings.credentials;
    let reply = match kind {
        Kind::Secret | Kind::Certificate | Kind::Workload => {
            let url = authority(settings);
            let credential =
                client_credential(kind, credentials, &url, now_ms).map_err(|reason| refused(kind, &reason))?;
            let form = form(&credential, audience, credentials);
            let post = Request::post(&url, "application/x-www-form-urlencoded", form);
            let reply = http_client.send(&post).await?;
            return read(kind, &reply, &[credential.text.as_str()], now_ms);
        }
        Kind::AppService => {
            let endpoint = credentials.identity_endpoint.as_deref().unwrap_or_default();
            let secret = credentials
                .identity_header
                .as_ref()
                .map_or("", |secret| secret.expose().as_str());
            let url = managed_identity_url(endpoint, "2019-08-01", audience, credentials);
            let get = Request::get(&url).with("x-identity-header", secret);
            return read(kind, &http_client.send(&get).await?, &[secret], now_ms);
        }
        Kind::Arc => {
            let (reply, key) = arc::of_arc(audience, settings, http_client).await?;
            return read(kind, &reply, &[key.as_str()], now_ms);
        }
        Kind::Machine => from_metadata_service(audience, is_first, settings, http_client).await?,
    };
    read(kind, &reply, &[], now_ms)
}

/// The secret with which an application authenticates.
struct ClientCredential {
    /// The name of its form field.
    field: &'static str,
    text: String,
}

/// Reads the files of the credentials as a token request does; each problem has the name of its setting.
pub fn file_problems(credentials: &Credentials) -> Vec<(&'static str, String)> {
    let mut problems = Vec::new();
    if let Some(file) = &credentials.certificate
        && let Err(error) = Identity::read(file, credentials.certificate_password.as_ref())
    {
        problems.push(("certificate", error.to_string()));
    }
    if let Some(file) = &credentials.federated_token_file
        && let Err(reason) = federated_token(file)
    {
        problems.push(("federated_token_file", reason));
    }
    problems
}

fn federated_token(file: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        let file = file.display();
        format!("cannot read {file} ({error}); check azure.credentials.federated_token_file")
    })?;
    Ok(text.trim().to_owned())
}

/// Reads the files synchronously: they are small and read about once an hour.
fn client_credential(
    kind: Kind,
    credentials: &Credentials,
    url: &str,
    now_ms: u64,
) -> Result<ClientCredential, String> {
    let client = credentials.client_id.as_deref().unwrap_or_default();
    if let (Kind::Certificate, Some(file)) = (kind, &credentials.certificate) {
        let identity = Identity::read(file, credentials.certificate_password.as_ref());
        let assertion = identity.and_then(|identity| identity.assertion(client, url, now_ms));
        let text = assertion.map_err(|error| error.to_string())?;
        return Ok(ClientCredential {
            field: "client_assertion",
            text,
        });
    }
    if let (Kind::Workload, Some(file)) = (kind, &credentials.federated_token_file) {
        // Kubernetes rotates the token about once an hour.
        let text = federated_token(file)?;
        return Ok(ClientCredential {
            field: "client_assertion",
            text,
        });
    }
    let text = credentials
        .client_secret
        .as_ref()
        .map_or("", |secret| secret.expose().as_str())
        .to_owned();
    Ok(ClientCredential {
        field: "client_secret",
        text,
    })
}

fn authority(settings: &Settings) -> String {
    let tenant = settings.credentials.tenant_id.as_deref().unwrap_or_default();
    let authority = settings.endpoints.authority.trim_end_matches('/');
    format!("{authority}/{}/oauth2/v2.0/token", http::encoded_path(tenant))
}

fn form(credential: &ClientCredential, audience: &str, credentials: &Credentials) -> String {
    let client = credentials.client_id.clone().unwrap_or_default();
    let mut pairs = vec![
        ("grant_type", "client_credentials".to_owned()),
        ("client_id", client),
        ("scope", format!("{}/.default", audience.trim_end_matches('/'))),
        (credential.field, credential.text.clone()),
    ];
    if credential.field == "client_assertion" {
        pairs.push(("client_assertion_type", ASSERTION_TYPE.to_owned()));
    }
    http::encoded(&pairs)
}

/// The URL of a managed identity request. `client_id` selects one of several identities.
pub(crate) fn managed_identity_url(endpoint: &str, version: &str, audience: &str, credentials: &Credentials) -> String {
    let resource = format!("{}/", audience.trim_end_matches('/'));
    let mut pairs = vec![("api-version", version.to_owned()), ("resource", resource)];
    pairs.extend(credentials.client_id.clone().map(|client| ("client_id", client)));
    let separator = if endpoint.contains('?') { '&' } else { '?' };
    format!("{endpoint}{separator}{}", http::encoded(&pairs))
}

/// Queries the metadata service, with retries while it is not ready.
async fn from_metadata_service(
    audience: &str,
    is_first: bool,
    settings: &Settings,
    http_client: &HttpClient,
) -> Result<HttpResponse, Failure> {
    let imds = settings.endpoints.imds.trim_end_matches('/');
    let endpoint = format!("{imds}/metadata/identity/oauth2/token");
    let url = managed_identity_url(&endpoint, "2018-02-01", audience, &settings.credentials);
    let get = || Request::get(&url).with("metadata", "true");
    let first = if is_first { get().within(PROBE_TIMEOUT) } else { get() };
    let probe_error = |error: TransportError| match error {
        TransportError::TimedOut { host, timeout } if is_first => Failure::Refused(format!(
            "not an Azure virtual machine, because {host} did not answer within {timeout:?}; set azure.credentials"
        )),
        other => other.into(),
    };
    let mut reply = http_client.send(&first).await.map_err(probe_error)?;
    for pause in RETRY_DELAYS_MS {
        if !matches!(reply.status(), 404 | 410 | 429 | 500..=599) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(pause)).await;
        reply = http_client.send(&get()).await?;
    }
    Ok(reply)
}

/// The response of all token endpoints. Some encode numbers as strings.
#[derive(Deserialize)]
struct Answer {
    access_token: String,
    #[serde(default)]
    expires_in: Value,
    #[serde(default)]
    expires_on: Value,
}

fn read(kind: Kind, reply: &HttpResponse, hidden: &[&str], now_ms: u64) -> Result<AccessToken, Failure> {
    let to_failure = |error: error::AzureError| {
        let reason = error.of_token(kind.as_str());
        if error.is_throttled() {
            let retry_after = reply
                .retry_after
                .as_deref()
                .and_then(|header| backoff::parse_retry_after(header, now_ms));
            return Failure::Backoff { retry_after, reason };
        }
        Failure::Refused(reason)
    };
    let body = reply.answer(hidden).map_err(to_failure)?;
    // The body may contain a token, so errors do not quote it.
    let answer: Answer = serde_json::from_slice(body)
        .map_err(|_| refused(kind, "cannot parse the token response; check azure.endpoints"))?;
    if answer.access_token.is_empty() || answer.access_token.contains(|letter: char| !letter.is_ascii_graphic()) {
        return Err(refused(
            kind,
            "the response contains an empty or malformed token; check azure.endpoints",
        ));
    }
    Ok(AccessToken {
        until_ms: until_ms(&answer, now_ms),
        token: Secret::new(answer.access_token),
    })
}

pub(crate) fn refused(kind: Kind, reason: &str) -> Failure {
    Failure::Refused(format!("no token from {}: {reason}", kind.as_str()))
}

fn until_ms(answer: &Answer, now_ms: u64) -> u64 {
    let seconds = |value: &Value| value.as_f64().or_else(|| value.as_str()?.trim().parse().ok());
    let whole = |seconds: f64| seconds.max(0.0) as u64;
    match (seconds(&answer.expires_in), seconds(&answer.expires_on)) {
        (Some(within), _) => now_ms.saturating_add(whole(within).saturating_mul(1000)),
        (None, Some(at)) => whole(at).saturating_mul(1000),
        (None, None) => now_ms.saturating_add(DEFAULT_LIFETIME_SECONDS * 1000),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn application() -> Credentials {
        Credentials {
            tenant_id: Some("t".to_owned()),
            client_id: Some("c".to_owned()),
            ..Credentials::default()
        }
    }

    #[test]
    fn configured_credentials_come_before_the_managed_identity() {
        assert_eq!(chain(&Credentials::default()), [Kind::Machine]);
        assert_eq!(
            chain(&application()),
            [Kind::Machine],
            "a client id alone selects one of several managed identities"
        );
        let all = Credentials {
            client_secret: Some(Secret::new("s".to_owned())),
            certificate: Some("app.pem".into()),
            federated_token_file: Some("token".into()),
            identity_endpoint: Some("http://localhost".to_owned()),
            identity_header: Some(Secret::new("h".to_owned())),
            arc_endpoint: Some("http://localhost".to_owned()),
            ..application()
        };
        let kinds = [
            Kind::Secret,
            Kind::Certificate,
            Kind::Workload,
            Kind::AppService,
            Kind::Arc,
            Kind::Machine,
        ];
        assert_eq!(chain(&all), kinds);
        let nameless = Credentials { client_id: None, ..all };
        assert_eq!(chain(&nameless), [Kind::AppService, Kind::Arc, Kind::Machine]);
    }

    #[test]
    fn the_expiry_of_a_token_is_a_number_or_a_string() {
        let check = |answer: Value, expected: u64| {
            let mut whole = answer.clone();
            whole["access_token"] = json!("x");
            let read: Answer = serde_json::from_value(whole).expect("an answer");
            assert_eq!(until_ms(&read, 1000), expected, "{answer}");
        };
        check(json!({ "expires_in": 3599 }), 3_600_000);
        check(json!({ "expires_in": "3599", "expires_on": "7" }), 3_600_000);
        check(json!({ "expires_on": "1506484173" }), 1_506_484_173_000);
        check(json!({ "expires_on": 1_506_484_173 }), 1_506_484_173_000);
        check(json!({ "expires_in": "soon" }), 601_000);
        check(json!({ "expires_in": -5 }), 1000);
        check(json!({ "expires_in": 1e300 }), u64::MAX);
    }

    #[test]
    fn an_application_requests_a_scope_and_a_managed_identity_a_resource() {
        let credential = |field| ClientCredential {
            field,
            text: "a&b".to_owned(),
        };
        let by_secret = form(&credential("client_secret"), "https://arm/", &application());
        assert!(by_secret.contains("scope=https%3A%2F%2Farm%2F.default"), "{by_secret}");
        assert!(
            by_secret.contains("client_secret=a%26b") && !by_secret.contains("assertion"),
            "{by_secret}"
        );
        let by_assertion = form(&credential("client_assertion"), "https://arm", &application());
        assert!(
            by_assertion.contains("client_assertion_type=urn%3Aietf"),
            "{by_assertion}"
        );
        let url = managed_identity_url("http://host/token", "v", "https://arm", &application());
        assert_eq!(
            url,
            "http://host/token?api-version=v&resource=https%3A%2F%2Farm%2F&client_id=c"
        );
    }
}
