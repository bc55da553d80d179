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
use crate::metrics::RouteClass;

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
    /// How its requests are limited.
    pub rate: RateClass,
    classes: FamilyClasses,
    resource: Resource,
}

/// The classes of a family's operations in the request metrics.
#[derive(Clone, Copy, Debug)]
pub struct FamilyClasses {
    /// The class of GET.
    read: RouteClass,
    /// The class of all other methods.
    change: RouteClass,
}

/// The class of each method of a path, for the gate, which records the metrics of a request.
struct MethodClasses(Vec<(&'static [&'static str], RouteClass)>);

/// A method of a path, with its handler.
pub struct Operation {
    /// The class in the request metrics.
    pub class: RouteClass,
    /// The method in the document.
    pub method: HttpMethod,
    /// The HTTP methods that the handler serves.
    pub allowed: &'static [&'static str],
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

/// How the requests of a path are limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RateClass {
    /// Each client has its limit; an anonymous client is its address.
    #[default]
    Normal,
    /// Probes have limits of their own, so that other requests from the same address do not use them up.
    Probe,
    /// Neither limited nor authenticated: the response is constant and reveals nothing.
    Exempt,
}

/// Families with their paths: `"Rules", "Upload rules.", RulesRead / RulesChange { "/rules": get(list), post(add,
/// Component); }`. The classes in the request metrics are those of GET and of other methods; a path with a class of its
/// own names it in brackets. A path is limited as `Normal` unless it names another class: `"/live" limited as Exempt:`.
/// A body is JSON unless its class is named.
macro_rules! table {
    ($($name:literal, $about:literal, $read:ident $(/ $change:ident)? {
        $($path:literal $([$class:ident])? $(limited as $rate:ident)?: $($method:ident($($handler:ident)::+ $(, $body:ident)?)),+;)+
    })+) => {
        vec![$({
            let classes = $crate::api::table::classes!($read $($change)?);
            $crate::api::table::Family {
                name: $name,
                about: $about,
                routes: vec![$(
                    $crate::api::table::Route::new($path, classes)
                        $(.of_class($crate::metrics::RouteClass::$class))?
                        $(.limited_as($crate::api::table::RateClass::$rate))?
                        $(.$method(
                            $($handler)::+,
                            $crate::api::table::described!($($handler)::+),
                            $crate::api::table::body!($($body)?),
                        ))+,
                )+],
            }
        }),+]
    };
}

