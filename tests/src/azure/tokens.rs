//! The token endpoints: Entra in both versions, the metadata service of a machine, App Service, and the agent of Azure
//! Arc. Credentials are verified, and a token is valid for its audience until it expires.

use std::path::PathBuf;

use openssl::asn1::Asn1Time;
use openssl::base64::decode_block;
use openssl::hash::MessageDigest;
use openssl::sign::Verifier;
use openssl::x509::X509;
use serde_json::{Value, json};

use super::fault::error;
use super::wire::{Asked, Reply};

/// The credential of an application.
#[derive(Clone, Debug)]
pub enum Proof {
    /// A client secret.
    Secret(String),
    /// Assertions signed by the key of this certificate (PEM).
    Certificate(Vec<u8>),
    /// The token of a workload, from a file that Kubernetes writes.
    Federated(String),
}

/// The identities, and the issued tokens.
pub(super) struct Tokens {
    applications: Vec<(String, String, Proof)>,
    pub(super) machine: bool,
    pub(super) app_service: Option<String>,
    pub(super) arc: Option<Arc>,
    pub(super) life_seconds: u64,
    given: Vec<Given>,
}

/// The agent of Azure Arc on a machine.
pub(super) struct Arc {
    /// The folder that it writes keys to.
    pub(super) folder: PathBuf,
    /// The current key; each key is valid once.
    pub(super) key: Option<String>,
    /// The number of keys so far.
    pub(super) keys: usize,
}

struct Given {
    token: String,
    audience: String,
    expired: bool,
}

impl Default for Tokens {
    fn default() -> Self {
        Self {
            applications: Vec::new(),
            machine: false,
            app_service: None,
            arc: None,
            life_seconds: 3599,
            given: Vec::new(),
        }
    }
}

/// The audience of tokens for batches, which are valid for batches only.
const BATCHES: &str = "https://metrics.monitor.azure.com";

/// The API version of the agent of Azure Arc.
const ARC: &str = "2020-06-01";

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

impl Tokens {
    pub(super) fn application(&mut self, tenant: &str, client: &str, proof: Proof) {
        self.applications.push((tenant.to_owned(), client.to_owned(), proof));
    }

    pub(super) fn expire(&mut self) {
        self.given.iter_mut().for_each(|given| given.expired = true);
    }

    /// Responds to a request for a token. The path is in lower case.
    pub(super) fn answer(&mut self, asked: &Asked, path: &str) -> Reply {
        let parts: Vec<_> = path.trim_matches('/').split('/').collect();
        let answered = match parts.as_slice() {
            // In Azure each endpoint has its own address; here the headers distinguish them.
            ["metadata", "identity", "oauth2", "token"] if asked.query("api-version").as_deref() == Some(ARC) => {
                self.of_arc(asked)
            }
            ["metadata", "identity", "oauth2", "token"] => self.of_machine(asked),
            ["msi", "token"] => self.of_app_service(asked),
            [tenant, "oauth2", "v2.0", "token"] => self.of_application(asked, tenant, true),
            [tenant, "oauth2", "token"] => self.of_application(asked, tenant, false),
            _ => Err(refused(404, "not_found", "There is no token endpoint here.")),
        };
        answered.unwrap_or_else(|refusal| refusal)
    }

    /// Refuses a request without a valid token.
    pub(super) fn refusal(&self, asked: &Asked, counts_as_expired: bool) -> Option<Reply> {
        let refused = |code: &str, message: &str| {
            let reply = Reply::json(401, &error(code, message));
            Some(reply.with(
                "www-authenticate",
                "Bearer authorization_uri=\"https://login.windows.net/\"",
            ))
        };
        let Some(bearer) = asked
            .header("authorization")
            .and_then(|text| text.strip_prefix("Bearer "))
        else {
            let message = "Authentication failed. The 'Authorization' header is missing.";
            return refused("AuthenticationFailed", message);
        };
        let Some(given) = self.given.iter().find(|given| given.token == bearer) else {
            return refused("InvalidAuthenticationToken", "The access token is invalid.");
        };
        let is_batch = asked.path().to_lowercase().ends_with("/metrics:getbatch");
        if is_batch != (given.audience == BATCHES) {
            let message = "The access token has been obtained for wrong audience or resource.";
            return refused("InvalidAuthenticationTokenAudience", message);
        }
        if given.expired || counts_as_expired {
            return refused(
                "ExpiredAuthenticationToken",
                "The access token expiry UTC time is earlier than current UTC time.",
            );
        }
        None
    }

