//! The table of routes: a line has a path, its methods and their handlers. The same table registers the routes and
//! generates the OpenAPI document, so both always agree. The lines are in `mod.rs`.

use std::future::ready;

use actix_web::dev::{AppService, HttpServiceFactory, ResourceDef};
use actix_web::guard;
use actix_web::http::Method;
use actix_web::http::header::ALLOW;
use actix_web::web;
use actix_web::{FromRequest, Handler, HttpRequest, HttpResponse, Resource, Responder};
use utoipa::openapi::OpenApi;
use utoipa::openapi::path::HttpMethod;

use super::arguments::{Argument, HandlerSpec};
use super::error::ApiError;

/// A family of paths.
pub struct Family {
    /// The name of the family.
    pub name: &'static str,
    /// A message about the family.
    pub about: &'static str,
    /// The paths of the family.
    pub routes: Vec<Route>,
}

/// A path and its methods. HEAD works wherever GET does, OPTIONS lists the methods, and any other method gets an error
/// that lists them.
pub struct Route {
    /// In the framework's syntax: `/rules/{name}`, with a pattern where a parameter has one.
    pub path: &'static str,
    /// The operations of the path.
    pub operations: Vec<Operation>,
    resource: Resource,
}

/// A method of a path, with its handler.
pub struct Operation {
    /// The method in the document.
    pub method: HttpMethod,
    /// The HTTP methods that the handler serves.
    allowed: &'static [&'static str],
    /// The class of the request body, if there is one.
    pub body: BodyClass,
    /// The description from the handler's attribute and doc comment.
    pub described: fn() -> OpenApi,
    /// The specification from the handler's arguments.
    pub spec: fn() -> HandlerSpec,
}

/// The content type of an upload with more fields than the component.
pub const FORM: &str = "multipart/form-data";

/// The class of a request body: its content types and its maximum size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyClass {
    /// JSON of at most `http.max_body`.
    #[default]
    Json,
    /// A component of at most `rules.limits.component_bytes`, or a form with one and other fields.
    Component,
}

/// Families with their paths: `"Rules", "Upload rules." { "/rules": get(list), post(add, Component); }`. A body is JSON
/// unless its class is named.
macro_rules! table {
    ($($name:literal, $about:literal {
        $($path:literal: $($method:ident($($handler:ident)::+ $(, $body:ident)?)),+;)+
    })+) => {
        vec![$($crate::api::table::Family {
            name: $name,
            about: $about,
            routes: vec![$(
                $crate::api::table::Route::new($path)
                    $(.$method(
                        $($handler)::+,
                        $crate::api::table::described!($($handler)::+),
                        $crate::api::table::body!($($body)?),
                    ))+,
            )+],
        }),+]
    };
}

/// The type that utoipa generates for a handler. It is hidden next to the handler, and only this macro can name it.
macro_rules! described {
    ($($handler:tt)+) => {{
        #[derive(utoipa::OpenApi)]
        #[openapi(paths($($handler)+))]
        struct Described;
        <Described as utoipa::OpenApi>::openapi
    }};
}

macro_rules! body {
    () => {
        $crate::api::table::BodyClass::default()
    };
    ($body:ident) => {
        $crate::api::table::BodyClass::$body
    };
}

pub(in crate::api) use {body, described, table};

impl Route {
    /// A path without methods.
    pub fn new(path: &'static str) -> Self {
        Self {
            path,
            operations: Vec::new(),
            resource: web::resource(path),
        }
    }

    /// The resource for the framework, without the handling of methods that are not allowed.
    pub fn bare(self) -> Resource {
        self.resource
    }
}

