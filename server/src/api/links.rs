//! Absolute URLs, as the client of a request sees the server.

use actix_web::http::header::HOST;
use actix_web::{HttpMessage, HttpRequest};

use super::authn::Client;

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