    fn of_machine(&mut self, asked: &Asked) -> Result<Reply, Reply> {
        if asked
            .header("metadata")
            .is_none_or(|value| !value.eq_ignore_ascii_case("true"))
        {
            return Err(refused(
                400,
                "bad_request_102",
                "Required metadata header not specified",
            ));
        }
        if asked.header("x-forwarded-for").is_some() {
            return Err(refused(400, "bad_request", "Requests through a proxy are not served"));
        }
        if asked.query("api-version").as_deref() != Some("2018-02-01") {
            return Err(refused(400, "bad_request", "Invalid api-version"));
        }
        if !self.machine {
            return Err(refused(400, "invalid_request", "Identity not found"));
        }
        self.of_identity(asked)
    }

    fn of_app_service(&mut self, asked: &Asked) -> Result<Reply, Reply> {
        let shown = asked.header("x-identity-header");
        if shown.is_none() || shown != self.app_service.as_deref() {
            return Err(refused(
                401,
                "unauthorized_client",
                "The header X-IDENTITY-HEADER is missing or wrong",
            ));
        }
        if asked.query("api-version").as_deref() != Some("2019-08-01") {
            return Err(refused(400, "bad_request", "Invalid api-version"));
        }
        self.of_identity(asked)
    }

    /// Issues a token to a client that can read the key file.
    fn of_arc(&mut self, asked: &Asked) -> Result<Reply, Reply> {
        let arc = self.arc.as_mut();
        let arc = arc.ok_or_else(|| refused(404, "not_found", "There is no agent on this machine."))?;
        if asked.header("metadata") != Some("true") || asked.query("client_id").is_some() {
            return Err(refused(
                400,
                "invalid_request",
                "Metadata is missing, or an identity is named",
            ));
        }
        let Some(shown) = asked.header("authorization") else {
            arc.keys += 1;
            let (key, file) = (
                format!("key-{}", arc.keys),
                arc.folder.join(format!("{}.key", arc.keys)),
            );
            std::fs::write(&file, &key).expect("the folder of the test is written to");
            arc.key = Some(key);
            let wanted = refused(401, "unauthorized_client", "Missing Basic Authorization header");
            return Err(wanted.with("www-authenticate", format!("Basic realm={}", file.display())));
        };
        let is_good = shown
            .strip_prefix("Basic ")
            .is_some_and(|shown| arc.key.take().as_deref() == Some(shown));
        if !is_good {
            let message = format!("{shown} is not what was asked for");
            return Err(refused(401, "unauthorized_client", &message));
        }
        self.of_identity(asked)
    }

    /// Numbers are strings in this format.
    fn of_identity(&mut self, asked: &Asked) -> Result<Reply, Reply> {
        let resource = asked.query("resource").filter(|resource| !resource.is_empty());
        let resource = resource.ok_or_else(|| refused(400, "invalid_resource", "The parameter resource is missing"))?;
        let token = self.give(&resource);
        Ok(Reply::json(
            200,
            &json!({
                "access_token": token,
                "refresh_token": "",
                "expires_in": self.life_seconds.to_string(),
                "resource": resource,
                "token_type": "Bearer",
                "client_id": asked.query("client_id").unwrap_or_default(),
            }),
        ))
    }

    fn of_application(&mut self, asked: &Asked, tenant: &str, is_second: bool) -> Result<Reply, Reply> {
        let field = |name: &str| asked.field(name).unwrap_or_default();
        if asked.method != "POST" || field("grant_type") != "client_credentials" {
            return Err(refused(
                400,
                "unsupported_grant_type",
                "AADSTS70003: The grant type is not supported.",
            ));
        }
        let audience = if is_second {
            let scope = field("scope");
            let audience = scope.strip_suffix("/.default").map(str::to_owned);
            audience.ok_or_else(|| {
                refused(
                    400,
                    "invalid_scope",
                    "AADSTS70011: The provided value for scope is not valid.",
                )
            })?
        } else {
            field("resource")
        };
        self.check(asked, tenant)?;
        let (token, life) = (self.give(&audience), self.life_seconds);
        let answer = if is_second {
            json!({ "token_type": "Bearer", "expires_in": life, "ext_expires_in": life, "access_token": token })
        } else {
            let life = life.to_string();
            json!({ "token_type": "Bearer", "expires_in": life, "resource": audience, "access_token": token })
        };
        Ok(Reply::json(200, &answer))
    }

