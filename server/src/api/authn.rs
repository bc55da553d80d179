//! Authentication: identifies a client by its TLS certificate, by a bearer token, or by the headers of a trusted
//! reverse proxy. Authorization is the task of `Permit`.

use std::any::Any;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use actix_tls::accept::openssl::TlsStream;
use actix_web::dev::{Extensions, ServiceRequest};
use actix_web::http::header::{Header, HeaderMap};
use actix_web::rt::net::TcpStream;
use actix_web::{HttpMessage as _, HttpRequest};
use actix_web_httpauth::headers::authorization::{Authorization, Bearer};
use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use openssl::sha::{Sha256, sha256};
use parking_lot::Mutex;
use watchpost_policies::{Identity, IdentityKind};

use super::error::ApiError;
use super::process::Service;
use super::rate::RateKey;
use crate::clock;
use crate::config::{ApiProfile, FrontEndCertificate, Network, Token};
use crate::metrics::ServiceMetrics;
use crate::tls::Tls;
use crate::tls::identity::{Peer, Unreadable};

/// Certificates forwarded by reverse proxies, parsed once instead of for every request.
const MAX_FORWARDED_CHAINS: usize = 1000;

/// The maximum number of authorities in a forwarded chain. The public web needs two or three.
const MAX_FORWARDED_AUTHORITIES: usize = 10;

/// The client's certificate as the front end received it (RFC 9440).
const CLIENT_CERT: &str = "client-cert";

/// The authorities that the client sent with its certificate (RFC 9440).
const CLIENT_CERT_CHAIN: &str = "client-cert-chain";

/// Authenticates clients by certificates and tokens.
pub struct Authenticator {
    tls: Arc<Tls>,
    config: ArcSwap<AuthConfig>,
    forwarded: Mutex<HashMap<[u8; 32], Arc<Peer>>>,
}

/// The trusted proxies and the tokens of the configuration.
#[derive(Clone, Debug, Default)]
pub struct AuthConfig {
    /// Reverse proxies whose headers are trusted.
    pub trusted_proxies: Vec<Network>,
    /// The certificates that these proxies must present; with none, their addresses suffice.
    pub trusted_certificates: Vec<FrontEndCertificate>,
    /// Tokens by their SHA-256 hashes.
    pub tokens: Vec<Token>,
}

/// The peer of a connection, determined when the connection opens.
pub struct Connection {
    secure: bool,
    api: ApiProfile,
    /// Whether only this machine can reach the listener.
    loopback: bool,
    peer: Option<Result<Peer, Unreadable>>,
}

impl Connection {
    /// The connection of a request. HTTP/1 stores it with the connection, HTTP/2 with each request.
    fn of(request: &HttpRequest) -> Option<Rc<Self>> {
        let of_connection = request.conn_data::<Rc<Self>>().cloned();
        of_connection.or_else(|| request.extensions().get::<Rc<Self>>().cloned())
    }
}

/// The client of a request.
#[derive(Clone, Debug)]
pub struct Client {
    /// The authenticated identity, or the anonymous one.
    pub identity: Identity,
    /// The client's address; behind a trusted reverse proxy, the forwarded one.
    pub address: IpAddr,
    /// Whether the connection to this server uses TLS.
    pub secure: bool,
    /// Whether a trusted reverse proxy forwarded the request, so its headers about the original URL are trusted.
    pub fronted: bool,
    /// The API profile of the listener.
    pub api: ApiProfile,
    /// Whether the client is on this machine: it has a loopback address, and forwards for no other client.
    pub local: bool,
}

impl Client {
    /// The key of the rate limit.
    pub fn caller(&self) -> RateKey {
        match self.identity.kind() {
            IdentityKind::Certificate(certificate) => RateKey::Certificate(certificate.fingerprint),
            IdentityKind::Token { name } => RateKey::Token(name.clone()),
            IdentityKind::Anonymous => RateKey::at(self.address),
        }
    }
}

impl Authenticator {
    /// An authenticator with these proxies and tokens.
    pub fn new(tls: Arc<Tls>, config: AuthConfig) -> Self {
        Self {
            tls,
            config: ArcSwap::from_pointee(config),
            forwarded: Mutex::default(),
        }
    }

    /// Replaces the trusted proxies and tokens.
    pub fn replace(&self, config: AuthConfig) {
        self.config.store(Arc::new(config));
    }

    /// Determines the peer of a new connection.
    pub fn connected(
        &self,
        connection: &dyn Any,
        data: &mut Extensions,
        service: &Service,
        service_metrics: &ServiceMetrics,
    ) {
        let secure = connection.downcast_ref::<TlsStream<TcpStream>>();
        let socket = secure
            .map(|stream| stream.get_ref())
            .or_else(|| connection.downcast_ref());
        let local = socket.and_then(|socket: &TcpStream| socket.local_addr().ok());
        let listener = local.and_then(|local| service.listener_of(local));
        let name = listener.map_or_else(|| "unknown".to_owned(), |listening| listening.address.to_string());
        data.insert(service_metrics.connection_accepted(&name));
        data.insert(Rc::new(Connection {
            secure: secure.is_some(),
            api: listener.map_or(ApiProfile::Full, |listening| listening.api),
            loopback: listener.is_some_and(|listening| listening.address.ip().is_loopback()),
            peer: Peer::of_connection(connection),
        }));
    }

