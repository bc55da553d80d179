//! The ways to get a token: as an application with a secret, a certificate or the token of a workload; as an app of App
//! Service; as a machine, of Azure Arc or of Azure itself. It fetches and keeps nothing.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::assertion::Identity;
use super::http::{self, HttpResponse, Request, TransportError, Wire};
use super::settings::{Credentials, Hidden, Settings};
use super::{arc, backoff, error};

/// Whether this is a machine of Azure at all is known at once: the service is on the machine's own host.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// The pauses after which a machine is asked again. Together they are shorter than the patience of whoever asks.
const RETRY_DELAYS_MS: [u64; 4] = [250, 500, 1000, 2000];

/// A token without a word of its end is fetched again soon.
const DEFAULT_LIFETIME_SECONDS: u64 = 600;

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A way to get a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Secret,
    Certificate,
    Workload,
    AppService,
    Arc,
    Machine,
}

impl Kind {
    pub(super) fn as_str(self) -> &'static str {
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

/// The ways that are open, in the order in which they are tried.
pub(super) fn chain(credentials: &Credentials) -> Vec<Kind> {
    let is_application = credentials.tenant_id.is_some() && credentials.client_id.is_some();
    let has_endpoint = credentials.identity_endpoint.is_some() && credentials.identity_header.is_some();
    let open = [
        (Kind::Secret, is_application && credentials.client_secret.is_some()),
        (Kind::Certificate, is_application && credentials.certificate.is_some()),
        (
            Kind::Workload,
            is_application && credentials.federated_token_file.is_some(),
        ),
        (Kind::AppService, has_endpoint),
        (Kind::Arc, credentials.arc_endpoint.is_some()),
        // No setting says that this is a machine of Azure; one finds out.
        (Kind::Machine, true),
    ];
    open.into_iter()
        .filter_map(|(kind, open)| open.then_some(kind))
        .collect()
}

/// A token and its end.
pub(super) struct CredentialChain {
    pub(super) token: Hidden,
    pub(super) until_ms: u64,
}

/// Why there is none.
pub(super) enum Failure {
    Refused(String),
    Wait { wish: Option<Duration>, why: String },
}

impl From<TransportError> for Failure {
    fn from(silence: TransportError) -> Self {
        Self::Refused(silence.to_string())
    }
}

/// Fetches a token. The first time it is not known whether this is a machine of Azure.
pub(super) async fn fetch(
    kind: Kind,
    audience: &str,
    is_first: bool,
    settings: &Settings,
    wire: &Wire,
    now_ms: u64,
) -> Result<CredentialChain, Failure> {
    let credentials = &settings.credentials;
    let reply = match kind {
        Kind::Secret | Kind::Certificate | Kind::Workload => {
            let url = authority(settings);
            let proof = proof(kind, credentials, &url, now_ms).map_err(|why| said(kind, &why))?;
            let form = form(&proof, audience, credentials);
            let post = Request::post(&url, "application/x-www-form-urlencoded", form);
            let reply = wire.ask(&post).await?;
            return read(kind, &reply, &[proof.text.as_str()], now_ms);
        }
        Kind::AppService => {
            let endpoint = credentials.identity_endpoint.as_deref().unwrap_or_default();
            let secret = credentials.identity_header.as_ref().map_or("", Hidden::expose);
            let url = of_identity(endpoint, "2019-08-01", audience, credentials);
            let get = Request::get(&url).with("x-identity-header", secret);
            return read(kind, &wire.ask(&get).await?, &[secret], now_ms);
        }
        Kind::Arc => {
            let (reply, shown) = arc::of_arc(audience, settings, wire).await?;
            return read(kind, &reply, &[shown.as_str()], now_ms);
        }
        Kind::Machine => of_machine(audience, is_first, settings, wire).await?,
    };
    read(kind, &reply, &[], now_ms)
}

/// What an application shows for itself.
struct ClientCredential {
    /// The field of the form that it stands in.
    field: &'static str,
    text: String,
}

/// The files are small and read once an hour, so that nobody waits for them long.
fn proof(kind: Kind, credentials: &Credentials, url: &str, now_ms: u64) -> Result<ClientCredential, String> {
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
        // Kubernetes writes a new one every hour or so.
        let text = std::fs::read_to_string(file).map_err(|error| {
            let file = file.display();
            format!("{file} cannot be read ({error}); check azure.credentials.federated_token_file")
        })?;
        let text = text.trim().to_owned();
        return Ok(ClientCredential {
            field: "client_assertion",
            text,
        });
    }
    let text = credentials.client_secret.as_ref().map_or("", Hidden::expose).to_owned();
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

fn form(proof: &ClientCredential, audience: &str, credentials: &Credentials) -> String {
    let client = credentials.client_id.clone().unwrap_or_default();
    let mut pairs = vec![
        ("grant_type", "client_credentials".to_owned()),
        ("client_id", client),
        ("scope", format!("{}/.default", audience.trim_end_matches('/'))),
        (proof.field, proof.text.clone()),
    ];
    if proof.field == "client_assertion" {
        pairs.push(("client_assertion_type", ASSERTION_TYPE.to_owned()));
    }
    http::encoded(&pairs)
}

/// The address that an identity of Azure itself is asked at. Of several that it has, `client_id` names one.
pub(super) fn of_identity(endpoint: &str, version: &str, audience: &str, credentials: &Credentials) -> String {
    let resource = format!("{}/", audience.trim_end_matches('/'));
    let mut pairs = vec![("api-version", version.to_owned()), ("resource", resource)];
    pairs.extend(credentials.client_id.clone().map(|client| ("client_id", client)));
    let separator = if endpoint.contains('?') { '&' } else { '?' };
    format!("{endpoint}{separator}{}", http::encoded(&pairs))
}

/// Asks the machine's own host, and again while it says that it is not ready.
async fn of_machine(audience: &str, is_first: bool, settings: &Settings, wire: &Wire) -> Result<HttpResponse, Failure> {
    let imds = settings.endpoints.imds.trim_end_matches('/');
    let endpoint = format!("{imds}/metadata/identity/oauth2/token");
    let url = of_identity(&endpoint, "2018-02-01", audience, &settings.credentials);
    let get = || Request::get(&url).with("metadata", "true");
    let first = if is_first { get().within(PROBE_TIMEOUT) } else { get() };
    let nobody = |silence: TransportError| match silence {
        TransportError::Late { whom, timeout } if is_first => Failure::Refused(format!(
            "this seems to be no machine of Azure, for {whom} does not answer within {timeout:?}; set azure.credentials"
        )),
        other => other.into(),
    };
    let mut reply = wire.ask(&first).await.map_err(nobody)?;
    for pause in RETRY_DELAYS_MS {
        if !matches!(reply.status(), 404 | 410 | 429 | 500..=599) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(pause)).await;
        reply = wire.ask(&get()).await?;
    }
    Ok(reply)
}