macro_rules! classes {
    ($read:ident) => {
        $crate::api::table::FamilyClasses::new($crate::metrics::RouteClass::$read, $crate::metrics::RouteClass::$read)
    };
    ($read:ident $change:ident) => {
        $crate::api::table::FamilyClasses::new($crate::metrics::RouteClass::$read, $crate::metrics::RouteClass::$change)
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

pub(in crate::api) use {body, classes, described, table};

impl Route {
    /// A path without methods.
    pub fn new(path: &'static str, classes: FamilyClasses) -> Self {
        Self {
            path,
            operations: Vec::new(),
            rate: RateClass::default(),
            classes,
            resource: web::resource(path),
        }
    }

    /// Gives the operations added afterwards this class.
    pub fn of_class(mut self, class: RouteClass) -> Self {
        self.classes = FamilyClasses::new(class, class);
        self
    }

    /// Limits the requests of this path as this class.
    pub fn limited_as(mut self, rate: RateClass) -> Self {
        self.rate = rate;
        self
    }

    /// The resource for the framework, without the handling of methods that are not allowed.
    pub fn bare(self) -> Resource {
        let classes = self.operations.iter();
        let classes = classes.map(|operation| (operation.allowed, operation.class));
        self.resource.app_data(MethodClasses(classes.collect()))
    }
}

impl FamilyClasses {
    /// These classes of GET and of other methods.
    pub const fn new(read: RouteClass, change: RouteClass) -> Self {
        Self { read, change }
    }

    fn of(self, method: &HttpMethod) -> RouteClass {
        match method {
            HttpMethod::Get => self.read,
            _ => self.change,
        }
    }
}

/// The class of the operation that handled a request; `Other` if none did.
pub fn route_class(request: &HttpRequest) -> RouteClass {
    let classes = request.app_data::<MethodClasses>();
    let mut classes = classes.map_or([].iter(), |classes| classes.0.iter());
    let found = classes.find(|(methods, _)| methods.contains(&request.method().as_str()));
    found.map_or(RouteClass::Other, |(_, class)| *class)
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
                    class: self.classes.of(&HttpMethod::$method),
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

    /// Whether a body of this content type is accepted, without its parameters.
    pub fn accepts(self, content_type: &str) -> bool {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        let essence = essence.to_ascii_lowercase();
        match self {
            Self::Json => {
                let subtype = essence.split_once('/').map_or("", |(_, subtype)| subtype);
                subtype == "json" || subtype.ends_with("+json")
            }
            Self::Component => self.content_types().contains(&essence.as_str()),
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

/// The attributes of routes by method and path, for the gate, which applies limits before a handler is matched.
pub struct GateRoutes(Vec<GateRoute>);

struct GateRoute {
    path: ResourceDef,
    methods: &'static [&'static str],
    attributes: RouteAttributes,
}

/// The attributes of a route that the gate applies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteAttributes {
    /// The class of the body; none if no operation of the table that changes something has this method and path.
    pub change: Option<BodyClass>,
    /// How requests are limited.
    pub rate: RateClass,
}

impl RouteAttributes {
    /// The class of the body, for its limits.
    pub fn body(&self) -> BodyClass {
        self.change.unwrap_or_default()
    }
}

impl GateRoutes {
    /// The attributes of this table.
    pub fn of(table: &[Family]) -> Self {
        let routes = table.iter().flat_map(|family| &family.routes);
        let operations = routes.flat_map(|at| at.operations.iter().map(move |operation| (at, operation)));
        let with_attributes = operations.map(|(at, operation)| GateRoute {
            path: ResourceDef::new(at.path),
            methods: operation.allowed,
            attributes: RouteAttributes {
                change: (operation.method != HttpMethod::Get).then_some(operation.body),
                rate: at.rate,
            },
        });
        // All other operations have the default attributes, and need no entry.
        Self(
            with_attributes
                .filter(|route| route.attributes != RouteAttributes::default())
                .collect(),
        )
    }

    /// The attributes of a request's route.
    pub fn attributes(&self, method: &Method, path: &str) -> RouteAttributes {
        let mut routes = self.0.iter();
        let found = routes.find(|route| route.methods.contains(&method.as_str()) && route.path.is_match(path));
        found.map_or_else(RouteAttributes::default, |route| route.attributes)
    }
}

impl HttpServiceFactory for Route {
    fn register(self, config: &mut AppService) {
        let mut allowed: Vec<_> = self
            .operations
            .iter()
            .flat_map(|operation| operation.allowed)
            .copied()
            .collect();
        allowed.push("OPTIONS");
        let allow = allowed.join(", ");
        let refused = allow.clone();
        self.bare()
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
    fn reading_and_changing_rules_are_different_classes() {
        let table = crate::api::table();
        let class = |path: &str, method: HttpMethod| {
            let route = table
                .iter()
                .flat_map(|family| &family.routes)
                .find(|route| route.path == path);
            let operations = &route.expect("a path").operations;
            operations
                .iter()
                .find(|operation| operation.method == method)
                .expect("a method")
                .class
        };
        assert_eq!(class("/api/v1/rules", HttpMethod::Get), RouteClass::RulesRead);
        assert_eq!(class("/api/v1/rules", HttpMethod::Post), RouteClass::RulesChange);
        assert_eq!(class("/api/v1/chunks/{id}", HttpMethod::Patch), RouteClass::Chunks);
        assert_eq!(class("/metrics", HttpMethod::Get), RouteClass::Metrics);
        assert_eq!(class("/api/v1/status", HttpMethod::Get), RouteClass::Machine);
    }

    #[test]
    fn only_upload_routes_accept_a_component() {
        let routes = GateRoutes::of(&crate::api::table());
        let class = |method: Method, path: &str| routes.attributes(&method, path).change;
        assert_eq!(class(Method::POST, "/api/v1/rules"), Some(BodyClass::Component));
        assert_eq!(class(Method::PUT, "/api/v1/rules"), None);
        assert_eq!(class(Method::POST, "/api/v1/rules/"), None);
        let rollback = "/api/v1/rules/load/rollback";
        assert_eq!(class(Method::POST, rollback), Some(BodyClass::Json));
        assert_eq!(class(Method::GET, rollback), None);
        assert_eq!(class(Method::POST, "/api/v1/chunks"), Some(BodyClass::Json));
    }

    #[test]
    fn only_probes_have_limits_of_their_own() {
        let table = crate::api::table();
        let routes = GateRoutes::of(&table);
        let rate = |method: Method, path: &str| routes.attributes(&method, path).rate;
        for method in [Method::GET, Method::HEAD] {
            assert_eq!(rate(method.clone(), "/health/live"), RateClass::Exempt);
            assert_eq!(rate(method, "/health/ready"), RateClass::Probe);
        }
        assert_eq!(rate(Method::POST, "/health/live"), RateClass::Normal);
        let all = table.iter().flat_map(|family| &family.routes);
        let exempt: Vec<_> = all.filter(|route| route.rate == RateClass::Exempt).collect();
        assert_eq!(
            exempt.len(),
            1,
            "what is neither limited nor authenticated is an exception"
        );
    }
}
