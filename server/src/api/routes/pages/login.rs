//! The page for browsers that are not logged in or lack a permission: it says how to get a certificate and import it.

use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{HttpMessage, HttpRequest, HttpResponse, ResponseError};
use askama::Template;
use watchpost_policies::{Identity, IdentityKind};

use super::rendered;
use crate::api::authn::Client;
use crate::api::error::ApiError;
use crate::api::links::certificate_url;
use crate::api::process::{Service, VERSION};
use crate::api::request_id::RequestId;

#[derive(Template)]
#[template(path = "login.html")]
struct Login<'p> {
    title: &'static str,
    reason: String,
    identity: String,
    is_authenticated: bool,
    is_index: bool,
    /// Where a browser can send a certificate, if it cannot do so here.
    certificate_url: Option<String>,
    version: &'static str,
    request_id: &'p str,
}

/// The index page for clients that may not read the machine's state.
pub(in crate::api) fn welcome(request: &HttpRequest, identity: &Identity, service: &Service) -> HttpResponse {
    let is_authenticated = *identity.kind() != IdentityKind::Anonymous;
    let page = Login {
        title: match is_authenticated {
            true => "You have no permission to see this machine",
            false => "Log in to Watchpost",
        },
        reason: String::new(),
        identity: identity.to_string(),
        is_authenticated,
        is_index: true,
        certificate_url: certificate_url(request, service),
        version: VERSION,
        request_id: "",
    };
    rendered(StatusCode::OK, &page)
}

/// The page for a denied request; `None` if the error is another one.
pub(in crate::api) fn denied(error: &ApiError, request: &HttpRequest, id: &RequestId) -> Option<HttpResponse> {
    let (title, is_authenticated) = match error {
        ApiError::Unauthenticated(_) => ("Log in to see this page", false),
        ApiError::Forbidden(_) => ("You have no permission to see this page", true),
        _ => return None,
    };
    let service = request.app_data::<Data<Service>>();
    let extensions = request.extensions();
    let client = extensions.get::<Client>();
    let page = Login {
        title,
        reason: error.to_string(),
        identity: client.map(|client| client.identity.to_string()).unwrap_or_default(),
        is_authenticated,
        is_index: false,
        certificate_url: service.and_then(|service| certificate_url(request, service)),
        version: VERSION,
        request_id: id.as_str(),
    };
    let mut response = rendered(error.status_code(), &page);
    error.add_headers(&mut response);
    Some(response)
}