    /// Whether this is the address of a trusted reverse proxy.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.config.load().trusts(address)
    }

    /// The client's address; behind a trusted reverse proxy, the forwarded one.
    pub fn address(&self, request: &ServiceRequest) -> IpAddr {
        let config = self.config.load();
        let peer = peer_of(request);
        if self.is_front_end(request, &config, clock::now().as_second()) {
            config.first_untrusted(request.headers(), peer)
        } else {
            peer
        }
    }

    /// Authenticates the client. The error says why its credentials are rejected.
    pub fn client(&self, request: &ServiceRequest, now: i64) -> Result<Client, ApiError> {
        let config = self.config.load();
        let connection = Connection::of(request.request());
        let connection = connection.as_deref();
        let secure = connection.is_some_and(|connection| connection.secure);
        let api = connection.map_or(ApiProfile::Full, |connection| connection.api);
        let address = peer_of(request);
        let headers = request.headers();
        if self.is_front_end(request, &config, now) {
            let identity = match self.token(request, &config, now)? {
                Some(identity) => identity,
                None => self.forwarded(headers, now)?,
            };
            return Ok(Client {
                identity,
                address: config.first_untrusted(headers, address),
                secure,
                fronted: true,
                api,
                local: false,
            });
        }
        let identity = match self.token(request, &config, now)? {
            Some(identity) => identity,
            None => self.of_connection(connection, now)?,
        };
        Ok(Client {
            identity,
            address,
            secure,
            fronted: false,
            api,
            local: connection.is_some_and(|connection| connection.loopback) && !is_relayed(headers),
        })
    }

    /// Whether the peer is a trusted reverse proxy: by its address, and by its certificate if the configuration names
    /// any. Only the connection's own certificate counts, which the peer proved to have.
    fn is_front_end(&self, request: &ServiceRequest, config: &AuthConfig, now: i64) -> bool {
        if !config.trusts(peer_of(request)) {
            return false;
        }
        if config.trusted_certificates.is_empty() {
            return true;
        }
        let connection = Connection::of(request.request());
        let identity = self.of_connection(connection.as_deref(), now);
        identity.is_ok_and(|identity| config.names_front_end(&identity))
    }

    fn of_connection(&self, connection: Option<&Connection>, now: i64) -> Result<Identity, ApiError> {
        match connection.and_then(|connection| connection.peer.as_ref()) {
            None => Ok(Identity::anonymous()),
            Some(Ok(peer)) => self.peer(peer, now),
            Some(Err(unreadable)) => Err(ApiError::Unauthenticated(unreadable.to_string())),
        }
    }

    fn peer(&self, peer: &Peer, now: i64) -> Result<Identity, ApiError> {
        let identity = peer.identity(&self.tls, now);
        identity.map_err(|reason| ApiError::Unauthenticated(reason.to_string()))
    }

    /// The identity of the token, if the request has one. All tokens are compared, each in constant time, so the
    /// duration reveals nothing about them.
    fn token(&self, request: &ServiceRequest, config: &AuthConfig, now: i64) -> Result<Option<Identity>, ApiError> {
        if !request.headers().contains_key(Authorization::<Bearer>::name()) {
            return Ok(None);
        }
        let Ok(sent) = Authorization::<Bearer>::parse(request) else {
            let reason = "the header Authorization has no bearer token; send `Authorization: Bearer TOKEN`";
            return Err(ApiError::Unauthenticated(reason.to_owned()));
        };
        let hash = sha256(sent.as_ref().token().as_bytes());
        let mut found = None;
        for token in &config.tokens {
            let expected = token.sha256.expose();
            if openssl::memcmp::eq(&hash, expected.as_bytes()) && !expected.is_placeholder() {
                found = Some(token);
            }
        }
        let refused = |reason: &str| Err(ApiError::Unauthenticated(reason.to_owned()));
        match found {
            None => refused("the token is unknown"),
            Some(token) if token.expires.is_some_and(|end| end.as_second() <= now) => {
                refused("the token has expired; request a new one")
            }
            Some(token) => Ok(Some(token.identity())),
        }
    }

    /// The client whose certificate a trusted reverse proxy forwards (RFC 9440). It is verified again: it may have been
    /// revoked.
    fn forwarded(&self, headers: &HeaderMap, now: i64) -> Result<Identity, ApiError> {
        let mut sent = headers.get_all(CLIENT_CERT);
        let (Some(certificate), more) = (sent.next(), sent.next()) else {
            return Ok(Identity::anonymous());
        };
        if more.is_some() {
            return Err(malformed(CLIENT_CERT));
        }
        let certificate = certificate.to_str().map_err(|_| malformed(CLIENT_CERT))?;
        let chain: Result<Vec<&str>, _> = headers.get_all(CLIENT_CERT_CHAIN).map(|list| list.to_str()).collect();
        let chain = chain.map_err(|_| malformed(CLIENT_CERT_CHAIN))?;
        let digest = digest_of(certificate, &chain);
        let seen = self.forwarded.lock().get(&digest).cloned();
        let peer = match seen {
            Some(peer) => peer,
            None => {
                let peer = Arc::new(forwarded_peer(certificate, &chain)?);
                let mut all = self.forwarded.lock();
                if all.len() >= MAX_FORWARDED_CHAINS {
                    // Half of them stay, so that one client cannot displace the certificates of all others.
                    let mut stays = false;
                    all.retain(|_, _| {
                        stays = !stays;
                        stays
                    });
                }
                all.insert(digest, peer.clone());
                peer
            }
        };
        self.peer(&peer, now)
    }
}

