//! A table of routes: a line is a path, what may be done there, and who does it. It is registered, and it is told in
//! the API's document; so neither knows of a route that the other does not. The lines are in `mod.rs`.

use std::future::ready;

use actix_web::dev::{AppService, HttpServiceFactory};
use actix_web::guard;
use actix_web::http::header::ALLOW;
use actix_web::web;
use actix_web::{FromRequest, Handler, HttpRequest, HttpResponse, Resource, Responder};
use utoipa::openapi::OpenApi;
use utoipa::openapi::path::HttpMethod;

use super::arguments::{Argument, Asked};
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
    allowed: Vec<&'static str>,
}

/// Something that may be done.
pub struct Operation {
    /// How it is asked for.
    pub method: HttpMethod,
    /// What the handler's attribute and comment say of it.
    pub described: fn() -> OpenApi,
    /// What the handler's arguments say of it.
    pub asked: fn() -> Asked,
}

/// Families with their paths: `"Rules", "Who judges." { "/rules": get(list), post(add); }`.
macro_rules! table {
    ($($name:literal, $about:literal { $($path:literal: $($method:ident($($handler:ident)::+)),+;)+ })+) => {
        vec![$($crate::api::table::Family {
            name: $name,
            about: $about,
            routes: vec![$(
                $crate::api::table::At::new($path)
                    $(.$method($($handler)::+, $crate::api::table::described!($($handler)::+)))+,
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

pub(in crate::api) use {described, table};

impl At {
    /// A path where nothing may be done yet.
    pub fn new(path: &'static str) -> Self {
        Self {
            path,
            operations: Vec::new(),
            resource: web::resource(path),
            allowed: Vec::new(),
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
            pub fn $name<F, Args>(mut self, handler: F, described: fn() -> OpenApi) -> Self
            where
                F: Handler<Args>,
                Args: FromRequest + Argument + 'static,
                F::Output: Responder + 'static,
            {
                self.allowed.extend([$($allowed),+]);
                self.resource = self.resource.route(web::route().guard($guard).to(handler));
                self.operations.push(Operation {
                    method: HttpMethod::$method,
                    described,
                    asked: Asked::by::<Args>,
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

impl HttpServiceFactory for At {
    fn register(self, config: &mut AppService) {
        let Self {
            resource, mut allowed, ..
        } = self;
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