    fn check(&self, asked: &Asked, tenant: &str) -> Result<(), Reply> {
        let client = asked.field("client_id").unwrap_or_default();
        let ours = self
            .applications
            .iter()
            .filter(|(of, known, _)| of.eq_ignore_ascii_case(tenant) && *known == client);
        let proofs: Vec<_> = ours.map(|(_, _, proof)| proof).collect();
        if proofs.is_empty() {
            let message =
                format!("AADSTS700016: Application with identifier '{client}' was not found in the directory.");
            return Err(refused(400, "unauthorized_client", &message));
        }
        let (secret, assertion) = (asked.field("client_secret"), asked.field("client_assertion"));
        if let Some(assertion) = assertion {
            let is_jwt = asked.field("client_assertion_type").as_deref() == Some(ASSERTION_TYPE);
            let audience = format!("http://{}{}", asked.header("host").unwrap_or_default(), asked.path());
            let good = |proof: &&Proof| match proof {
                Proof::Secret(_) => false,
                Proof::Federated(token) => *token == assertion,
                Proof::Certificate(pem) => is_signed(&assertion, pem, &client, &audience).is_some(),
            };
            let message = "AADSTS700027: The certificate or the signature of the client assertion is not valid.";
            let found = proofs.into_iter().find(good).filter(|_| is_jwt);
            return found.map(|_| ()).ok_or_else(|| refused(401, "invalid_client", message));
        }
        let Some(secret) = secret else {
            let message = "AADSTS7000218: The request body must contain: 'client_assertion' or 'client_secret'.";
            return Err(refused(401, "invalid_client", message));
        };
        let good = |proof: &&Proof| matches!(proof, Proof::Secret(known) if *known == secret);
        let message = format!("AADSTS7000215: Invalid client secret provided for app '{client}'.");
        proofs
            .into_iter()
            .find(good)
            .map(|_| ())
            .ok_or_else(|| refused(401, "invalid_client", &message))
    }

    fn give(&mut self, audience: &str) -> String {
        let token = format!("emulated.token-{}.of-azure", self.given.len() + 1);
        self.given.push(Given {
            token: token.clone(),
            audience: audience.trim_end_matches('/').to_owned(),
            expired: false,
        });
        token
    }
}

/// An error in the format of Entra and of the other token endpoints.
fn refused(status: u16, code: &str, description: &str) -> Reply {
    let number = description
        .split([':', ' '])
        .next()
        .and_then(|word| word.strip_prefix("AADSTS"));
    let numbers: Vec<u64> = number.and_then(|number| number.parse().ok()).into_iter().collect();
    Reply::json(
        status,
        &json!({
            "error": code,
            "error_description": format!("{description}\r\nTrace ID: 0000\r\nCorrelation ID: 0000"),
            "error_codes": numbers,
            "trace_id": "0000",
            "correlation_id": "0000",
        }),
    )
}

/// Whether the assertion is signed by this application, for this audience and time.
fn is_signed(assertion: &str, pem: &[u8], client: &str, audience: &str) -> Option<()> {
    let (signed, signature) = assertion.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let json = |part: &str| -> Option<Value> { serde_json::from_slice(&decoded(part)?).ok() };
    let (header, claims) = (json(header)?, json(claims)?);
    let certificate = X509::from_pem(pem).ok()?;
    let print = certificate.digest(MessageDigest::sha256()).ok()?;
    let key = certificate.public_key().ok()?;
    let mut verifier = Verifier::new(MessageDigest::sha256(), &key).ok()?;
    let now = Asn1Time::days_from_now(0).ok()?;
    let time = |name: &str| Asn1Time::from_unix(claims[name].as_i64()?).ok();
    let is_ours = claims["iss"] == client && claims["sub"] == client && claims["aud"] == audience;
    let is_now = time("nbf")? <= now && time("exp")? > now && claims["jti"].is_string();
    let is_named = header["alg"] == "RS256" && decoded(header["x5t#S256"].as_str()?)?.as_slice() == &*print;
    let is_signed = verifier.verify_oneshot(&decoded(signature)?, signed.as_bytes()).ok()?;
    (is_ours && is_now && is_named && is_signed).then_some(())
}

/// Decodes URL-safe base64, which OpenSSL does not support.
fn decoded(part: &str) -> Option<Vec<u8>> {
    let plain = part.replace('-', "+").replace('_', "/");
    let padding = (4 - plain.len() % 4) % 4;
    decode_block(&format!("{plain}{}", &"==="[..padding])).ok()
}
