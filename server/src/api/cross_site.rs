//! Protection against cross-site request forgery: a page of another site must not change anything with the certificate
//! of the browser that shows it. This module decides whether a page may have sent a request; permissions are the task
//! of `Permit`.
//!
//! A browser sends `Sec-Fetch-Site` (over TLS) or at least `Origin` with every request that changes something, and no
//! page can forge either. So a request without both does not come from a current browser, and clients such as `curl`
//! need no header. As a second line, for browsers that send neither, a POST needs a content type that an HTML form
//! cannot send, even without a body; a multipart form, which an HTML form can send, needs the header `X-Requested-With`
//! instead. A page of another site can send neither without asking the server first, which never allows it. Requests
//! with a bearer token are exempt, because a browser does not add it by itself.

use actix_web::HttpRequest;
use actix_web::http::Method;
use actix_web::http::header::{CONTENT_TYPE, HeaderMap, HeaderName, ORIGIN};
use watchpost_policies::IdentityKind;

use super::authn::Client;
use super::error::ApiError;
use super::links;
use super::table::{BodyClass, FORM};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const X_REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");

/// The part of a foreign origin that an error repeats.
const MAX_ORIGIN_CHARS: usize = 100;

/// What the headers of a request reveal about the page that sent it.
#[derive(Debug, PartialEq, Eq)]
enum Sender {
    /// No browser, or one that is too old to say.
    Unknown,
    /// A page of this server, or the user.
    Own,
    /// A page of another site.
    Foreign(String),
}

/// Rejects a request that a page of another site sent.
pub(super) fn check_sender(request: &HttpRequest, client: &Client) -> Result<(), ApiError> {
    if is_exempt(request, client) {
        return Ok(());
    }
    match sender(request.headers(), || links::origin(request, client)) {
        Sender::Foreign(site) => Err(ApiError::Forbidden(format!(
            "a page of another site ({site}) sent this request with the credentials of its browser; send it from a page \
             of this server, or with a bearer token"
        ))),
        Sender::Own | Sender::Unknown => Ok(()),
    }
}

/// Rejects a POST whose content type an HTML form can send. `change` is the class of the body, if the method and the
/// path have an operation that changes something.
pub(super) fn check_body(request: &HttpRequest, client: &Client, change: Option<BodyClass>) -> Result<(), ApiError> {
    match change {
        Some(class) if request.method() == Method::POST && !is_exempt(request, client) => {
            let sender = sender(request.headers(), || links::origin(request, client));
            check_content_type(request.headers(), class, &sender)
        }
        _ => Ok(()),
    }
}

/// Whether the request changes nothing, or has credentials that no browser adds by itself.
fn is_exempt(request: &HttpRequest, client: &Client) -> bool {
    is_safe(request.method()) || matches!(client.identity.kind(), IdentityKind::Token { .. })
}

/// Methods that change nothing.
fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

fn sender(headers: &HeaderMap, own_origin: impl FnOnce() -> String) -> Sender {
    let text = |name: HeaderName| {
        headers
            .get(name)
            .map(|value| value.to_str().unwrap_or("unreadable").trim())
    };
    let origin = text(ORIGIN);
    let foreign = |site: &str| Sender::Foreign(site.chars().take(MAX_ORIGIN_CHARS).collect());
    match text(SEC_FETCH_SITE) {
        // A reverse proxy may change the host, so this header counts more than `Origin`.
        Some("same-origin" | "none") => Sender::Own,
        Some(relation) => foreign(origin.unwrap_or(relation)),
        None => match origin {
            None => Sender::Unknown,
            Some(origin) if normalized(origin) == normalized(&own_origin()) => Sender::Own,
            Some(origin) => foreign(origin),
        },
    }
}

/// An origin without the default port of its scheme, in lower case.
fn normalized(origin: &str) -> String {
    let origin = origin.to_ascii_lowercase();
    let without = |scheme: &str, port: &str| {
        let host = origin.strip_prefix(scheme)?.strip_suffix(port)?;
        Some(format!("{scheme}{host}"))
    };
    without("https://", ":443")
        .or_else(|| without("http://", ":80"))
        .unwrap_or(origin)
}

