//! HTML pages: how they are sent. The pages are templates in `server/templates`; only the documentation pages need
//! scripts.

mod login;
mod machine;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, ContentType, REFERRER_POLICY, VARY};
use askama::Template;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use openssl::sha::sha256;

pub(in crate::api) use self::login::denied;
pub(super) use self::login::welcome;
pub(super) use self::machine::machine;

use crate::api::document::Endpoint;

/// Denied on every page; a page adds only what it needs.
const DENY_ALL_CSP: &str = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// An HTML page with its content security policy.
pub(super) fn html(page: impl Into<String>, may: &str) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(ContentType::html())
        .insert_header((CACHE_CONTROL, "no-cache"))
        .insert_header((CONTENT_SECURITY_POLICY, format!("{DENY_ALL_CSP}; {may}")))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .insert_header((VARY, "accept, accept-encoding"))
        .body(page.into())
}

/// A policy that allows the inline style of a page and no other.
pub(super) fn inline_style_policy(page: &str) -> String {
    let style = page
        .split("<style>")
        .nth(1)
        .and_then(|rest| rest.split("</style>").next());
    let hash = BASE64_STANDARD.encode(sha256(style.unwrap_or_default().as_bytes()));
    format!("style-src 'sha256-{hash}'")
}

/// A page made of a template. It loads nothing but its style sheets and the icon.
fn rendered(status: StatusCode, template: &impl Template) -> HttpResponse {
    let page = template
        .render()
        .expect("a template without fallible filters can be rendered");
    let mut response = html(page, "style-src 'self'; img-src 'self'");
    *response.status_mut() = status;
    response
}

/// A path, with a link where GET needs no parameters.
pub(super) fn path(endpoint: &Endpoint) -> String {
    let path = escaped(&endpoint.path);
    match endpoint.is_page() {
        true => format!("<a href=\"{path}\"><code>{path}</code></a>"),
        false => format!("<code>{path}</code>"),
    }
}

/// Escapes a text for HTML.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_is_escaped() {
        assert_eq!(escaped("a<b> & \"c\""), "a&lt;b&gt; &amp; &quot;c&quot;");
    }
}
