//! Absolute URLs, as the client of a request sees the server.

use std::net::{IpAddr, SocketAddr};

use actix_web::http::header::HOST;
use actix_web::{HttpMessage, HttpRequest};

use super::authn::Client;
use super::process::Service;
use crate::config::ApiProfile;
use crate::tls::ClientAuth;

/// The absolute URL of a path of this server.
pub fn absolute(request: &HttpRequest, path: &str) -> String {
    let extensions = request.extensions();
    match extensions.get::<Client>() {
        Some(client) => format!("{}{path}", origin(request, client)),
        None => path.to_owned(),
    }
}

/// `https://example.org`: the origin that the client used, by the headers of a trusted reverse proxy or else by the
/// request itself.
pub(super) fn origin(request: &HttpRequest, client: &Client) -> String {
    let last = |name: &str| {
        let value = request.headers().get(name).filter(|_| client.fronted)?.to_str().ok()?;
        Some(value.rsplit(',').next().unwrap_or(value).trim().to_owned())
    };
    let secure = match last("x-forwarded-proto").as_deref() {
        Some("https") => true,
        Some("http") => false,
        _ => client.secure,
    };
    let host = last("x-forwarded-host").filter(|host| is_host(host));
    let host = host.or_else(|| host_of(request));
    let scheme = if secure { "https" } else { "http" };
    format!("{scheme}://{}", host.as_deref().unwrap_or("localhost"))
}

/// The URL of a listener that accepts client certificates, for a client whose connection cannot carry one.
pub fn certificate_url(request: &HttpRequest, service: &Service) -> Option<String> {
    let extensions = request.extensions();
    let client = extensions.get::<Client>()?;
    if client.secure || origin(request, client).starts_with("https://") {
        return None;
    }
    let listener = service.listening().iter().find(|listening| {
        listening.tls && listening.client_auth != ClientAuth::Off.as_str() && listening.api == ApiProfile::Full
    })?;
    Some(url_at(listener.address, host_of(request).as_deref()))
}

/// The URL of a TLS listener at this address, with the host name by which the client reached this machine if the
/// listener accepts connections to it.
fn url_at(address: SocketAddr, host: Option<&str>) -> String {
    let name = host.map(|host| match host.rfind(']') {
        Some(end) => &host[..=end],
        None => host.split(':').next().unwrap_or(host),
    });
    let is_loopback = |name: &str| {
        let ip = name.trim_matches(['[', ']']).parse::<IpAddr>();
        name == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
    };
    let ip = address.ip();
    match name {
        Some(name) if ip.is_unspecified() || (ip.is_loopback() && is_loopback(name)) => {
            format!("https://{name}:{}/", address.port())
        }
        _ => format!("https://{address}/"),
    }
}

/// The host, from HTTP/1.1's `Host` header or HTTP/2's authority.
fn host_of(request: &HttpRequest) -> Option<String> {
    let host = request.uri().authority().map(|authority| authority.as_str());
    let host = host.or_else(|| request.headers().get(HOST).and_then(|host| host.to_str().ok()));
    host.filter(|host| is_host(host)).map(str::to_owned)
}

/// Characters that may appear in a link.
fn is_host(host: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    !host.is_empty() && host.len() <= 255 && host.bytes().all(legal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_of_a_listener_has_the_name_that_the_client_used_if_the_listener_accepts_it() {
        let check = |address: &str, host: Option<&str>, expected: &str| {
            let address = address.parse().expect("an address");
            assert_eq!(url_at(address, host), expected);
        };
        check(
            "0.0.0.0:8443",
            Some("edge-1.example.org:8080"),
            "https://edge-1.example.org:8443/",
        );
        check("[::]:8443", Some("[2001:db8::1]:8080"), "https://[2001:db8::1]:8443/");
        check("127.0.0.1:8443", Some("localhost:8080"), "https://localhost:8443/");
        check("127.0.0.1:8443", Some("edge-1.example.org"), "https://127.0.0.1:8443/");
        check("192.0.2.7:8443", Some("localhost"), "https://192.0.2.7:8443/");
        check("[::1]:8443", None, "https://[::1]:8443/");
    }
}
