//! A table of routes: a line is a path, what may be done there, and who does it. It is registered, and it is told in
//! the API's document; so neither knows of a route that the other does not. The lines are in `mod.rs`.

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

/// Paths that belong together.
pub struct Family {
    /// In a word or two.
    pub name: &'static str,
    /// In a sentence.
    pub about: &'static str,
    /// Its routes.
    pub routes: Vec<At>,
}

/// A path and what may be done there. HEAD goes where GET goes, OPTIONS tells all of it, and whoever tries something
/// else is told too.
pub struct At {
    /// As the framework reads it: `/rules/{name}`, with a pattern where a part has one.
    pub path: &'static str,
    /// What may be done there.
    pub operations: Vec<Operation>,
    resource: Resource,
}

/// Something that may be done.
pub struct Operation {
    /// How it is asked for.
    pub method: HttpMethod,
    /// The same, and other methods that it answers to.
    allowed: &'static [&'static str],
    /// What its body may be, if it has one.
    pub body: BodyClass,
    /// What the handler's attribute and comment say of it.
    pub described: fn() -> OpenApi,
    /// What the handler's arguments say of it.
    pub asked: fn() -> HandlerSpec,
}

/// What the body of a request may be: sent as what, and how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyClass {
    /// JSON of at most `http.max_body`.
    #[default]
    Json,
    /// A component, or a form that has one, of at most `rules.limits.component_bytes` and what stands beside it.
    Component,
}

/// Families with their paths: `"Rules", "Who judges." { "/rules": get(list), post(add, Component); }`. A body is JSON
/// where its class is not named.
macro_rules! table {
    ($($name:literal, $about:literal {
        $($path:literal: $($method:ident($($handler:ident)::+ $(, $body:ident)?)),+;)+
    })+) => {
        vec![$($crate::api::table::Family {
            name: $name,
            about: $about,
            routes: vec![$(
                $crate::api::table::At::new($path)
                    $(.$method(
                        $($handler)::+,
                        $crate::api::table::described!($($handler)::+),
                        $crate::api::table::body!($($body)?),
                    ))+,
            )+],
        }),+]
    };
}

/// What utoipa made of a handler. It names that by a hidden type beside the handler, which only it can name.
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

impl At {
    /// A path where nothing may be done yet.
    pub fn new(path: &'static str) -> Self {
        Self {
            path,
            operations: Vec::new(),
            resource: web::resource(path),
        }
    }

    /// What the framework knows of it, without what we do for methods that are not understood.
    pub fn bare(self) -> Resource {
        self.resource
    }
}

macro_rules! methods {
    ($($(#[doc = $doc:literal])+ $name:ident, $method:ident: $guard:expr => [$($allowed:literal),+];)+) => {
        impl At {
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
                    asked: HandlerSpec::by::<Args>,
                });
                self
            })+
        }
    };
}

methods! {
    /// Looks, by HEAD too.
    get, Get: guard::Any(guard::Get()).or(guard::Head()) => ["GET", "HEAD"];
    /// Looks, by nothing but GET.
    only_get, Get: guard::Get() => ["GET"];
    /// Puts something in its place.
    put, Put: guard::Put() => ["PUT"];
    /// Takes something away.
    delete, Delete: guard::Delete() => ["DELETE"];
    /// Brings something, or begins it.
    post, Post: guard::Post() => ["POST"];
    /// Changes something.
    patch, Patch: guard::Patch() => ["PATCH"];
}

impl BodyClass {
    /// What `Content-Type` may say.
    pub const fn content_types(self) -> &'static [&'static str] {
        match self {
            Self::Json => &["application/json"],
            Self::Component => &["application/wasm", "application/octet-stream", "multipart/form-data"],
        }
    }

    /// The refusal of a body that is sent as something else.
    pub const fn wrong_form(self) -> ApiError {
        ApiError::WrongForm(match self {
            Self::Json => "the body has to be sent as JSON; send content-type: application/json",
            Self::Component => {
                "send the component as application/wasm, or as multipart/form-data with the fields component, settings, \
                 note and signature"
            }
        })
    }
}

/// The classes of bodies by method and path, for whoever bounds bodies before a handler is found.
pub struct BodyClasses(Vec<(ResourceDef, &'static [&'static str], BodyClass)>);

impl BodyClasses {
    /// Those of this table.
    pub fn of(table: &[Family]) -> Self {
        let routes = table.iter().flat_map(|family| &family.routes);
        let operations = routes.flat_map(|at| at.operations.iter().map(|operation| (at.path, operation)));
        // All others have the usual class, and need not be looked for at each request.
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

impl HttpServiceFactory for At {
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
    fn only_where_components_are_brought_a_body_may_be_one() {
        let classes = BodyClasses::of(&crate::api::table());
        let class = |method: Method, path: &str| classes.class(&method, path);
        assert_eq!(class(Method::POST, "/api/v1/rules"), BodyClass::Component);
        assert_eq!(class(Method::PUT, "/api/v1/rules"), BodyClass::Json);
        assert_eq!(class(Method::POST, "/api/v1/rules/"), BodyClass::Json);
        assert_eq!(class(Method::POST, "/api/v1/rules/load/rollback"), BodyClass::Json);
        assert_eq!(class(Method::POST, "/api/v1/chunks"), BodyClass::Json);
    }
}