fn check_content_type(headers: &HeaderMap, class: BodyClass, sender: &Sender) -> Result<(), ApiError> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let Some(content_type) = content_type else {
        return Err(ApiError::WrongForm(match class {
            BodyClass::Json => "send content-type: application/json, even without a body",
            BodyClass::Component => return Err(class.wrong_form()),
        }));
    };
    if !class.accepts(content_type) {
        return Err(class.wrong_form());
    }
    let is_form = content_type.trim().to_ascii_lowercase().starts_with(FORM);
    if is_form && *sender == Sender::Unknown && !headers.contains_key(X_REQUESTED_WITH) {
        return Err(ApiError::WrongForm(
            "a page of another site could send this form; add the header x-requested-with: curl (any value), or send \
             the component as application/wasm",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn headers(of: &[(&'static str, &'static str)]) -> HeaderMap {
        of.iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    fn sender_of(of: &[(&'static str, &'static str)]) -> Sender {
        sender(&headers(of), || "https://example.org:8443".to_owned())
    }

    #[test]
    fn a_request_without_headers_of_a_browser_is_not_foreign() {
        assert_eq!(sender_of(&[]), Sender::Unknown);
    }

    #[test]
    fn the_relation_that_the_browser_states_decides() {
        for (relation, is_foreign) in [
            ("same-origin", false),
            ("none", false),
            ("same-site", true),
            ("cross-site", true),
            ("", true),
            ("SAME-ORIGIN", true),
        ] {
            let sender = sender_of(&[("sec-fetch-site", relation)]);
            assert_eq!(matches!(sender, Sender::Foreign(_)), is_foreign, "{relation}");
        }
        let behind_a_proxy = [("sec-fetch-site", "same-origin"), ("origin", "https://public.example")];
        assert_eq!(sender_of(&behind_a_proxy), Sender::Own);
    }

    #[test]
    fn without_the_relation_scheme_host_and_port_of_the_origin_decide() {
        for (origin, expected) in [
            ("https://example.org:8443", Sender::Own),
            ("HTTPS://Example.org:8443", Sender::Own),
            (
                "http://example.org:8443",
                Sender::Foreign("http://example.org:8443".to_owned()),
            ),
            ("https://example.org", Sender::Foreign("https://example.org".to_owned())),
            (
                "https://evil.example:8443",
                Sender::Foreign("https://evil.example:8443".to_owned()),
            ),
            ("null", Sender::Foreign("null".to_owned())),
            ("", Sender::Foreign(String::new())),
        ] {
            assert_eq!(sender_of(&[("origin", origin)]), expected, "{origin}");
        }
    }

    #[test]
    fn the_default_port_may_be_omitted() {
        assert_eq!(normalized("https://a.example:443"), "https://a.example");
        assert_eq!(normalized("http://a.example:80"), "http://a.example");
        assert_eq!(normalized("http://a.example:443"), "http://a.example:443");
    }

    #[test]
    fn a_post_has_a_content_type_that_a_form_cannot_send() {
        let check = |of: &[(&'static str, &'static str)], class| {
            check_content_type(&headers(of), class, &Sender::Unknown).is_ok()
        };
        for (content_type, json, component) in [
            ("application/json", true, false),
            ("application/json; charset=utf-8", true, false),
            ("application/merge-patch+json", true, false),
            ("text/plain", false, false),
            ("application/x-www-form-urlencoded", false, false),
            ("multipart/form-data; boundary=x", false, false),
            ("application/wasm", false, true),
        ] {
            let of = [("content-type", content_type)];
            assert_eq!(check(&of, BodyClass::Json), json, "{content_type}");
            assert_eq!(check(&of, BodyClass::Component), component, "{content_type}");
        }
        assert!(!check(&[], BodyClass::Json) && !check(&[], BodyClass::Component));
        let form = [
            ("content-type", "Multipart/form-data; boundary=x"),
            ("x-requested-with", "curl"),
        ];
        assert!(check(&form, BodyClass::Component));
        let own = check_content_type(&headers(&form[..1]), BodyClass::Component, &Sender::Own);
        assert!(own.is_ok(), "a page of this server may send a form");
    }
}