/// What all of them answer. Some write numbers as texts.
#[derive(Deserialize)]
struct Answer {
    access_token: String,
    #[serde(default)]
    expires_in: Value,
    #[serde(default)]
    expires_on: Value,
}

fn read(kind: Kind, reply: &HttpResponse, hidden: &[&str], now_ms: u64) -> Result<CredentialChain, Failure> {
    let refused = |refusal: error::AzureError| {
        let why = refusal.of_token(kind.as_str());
        if refusal.wants_us_to_wait() {
            let wish = reply
                .retry_after
                .as_deref()
                .and_then(|header| backoff::wish(header, now_ms));
            return Failure::Wait { wish, why };
        }
        Failure::Refused(why)
    };
    let body = reply.answer(hidden).map_err(refused)?;
    // The body may hold a token, so nothing of it is repeated.
    let answer: Answer = serde_json::from_slice(body)
        .map_err(|_| said(kind, "no token can be read out of the answer; check azure.endpoints"))?;
    if answer.access_token.is_empty() || answer.access_token.contains(|letter: char| !letter.is_ascii_graphic()) {
        return Err(said(
            kind,
            "the answer holds an empty or broken token; check azure.endpoints",
        ));
    }
    Ok(CredentialChain {
        until_ms: until_ms(&answer, now_ms),
        token: Hidden::new(answer.access_token),
    })
}

pub(super) fn said(kind: Kind, why: &str) -> Failure {
    Failure::Refused(format!("{} gives no token: {why}", kind.as_str()))
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
    fn what_is_configured_comes_before_the_machine() {
        assert_eq!(chain(&Credentials::default()), [Kind::Machine]);
        assert_eq!(
            chain(&application()),
            [Kind::Machine],
            "an identity of several that a machine has"
        );
        let all = Credentials {
            client_secret: Some(Hidden::new("s")),
            certificate: Some("app.pem".into()),
            federated_token_file: Some("token".into()),
            identity_endpoint: Some("http://localhost".to_owned()),
            identity_header: Some(Hidden::new("h")),
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
    fn the_end_of_a_token_is_a_number_or_a_text() {
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
    fn an_application_is_asked_for_the_scope_and_a_machine_for_the_resource() {
        let proof = |field| ClientCredential {
            field,
            text: "a&b".to_owned(),
        };
        let by_secret = form(&proof("client_secret"), "https://arm/", &application());
        assert!(by_secret.contains("scope=https%3A%2F%2Farm%2F.default"), "{by_secret}");
        assert!(
            by_secret.contains("client_secret=a%26b") && !by_secret.contains("assertion"),
            "{by_secret}"
        );
        let by_assertion = form(&proof("client_assertion"), "https://arm", &application());
        assert!(
            by_assertion.contains("client_assertion_type=urn%3Aietf"),
            "{by_assertion}"
        );
        let url = of_identity("http://host/token", "v", "https://arm", &application());
        assert_eq!(
            url,
            "http://host/token?api-version=v&resource=https%3A%2F%2Farm%2F&client_id=c"
        );
    }
}