macro_rules! methods {
    ($($(#[doc = $doc:literal])+ $name:ident, $method:ident: $guard:expr => [$($allowed:literal),+];)+) => {
        impl Route {
            $($(#[doc = $doc])+
            pub fn $name<F, Args>(mut self, handler: F, described: fn() -> OpenApi, body: BodyClass) -> Self
            where
                F: Handler<Args>,
                Args: FromRequest + Argument + 'static,
                F::Output: Responder + 'static,
            {
                self.resource = self.resource.route(web::route().guard($guard).to(handler));
                self.operations.push(Operation {
                    method: HttpMethod::$method,
                    allowed: &[$($allowed),+],
                    body,
                    described,
                    spec: HandlerSpec::by::<Args>,
                });
                self
            })+
        }
    };
}

methods! {
    /// GET and HEAD.
    get, Get: guard::Any(guard::Get()).or(guard::Head()) => ["GET", "HEAD"];
    /// GET only.
    only_get, Get: guard::Get() => ["GET"];
    /// PUT.
    put, Put: guard::Put() => ["PUT"];
    /// DELETE.
    delete, Delete: guard::Delete() => ["DELETE"];
    /// POST.
    post, Post: guard::Post() => ["POST"];
    /// PATCH.
    patch, Patch: guard::Patch() => ["PATCH"];
}

impl BodyClass {
    /// The accepted content types.
    pub const fn content_types(self) -> &'static [&'static str] {
        match self {
            Self::Json => &["application/json"],
            Self::Component => &["application/wasm", "application/octet-stream", FORM],
        }
    }

    /// The error for a body with another content type.
    pub const fn wrong_form(self) -> ApiError {
        ApiError::WrongForm(match self {
            Self::Json => "the body must be JSON; send content-type: application/json",
            Self::Component => {
                "send the component as application/wasm, or as multipart/form-data with the fields component, settings, \
                 note and signature"
            }
        })
    }
}

/// The body classes by method and path, for the gate, which limits bodies before a handler is matched.
pub struct BodyClasses(Vec<(ResourceDef, &'static [&'static str], BodyClass)>);

impl BodyClasses {
    /// The body classes of this table.
    pub fn of(table: &[Family]) -> Self {
        let routes = table.iter().flat_map(|family| &family.routes);
        let operations = routes.flat_map(|at| at.operations.iter().map(|operation| (at.path, operation)));
        // All other bodies have the default class, and need no entry.
        let unusual = operations.filter(|(_, operation)| operation.body != BodyClass::default());
        Self(
            unusual
                .map(|(path, operation)| (ResourceDef::new(path), operation.allowed, operation.body))
                .collect(),
        )
    }

    /// The class of a request's body.
    pub fn class(&self, method: &Method, path: &str) -> BodyClass {
        let mut unusual = self.0.iter();
        let found = unusual.find(|(route, methods, _)| methods.contains(&method.as_str()) && route.is_match(path));
        found.map_or(BodyClass::default(), |(_, _, class)| *class)
    }
}

impl HttpServiceFactory for Route {
    fn register(self, config: &mut AppService) {
        let Self {
            resource, operations, ..
        } = self;
        let mut allowed: Vec<_> = operations
            .iter()
            .flat_map(|operation| operation.allowed)
            .copied()
            .collect();
        allowed.push("OPTIONS");
        let allow = allowed.join(", ");
        let refused = allow.clone();
        resource
            .route(web::route().guard(guard::Options()).to(move || ready(options(&allow))))
            .default_service(web::to(move |request: HttpRequest| {
                ready(refuse_method(&request, &refused))
            }))
            .register(config);
    }
}

fn options(allow: &str) -> HttpResponse {
    HttpResponse::Ok().insert_header((ALLOW, allow)).finish()
}

fn refuse_method(request: &HttpRequest, allow: &str) -> Result<HttpResponse, ApiError> {
    Err(ApiError::Method {
        method: request.method().to_string(),
        allow: allow.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_upload_routes_accept_a_component() {
        let classes = BodyClasses::of(&crate::api::table());
        let class = |method: Method, path: &str| classes.class(&method, path);
        assert_eq!(class(Method::POST, "/api/v1/rules"), BodyClass::Component);
        assert_eq!(class(Method::PUT, "/api/v1/rules"), BodyClass::Json);
        assert_eq!(class(Method::POST, "/api/v1/rules/"), BodyClass::Json);
        assert_eq!(class(Method::POST, "/api/v1/rules/load/rollback"), BodyClass::Json);
        assert_eq!(class(Method::POST, "/api/v1/chunks"), BodyClass::Json);
    }
}