/// Whether the connection of a request uses TLS.
pub(super) fn is_secure(request: &HttpRequest) -> bool {
    Connection::of(request).is_some_and(|connection| connection.secure)
}

fn malformed(header: &str) -> ApiError {
    let text = match header {
        CLIENT_CERT_CHAIN => format!(
            "the header Client-Cert-Chain is not a list of at most {MAX_FORWARDED_AUTHORITIES} certificates in the form of \
             RFC 9440; write each as :BASE64: with commas in between"
        ),
        _ => "the header Client-Cert is not a certificate in the form of RFC 9440; write it as :BASE64:".to_owned(),
    };
    ApiError::BadRequest(text)
}

/// Identifies forwarded headers without parsing them.
fn digest_of(certificate: &str, chain: &[&str]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for text in std::iter::once(&certificate).chain(chain) {
        hash.update(&(text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    }
    hash.finish()
}

/// The client whose certificate and chain these headers have. It is not verified yet.
pub(super) fn forwarded_peer(certificate: &str, chain: &[&str]) -> Result<Peer, ApiError> {
    let certificate = der_of(certificate).ok_or_else(|| malformed(CLIENT_CERT))?;
    // An empty list is written as no header, but some front ends send an empty one.
    let links = chain.iter().flat_map(|list| list.split(','));
    let links: Vec<&str> = links.filter(|link| !link.trim().is_empty()).collect();
    if links.len() > MAX_FORWARDED_AUTHORITIES {
        return Err(malformed(CLIENT_CERT_CHAIN));
    }
    let links: Option<Vec<_>> = links.into_iter().map(der_of).collect();
    let links = links.ok_or_else(|| malformed(CLIENT_CERT_CHAIN))?;
    Peer::of_der(&certificate, &links).map_err(|unreadable| match unreadable {
        Unreadable::Encoding => malformed(CLIENT_CERT),
        Unreadable::EncodingOfChain => malformed(CLIENT_CERT_CHAIN),
        _ => ApiError::Unauthenticated(unreadable.to_string()),
    })
}

/// The content of a byte sequence of RFC 8941: base64 between colons.
fn der_of(text: &str) -> Option<Vec<u8>> {
    let base64 = text.trim().strip_prefix(':')?.strip_suffix(':')?;
    BASE64_STANDARD.decode(base64).ok()
}

/// Whether a proxy on this machine forwards another client's request, by its headers.
fn is_relayed(headers: &HeaderMap) -> bool {
    ["forwarded", "via", "x-forwarded-for", "x-real-ip"]
        .iter()
        .any(|name| headers.contains_key(*name))
}

fn peer_of(request: &ServiceRequest) -> IpAddr {
    request
        .peer_addr()
        .map_or(IpAddr::from([0, 0, 0, 0]), |peer: SocketAddr| peer.ip())
}

impl AuthConfig {
    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(address))
    }

    /// Whether the identity is that of a front end's certificate. A proxy certificate is not its owner's.
    fn names_front_end(&self, identity: &Identity) -> bool {
        let IdentityKind::Certificate(certificate) = identity.kind() else {
            return false;
        };
        identity.proxy().is_none()
            && self.trusted_certificates.iter().any(|trusted| match trusted {
                FrontEndCertificate::Fingerprint(fingerprint) => *fingerprint == certificate.fingerprint,
                FrontEndCertificate::DnsName(name) => certificate
                    .dns_names
                    .iter()
                    .any(|known| known.eq_ignore_ascii_case(name)),
            })
    }

    /// Each proxy appends the address of its peer to the list; from the end, the first untrusted address is the client.
    pub(super) fn first_untrusted(&self, headers: &HeaderMap, peer: IpAddr) -> IpAddr {
        let lists: Vec<&str> = headers
            .get_all("x-forwarded-for")
            .filter_map(|list| list.to_str().ok())
            .collect();
        let hops = lists.iter().rev().flat_map(|list| list.rsplit(',')).map(address_in);
        let mut last = peer;
        for hop in hops {
            let Some(hop) = hop else { break };
            last = hop;
            if !self.trusts(hop) {
                break;
            }
        }
        last
    }
}

/// Some reverse proxies append the port.
fn address_in(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim();
    let bare = hop.trim_start_matches('[').trim_end_matches(']');
    let with_port = || hop.parse().ok().map(|socket: SocketAddr| socket.ip());
    bare.parse().ok().or_else(with_port)
}
